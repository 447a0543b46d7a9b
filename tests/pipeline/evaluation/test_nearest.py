"""The nearest point: near and far, against brute force and SciPy's distance transform."""

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


def measured(grid: Grid, asked: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    which, distances = nearest(places(grid, asked), places(grid, wanted), grid)
    assert which.shape == (asked.sum(),)
    return distances[which]


@settings(max_examples=120, deadline=None)
@given(points(), st.sampled_from([1, 40, 8192]), st.sampled_from([5, 1 << 15]), st.booleans(), st.booleans())
def test_every_way_gives_the_distance_transform(
    drawn: Any, at_once: int, chunk: int, few: bool, impatient: bool
) -> None:
    """Line by line or several at once; the far ones pair by pair, by the tree or by tiles; some given up early."""
    grid, asked, wanted = drawn
    expected = ndimage.distance_transform_edt(~wanted, sampling=grid.spacing)[asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        patch.setattr(module, "_CHUNK", chunk if chunk > 5 else len(expected) // 3 + 1)
        patch.setattr(module, "are_few", lambda *_: few)
        if impatient:
            patch.setattr(module, "_PROBE", 1)
            patch.setattr(module, "_FEW", 0)
            patch.setattr(module, "_MOST", 0.3)
        np.testing.assert_allclose(measured(grid, asked, wanted), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(points())
def test_distances_are_those_of_brute_force(drawn: Any) -> None:
    grid, asked, wanted = drawn
    asked[np.cumsum(asked).reshape(asked.shape) > 40] = False
    own, other = (np.argwhere(there) * grid.spacing for there in (asked, wanted))
    expected = [min(math.dist(point, target) for target in other) for point in own]
    np.testing.assert_allclose(measured(grid, asked, wanted), expected, rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=3), st.data())
def test_lines_are_all_that_are_so_near(lengths: list[int], data: Any) -> None:
    """No place that is within the grid is missing up to the last distance; no line leads past the room."""
    spacing = tuple(data.draw(SPACINGS) for _ in lengths)
    grid = grid_of(tuple(lengths), spacing)
    last = grid.distances[-1] * (1 - 1e-12)
    assert (np.diff(grid.distances) > 0).all() and grid.distances[0] == 0
    lines = dict(zip(grid.lines.tolist(), grid.ranks, strict=True))
    assert len(lines) == len(grid.lines), "two of them are one line"
    near = [range(-min(length - 1, int(last / one)), min(length - 1, int(last / one)) + 1)
            for length, one in zip(lengths, spacing, strict=True)]  # fmt: skip
    for steps in itertools.product(*near):
        far = math.hypot(*(step * one for step, one in zip(steps, spacing, strict=True)))
        if far < last:
            along, across = (abs(steps[0]), steps[1:]) if len(steps) == 3 else (0, steps)
            rank = lines[int(np.dot(across, grid.steps[-2:]))][along]
            assert grid.distances[rank] == pytest.approx(far)
    assert np.abs(grid.lines).max() <= grid.margin
    assert (grid.ranks[:, -1] == len(grid.distances)).all(), "what stands for none has no distance"


def test_a_row_does_not_touch_the_next() -> None:
    """The end of one row and the start of the next are near in memory only."""
    for lengths, spacing in (((3, 12), (5.0, 1.0)), ((3, 1, 12), (5.0, 9.0, 1.0)), ((1, 3, 12), (9.0, 5.0, 1.0))):
        grid = grid_of(lengths, spacing)
        asked, wanted = np.zeros((2, *lengths), bool)
        asked.reshape(3, 12)[0, 11] = wanted.reshape(3, 12)[1, 0] = True
        assert measured(grid, asked, wanted) == pytest.approx([math.hypot(5, 11)])


def test_far_and_near_together() -> None:
    """By hand: 1 off, one within reach along two axes, and 90 off, which no line reaches; in one call."""
    for shape in ((100, 8), (100, 8, 1), (1, 100, 8)):
        axes = [number for number, length in enumerate(shape) if length > 1]
        spacing = tuple((1.0, 2.0)[axes.index(number)] if number in axes else 3.0 for number in range(len(shape)))
        grid = grid_of(shape, spacing)
        asked, wanted = np.zeros((2, *shape), bool)
        wanted.reshape(100, 8)[5, 3] = True
        for row, column in ((4, 3), (9, 4), (95, 3)):
            asked.reshape(100, 8)[row, column] = True
        assert measured(grid, asked, wanted) == pytest.approx([1, math.sqrt(20), 90])


@pytest.mark.parametrize("length", [253, 254, 255, 256, 300])
def test_long_lines_are_told_from_empty_ones(length: int) -> None:
    """From both ends of a volume, where a byte holds the voxels along it and where it does not."""
    grid = grid_of((length, 2, 3), (1.0, 1.0, 1.0))
    asked, wanted = np.zeros((2, length, 2, 3), bool)
    wanted[3, 0, 0], asked[0], asked[-1] = True, True, True
    with pytest.MonkeyPatch.context() as patch:
        for few in (True, False):
            patch.setattr(module, "are_few", lambda *_, few=few: few)
            expected = [math.hypot(x, y, z) for x in (3, length - 4) for y in range(2) for z in range(3)]
            assert measured(grid, asked, wanted) == pytest.approx(expected)


def test_nothing_asked_gives_nothing() -> None:
    grid = grid_of((4, 4), (1.0, 1.0))
    which, distances = nearest(np.zeros(0, np.int64), np.array([0]), grid)
    assert which.shape == distances.shape == (0,)


def test_what_is_given_up_keeps_no_half_known_distance() -> None:
    """Most places are far from all targets: the search ends early, and those that had met one are not yet done."""
    grid = grid_of((40, 40, 40), (1.0, 1.0, 1.0))
    asked, wanted = np.zeros((2, 40, 40, 40), bool)
    wanted[0, 0, 0] = wanted[4, 2, 3] = True
    asked[2:] = True
    field = np.full((40, *grid.shape[1:]), 40, np.uint8)
    field[:, 0, 0], field[:, 2, 3] = np.arange(40), abs(np.arange(40) - 4)
    flat = np.pad(field.ravel(), grid.margin, constant_values=40)
    looked = module._look(places(grid, asked), flat, grid.lines + grid.margin, grid.ranks)
    assert (looked == len(grid.distances)).mean() > 0.99
    expected = ndimage.distance_transform_edt(~wanted)[asked]
    done = looked < len(grid.distances)
    np.testing.assert_allclose(grid.distances[looked[done]], expected[done])
    np.testing.assert_allclose(measured(grid, asked, wanted), expected)
