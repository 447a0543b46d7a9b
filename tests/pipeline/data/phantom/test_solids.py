from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from pipeline.data.phantom.solids import SPACING_MM, Capsule, Ellipsoid, Part, Space, smooth_field, soft_minimum, solid


def places(*points: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = np.array(points, np.float32).T
    return x, y, z


def straight_space() -> Space:
    """A scan of (AP, SI, LR) = (20, 24, 30) voxels, neither moved nor bent."""
    y, z, x = (
        ((np.arange(n) - (n - 1) / 2) * step).astype(np.float32)
        for n, step in zip((20, 24, 30), (SPACING_MM[2], SPACING_MM[1], SPACING_MM[0]), strict=True)
    )
    full_y, full_z, full_x = np.meshgrid(y, z, x, indexing="ij")
    return Space(full_x, full_y, full_z, np.zeros_like(full_x), np.eye(3), np.zeros(3))


def test_the_distance_of_a_ball_is_exact() -> None:
    ball = Ellipsoid((1, 2, 3), (5, 5, 5))
    found = ball.distance(*places((1, 2, 3), (1, 2, 6), (6, 2, 3), (1, 10, 3)))
    np.testing.assert_allclose(found, [-5, -2, 0, 3], atol=1e-2)


def test_an_ellipsoid_ends_at_its_radii_along_its_own_axes() -> None:
    # first axis of the frame is y, second z, third x
    turned = Ellipsoid((0, 0, 0), (6, 4, 2), ((0, 1, 0), (0, 0, 1), (1, 0, 0)))
    on_surface = turned.distance(*places((0, 6, 0), (0, 0, -4), (2, 0, 0)))
    np.testing.assert_allclose(on_surface, 0, atol=1e-3)
    assert (turned.distance(*places((0, 5.5, 0), (1.5, 0, 0))) < 0).all()
    assert (turned.distance(*places((2.5, 0, 0), (0, 0, 4.5))) > 0).all()


def test_the_distance_of_a_capsule_is_exact() -> None:
    #   (0,0,0) r 2 ----- (10,0,0) r 4: at its middle the radius is 3
    rod = Capsule((0, 0, 0), (10, 0, 0), 2, 4)
    found = rod.distance(*places((5, 0, 0), (5, 7, 0), (-3, 0, 0), (10, 0, 9)))
    np.testing.assert_allclose(found, [-3, 4, 1, 5], atol=1e-5)


def test_a_soft_minimum_is_the_minimum_far_from_the_seam_and_less_on_it() -> None:
    a, b = np.array([1, 9, 5], np.float32), np.array([9, 1, 5], np.float32)
    np.testing.assert_allclose(soft_minimum(a, b, 4.0), [1, 1, 4], atol=1e-6)  # 5 - 4/4 on the seam


def test_a_solid_in_its_box_is_the_solid_in_the_whole_scan() -> None:
    space = straight_space()
    parts: list[Part] = [Ellipsoid((4, -3, 2), (6, 5, 4)), Capsule((-9, 5, -6), (3, 2, 5), 3, 2)]
    region = solid(space, parts, 2.0)
    whole = np.full(space.shape, 60.0)
    for part in parts:
        whole[:] = soft_minimum(whole, part.distance(space.x, space.y, space.z), 2.0)
    inside = np.zeros(space.shape, bool)
    inside[region.box] = region.distance < 0
    assert inside.any()
    assert region.distance.size < inside.size
    np.testing.assert_array_equal(inside, whole < 0)


def test_a_solid_outside_the_scan_is_empty() -> None:
    assert not (solid(straight_space(), [Ellipsoid((500, 0, 0), (5, 5, 5))], 2.0).distance < 0).any()


def test_a_smooth_field_is_the_cubic_b_spline_of_its_control_values() -> None:
    points, shape = (5, 6, 7), (4, 9, 11)
    field = smooth_field(np.random.default_rng(3), points, shape)
    expected = np.random.default_rng(3).standard_normal(points, dtype=np.float32) * 3.02
    for axis, (count, size) in enumerate(zip(points, shape, strict=True)):
        spline = BSpline(np.arange(count + 4) - 3.0, np.moveaxis(expected, axis, 0), 3)
        expected = np.moveaxis(spline(np.linspace(0, count - 3 - 1e-6, size)), 0, axis)
    np.testing.assert_allclose(field, expected, atol=1e-4)


def test_a_smooth_field_has_a_deviation_of_about_one() -> None:
    field = smooth_field(np.random.default_rng(0), (20, 20, 20), (40, 40, 40))
    assert field.std() == pytest.approx(1, rel=0.15)
    assert abs(field.mean()) < 0.15
