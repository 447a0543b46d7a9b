"""Post-processing against scipy.ndimage, against drawings, and against its own definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.config.schema import PostprocessRule
from pipeline.data.components import component_counts, component_sizes
from pipeline.errors import DataError
from pipeline.inference.postprocess import postprocess

SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7)),
)


def random_mask(seed: int, shape: tuple[int, ...], classes: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = rng.integers(1, classes, shape).astype(np.uint8) * (rng.random(shape) < rng.choice([0.1, 0.3, 0.5, 0.8]))
    return np.asfortranarray(mask) if seed % 2 else mask


def parts(inside: np.ndarray) -> list[np.ndarray]:
    """Connected parts by faces, edges or corners, in the order of their first voxel."""
    labels, count = ndimage.label(inside, np.ones((3,) * inside.ndim))
    return [labels == number for number in range(1, count + 1)]


def drawn(text: str) -> np.ndarray:
    return np.array([[int(sign) if sign != "." else 0 for sign in line] for line in text.split()], dtype=np.uint8)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**31), SHAPES, st.integers(1, 3), st.integers(1, 5))
def test_parts_are_kept_as_scipy_finds_them(seed: int, shape: tuple[int, ...], keep: int, least: int) -> None:
    mask = random_mask(seed, shape)
    before = mask.copy()
    found = postprocess(mask, {1: PostprocessRule(keep=keep, min_voxels=least)})
    wanted = mask.copy()
    ranked = sorted(parts(mask == 1), key=lambda part: -part.sum())  # a stable sort: the first of equals stays first
    for place, part in enumerate(ranked):
        if place >= keep or part.sum() < least:
            wanted[part] = 0
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(mask, before)
    assert found.dtype == mask.dtype and found.shape == mask.shape
    np.testing.assert_array_equal(postprocess(found, {1: PostprocessRule(keep=keep, min_voxels=least)}), found)
    sizes = component_sizes(mask, 3)
    assert [part.tolist() for part in sizes[1:]] == [
        sorted((int(part.sum()) for part in parts(mask == index)), reverse=True) for index in (1, 2)
    ]
    assert len(sizes[0]) == 0
    assert component_counts(mask, 3).tolist() == [0, *(len(parts(mask == index)) for index in (1, 2))]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**31), SHAPES)
def test_holes_are_filled_as_scipy_fills_them(seed: int, shape: tuple[int, ...]) -> None:
    mask = random_mask(seed, shape)
    flat = mask.reshape([side for side in shape if side > 1] or [1])
    wanted = flat.copy()
    if flat.ndim > 1:
        wanted[ndimage.binary_fill_holes(flat == 1) & (flat == 0)] = 1
    found = postprocess(mask, {1: PostprocessRule(fill_holes=True)})
    np.testing.assert_array_equal(found, wanted.reshape(shape))


def test_a_drawing() -> None:
    mask = drawn("""
        11.....
        11..1.1
        ...1.1.
        2...1..
        2.....1
    """)
    largest = drawn("""
        .......
        ....1.1
        ...1.1.
        2...1..
        2......
    """)
    filled = drawn("""
        .......
        ....1.1
        ...111.
        2...1..
        2......
    """)
    # Corners hold the ring of five together, and part from the hole what lies outside.
    np.testing.assert_array_equal(postprocess(mask, {1: PostprocessRule(largest=True)}), largest)
    np.testing.assert_array_equal(postprocess(mask, {1: PostprocessRule(largest=True, fill_holes=True)}), filled)
    np.testing.assert_array_equal(postprocess(mask, {1: PostprocessRule(min_voxels=4)})[4], [2, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(postprocess(mask, {}), mask)


def test_other_classes_stay_and_the_nearest_ring_has_a_hole() -> None:
    mask = drawn("""
        1111111
        1.....1
        1.222.1
        1.2.231
        1.222.1
        1111111
    """)
    filled = drawn("""
        1111111
        1111111
        1122211
        1122231
        1122211
        1111111
    """)
    both = {1: PostprocessRule(fill_holes=True), 2: PostprocessRule(fill_holes=True)}
    np.testing.assert_array_equal(postprocess(mask, both), filled)
    swapped = np.array([0, 2, 1, 3], dtype=np.uint8)
    np.testing.assert_array_equal(postprocess(swapped[mask], both), swapped[filled])


def test_what_is_removed_is_background_that_may_be_filled() -> None:
    mask = drawn("""
        1111
        1.21
        1111
    """)
    rules = {1: PostprocessRule(fill_holes=True), 2: PostprocessRule(min_voxels=2)}
    assert postprocess(mask, rules).tolist() == [[1] * 4] * 3


def test_a_hole_that_is_open_to_an_end_is_none() -> None:
    mask = drawn("""
        1.1
        1.1
        111
    """)
    np.testing.assert_array_equal(postprocess(mask, {1: PostprocessRule(fill_holes=True)}), mask)


def test_a_volume_is_one_and_a_slice_is_one() -> None:
    # A voxel that is alone in its slice, but touches the next slice's corner.
    volume = np.zeros((4, 4, 2), dtype=np.uint8)
    volume[0, 0, 0] = volume[1, 1, 1] = volume[1, 2, 1] = 1
    rule = {1: PostprocessRule(min_voxels=2)}
    np.testing.assert_array_equal(postprocess(volume, rule), volume)
    assert postprocess(volume[:, :, 0], rule).sum() == 0
    hollow = np.ones((3, 3, 3), dtype=np.uint8)
    hollow[1, 1, 1] = 0
    assert postprocess(hollow, {1: PostprocessRule(fill_holes=True)}).all()
    faces = np.zeros((3, 3, 3), dtype=np.uint8)  # the six neighbours of the middle, which meet at edges alone
    faces[1, 1, ::2] = faces[1, ::2, 1] = faces[::2, 1, 1] = 1
    assert postprocess(faces, {1: PostprocessRule(fill_holes=True)}).sum() == 7
    tube = hollow.copy()
    tube[1, 1, :] = 0  # in each slice a hole, in the volume none
    np.testing.assert_array_equal(postprocess(tube, {1: PostprocessRule(fill_holes=True)}), tube)


@pytest.mark.parametrize(("least", "left"), [(0.1, 6), (3.0, 6), (3.01, 5), (6.0, 5), (6.01, 3), (9.0, 3), (9.1, 0)])
def test_sizes_in_mm3(least: float, left: int) -> None:
    # Parts of 1, 2 and 3 voxels of 3 mm3.
    mask = np.zeros((1, 1, 9), dtype=np.uint8)
    mask[0, 0, [0, 2, 3, 5, 6, 7]] = 1
    found = postprocess(mask, {1: PostprocessRule(min_mm3=least)}, (1.5, 2.0, 1.0))
    assert found.sum() == left


@pytest.mark.parametrize(("shape", "spacing"), [((3, 3), (1.0, 1.0)), ((3, 3, 3), None)])
def test_no_size_in_mm3_without_a_volume(shape: tuple[int, ...], spacing: Any) -> None:
    mask = np.ones(shape, dtype=np.uint8)
    with pytest.raises(DataError, match=r"min_mm3.*Use min_voxels"):
        postprocess(mask, {1: PostprocessRule(min_mm3=1.0)}, spacing)


def test_the_first_of_equal_parts_are_kept() -> None:
    mask = np.tile(np.array([1, 0], dtype=np.uint8), (1, 40))
    found = postprocess(mask, {1: PostprocessRule(keep=3)})
    assert np.flatnonzero(found).tolist() == [0, 2, 4]


def test_wide_types_and_empty_classes() -> None:
    mask = np.full((2, 2), 300, dtype=np.uint16)
    rule = PostprocessRule(largest=True, fill_holes=True)
    assert postprocess(mask, {300: rule, 7: rule}).dtype == np.uint16
    np.testing.assert_array_equal(postprocess(mask, {300: rule, 7: rule}), mask)
