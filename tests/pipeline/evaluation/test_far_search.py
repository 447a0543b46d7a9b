"""Far points: by tiles, one by one and by the tree, against SciPy's distance transform and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.evaluation import far_search as module
from pipeline.evaluation.far_search import Lines, far_distances

SPACINGS = st.sampled_from([0.3, 0.73, 1.0, 1.0, 1.56, 5.0])


def lines_of(wanted: np.ndarray, spacing: tuple[float, ...]) -> Lines:
    """Voxels along the first axis to the nearest wanted one, by the distances of all to all."""
    off = np.abs(np.arange(len(wanted))[:, np.newaxis] - np.arange(len(wanted)))
    none = len(wanted) + 2
    field = np.where(wanted[np.newaxis], off[:, :, np.newaxis, np.newaxis], none).min(axis=1)
    return Lines(field.astype(np.uint8), none, spacing)


def measured(asked: np.ndarray, wanted: np.ndarray, spacing: tuple[float, ...], patience: float) -> np.ndarray:
    targets = np.array(np.nonzero(wanted))
    lines = lines_of(wanted, spacing)
    return far_distances(lines, np.array(np.nonzero(asked)), lambda: targets, targets.shape[1], patience=patience)


@st.composite
def points(draw: Any) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Which places are asked for, at least one, and which are wanted: a few in a part of the volume."""
    shape = tuple(draw(st.integers(1, 24)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    asked, wanted = (rng.random(shape) < draw(st.sampled_from([0.002, 0.05, 0.6])) for _ in range(2))
    wanted[draw(st.integers(1, 24)) :] = False
    wanted[:, :, draw(st.integers(1, 24)) :] = False
    for there in (asked, wanted):
        there[tuple(draw(st.integers(0, length - 1)) for length in shape)] = True
    return asked, wanted, tuple(draw(SPACINGS) for _ in range(3))


@settings(max_examples=150, deadline=None)
@given(
    points(), st.sampled_from([0.0, 1.0, math.inf]), st.sampled_from([0.0, math.inf]), st.sampled_from([1, 1 << 15]),
    st.sampled_from([(0.2, 0.7, math.inf), (1.1, 3.3, math.inf), (math.inf,)]),
)  # fmt: skip
def test_every_way_gives_the_distance_transform(
    drawn: Any, patience: float, point: float, at_once: int, wider: tuple[float, ...]
) -> None:
    """A tile at once or line by line, its points all or in chunks; with a sample that tells too little of the rest."""
    asked, wanted, spacing = drawn
    expected = ndimage.distance_transform_edt(~wanted, sampling=spacing)[asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_POINT", point)
        patch.setattr(module, "_AT_ONCE", at_once)
        patch.setattr(module, "_CHUNK", 1 + len(expected) // 2)
        patch.setattr(module, "_WIDER", wider)
        np.testing.assert_allclose(measured(asked, wanted, spacing, patience), expected, rtol=1e-12, atol=1e-12)


def test_by_hand() -> None:
    """From one corner of a box of 30 x 40 x 120 mm to the opposite one, 130 mm; and to what is 50 mm away."""
    asked, wanted = np.zeros((2, 16, 21, 13), bool)
    asked[0, 0, 0], wanted[15, 20, 12] = True, True
    for patience in (0.0, 1.0, math.inf):
        assert measured(asked, wanted, (2.0, 2.0, 10.0), patience) == pytest.approx([130])
    wanted[15, 20, 0] = True
    for patience in (0.0, 1.0, math.inf):
        assert measured(asked, wanted, (2.0, 2.0, 10.0), patience) == pytest.approx([50])


def test_patience_decides_which_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without patience the tree is asked for all, with endless patience for none."""
    asked_of_tree: list[int] = []
    between = module.between_points

    def counted(own: np.ndarray, *rest: Any) -> np.ndarray:
        asked_of_tree.append(own.shape[1])
        return between(own, *rest)

    monkeypatch.setattr(module, "between_points", counted)
    monkeypatch.setattr(module, "_POINT", math.inf)
    asked, wanted = np.zeros((2, 30, 30, 30), bool)
    asked[20:], wanted[0, 0, 0] = True, True
    for patience in (0.0, math.inf):
        measured(asked, wanted, (1.0, 1.0, 1.0), patience)
    assert asked_of_tree == [9000]


@pytest.mark.parametrize("of_one", [0, 2])
def test_a_large_and_a_small_one(of_one: int) -> None:
    """Many points and one target, far off, and the other way round: the room about the box is on the right sides."""
    shape = (20, 33, 50)
    large, small = np.zeros((2, *shape), bool)
    large[2:18, :15, 30:], small[19, 32, of_one] = True, True
    for asked, wanted in ((large, small), (small, large)):
        expected = ndimage.distance_transform_edt(~wanted, sampling=(3.0, 0.5, 0.9))[asked]
        for patience in (1.0, math.inf):
            np.testing.assert_allclose(measured(asked, wanted, (3.0, 0.5, 0.9), patience), expected)
