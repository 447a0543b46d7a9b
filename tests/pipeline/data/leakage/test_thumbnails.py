"""Thumbnails: what they do not see, what they tell apart, and in which orientation a copy is found."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from pipeline.data.leakage import thumbnails as module
from pipeline.data.leakage.thumbnails import Orientation, find_candidates, thumbnail

SEEDS = st.integers(0, 2**32 - 1)


def smooth(seed: int, shape: tuple[int, ...], blur: float = 2.0) -> np.ndarray:
    """A random smooth image; what lies within 8 voxels of its border continues to be random."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), blur)
    return (100 * (field - field.min()) / np.ptp(field)).astype(np.float32)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The product of two images' thumbnails, over all orientations."""
    found = list(find_candidates(thumbnail(one)[None], thumbnail(other)[None], -2.0))
    return found[0].product


@pytest.mark.parametrize("shape", [(64, 48), (130, 101), (24, 30, 26), (49, 50, 60)])
def test_scale_and_offset_are_not_seen(shape: tuple[int, ...]) -> None:
    image = smooth(0, shape)
    own = thumbnail(image)
    assert own.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(own.reshape(2, -1), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(thumbnail(-3 * image + 50), own, atol=1e-3)
    assert thumbnail(np.rint(30 * image).astype(np.int16)) @ own > 2 * 0.999
    assert np.array_equal(thumbnail(np.asfortranarray(image)), own)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from([(70, 50), (128, 101)]))
def test_strangers_are_told_from_copies(seed: int, shape: tuple[int, ...]) -> None:
    image = smooth(seed, shape)
    noise = np.random.default_rng(seed + 1).normal(0, 1, shape)  # 1 % of the range
    assert likeness(image, image + noise) > 0.95
    assert likeness(image, image[2:-2, 3:]) > 0.85
    assert likeness(image, np.pad(image, ((0, 3), (2, 0)), mode="edge")) > 0.85
    assert likeness(image, smooth(seed + 1, shape)) < 0.7


def test_an_edge_that_all_images_have_does_not_outvote_the_rest() -> None:
    """The rim of a round field of view, ten times as high as all that lies within it."""
    inside = np.hypot(*np.mgrid[-1:1:128j, -1:1:128j]) < 0.97
    one, other = (np.where(inside, smooth(seed, (128, 128)), np.float32(-1000)) for seed in (1, 2))
    assert likeness(one, other) < 0.35
    assert likeness(one, 2 * one[1:, 2:] + 7) > 0.94


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.sampled_from([(40, 33), (20, 24, 28)]), st.data())
def test_the_orientation_of_a_copy_is_found(seed: int, shape: tuple[int, ...], data: Any) -> None:
    image, rank = smooth(seed, shape), len(shape)
    axes = tuple(data.draw(st.permutations(range(rank))))
    signs = tuple(data.draw(st.lists(st.sampled_from([1, -1]), min_size=rank, max_size=rank)))
    turned = Orientation(axes, signs).apply(image)
    (found,) = find_candidates(thumbnail(image)[None], thumbnail(turned)[None], 0.9)
    assert found.product > 0.999
    best = found.orientations[0]
    assert best.axes == axes
    assert best.signs in (signs, tuple(-sign for sign in signs)), "up to a point reflection"


def test_a_spectrum_is_that_of_the_sum_by_hand() -> None:
    """Of each frequency k: |sum over the voxels of image x window x exp(-2 pi i k x / wave)|, voxel by voxel."""
    image = np.random.default_rng(0).normal(size=(13, 14)).astype(np.float32)
    found = module._magnitudes(image, [96.0, 14.0])
    places = [np.arange(length) - (length - 1) / 2 for length in image.shape]
    window = np.outer(*(np.cos(np.pi * place / (len(place) + 1)) ** 2 for place in places))
    for number in (0, 57, 111, len(found) - 1):
        k = module._frequencies(2)[number]
        phase = np.add.outer(k[0] * places[0] / 96, k[1] * places[1] / 14)
        assert found[number] == pytest.approx(abs((image * window * np.exp(-2j * np.pi * phase)).sum()), rel=1e-4)


@pytest.mark.parametrize("rank", [2, 3])
def test_of_each_frequency_and_its_opposite_there_is_one(rank: int) -> None:
    known = {tuple(vector) for vector in module._frequencies(rank).tolist()}
    top = module._TOP[rank]
    ball = [
        k
        for k in itertools.product(range(-top, top + 1), repeat=rank)
        if 2 <= round(sum(v * v for v in k) ** 0.5) <= top
    ]
    assert all((k in known) != (tuple(-value for value in k) in known) for k in ball)
    assert len(known) * 2 == len(ball)


def test_what_shows_nothing_has_no_thumbnail() -> None:
    assert thumbnail(np.full((64, 64), 7)).size == 0
    assert thumbnail(np.random.default_rng(0).normal(size=(11, 64))).size == 0
    assert thumbnail(np.random.default_rng(0).normal(size=(15, 60))).size > 0
    assert thumbnail(np.random.default_rng(0).normal(size=(20, 20, 20, 2))).size == 0


def test_the_search_gives_the_likest_and_no_more_than_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against all products at once, and whatever is held at a time."""
    rng = np.random.default_rng(0)
    length = len(thumbnail(smooth(0, (32, 32))))
    ones, others = (rng.normal(size=(count, 2, length // 2)).astype(np.float32) for count in (7, 11))
    ones, others = (group / np.linalg.norm(group, axis=2, keepdims=True) for group in (ones, others))
    orders = [order for _, order in module._orders(2)]
    products = np.max([np.einsum("nhf,mhf->nmh", ones[..., order], others).max(axis=2) for order in orders], axis=0)
    least = float(np.quantile(products, 0.5))
    expected = [
        (row, column) for row in range(7) for column in np.argsort(-products[row])[:3] if products[row, column] >= least
    ]
    for chunk in (1, 30, 10**6):
        monkeypatch.setattr(module, "_CHUNK", chunk)
        found = list(find_candidates(ones.reshape(7, -1), others.reshape(11, -1), least))
        assert [(one.one, one.other) for one in found] == expected
        np.testing.assert_allclose(
            [one.product for one in found], [products[pair] for pair in expected], rtol=1e-4, atol=1e-6
        )
