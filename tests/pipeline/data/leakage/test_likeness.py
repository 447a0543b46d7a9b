"""Comparing two images: every kind of copy is one, other images are not, and nearly blank ones are no evidence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, zoom

from pipeline.data.leakage.likeness import compare
from pipeline.data.leakage.thumbnails import Orientation

SEEDS = st.integers(0, 2**32 - 1)
AS_IT_IS = [Orientation((0, 1), (1, 1))]


def smooth(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2)
    return (100 * (field - field.min()) / np.ptp(field)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.tuples(*[st.integers(0, 4)] * 4), st.booleans())
def test_a_crop_is_found_with_its_shift(seed: int, cut: tuple[int, ...], noisy: bool) -> None:
    """Cut `a` off before and `b` behind, the centre of what is left lies (a - b) / 2 further on."""
    image = smooth(seed, (60, 50))
    other = image + np.random.default_rng(seed).normal(0, 2, image.shape) if noisy else 5 * image - 7
    cropped = other[cut[0] : 60 - cut[1], cut[2] : 50 - cut[3]]
    found = compare(cropped, image, AS_IT_IS, 0.9)
    assert found is not None and found.correlation > (0.93 if noisy else 0.999)
    if not found.resampled:
        starts = [
            at + wanted // 2 - length // 2
            for at, wanted, length in zip(found.shift, (60, 50), cropped.shape, strict=True)
        ]
        assert starts == [cut[0], cut[2]]


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_other_images_are_not_alike(seed: int) -> None:
    found = compare(smooth(seed, (60, 50)), smooth(seed + 1, (60, 50)), AS_IT_IS)
    assert found is not None and found.correlation < 0.75


def test_anatomy_alone_is_not_enough() -> None:
    """Two images of one outline, each with its own texture, correlate at 0.9 and more as they are."""
    body = 100.0 * (np.hypot(*np.mgrid[-1:1:80j, -1:1:80j]) < 0.7)
    one, other = (body + 0.3 * smooth(seed, body.shape) for seed in (1, 2))
    found = compare(one, other, AS_IT_IS)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9
    assert found is not None and found.correlation < 0.75
    same = compare(one + np.random.default_rng(0).normal(0, 2, one.shape), one, AS_IT_IS)
    assert same is not None and same.correlation > 0.97


@pytest.mark.parametrize("shape", [(40, 33), (20, 24, 28)])
def test_each_orientation_is_undone(shape: tuple[int, ...]) -> None:
    image, rank = smooth(3, shape), len(shape)
    for axes in itertools.permutations(range(rank)):
        orientation = Orientation(axes, (-1,) + (1,) * (rank - 1))
        opposite = Orientation(axes, (1,) + (-1,) * (rank - 1))
        found = compare(image, orientation.apply(image), [opposite])  # its point reflection is tried, too
        assert found is not None and found.orientation == orientation
        assert found.correlation == pytest.approx(1) and found.shift == (0,) * rank and not found.resampled
        assert "in the order" in found.describe() or axes == tuple(range(rank))
        assert "mirrored along axis 0" in found.describe()


@pytest.mark.parametrize("factor", [0.96, 1.04])
def test_a_resampled_copy_is_one(factor: float) -> None:
    image = smooth(4, (100, 75))
    found = compare(zoom(image, factor, order=1, grid_mode=True, mode="nearest"), image, AS_IT_IS)
    assert found is not None and found.resampled and found.correlation > 0.97
    assert "resampled" in found.describe()


def test_of_large_images_the_middle_is_resampled() -> None:
    image = smooth(4, (340, 300))
    found = compare(zoom(image, 0.96, order=1, grid_mode=True, mode="nearest"), image, AS_IT_IS)
    assert found is not None and found.resampled and found.correlation > 0.97
    assert max(map(abs, found.shift)) <= 1


def test_a_flat_background_says_nothing() -> None:
    """Noise where the other image is blank: an image with its surroundings cut away, exported again with noise."""
    inside = np.hypot(*np.mgrid[-1:1:120j, -1:1:120j]) < 0.5
    image = np.where(inside, smooth(1, (120, 120)), 0)
    noisy = image + np.random.default_rng(0).normal(0, 2, image.shape)
    found = compare(noisy, image, AS_IT_IS)
    assert found is not None and found.correlation > 0.9


@pytest.mark.parametrize("shape", [(300, 280), (70, 80, 66)])
def test_of_large_images_the_middle_is_compared(shape: tuple[int, ...]) -> None:
    rank = len(shape)
    image, turned = smooth(5, shape), Orientation(tuple(range(rank)), (1,) * rank)
    moved = image[tuple(slice(0, length - 6) for length in shape)]
    found = compare(moved, image, [turned], 0.9)
    assert found is not None and found.correlation > 0.99


def test_spots_in_the_dark_are_no_evidence() -> None:
    one, other = np.zeros((2, 60, 60))
    one[20, 20] = other[21, 20] = 9.0
    found = compare(one, other, AS_IT_IS)
    assert found is not None and found.correlation == 0
    blank = compare(np.zeros((60, 60)), np.zeros((60, 60)), AS_IT_IS)
    assert blank is not None and blank.correlation == 0
    assert compare(one, other, []) is None


def test_a_way_that_is_enough_ends_the_search() -> None:
    image = smooth(6, (40, 40))
    ways = iter([*AS_IT_IS, *AS_IT_IS])
    assert compare(image, image, ways, 0.9) is not None
    assert len(list(ways)) == 1
