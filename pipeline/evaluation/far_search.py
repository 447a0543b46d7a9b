"""The nearest target of points that have none within a few voxels.

The lines along the first axis are taken together in tiles: of each tile only the best that any of its lines has is
looked at first, and what is in it is looked at only for the points that may find something nearer there. A point is
done when no tile that follows can be nearer than what it has found. The last few points are held against all lines
that may be nearer, one by one. Where tiles take longer than a k-d tree, as for the surface of a large mask against a
single voxel far off, the tree is asked instead. What is chosen goes by counts, not by the clock.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.point_pairs import between_points, tree_cost

__all__ = ["Lines", "far_distances"]

_TILE = 4  # lines along each axis that are taken together
_SAMPLE = 8  # points whose distance says how far the tiles shall reach: the room about an array costs as well
_WIDER = (1.1, 3.3, math.inf)  # times as far as these
_CHUNK = 1 << 16  # points followed together
_AT_ONCE = 1 << 15  # looks taken together, a few points at all lines of a tile
_PAUSE = 4  # tiles after which it is seen which points are done
# What the ways cost, in looks at one line, as measured on volumes of 256 x 256 x 128, rounded.
_TILE_CALL, _PLACE, _POINT = 2500, 0.4, 7000  # a tile, a place that is laid out, a point that is held against all
_IMPORT = 2_000_000  # in part, of the library that has the tree


@dataclass(frozen=True, eq=False)
class Lines:
    """What is known along the first axis of a grid.

    Attributes
    ----------
    field
        Unsigned array (X, Y, Z): voxels along the first axis to the nearest target.
    none
        The value where there is none.
    spacing
        Along each axis, above 0.
    """

    field: np.ndarray
    none: int
    spacing: tuple[float, ...]

    @property
    def squares(self) -> np.ndarray:
        """Squared distance of each value of the field, in the unit of the spacing."""
        squares: np.ndarray = np.square(np.arange(self.none + 1) * self.spacing[0])
        squares[-1] = np.inf
        return squares

    def about(self, points: np.ndarray) -> tuple[Lines, np.ndarray]:
        """The part that holds all targets and these points (3, N), and the points in it."""
        there = self.field[0] < self.none  # a line that has a target has a distance everywhere
        starts, stops = [0], [len(self.field)]
        for axis in (0, 1):
            held = np.flatnonzero(there.any(axis=1 - axis))
            starts.append(int(min(held[0], points[axis + 1].min())))
            stops.append(int(max(held[-1], points[axis + 1].max())) + 1)
        box = tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))
        return Lines(self.field[box], self.none, self.spacing), points - np.array(starts)[:, np.newaxis]


def far_distances(
    lines: Lines, points: np.ndarray, targets: Callable[[], np.ndarray], n_targets: int, *, patience: float = 1.0
) -> np.ndarray:
    """How far each point lies from the target that is nearest to it.

    Parameters
    ----------
    lines
        Of at least one target.
    points
        (3, N) indices into the field.
    targets
        Gives the same of the targets, (3, M), where the tree needs them.
    n_targets
        M.
    patience
        How many looks to spend on tiles, as a share of what the tree would cost: 0 for the tree alone, infinity for
        none of it. At 1, both together cost about twice the cheaper one at most.

    Returns
    -------
    numpy.ndarray
        (N,) float64, in the unit of the spacing.
    """
    allowed = patience * (_IMPORT + tree_cost(points.shape[1], n_targets))
    near, inside = lines.about(points)
    best, left = np.full(points.shape[1], np.inf), np.arange(points.shape[1])
    sample = left[:: max(1, len(left) // _SAMPLE)]
    best[sample] = _one_by_one(near, inside[:, sample], best[sample])
    reach = max(math.sqrt(best[sample].max()), *lines.spacing)
    for wider in _WIDER:
        tiles = _Tiles(near, wider * reach)
        one_by_one = _cost_one_by_one(near, best[left])
        if one_by_one <= min(allowed, tiles.cost):
            best[left] = _one_by_one(near, inside[:, left], best[left])
            return np.sqrt(best)
        allowed -= tiles.cost
        if allowed <= 0:
            break
        left, spent = tiles.search_all(inside, best, left, allowed)
        allowed -= spent
        if not len(left):
            return np.sqrt(best)
    distances = np.sqrt(best)
    distances[left] = between_points(points[:, left], targets(), lines.spacing)
    return distances


class _Tiles:
    """Tiles of lines about a point, out to some reach: the nearest first.

    Parameters
    ----------
    lines
        Where they lie.
    reach
        In the unit of the spacing.
    """

    def __init__(self, lines: Lines, reach: float) -> None:
        lengths, spacing = np.array(lines.field.shape[1:]), np.array(lines.spacing[1:])
        self.lines, self.limit = lines, reach**2 if (reach < spacing * (lengths - 1)).any() else np.inf
        self.counts = np.minimum(reach / spacing, lengths - 1).astype(int) // _TILE + 1  # to each side
        self.shape = (len(lines.field), *(int(size) for size in lengths + self.counts * _TILE))
        self.cost = _PLACE * math.prod(self.shape)

    def search_all(
        self, points: np.ndarray, best: np.ndarray, left: np.ndarray, allowed: float
    ) -> tuple[np.ndarray, float]:
        """Lower the squared distances `best` (N,) of those points (3, N) that are left.

        Returns which are still left, and the looks that it took: somewhat more than are allowed, at most.
        """
        self._lay_out()
        self._arrange()
        open_still, spent = [], 0.0
        for start in range(0, len(left), _CHUNK):
            chunk = left[start : start + _CHUNK]
            best[chunk], done, looks = self._search(self.steps @ points[:, chunk], best[chunk], allowed - spent)
            spent += looks
            open_still.append(chunk[~done])
        return np.concatenate(open_still), spent

    def _lay_out(self) -> None:
        """The field, flat, with room between its lines; and the least of each tile, at its first line."""
        field, shape = self.lines.field, self.shape
        self.steps = np.array([math.prod(shape[axis + 1 :]) for axis in range(len(shape))])
        self.margin, size = int(self.counts @ self.steps[1:]) * _TILE, math.prod(shape)
        self.field = np.full(size + 2 * self.margin, self.lines.none, dtype=field.dtype)
        inner = self.field[self.margin : self.margin + size].reshape(shape)
        inner[:, *(slice(length) for length in field.shape[1:])] = field
        self.lowest = self.field
        for step in self.steps[1:].tolist():
            for times in (1, 2):  # of two lines, then of four
                self.lowest = np.minimum(self.lowest[: -step * times], self.lowest[step * times :])

    def _arrange(self) -> None:
        spacing = np.array(self.lines.spacing[1:])
        starts = [np.arange(-count, count) * _TILE for count in self.counts]
        corners = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, len(spacing))
        within = np.array(list(itertools.product(range(_TILE), repeat=len(spacing))))
        off = np.maximum(0, np.maximum(corners, 1 - _TILE - corners))  # of a tile's nearest line, along each axis
        least = np.square(off * spacing).sum(axis=1)
        order = np.argsort(least, kind="stable")
        order = order[least[order] <= self.limit]
        self.least, corners = least[order], corners[order]
        self.squares = np.square((corners[:, np.newaxis] + within) * spacing).sum(axis=2)
        self.starts = corners @ self.steps[1:] + self.margin
        self.within, self.along = within @ self.steps[1:], self.lines.squares

    def _search(
        self, places: np.ndarray, best: np.ndarray, allowed: float
    ) -> tuple[np.ndarray, np.ndarray, float]:  # fmt: skip
        """Squared distances (n,), none above what was known, whether each is final, and the looks that it took."""
        found, done, spent = best.copy(), np.zeros(len(best), dtype=bool), 0.0
        left = np.arange(len(best))
        for number, (start, least) in enumerate(zip(self.starts.tolist(), self.least.tolist(), strict=True)):
            if number % _PAUSE == 0:
                open_still = np.flatnonzero(best > least)
                if len(open_still) < len(left):
                    found[left], done[left] = best, best <= least
                    left, places, best = left.take(open_still), places.take(open_still), best.take(open_still)
                if not len(left) or spent > allowed:
                    break
            lowest = self.along.take(self.lowest[start:].take(places))
            lowest += least
            maybe = np.flatnonzero(lowest < best)
            if len(maybe):
                best[maybe] = self._within(number, places.take(maybe), best.take(maybe))
            spent += _TILE_CALL + len(left) + len(maybe) * len(self.within)
        else:
            done[left] = best <= self.limit
        found[left] = best
        return found, done, spent

    def _within(self, number: int, places: np.ndarray, best: np.ndarray) -> np.ndarray:
        """The least squared distance that places have found so far, or find along the lines of one tile."""
        lines, squares = self.within + self.starts[number], self.squares[number]
        if len(places) * len(lines) <= _AT_ONCE:
            seen = self.along.take(self.field.take(lines[:, np.newaxis] + places))
            seen += squares[:, np.newaxis]
            return np.minimum(best, seen.min(axis=0))
        for line, square in zip(lines.tolist(), squares.tolist(), strict=True):
            seen = self.along.take(self.field[line:].take(places))
            seen += square
            np.minimum(best, seen, out=best)
        return best


def _cost_one_by_one(lines: Lines, best: np.ndarray) -> float:
    """In looks, of what `_one_by_one` does."""
    about = np.ones(len(best))
    for length, spacing in zip(lines.field.shape[1:], lines.spacing[1:], strict=True):
        about *= np.minimum(length, 2 * np.sqrt(best) / spacing + 1)
    return float(about.sum()) + _POINT * len(best)


def _one_by_one(lines: Lines, points: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Squared distances (n,), where `best` is what is known so far: each point against all lines that may be nearer."""
    along, found = lines.squares, best.copy()
    for number, (first, *others) in enumerate(points.T.tolist()):
        box, squares = [], np.zeros(1)
        for at, length, spacing in zip(others, lines.field.shape[1:], lines.spacing[1:], strict=True):
            steps = int(min(length, math.sqrt(best[number]) / spacing))
            box.append(slice(max(0, at - steps), min(length, at + steps + 1)))
            off = np.arange(box[-1].start - at, box[-1].stop - at) * spacing
            squares = squares[..., np.newaxis] + off**2
        seen = along.take(lines.field[first, *box])
        seen += squares[0]
        found[number] = min(best[number], seen.min())
    return found
