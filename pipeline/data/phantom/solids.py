"""Smooth solids and smooth random fields on the voxels of a scan: what the phantom's anatomy is built from.

A solid is an approximate signed distance in mm (negative inside). Lengths are in mm in the frame of the patient: x
across, y to the front, z to the head, the origin in the middle of the scan. Arrays are float32 and kept in the order
(AP, SI, LR), so that a coronal slice is one block of memory.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "SCAN_SLICES", "SPACING_MM", "WIDTH", "Array", "Capsule", "Ellipsoid", "Part", "Point", "Region", "Space",
    "as_point", "smooth_field", "soft_minimum", "solid",
]  # fmt: skip

Array = NDArray[np.floating[Any]]
Point = tuple[float, float, float]
Box = tuple[slice, slice, slice]

SPACING_MM: Point = (1.68, 1.56, 1.70)  # LR, SI, AP
SCAN_SLICES = 60  # coronal slices of a whole scan
WIDTH = 256  # voxels, left to right
FAR_MM = 60.0  # a distance that means "nowhere near"
UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
WARP_LIMIT_MM = 7.0  # so that the boxes around organs stay right


# ---------------------------------------------------------------- smooth fields and the warped frame


@functools.cache
def _spline_taps(count: int, size: int) -> tuple[NDArray[np.intp], Array]:
    """First of four control points and their cubic B-spline weights (4, size), at `size` places over `count` points."""
    place = np.linspace(0.0, count - 3 - 1e-6, size)
    first = place.astype(np.intp)
    t = place - first
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    return first, weights.astype(np.float32)


def smooth_field(rng: np.random.Generator, points: tuple[int, int, int], shape: tuple[int, int, int]) -> Array:
    """Draw a smooth random field: a uniform cubic B-spline over normal control values, about 0 with deviation about 1.

    Parameters
    ----------
    rng
        Where the control values come from.
    points
        Control points along each axis (at least 4); more points, finer texture.
    shape
        Shape of the field, (AP, SI, LR).
    """
    # 3.02 = 0.479 ** -1.5: a cubic B-spline keeps 0.479 of the variance of independent control values along each axis.
    values = rng.standard_normal(points, dtype=np.float32) * np.float32(3.02)
    for axis in (2, 1):
        first, weights = _spline_taps(points[axis], shape[axis])
        column = (4, -1, 1) if axis == 1 else (4, 1, -1)
        taps = weights.reshape(column)
        values = np.add.reduce([taps[tap] * values.take(first + tap, axis=axis) for tap in range(4)])
    out = np.empty(shape, np.float32)
    first, weights = _spline_taps(points[0], shape[0])
    # plane by plane, so that the work stays in the processor's cache; without BLAS, so that the bits never differ
    for k, start in enumerate(first):
        plane = out[k]
        np.multiply(values[start], weights[0, k], out=plane)
        for tap in (1, 2, 3):
            plane += weights[tap, k] * values[start + tap]
    return out


@dataclass(frozen=True)
class Space:
    """The voxels of a scan, each with its place in the frame of the patient.

    Attributes
    ----------
    x, y, z
        Places in mm, each of shape (AP, SI, LR): posed and smoothly bent.
    relief
        A smooth random field about 0 with deviation about 1, of the same shape: lumps on the surfaces of organs.
    matrix, shift_mm
        The rigid part: place = matrix @ (voxel place - shift_mm) + bend.
    """

    x: Array
    y: Array
    z: Array
    relief: Array
    matrix: NDArray[np.float64]
    shift_mm: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the scan, (AP, SI, LR)."""
        depth, height, width = self.x.shape
        return depth, height, width

    def box(self, low: Point, high: Point, margin_mm: float) -> Box:
        """The voxels that may lie between two corners in mm, as slices (AP, SI, LR)."""
        inverse = np.linalg.inv(self.matrix)
        middle = inverse @ ((np.array(low) + np.array(high)) / 2) + self.shift_mm
        half = np.abs(inverse) @ ((np.array(high) - np.array(low)) / 2) + margin_mm + WARP_LIMIT_MM
        slices = []
        for axis, size in ((1, self.shape[0]), (2, self.shape[1]), (0, self.shape[2])):  # y, z, x
            step = SPACING_MM[{0: 0, 2: 1, 1: 2}[axis]]
            first = int(np.floor((middle[axis] - half[axis]) / step + (size - 1) / 2))
            last = int(np.ceil((middle[axis] + half[axis]) / step + (size - 1) / 2))
            slices.append(slice(min(max(first, 0), size), min(max(last + 1, 0), size)))
        return slices[0], slices[1], slices[2]


# ---------------------------------------------------------------- solids


def as_point(values: Array) -> Point:
    """Three numbers as a point."""
    return float(values[0]), float(values[1]), float(values[2])


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid in a frame of its own (rows are its axes), bent along its third axis."""

    centre: Point
    radii: Point
    frame: tuple[Point, Point, Point] = UPRIGHT
    bend_per_mm: float = 0.0

    def corners(self) -> tuple[Point, Point]:
        """The corners of a box around it."""
        bow_mm = abs(self.bend_per_mm) * max(self.radii[:2]) ** 2
        radii = np.add(self.radii, (0.0, 0.0, bow_mm))
        half = np.abs(np.array(self.frame)).T @ radii
        return as_point(np.array(self.centre) - half), as_point(np.array(self.centre) + half)

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance in mm, to first order: k0 (k0 - 1) / k1 with k0 = |p / r|, k1 = |p / r^2| (Quilez, 2008)."""
        at = [np.float32(c) for c in self.centre]
        p, q, r = x - at[0], y - at[1], z - at[2]
        if self.frame != UPRIGHT:
            rows = [[np.float32(c) for c in row] for row in self.frame]
            p, q, r = (row[0] * p + row[1] * q + row[2] * r for row in rows)
        if self.bend_per_mm:
            r = r + np.float32(self.bend_per_mm) * (p * p + q * q)
        # a little more than nothing, so that the centre itself is as deep as the smallest radius
        k0 = np.full_like(p, 1e-6)
        k1 = np.full_like(p, 1e-6 / min(self.radii) ** 2)
        for u, radius in zip((p, q, r), self.radii, strict=True):
            scaled = u * np.float32(1 / radius)
            scaled *= scaled
            k0 += scaled
            scaled *= np.float32(1 / radius**2)
            k1 += scaled
        k0 = np.sqrt(k0)
        return k0 * (k0 - np.float32(1)) / np.sqrt(k1)


@dataclass(frozen=True)
class Capsule:
    """A rounded rod from one point to another, with a radius at each end."""

    start: Point
    end: Point
    radius_start: float
    radius_end: float

    def corners(self) -> tuple[Point, Point]:
        """The corners of a box around it."""
        radius = max(self.radius_start, self.radius_end)
        ends = np.array([self.start, self.end])
        return as_point(ends.min(axis=0) - radius), as_point(ends.max(axis=0) + radius)

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance in mm: to the nearest point of the axis, less the radius there."""
        a = [np.float32(c) for c in self.start]
        axis = np.array(self.end) - np.array(self.start)
        d = [np.float32(c) for c in axis]
        p, q, r = x - a[0], y - a[1], z - a[2]
        along = (d[0] * p + d[1] * q + d[2] * r) * np.float32(1 / (axis @ axis))
        np.clip(along, 0, 1, out=along)
        p, q, r = p - d[0] * along, q - d[1] * along, r - d[2] * along
        radius = np.float32(self.radius_start) + np.float32(self.radius_end - self.radius_start) * along
        return np.sqrt(p * p + q * q + r * r) - radius


Part = Ellipsoid | Capsule


@dataclass(frozen=True)
class Region:
    """A solid within the box of voxels around it: signed distance in mm, negative inside."""

    box: Box
    distance: Array


def soft_minimum(a: Array, b: Array, width_mm: float) -> Array:
    """Smallest of two distances, rounded over `width_mm` where they meet (polynomial smooth minimum; Quilez, 2013)."""
    h = np.clip(np.float32(0.5) + (b - a) * np.float32(0.5 / width_mm), 0, 1)
    return b + h * (a - b) - np.float32(width_mm) * h * (1 - h)


def solid(space: Space, parts: Sequence[Part], blend_mm: float, relief_mm: float = 0.0) -> Region:
    """Join parts, rounded over `blend_mm` where they meet and lumpy by `relief_mm`; keep the voxels near the solid."""
    corners = [part.corners() for part in parts]
    low, high = np.min([c[0] for c in corners], axis=0), np.max([c[1] for c in corners], axis=0)
    margin_mm = blend_mm + 3.0  # as far as edges are blurred
    whole = space.box(as_point(low), as_point(high), margin_mm)
    joined = np.full([s.stop - s.start for s in whole], FAR_MM, np.float32)
    for part, (near, far) in zip(parts, corners, strict=True):
        box = space.box(near, far, margin_mm)
        inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, whole, strict=True))
        distance = part.distance(space.x[box], space.y[box], space.z[box])
        joined[inner] = soft_minimum(joined[inner], distance, blend_mm)
    if relief_mm:
        joined += np.float32(relief_mm) * space.relief[whole]
    return Region(whole, joined)
