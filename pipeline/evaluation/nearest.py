"""The nearest of many points on a grid: exact Euclidean distances, without a distance transform of the whole grid.

How far each place lies from the nearest wanted one along the first axis is cheap to know everywhere: two sweeps over
the planes, a byte a place. What is left is the search over the lines about a point, which are taken in the order of
their distance until none that follows could be nearer. Most of what a prediction gets wrong lies a few voxels off, so
that a dozen lines are enough. Where a wanted place is farther off, lines are taken together (`far_search`). Every
number is exact, and which way a point goes depends on the masks alone, so that it is the same on every machine.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.far_search import Lines, far_distances

__all__ = ["Grid", "grid_of", "nearest"]

_RADIUS = 5.0  # of the lines that are looked at one by one, in voxels of the mean spacing
_FARTHEST = 16  # voxels along one axis, where one spacing is far smaller than another
_CHUNK = 1 << 15  # points followed together: they stay in the processor's cache
_LINES = 4  # that all points of a chunk are held against before it is seen which of them are done
_AT_ONCE = 8192  # looks taken together, a few points at many lines
_SMALL = 1024  # places of a plane below which a sweep plane by plane costs more in calls than in work


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
        (R,) steps from a place to the lines along the first axis that are near it, its own first; the nearest first.
        From a point they lead to a point or into the room.
    ranks
        (R, V) uint16: which of `distances` a place has that is so many voxels along such a line. No place that is left
        out is nearer than the last of the distances; it has the rank D.
    distances
        (D,) in the unit of the spacing, rising.
    """

    lengths: tuple[int, ...]
    shape: tuple[int, ...]
    steps: tuple[int, ...]
    spacing: tuple[float, ...]
    lines: np.ndarray
    ranks: np.ndarray
    distances: np.ndarray

    @property
    def margin(self) -> int:
        """The longest of the steps to the lines."""
        return int(np.abs(self.lines).max())


@functools.lru_cache(maxsize=8)
def grid_of(lengths: tuple[int, ...], spacing: tuple[float, ...]) -> Grid:
    """The grid of so many points along each axis."""
    around, ranks, distances = _about(lengths, np.array(spacing))
    room = (0, *np.abs(around).max(axis=0))
    shape = tuple(int(length + more) for length, more in zip(lengths, room, strict=True))
    steps = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    lines = around @ steps[1:]
    for kept in (lines, ranks, distances):  # and given to every caller
        kept.setflags(write=False)
    return Grid(lengths, shape, steps, spacing, lines, ranks, distances)


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
    plane, margin = grid.steps[0], grid.margin
    first, last = int(min(queries[0], targets[0])) // plane, int(max(queries[-1], targets[-1])) // plane
    count = last - first + 1
    field = np.full(count * plane + 2 * margin, grid.lengths[0], dtype=np.min_scalar_type(grid.lengths[0] + 1))
    along = field[margin : margin + count * plane].reshape(count, plane)
    _sweep(along, targets - first * plane)
    lines = grid.lines + margin
    chunks = [queries[start : start + _CHUNK] - first * plane for start in range(0, len(queries), _CHUNK)]
    which = np.concatenate([_look(chunk, field, lines, grid.ranks) for chunk in chunks])
    left = np.flatnonzero(which == len(grid.distances))
    if not len(left):
        return which, grid.distances

    def points(places: np.ndarray) -> np.ndarray:
        return np.array(np.unravel_index(places - first * plane, grid.shape))

    kept = tuple(slice(length) for length in grid.lengths[1:])
    known = Lines(along.reshape(count, *grid.shape[1:])[:, *kept], grid.lengths[0], grid.spacing)
    far = far_distances(known, points(queries[left]), lambda: points(targets), len(targets))
    which = which.astype(np.int64)
    which[left] = len(grid.distances) + np.arange(len(left))
    return which, np.concatenate([grid.distances, far])


def _about(lengths: Sequence[int], spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps (R, rank - 1) to the lines about one, the ranks (R, V) of what lies along them, and the distances (D,)."""
    radius = _RADIUS * math.exp(np.log(spacing).mean())
    most = np.minimum(np.minimum(radius // spacing, _FARTHEST), np.array(lengths) - 1).astype(int)[1:]
    axes = [np.arange(-steps, steps + 1) for steps in most]
    steps = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
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
    if along.shape[1] < _SMALL:
        rise = np.arange(len(along))[:, np.newaxis]
        for way in (along, along[::-1]):
            way[:] = np.minimum.accumulate(way - rise, axis=0) + rise
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
    starts = (np.arange(len(ranks)) * ranks.shape[1])[np.newaxis]
    while len(left) and start < len(lines):
        stop = min(len(lines), start + max(_LINES, _AT_ONCE // len(left)))
        if stop - start <= _LINES:
            for number in range(start, stop):
                np.minimum(best, ranks[number].take(field[lines[number] :].take(places)), out=best)
        else:
            seen = field.take(places[:, np.newaxis] + lines[start:stop])
            np.minimum(best, ranks.take(seen + starts[:, start:stop]).min(axis=1), out=best)
        # A line's own rank is the least that it, or one that follows, has to offer.
        open_still = np.flatnonzero(best > ranks[stop, 0]) if stop < len(lines) else left[:0]
        if len(open_still) < len(left):
            met[left] = best
            left, places, best = left.take(open_still), places.take(open_still), best.take(open_still)
        start = stop
    return met
