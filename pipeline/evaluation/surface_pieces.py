"""The pieces that a mask's surface is made of: one at each corner of the grid whose voxels are not all alike.

Where labels are not all alike about a corner of the grid, classes have their surfaces, and elsewhere none has. So two
volumes are walked once, whatever the number of classes, and what follows looks at those corners alone.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.nearest import Grid, grid_of

__all__ = ["Corners", "find_corners", "piece_sizes"]

_BLOCK = 1 << 19  # voxels that are looked at in one go: with what is made of them, they stay in the processor's cache
_CORNERS = 1 << 16  # corners whose class is looked at in one go


@dataclass(frozen=True, eq=False)
class Corners:
    """The N corners at which one of two label arrays has a surface.

    Attributes
    ----------
    grid
        That they lie on.
    places
        (N,) int64, rising: where in the grid.
    around
        (2, N, 8) labels of the voxels about each, of the reference and of the prediction; in 2D the last four count.
    """

    grid: Grid
    places: np.ndarray
    around: np.ndarray

    def of(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The corners that have a class about them, and which of their voxels are of it, as bits; the last axis lowest.

        Returns
        -------
        places, codes
            (C,) of `places`, and (2, C) uint8 codes of the reference and of the prediction: 0 outside, 15 (in 2D) or
            255 inside, all else on the surface.
        """
        places, codes = [self.places[:0]], [np.zeros((2, 0), dtype=np.uint8)]
        for start in range(0, len(self.places), _CORNERS):
            chunk = slice(start, start + _CORNERS)
            boxes = (self.around[:, chunk] == index).view(np.uint64)[..., 0]  # the eight of a corner in one number
            at = np.flatnonzero(boxes[0] | boxes[1])
            places.append(self.places[chunk].take(at))
            codes.append(np.packbits(boxes.take(at, axis=1).view(bool).ravel()).reshape(2, len(at)))
        return np.concatenate(places), np.concatenate(codes, axis=1)


def find_corners(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float], classes: Sequence[int]
) -> Corners:
    """Find every corner of the grid at which a class may have a surface.

    Parameters
    ----------
    reference, prediction
        Class ids, integer (or bool) arrays of one shape, (H, W) or (X, Y, Z).
    spacing
        One an axis, above 0.
    classes
        That will be asked for. What lies outside the image is of none of them.

    Examples
    --------
    >>> mask = np.array([[1]])
    >>> find_corners(mask, mask, (1.0, 1.0), [1]).of(1)[1].tolist()
    [[1, 2, 4, 8], [1, 2, 4, 8]]
    """
    turned = reference.flags.fnc  # arrays are walked as they lie in memory
    masks = [mask.T if turned else mask for mask in (reference, prediction)]
    lengths = tuple(length + 1 for length in masks[0].shape)
    grid = grid_of(lengths, tuple(spacing[::-1] if turned else spacing))
    outside = min(set(range(len(classes) + 1)) - set(classes))
    shifts = [
        sum(step for bit, step in zip(bits, grid.steps, strict=True) if bit)
        for bits in itertools.product((0, 1), repeat=reference.ndim)
    ]
    if turned:  # the lowest bit is that of the last axis before they were turned
        shifts = [shifts[int(f"{code:0{reference.ndim}b}"[::-1], 2)] for code in range(len(shifts))]
    places, around = [], []
    for first, blocks in _blocks(masks, grid, outside):
        found = np.flatnonzero(_unlike(blocks[0], grid.steps) | _unlike(blocks[1], grid.steps))
        labels = np.full((2, len(found), 8), outside, dtype=blocks.dtype)
        for block, side in zip(blocks, labels, strict=True):
            for column, shift in enumerate(shifts, start=8 - len(shifts)):
                side[:, column] = block[shift:].take(found)
        places.append(found + first)
        around.append(labels)
    return Corners(grid, np.concatenate(places), np.concatenate(around, axis=1))


def _blocks(masks: Sequence[np.ndarray], grid: Grid, outside: int) -> Iterator[tuple[int, np.ndarray]]:
    """Both masks some planes at a time, each as a flat array that lies as the grid does, with a border of `outside`.

    Yields the place of the first corner, and an array (2, places) that the next block overwrites.
    """
    length, step = masks[0].shape[0], grid.steps[0]
    planes = max(1, min(length + 1, _BLOCK // step))
    block = np.full((2, planes + 1, *grid.shape[1:]), outside, dtype=_type_for(masks, outside))
    inner = tuple(slice(1, size + 1) for size in masks[0].shape[1:])
    for first in range(0, length + 1, planes):
        start, stop = max(0, first - 1), min(length, first + planes)
        within = slice(start - first + 1, stop - first + 1)
        block[:, : within.start] = block[:, within.stop :] = outside
        for side, mask in zip(block, masks, strict=True):
            side[(within, *inner)] = mask[start:stop]
        yield first * step, block.reshape(2, -1)


def _type_for(masks: Sequence[np.ndarray], outside: int) -> np.dtype:
    """The type that holds both masks and what lies outside: uint8 for most, as no label is read twice then."""
    types = [np.min_scalar_type(outside)]
    for mask in masks:
        narrow = mask.dtype.itemsize == 1
        types += [mask.dtype] if narrow else [np.min_scalar_type(mask.min()), np.min_scalar_type(mask.max())]
    return np.result_type(*types, np.uint8)


def _unlike(flat: np.ndarray, steps: Sequence[int]) -> np.ndarray:
    """Where the voxels about a corner are not all alike; the border keeps one row from touching the next."""
    found = flat[steps[-1] :] != flat[: -steps[-1]]
    for step in steps[-2::-1]:  # two neighbours that have all alike about them, and are alike themselves
        found = found[:-step] | found[step:]
        found |= (flat[step:] != flat[:-step])[: len(found)]
    return found


@functools.lru_cache(maxsize=64)
def piece_sizes(spacing: tuple[float, ...]) -> np.ndarray:
    """The size of the surface at a corner, by its neighbour code: lengths (16,) in 2D, areas (256,) in 3D.

    Lines and triangles join the middles of the edges between a voxel that is set and one that is not.
    """
    sizes = _lengths(*spacing) if len(spacing) == 2 else _areas(spacing)
    sizes.setflags(write=False)  # it is kept, and given to every caller
    return sizes


def _lengths(down: float, across: float) -> np.ndarray:
    corner = float(np.hypot(down, across)) / 2  # about one voxel, set or not
    sizes = np.full(16, corner)
    sizes[[0b0000, 0b1111]] = 0
    sizes[[0b0011, 0b1100]] = across
    sizes[[0b0101, 0b1010]] = down
    sizes[[0b0110, 0b1001]] = 2 * corner
    return sizes


def _areas(spacing: tuple[float, ...]) -> np.ndarray:
    stretch = np.prod(spacing) / np.asarray(spacing)  # of an area vector, along each axis
    return np.array([np.linalg.norm(vectors * stretch, axis=1).sum() for vectors in _triangles()])


@functools.cache
def _triangles() -> tuple[np.ndarray, ...]:
    """Area vectors (T, 3) of the triangles at a corner, by its neighbour code, for unit spacing.

    The triangles are those of marching cubes (Lorensen & Cline, SIGGRAPH 1987). More than four voxels set are taken for
    the fewer that are not: a surface has one area, from whichever side it is seen.
    """
    from skimage.measure import marching_cubes

    found = [np.zeros((0, 3))]
    for code in range(1, 255):
        few = code if code.bit_count() <= 4 else 255 - code
        cube = np.array([few >> bit & 1 for bit in range(7, -1, -1)], dtype=np.float32).reshape(2, 2, 2)
        points, corners, *_ = marching_cubes(cube, 0.5, method="lorensen", allow_degenerate=True)
        a, b, c = np.moveaxis(points[corners].astype(np.float64), 1, 0)
        found.append(np.cross(b - a, c - a) / 2)
    return (*found, np.zeros((0, 3)))
