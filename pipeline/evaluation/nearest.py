"""The nearest of many points on a grid: exact Euclidean distances, without a distance transform of the whole grid.

How far each place lies from the nearest wanted one along the first axis is cheap to know everywhere: two sweeps over
the planes, a byte a place. What is left is the search over the lines about a point, which are taken in the order of
their distance until none that follows could be nearer. Most of what a prediction gets wrong lies a few voxels off, so
that a dozen lines are enough. Where a wanted place is farther off, lines are taken together (`far_search`). A slice is
a volume of one plane: its lines are single places. Every number is exact, and which way a point goes depends on the
masks alone, so that it is the same on every machine.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pipeline.evaluation.far_search import Lines, far_distances
from pipeline.evaluation.point_pairs import are_few, between_points

__all__ = ["Grid", "grid_of", "nearest"]

_Number = TypeVar("_Number", int, float)

_RADIUS = {2: 8.0, 3: 5.0}  # of the lines that are looked at one by one, by rank, in voxels of the mean spacing
_FARTHEST = 16  # voxels along one axis, where one spacing is far smaller than another
_CHUNK = 1 << 15  # points followed together: they stay in the processor's cache
_LINES = 4  # that all points of a chunk are held against before it is seen which of them are done
_AT_ONCE, _FIRST = 8192, 12  # looks taken together, a few points at many lines; lines at first, as most are met there
_PROBE, _FEW, _MOST = 16, 1024, 0.875  # lines after which many points, of which so many have met nothing, are left


@dataclass(frozen=True, eq=False)
class Grid:
    """Points of a regular grid as places in a flat array, with room between its lines.

    Attributes
    ----------
    lengths
        Points along each axis.
    shape
        Places along each axis: the points, and after them the room, which stays empty.
    steps
        From a place to the next one along each axis, in the flat array.
    spacing
        Along each axis, above 0.
    lines
        (R,) steps from a place to the lines along the first axis of a volume that are near it, its own first; the
        nearest first. From a point they lead to a point or into the room.
    ranks
        (R, V) uint16: which of `distances` a place has that is so many voxels along such a line. No place that is left
        out is nearer than the last of the distances; it has the rank D.
    distances
        (D,) in the unit of the spacing, rising.
    margin
        The longest of the steps to the lines.
    """

    lengths: tuple[int, ...]
    shape: tuple[int, ...]
    steps: tuple[int, ...]
    spacing: tuple[float, ...]
    lines: np.ndarray
    ranks: np.ndarray
    distances: np.ndarray
    margin: int


@functools.lru_cache(maxsize=8)
def grid_of(lengths: tuple[int, ...], spacing: tuple[float, ...]) -> Grid:
    """The grid of so many points along each axis, of a slice or of a volume."""
    radius = _RADIUS[len(spacing)] * math.exp(np.log(spacing).mean())
    around, ranks, distances = _about(_deep(lengths, 1), np.array(_deep(spacing, 1.0)), radius)
    room = (0, *np.abs(around).max(axis=0))[-len(lengths) :]
    shape = tuple(int(length + more) for length, more in zip(lengths, room, strict=True))
    steps = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    lines = around @ steps[-2:]
    for kept in (lines, ranks, distances):  # and given to every caller
        kept.setflags(write=False)
    return Grid(lengths, shape, steps, spacing, lines, ranks, distances, int(np.abs(lines).max()))


def nearest(queries: np.ndarray, targets: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """How far each query lies from the target that is nearest to it.

    Parameters
    ----------
    queries, targets
        Places on the grid, (N,) and (M,) int64, rising; at least one target.

    Returns
    -------
    which, distances
        (N,) whole numbers and (D,) float64: ``distances[which]`` are the queries' distances, in the unit of the
        spacing. Some of `distances` may be no query's.
    """
    if not len(queries):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    lengths, shape, spacing = _deep(grid.lengths, 1), _deep(grid.shape, 1), _deep(grid.spacing, 1.0)
    plane = shape[1] * shape[2]
    first, last = int(min(queries[0], targets[0])) // plane, int(max(queries[-1], targets[-1])) // plane
    start, count = first * plane, last - first + 1
    field = np.full(count * plane + 2 * grid.margin, lengths[0], dtype=np.min_scalar_type(lengths[0] + 1))
    along = field[grid.margin : grid.margin + count * plane].reshape(count, plane)
    _sweep(along, targets - start)
    lines = grid.lines + grid.margin
    chunks = [queries[at : at + _CHUNK] - start for at in range(0, len(queries), _CHUNK)]
    which = np.concatenate([_look(chunk, field, lines, grid.ranks) for chunk in chunks])
    left = np.flatnonzero(which == len(grid.distances))
    if not len(left):
        return which, grid.distances

    def points(places: np.ndarray) -> np.ndarray:
        return np.array(np.unravel_index(places - start, shape))

    if len(grid.shape) == 2 or are_few(len(left), len(targets)):
        far = between_points(points(queries[left]), points(targets), spacing)
    else:
        known = Lines(along.reshape(count, *shape[1:])[:, : lengths[1], : lengths[2]], lengths[0], spacing)
        far = far_distances(known, points(queries[left]), lambda: points(targets), len(targets))
    which = which.astype(np.int64)
    which[left] = len(grid.distances) + np.arange(len(left))
    return which, np.concatenate([grid.distances, far])


def _deep(values: tuple[_Number, ...], fill: _Number) -> tuple[_Number, ...]:
    """Those of a volume, where a slice has none along the first axis."""
    return (fill,) * (3 - len(values)) + values


def _about(
    lengths: Sequence[int], spacing: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Steps (R, 2) to the lines about one, the ranks (R, V) of what lies along them, and the distances (D,)."""
    most = np.minimum(np.minimum(radius // spacing, _FARTHEST), np.array(lengths) - 1).astype(int)[1:]
    steps = np.stack(np.meshgrid(*(np.arange(-count, count + 1) for count in most), indexing="ij"), axis=-1)
    steps = steps.reshape(-1, 2)
    squares = np.square(steps * spacing[1:]).sum(axis=1)
    # Beyond this there are lines nearer than some of these; past the end of an axis there is none.
    ends = np.where(most < np.array(lengths[1:]) - 1, (most + 1) * spacing[1:], np.inf)
    limit = min(radius, ends.min())
    order = np.argsort(squares, kind="stable")
    order = order[squares[order] <= limit**2]
    voxels = np.arange(lengths[0] + 1)
    far = np.sqrt(squares[order, np.newaxis] + np.square(voxels * spacing[0]))
    far[:, -1] = np.inf  # what stands for none along a line
    distances = np.unique(far[far <= limit])
    ranks = np.searchsorted(distances, far).astype(np.uint16)
    return steps[order], ranks, distances


def _sweep(along: np.ndarray, targets: np.ndarray) -> None:
    """Fill an array (planes, places), of `none` so far, with the voxels along the first axis to the nearest target."""
    along.reshape(-1)[targets] = 0
    if len(along) == 1:
        return
    if 16 * len(targets) < along.size:  # a few: where a line has none, there is nothing to fill in
        across = targets % along.shape[1]
        along = along[:, across.min() : across.max() + 1]
    step = np.empty_like(along[0])
    for way in (along, along[::-1]):
        for before, plane in itertools.pairwise(way):
            np.add(before, 1, out=step)
            np.minimum(plane, step, out=plane)


def _look(places: np.ndarray, field: np.ndarray, lines: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The lowest rank (n,) that each place meets along the lines; D where none is met."""
    met = np.full(len(places), ranks[0, -1])
    left, best, start = np.arange(len(places)), met, 0
    starts = (np.arange(len(ranks)) * ranks.shape[1])[:, np.newaxis]
    while len(left) and start < len(lines):
        stop = min(len(lines), start + max(_LINES, min(_AT_ONCE // len(left), 2 * start + _FIRST)))
        if stop - start <= _LINES:
            for number in range(start, stop):
                np.minimum(best, ranks[number].take(field[lines[number] :].take(places)), out=best)
        else:
            seen = field.take(lines[start:stop, np.newaxis] + places)
            np.minimum(best, ranks.take(seen + starts[start:stop]).min(axis=0), out=best)
        if stop >= _PROBE and len(left) > _FEW and np.count_nonzero(best == ranks[0, -1]) > _MOST * len(left):
            met[left] = ranks[0, -1]
            break  # far off, nearly all of them
        # A line's own rank is the least that it, or one that follows, has to offer.
        open_still = np.flatnonzero(best > ranks[stop, 0]) if stop < len(lines) else left[:0]
        if len(open_still) < len(left):
            met[left] = best
            left, places, best = left.take(open_still), places.take(open_still), best.take(open_still)
        start = stop
    return met
