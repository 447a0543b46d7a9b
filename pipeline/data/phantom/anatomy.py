"""A male pelvis made of equations: where the organs of one patient lie in one week's scan.

Sizes and places are rough adult ones, chosen so that the classes take about the shares of the voxels that they have in
HipMRI; no patient's data went into them. Lengths are in mm in the frame of `pipeline.data.phantom.solids`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.phantom.solids import (
    SCAN_SLICES,
    SPACING_MM,
    WARP_LIMIT_MM,
    WIDTH,
    Array,
    Capsule,
    Ellipsoid,
    Part,
    Point,
    Region,
    Space,
    as_point,
    smooth_field,
    soft_minimum,
    solid,
)

__all__ = ["Build", "Organs", "draw_build", "lay_organs", "pose"]


@dataclass(frozen=True)
class Build:
    """What is drawn at random for one scan: the patient's own build, and what differs from week to week.

    Attributes
    ----------
    scale
        Size relative to the mean, of each axis (x, y, z) of the patient.
    bone, fat_mm, body_mm
        Thickness of the bones (relative) and of the fat under the skin; half width of hips, half depth of trunk.
    jitter_mm
        Displacement of each organ, by name: (x, y, z).
    bladder, prostate, rectum
        Sizes relative to the mean: of the semi-axes of bladder and prostate; of the rectum's calibre at five places.
    filling
        Volume of the bladder relative to the mean, this week.
    curve_mm
        How far the rectum sways from the midline, at five places.
    """

    scale: Point
    bone: float
    fat_mm: float
    body_mm: tuple[float, float]
    jitter_mm: dict[str, Point]
    bladder: Point
    filling: float
    prostate: Point
    rectum: tuple[float, ...]
    curve_mm: tuple[float, ...]


@dataclass(frozen=True)
class Organs:
    """The solids of one scan; `body` holds a distance for each voxel, the others only near the organ."""

    body: Array
    bone: Region
    bladder: Region
    rectum: Region
    prostate: Region


def _around(rng: np.random.Generator, deviation: float, count: int) -> Array:
    """Draw factors about 1, log-normal and cut at two deviations so that no organ vanishes."""
    return np.exp(deviation * np.clip(rng.standard_normal(count), -2, 2))


def _near(rng: np.random.Generator, deviation: float, count: int) -> Array:
    """Draw offsets about 0, cut at two deviations so that no organ leaves the scan."""
    return deviation * np.clip(rng.standard_normal(count), -2, 2)


def draw_build(patient: np.random.Generator, week: np.random.Generator) -> Build:
    """Draw the build of a scan.

    Parameters
    ----------
    patient
        A generator that is the same for each week of the patient.
    week
        A generator of this scan's own.
    """
    names = ("bladder", "rectum", "prostate")
    own, weekly = _near(patient, 2.5, 9).reshape(3, 3), _near(week, 1.0, 9).reshape(3, 3)
    return Build(
        scale=as_point(_around(patient, 0.025, 3) * (0.89, 1.0, 0.97)),
        bone=float(_around(patient, 0.04, 1)[0]),
        fat_mm=float(10 * _around(patient, 0.3, 1)[0]),
        body_mm=(float(142 * _around(patient, 0.025, 1)[0]), float(52 * _around(patient, 0.03, 1)[0])),
        jitter_mm={name: as_point(own[i] + weekly[i]) for i, name in enumerate(names)},
        bladder=as_point(_around(patient, 0.08, 3)),
        filling=float(_around(patient, 0.20, 1)[0] * _around(week, 0.28, 1)[0]),
        prostate=as_point(_around(patient, 0.09, 3) * _around(week, 0.01, 3)),
        rectum=tuple(_around(patient, 0.10, 5) * _around(week, 0.10, 5)),
        curve_mm=tuple(_near(patient, 3.0, 5) + _near(week, 1.2, 5)),
    )


def pose(build: Build, patient: np.random.Generator, week: np.random.Generator, height: int) -> Space:
    """Lay the voxels of a scan into the patient's frame: shift, small rotation and shear, size, and a smooth bend.

    Parameters
    ----------
    build
        The scan's build.
    patient, week
        Generators as in `draw_build`.
    height
        Voxels along SI.
    """
    shape = (SCAN_SLICES, height, WIDTH)
    matrix = np.eye(3) + _near(patient, 0.012, 9).reshape(3, 3) + _near(week, 0.003, 9).reshape(3, 3)
    matrix = np.diag(1 / np.array(build.scale)) @ matrix
    shift_mm = _near(patient, 3.0, 3) * (1, 0.6, 1) + _near(week, 1.0, 3) * (1, 0.6, 1)
    x, z, y = (
        ((np.arange(size) - (size - 1) / 2) * step - shift).astype(np.float32)
        for size, step, shift in zip((WIDTH, height, SCAN_SLICES), SPACING_MM, shift_mm[[0, 2, 1]], strict=True)
    )
    places = []
    for row in matrix.astype(np.float32):
        bend = smooth_field(patient, (5, 6, 9), shape)
        bend *= np.float32(2.0)
        bend += np.float32(0.5) * smooth_field(week, (5, 6, 9), shape)
        np.clip(bend, -WARP_LIMIT_MM, WARP_LIMIT_MM, out=bend)
        bend += row[0] * x[None, None, :]
        bend += row[1] * y[:, None, None] + row[2] * z[None, :, None]
        places.append(bend)
    relief = np.float32(0.9) * smooth_field(patient, (14, 20, 40), shape)
    relief += np.float32(0.4) * smooth_field(week, (14, 20, 40), shape)
    return Space(places[0], places[1], places[2], relief, matrix, shift_mm)


# ---------------------------------------------------------------- the body


def _ellipse_distance(p: Array, q: Array, a: Array, b: np.floating[Any]) -> Array:
    """Distance to an ellipse, to first order, with a first semi-axis that differs from voxel to voxel."""
    p, q = p / a, q / b
    k0 = np.sqrt(p * p + q * q + np.float32(1e-6))
    p /= a
    q /= b
    return k0 * (k0 - 1) / np.sqrt(p * p + q * q + np.float32(1e-6) / (b * b))


def body_distance(space: Space, build: Build) -> Array:
    """Signed distance in mm to the skin: a trunk that is widest at the hips, and two thighs with a gap between them."""
    x, y, z = np.abs(space.x), space.y, space.z
    half_width, half_depth = (np.float32(v) for v in build.body_mm)
    above = (z + np.float32(25)) * np.float32(0.01)
    trunk = _ellipse_distance(x, y - np.float32(6) * above, half_width - np.float32(20) * above * above, half_depth)
    trunk = -soft_minimum(-trunk, z + np.float32(60) + x * np.float32(0.5), 24)  # ends at the crotch
    thigh_width = np.float32(0.43) * half_width + np.float32(14) * above
    thigh = _ellipse_distance(x - (half_width * np.float32(0.53)), y - 2, thigh_width, half_depth * np.float32(0.97))
    thigh = -soft_minimum(-thigh, -z - np.float32(10) + x * np.float32(0.3), 60)  # and the thighs at the groin
    return soft_minimum(trunk, thigh, 14)


# ---------------------------------------------------------------- bones


def _side(build: Build, side: int) -> list[Part]:
    """Hip bone and femur of one side: -1 or 1."""
    t = build.bone

    def at(x: float, y: float, z: float) -> Point:
        return (side * x, y, z)

    # axes of the wing: from the sacroiliac joint to the iliac spine in front, up and out, and across its thickness
    first = np.array([side * 56.0, 78.0, 8.0])
    second = np.array([side * 22.0, -4.0, 80.0])
    first /= np.linalg.norm(first)
    second -= (second @ first) * first
    second /= np.linalg.norm(second)
    third = np.cross(first, second)
    frame = (as_point(first), as_point(second), as_point(third))
    return [
        Ellipsoid(at(76, 2, -15), (19.5 * t, 19.5 * t, 19.5 * t)),
        Capsule(at(80, 1, -17), at(108, -6, -32), 11.5 * t, 12 * t),
        Ellipsoid(at(110, -10, -29), (11 * t, 15 * t, 16 * t)),
        Capsule(at(107, -6, -38), at(94, 2, -130), 12.5 * t, 10.5 * t),
        Ellipsoid(at(76, -2, 50), (48, 43, 5.0 * t), frame, side * 0.0035),
        Capsule(at(46, -40, 30), at(54, -28, 55), 7.5 * t, 6 * t),
        Capsule(at(97, 41, 52), at(88, 31, 18), 6 * t, 7 * t),
        Ellipsoid(at(70, -1, 10), (15 * t, 17 * t, 13 * t)),
        Capsule(at(62, -22, -8), at(45, -34, -62), 11 * t, 10 * t),
        Capsule(at(45, -31, -66), at(12, 26, -48), 6 * t, 5 * t),
        Capsule(at(60, 12, 0), at(12, 36, -34), 7.5 * t, 6.5 * t),
        Ellipsoid(at(10, 35, -40), (7.5, 8.5 * t, 14 * t)),
    ]


def _spine(build: Build) -> list[Part]:
    """Sacrum, coccyx and the lowest vertebra."""
    t = build.bone
    return [
        Ellipsoid((0, -20, 96), (25 * t, 16, 13)),
        Ellipsoid((0, -36, 70), (40 * t, 14, 15)),
        Ellipsoid((0, -45, 44), (29 * t, 10, 17)),
        Capsule((0, -49, 24), (0, -44, -4), 9 * t, 4 * t),
    ]


def _bones(space: Space, build: Build, body: Array) -> Region:
    """All bones, with the cartilage of the hip joints left out and nothing nearer to the skin than 4 mm."""
    bones = solid(space, _spine(build) + _side(build, -1) + _side(build, 1), 4.0, 0.5)
    for side in (-1, 1):
        joint = Ellipsoid((side * 76, 2, -15), (23.0 * build.bone,) * 3)
        head = solid(space, [Ellipsoid(joint.centre, (19.5 * build.bone,) * 3)], 2.0)
        box, x, z = head.box, space.x[head.box], space.z[head.box]
        inner = tuple(slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, bones.box, strict=True))
        # the socket is kept above the head, and the neck below it
        socket = (side * (x - np.float32(side * 76)) * np.float32(-0.5) + z + np.float32(15)) > 0
        hollow = np.maximum(bones.distance[inner], -joint.distance(x, space.y[box], z))
        bones.distance[inner] = np.where(socket, np.minimum(hollow, head.distance), bones.distance[inner])
    np.maximum(bones.distance, body[bones.box] + np.float32(4), out=bones.distance)
    return bones


# ---------------------------------------------------------------- soft organs


def _moved(point: Point, by: Point, *more: Point) -> Point:
    return as_point(np.sum([point, by, *more], axis=0))


def _bladder(build: Build) -> list[Part]:
    """A rounded body, wider than high, with an apex that reaches forward; it fills upwards from a fixed floor."""
    fill = build.filling ** (1 / 3)
    rx, ry, rz = 25 * build.bladder[0] * fill, 32 * build.bladder[1] * fill, 17 * build.bladder[2] * fill
    move = build.jitter_mm["bladder"]
    centre = _moved((0, 2, -15), move, (0, 0, rz))
    apex = _moved((0, 2 + 0.75 * ry, -17), move, (0, 0, 0.8 * rz))
    return [Ellipsoid(centre, (rx, ry, rz)), Ellipsoid(apex, (0.55 * rx, 0.55 * ry, 0.6 * rz))]


def _pushed(build: Build) -> float:
    """How far a bladder fuller than the mean pushes its neighbours, in mm."""
    return 20.0 * (build.filling ** (1 / 3) - 1)


def _prostate(build: Build) -> list[Part]:
    """Two lobes and an apex, below the bladder; a wide rectum pushes it forward."""
    wide_mm = 8.0 * (build.rectum[2] - 1)
    centre = _moved((0, -5, -29), build.jitter_mm["prostate"], (0, 0.4 * wide_mm, -0.25 * _pushed(build)))
    a, b, c = (r * f for r, f in zip((12.0, 17.5, 10.3), build.prostate, strict=True))
    lobes: list[Part] = [Ellipsoid(_moved(centre, (s * 0.35 * a, 0, 0)), (0.8 * a, b, c)) for s in (-1, 1)]
    return [*lobes, Ellipsoid(_moved(centre, (0, 0.1 * b, -0.7 * c)), (0.6 * a, 0.6 * b, 0.6 * c))]


def _rectum(build: Build) -> list[Part]:
    """A tube: from the anal canal back behind the prostate, up along the sacrum and forward again."""
    move = build.jitter_mm["rectum"]
    path = [(-12.0, -64.0), (-22.0, -48.0), (-36.0, -30.0), (-41.0, -6.0), (-37.0, 22.0)]
    push = 0.3 * _pushed(build)
    points = [
        _moved((sway, y - (push if z > -20 else 0), z), move) for (y, z), sway in zip(path, build.curve_mm, strict=True)
    ]
    calibre = [r * f for r, f in zip((4.5, 6.5, 8.3, 8.8, 6.5), build.rectum, strict=True)]
    return [Capsule(points[i], points[i + 1], calibre[i], calibre[i + 1]) for i in range(4)]


def lay_organs(space: Space, build: Build) -> Organs:
    """Lay the organs of a build into a scan; soft organs keep 3 mm from the skin."""
    body = body_distance(space, build)
    soft = [
        solid(space, _bladder(build), 8.0, 1.3),
        solid(space, _rectum(build), 4.0, 1.0),
        solid(space, _prostate(build), 5.0, 0.9),
    ]
    for organ in soft:
        np.maximum(organ.distance, body[organ.box] + np.float32(3), out=organ.distance)
    return Organs(body, _bones(space, build, body), *soft)
