"""The nearest of many points on a grid: exact Euclidean distances, without a distance transform of the whole grid.

Most of what a prediction gets wrong lies a few voxels off. So the places about a point are looked at in the order of
their distance, for many points at once, until each has met a wanted one. For those that meet none, a k-d tree finds
the nearest. Either way is exact. Which of them runs is a matter of cost, and the cost is counted in work rather than
in time, so that the same masks go the same way on every machine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Grid", "grid_of", "nearest"]

_RADIUS = 8.0  # of the places looked at about a point, in voxels of the mean spacing
_FARTHEST = 16  # voxels along one axis, where one spacing is far smaller than another
_LEAF = 32  # targets that the tree does not split further
_AT_ONCE = 8192  # looks taken together: a few points at several offsets, or many points at one
_CHUNK = 1 << 15  # points followed together: they stay in the processor's cache
# What a call, and the tree, cost: in looks at one place, as measured on volumes of 256 x 256 x 128, rounded.
_CALL = 2500
_TREE, _TREE_TARGET, _TREE_QUERY = 20_000, 50, 300


@dataclass(frozen=True, eq=False)
class Grid:
    """Points of a regular grid as places in a flat array, with room between its rows.

    Attributes
    ----------
    shape
        Places along each axis: the points, and after them the room, which stays empty.
    steps
        From a place to the next one along each axis, in the flat array.
    spacing
        Along each axis, above 0.
    offsets, distances
        (D,) steps from a place to those about it and how far they lie, in the unit of the spacing, rising. No place
        that is left out is nearer than the last of them. From a point they lead to a point or into the room.
    margin
        The longest offset.
    """

    shape: tuple[int, ...]
    steps: tuple[int, ...]
    spacing: tuple[float, ...]
    offsets: np.ndarray
    distances: np.ndarray
    margin: int

    def points(self, places: np.ndarray) -> np.ndarray:
        """Coordinates (N, rank) of places (N,), in the unit of the spacing."""
        return np.stack(np.unravel_index(places, self.shape), axis=1) * self.spacing


@functools.lru_cache(maxsize=8)
def grid_of(lengths: tuple[int, ...], spacing: tuple[float, ...]) -> Grid:
    """The grid of so many points along each axis."""
    around, distances = _about(lengths, np.array(spacing))
    room = np.abs(around).max(axis=0)
    shape = tuple(int(length + more) for length, more in zip(lengths, room, strict=True))
    steps = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    offsets = around @ steps
    for kept in (offsets, distances):  # and given to every caller
        kept.setflags(write=False)
    return Grid(shape, steps, spacing, offsets, distances, int(room @ steps))


def nearest(
    queries: np.ndarray, targets: np.ndarray, grid: Grid, *, patience: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """How far each query lies from the target that is nearest to it.

    Parameters
    ----------
    queries, targets
        Places on the grid, (N,) and (M,) int64, rising; at least one target.
    patience
        How much to spend on offsets beyond what they save, as a share of what it takes to build the tree: 0 for the
        tree alone, infinity for the tree only where no offset reaches. At 1, both together cost about twice the cheaper
        one at most.

    Returns
    -------
    which, distances
        (N,) int64 and (D,) float64: ``distances[which]`` are the queries' distances, in the unit of the spacing.
        Some of `distances` may be no query's.
    """
    if not len(queries):
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    first, last = min(queries[0], targets[0]), max(queries[-1], targets[-1])
    field = np.zeros(last - first + 1 + 2 * grid.margin, dtype=bool)
    field[targets + (grid.margin - first)] = True
    share = (_TREE + _TREE_TARGET * len(targets)) / len(queries)
    chunks = [queries[start : start + _CHUNK] - first for start in range(0, len(queries), _CHUNK)]
    offsets = grid.offsets + grid.margin
    which = np.concatenate([_look(chunk, field, offsets, patience, share * len(chunk)) for chunk in chunks])
    left = np.flatnonzero(which < 0)
    if not len(left):
        return which, grid.distances
    which[left] = len(grid.distances) + np.arange(len(left))
    far = _by_tree(grid.points(queries[left]), grid.points(targets))
    return which, np.concatenate([grid.distances, far])


def _about(lengths: Sequence[int], spacing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps (D, rank) along each axis to the places about one, and their distances (D,), rising; itself first."""
    radius = _RADIUS * math.exp(np.log(spacing).mean())
    most = np.minimum(np.minimum(radius // spacing, _FARTHEST), np.array(lengths) - 1).astype(int)
    axes = [np.arange(-steps, steps + 1) for steps in most]
    steps = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    distances = np.sqrt((np.square(steps * spacing)).sum(axis=1))
    # Beyond this there are places nearer than some of these; past the end of an axis there is none.
    ends = np.where(most < np.array(lengths) - 1, (most + 1) * spacing, np.inf)
    order = np.argsort(distances, kind="stable")
    order = order[distances[order] <= min(radius, ends.min())]
    return steps[order], distances[order]


def _look(places: np.ndarray, field: np.ndarray, offsets: np.ndarray, patience: float, tree: float) -> np.ndarray:
    """The first offset (n,) at which each place meets a target; -1 where none was met before patience ran out.

    `tree` is the share of its building that these places would bear. A place that meets a target spares it a query.
    """
    met = np.full(len(places), -1)
    left = np.arange(len(places))
    start, spent = 0, 0.0
    while len(left) and start < len(offsets) and spent < patience * tree:
        tried = offsets[start : start + max(1, _AT_ONCE // len(left))]
        if len(tried) == 1:
            hit = field[tried[0] :].take(places)
            found = np.flatnonzero(hit)
            met[left[found]] = start
        else:
            seen = field.take(places[:, np.newaxis] + tried)
            earliest = seen.argmax(axis=1)
            hit = seen[np.arange(len(places)), earliest]
            found = np.flatnonzero(hit)
            met[left[found]] = start + earliest[found]
        if len(found):
            missed = np.flatnonzero(~hit)
            left, places = left.take(missed), places.take(missed)
        spent = max(0.0, spent + _CALL + len(tried) * len(hit) - _TREE_QUERY * len(found))
        start += len(tried)
    return met


def _by_tree(queries: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Distance of each point (N, rank) to the nearest target (M, rank)."""
    from scipy.spatial import cKDTree

    # Points of a grid are spread evenly enough: sorting them to split at medians costs more than it saves.
    distances: np.ndarray = cKDTree(targets, leafsize=_LEAF, balanced_tree=False, compact_nodes=False).query(queries)[0]
    return distances
