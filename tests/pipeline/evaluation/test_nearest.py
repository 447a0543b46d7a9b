"""The nearest point: every way, and the two together, against brute force and SciPy's distance transform."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.evaluation import nearest as module
from pipeline.evaluation.nearest import Grid, grid_of, nearest

SPACINGS = st.sampled_from([0.3, 0.73, 1.0, 1.0, 1.56, 5.0])
WAYS = (0.0, 1.0, math.inf)


@st.composite
def points(draw: Any) -> tuple[Grid, np.ndarray, np.ndarray]:
    """A grid, and which of its points are asked for, and which are wanted (bool, of its lengths)."""
    rank = draw(st.sampled_from([2, 3]))
    lengths = tuple(draw(st.integers(1, 26 if rank == 2 else 11)) for _ in range(rank))
    spacing = tuple(draw(SPACINGS) for _ in range(rank))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    asked, wanted = (rng.random(lengths) < draw(st.sampled_from([0.003, 0.05, 0.4, 1.0])) for _ in range(2))
    wanted.flat[draw(st.integers(0, wanted.size - 1))] = True
    return grid_of(lengths, spacing), asked, wanted


def places(grid: Grid, there: np.ndarray) -> np.ndarray:
    return np.ravel_multi_index(np.nonzero(there), grid.shape)


def measured(grid: Grid, asked: np.ndarray, wanted: np.ndarray, patience: float) -> np.ndarray:
    which, distances = nearest(places(grid, asked), places(grid, wanted), grid, patience=patience)
    assert which.shape == (asked.sum(),)
    return distances[which]


@settings(max_examples=80, deadline=None)
@given(points(), st.sampled_from([1, 7, 8192]), st.sampled_from([1, 5, 1 << 15]))
def test_every_way_gives_the_distance_transform(drawn: Any, at_once: int, chunk: int) -> None:
    grid, asked, wanted = drawn
    expected = ndimage.distance_transform_edt(~wanted, sampling=grid.spacing)[asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        patch.setattr(module, "_CHUNK", min(len(expected) // 3 + 1, chunk) if chunk < 10 else chunk)
        for patience in WAYS:
            np.testing.assert_allclose(measured(grid, asked, wanted, patience), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(points())
def test_every_way_gives_brute_force(drawn: Any) -> None:
    grid, asked, wanted = drawn
    asked[np.cumsum(asked).reshape(asked.shape) > 40] = False
    own, other = (np.argwhere(there) * grid.spacing for there in (asked, wanted))
    expected = [min(math.dist(point, target) for target in other) for point in own]
    for patience in WAYS:
        np.testing.assert_allclose(measured(grid, asked, wanted, patience), expected, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.data())
def test_offsets_are_all_that_are_so_near(lengths: list[int], data: Any) -> None:
    """No step along the axes that stays within the grid is missing up to the last distance; none leaves its row."""
    spacing = tuple(data.draw(SPACINGS) for _ in lengths)
    grid = grid_of(tuple(lengths), spacing)
    last = grid.distances[-1] * (1 - 1e-12)
    assert (np.diff(grid.distances) >= 0).all() and grid.distances[0] == 0
    near = [range(-min(length - 1, int(last / one)), min(length - 1, int(last / one)) + 1)
            for length, one in zip(lengths, spacing, strict=True)]  # fmt: skip
    known = dict(zip(grid.offsets.tolist(), grid.distances.tolist(), strict=True))
    assert len(known) == len(grid.offsets), "two of them lead to one place"
    for steps in itertools.product(*near):
        far = math.hypot(*(step * one for step, one in zip(steps, spacing, strict=True)))
        if far < last:
            assert known[int(np.dot(steps, grid.steps))] == pytest.approx(far)
    assert np.abs(grid.offsets).max() <= grid.margin


def test_a_row_does_not_touch_the_next() -> None:
    """The end of one row and the start of the next are near in memory only."""
    grid = grid_of((3, 12), (5.0, 1.0))
    asked, wanted = np.zeros((2, 3, 12), bool)
    asked[0, 11] = wanted[1, 0] = True
    for patience in WAYS:
        assert measured(grid, asked, wanted, patience) == pytest.approx([math.hypot(5, 11)])


def test_far_and_near_together() -> None:
    """By hand: 1 off, one within reach along two axes, and 90 off, which no offset reaches; in one call."""
    grid = grid_of((100, 8), (1.0, 2.0))
    asked, wanted = np.zeros((2, 100, 8), bool)
    wanted[5, 3] = True
    asked[4, 3] = asked[9, 4] = asked[95, 3] = True
    for patience in WAYS:
        assert measured(grid, asked, wanted, patience) == pytest.approx([1, math.sqrt(20), 90])


def test_nothing_asked_gives_nothing() -> None:
    grid = grid_of((4, 4), (1.0, 1.0))
    which, distances = nearest(np.zeros(0, np.int64), np.array([0]), grid)
    assert which.shape == distances.shape == (0,)


def test_patience_decides_which_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without patience the tree is asked for all; with endless patience only for what no offset reaches."""
    asked_of_tree: list[int] = []
    by_tree = module._by_tree

    def counted(queries: np.ndarray, targets: np.ndarray) -> np.ndarray:
        asked_of_tree.append(len(queries))
        return by_tree(queries, targets)

    monkeypatch.setattr(module, "_by_tree", counted)
    grid = grid_of((100, 8), (1.0, 1.0))
    asked, wanted = np.zeros((2, 100, 8), bool)
    wanted[0], asked[1], asked[99] = True, True, True
    for patience in WAYS:
        measured(grid, asked, wanted, patience)
    assert asked_of_tree == [16, 8, 8]
    many = np.zeros((100, 8), bool)
    many[40:] = True  # far off, all of them: offsets are given up before they are through
    looked = module._look(places(grid, many), np.zeros(10**5, bool), grid.offsets + grid.margin, 1.0, 1000.0)
    assert (looked == -1).all()


def test_what_is_met_pays_for_the_looks() -> None:
    """Rows that meet the wanted plane one after another: each meeting spares a query, and nothing is left over."""
    grid = grid_of((40, 40, 40), (1.0, 1.0, 1.0))
    asked, wanted = np.zeros((2, 40, 40, 40), bool)
    wanted[0], asked[1:4] = True, True
    field = np.zeros(grid.shape, bool)
    field[0, :40, :40] = True
    field = np.pad(field.ravel(), grid.margin)
    looked = module._look(places(grid, asked), field, grid.offsets + grid.margin, 1.0, 2.2e5)
    assert grid.distances[looked].reshape(3, 1600).tolist() == [[1.0] * 1600, [2.0] * 1600, [3.0] * 1600]
