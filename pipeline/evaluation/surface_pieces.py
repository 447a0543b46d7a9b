"""The pieces that a mask's surface is made of: one at each corner of the grid whose voxels are not all alike."""

from __future__ import annotations

import functools

import numpy as np

__all__ = ["neighbour_codes", "piece_sizes"]


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """Which of the voxels about each corner of the grid are set, as bits; the last axis gives the lowest bit.

    Parameters
    ----------
    mask
        bool, (H, W) or (X, Y, Z).

    Returns
    -------
    numpy.ndarray
        uint8, longer than the mask by 1 along each axis: 0 outside, 15 or 255 inside, all else on the surface.

    Examples
    --------
    >>> neighbour_codes(np.array([[True]]))
    array([[1, 2],
           [4, 8]], dtype=uint8)
    """
    codes = np.pad(mask.view(np.uint8), 1)
    for axis in range(mask.ndim):
        bits = 2 ** (mask.ndim - 1 - axis)
        lower, upper = ([slice(None)] * axis + [part] for part in (slice(None, -1), slice(1, None)))
        codes = (codes[tuple(lower)] << np.uint8(bits)) | codes[tuple(upper)]
    return codes


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
