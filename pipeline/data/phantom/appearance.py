"""What the scanner would make of the phantom's organs: tissue intensities, texture, shading of the coils, and noise.

Intensities are in the range of the HipMRI slices (0 to about 300), and ordered as in a T2-weighted image: fat bright,
muscle dark, urine bright, cortical bone black. They are so close that no class can be cut out by a threshold: urine is
as bright as fat, marrow lies between muscle and fat, and rectum and prostate are drawn about the mean of what
surrounds them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.data.phantom.anatomy import Organs, draw_build, lay_organs, pose
from pipeline.data.phantom.solids import (
    SPACING_MM,
    Array,
    Ellipsoid,
    Point,
    Region,
    Space,
    as_point,
    smooth_field,
    solid,
)

__all__ = ["LABELS", "scan_volume"]

LABELS = {"background": 0, "body": 1, "bone": 2, "bladder": 3, "rectum": 4, "prostate": 5}
_BLUR_MM = 1.9  # an edge goes from one tissue to the other over this length, as partial volume does
_TOP = 295.0  # 99.5th percentile of the intensities in HipMRI


@dataclass(frozen=True)
class Tissue:
    """Mean intensities of one scan before shading, and the deviation of its noise."""

    fat: float
    muscle: float
    cavity: float
    marrow: float
    cortex: float
    urine: float
    stool: float
    prostate: float
    noise: float


def _draw_tissue(patient: np.random.Generator, week: np.random.Generator) -> Tissue:
    own, weekly = np.clip(patient.standard_normal(9), -2, 2), np.clip(week.standard_normal(9), -2, 2)
    shift = 0.85 * own + 0.5 * weekly
    cavity = 98 + 9 * shift[2]
    return Tissue(
        fat=195 + 9 * shift[0],
        muscle=62 + 7 * shift[1],
        cavity=cavity,
        marrow=108 + 16 * shift[3],
        cortex=26 + 6 * shift[4],
        urine=175 + 16 * shift[5],
        stool=cavity + 16 * shift[6],
        prostate=cavity + 4 + 12 * shift[7],
        noise=13 + 2 * shift[8],
    )


@dataclass(frozen=True)
class Texture:
    """Smooth random fields over the scan: `own` is the patient's, `loops` and `grain` change from week to week."""

    own: Array
    loops: Array
    grain: Array


def _draw_texture(patient: np.random.Generator, week: np.random.Generator, shape: tuple[int, int, int]) -> Texture:
    points = (12, shape[1] // 8, 30)
    own = smooth_field(patient, points, shape)
    return Texture(own, smooth_field(week, points, shape), smooth_field(week, (26, shape[1] // 5, 84), shape))


def _share(distance: Array, blur_mm: float = _BLUR_MM) -> Array:
    """How much of a voxel a solid fills, from 0 to 1, by the distance of its centre from the surface."""
    return np.clip(np.float32(0.5) - distance * np.float32(1 / blur_mm), 0, 1)


def _rim(distance: Array, width_mm: float) -> Array:
    """1 on the surface of a solid, falling off on both sides."""
    return np.exp(-np.square(distance * np.float32(1 / width_mm)))


def _blend(image: Array, value: Array | np.float32, share: Array) -> None:
    image += (value - image) * share


def _paint_body(image: Array, space: Space, body: Array, tissue: Tissue, texture: Texture, fat_mm: float) -> None:
    """Fat under the skin, muscle and fat in streaks, and the pelvic cavity with its bowel."""
    muscle = np.clip(texture.own * np.float32(1.2) + np.float32(1.35), 0, 1)
    under_skin = (body + np.float32(fat_mm) * (1 + np.float32(0.3) * texture.loops)) * np.float32(0.25)
    muscle *= 1 - np.clip(under_skin + np.float32(0.5), 0, 1)
    flesh = muscle * np.float32(tissue.muscle - tissue.fat)
    flesh += np.float32(tissue.fat)
    flesh += texture.grain * np.float32(11)
    cavity = solid(space, [Ellipsoid((0, -6, 8), (56, 52, 84))], 12.0)
    near = cavity.box
    inside = np.float32(tissue.cavity) + texture.loops[near] * np.float32(32) + texture.grain[near] * np.float32(14)
    _blend(flesh[near], inside, _share(cavity.distance, 14.0))
    _blend(image, flesh, _share(body))


def _paint_loops(image: Array, space: Space, body: Array, week: np.random.Generator) -> None:
    """Loops of bowel and other round things of any brightness, which belong to the body: decoys for the organs."""
    for _ in range(9):
        place = week.uniform((-60, -45, 8), (60, 45, 80))
        radii = week.uniform(7, 17, 3)
        value = np.float32(week.uniform(60, 235))
        loop = solid(space, [Ellipsoid(as_point(place), as_point(radii))], 2.0)
        distance = np.maximum(loop.distance, body[loop.box] + np.float32(14))
        _blend(image[loop.box], value, np.float32(0.8) * _share(distance, 4.0))


def _paint_bone(image: Array, bone: Region, tissue: Tissue, texture: Texture) -> None:
    marrow = texture.own[bone.box] * np.float32(20) + texture.grain[bone.box] * np.float32(12)
    marrow += np.float32(tissue.marrow)
    marrow += _rim(bone.distance, 1.8) * (np.float32(tissue.cortex) - marrow)
    _blend(image[bone.box], marrow, _share(bone.distance - np.float32(0.6)))


def _paint_soft(image: Array, organs: Organs, tissue: Tissue, texture: Texture) -> None:
    """Rectum, bladder and prostate, each with its wall, capsule or content."""
    near, distance = organs.rectum.box, organs.rectum.distance
    content = np.float32(tissue.stool) + texture.own[near] * np.float32(30)
    gas = np.clip((texture.loops[near] - np.float32(0.9)) * 3, 0, 1)
    content += gas * (np.float32(30) - content)
    content += _rim(distance + np.float32(0.8), 1.7) * (np.float32(tissue.muscle) - content)
    _blend(image[near], content, _share(distance))

    near, distance = organs.bladder.box, organs.bladder.distance
    _blend(image[near], np.float32(tissue.muscle + 15), _share(distance - np.float32(2)))
    _blend(image[near], np.float32(tissue.urine), _share(distance))

    near, distance = organs.prostate.box, organs.prostate.distance
    gland = np.float32(tissue.prostate) + texture.loops[near] * np.float32(16) + texture.grain[near] * np.float32(14)
    gland += _rim(distance, 1.5) * np.float32(-30)
    _blend(image[near], gland, _share(distance))


def _receive(image: Array, noise: float, week: np.random.Generator) -> Array:
    """Shade by the coils, bring to the usual range, and take the magnitude of a signal with noise (Rician).

    The magnitude of a complex signal with normal noise in both parts; Gudbjartsson and Patz, Magn Reson Med 34, 1995.
    """
    depth, height, width = image.shape
    image *= np.exp(smooth_field(week, (4, 4, 5), (depth, height, width)) * np.float32(0.17))
    image *= np.float32((_TOP + week.uniform(-4, 4)) / (np.percentile(image[::3, ::2, ::2], 99.5) + 0.8 * noise))
    image += week.standard_normal(image.shape, dtype=np.float32) * np.float32(noise)
    other = week.standard_normal(image.shape, dtype=np.float32)
    other *= np.float32(noise)
    # whole numbers, as scanners store them
    return np.rint(np.sqrt(image * image + other * other))


def _label(organs: Organs) -> NDArray[np.uint8]:
    mask = (organs.body < 0).astype(np.uint8)
    for name in ("bone", "rectum", "bladder", "prostate"):  # the later wins, as in the image
        organ: Region = getattr(organs, name)
        mask[organ.box][organ.distance < 0] = LABELS[name]
    return mask


def scan_volume(patient: int, week: int, seed: int) -> tuple[Array, NDArray[np.uint8], Point]:
    """Make one whole scan; the same three numbers give the same scan, whatever else is made.

    Parameters
    ----------
    patient, week, seed
        Whole numbers from 0. Weeks of one patient share the patient's build, and differ in pose, filling and noise.

    Returns
    -------
    image
        float32, (LR, SI, AP): (256, 128, 60), or (256, 144, 60) in about one scan of sixteen. Whole numbers from 0,
        nearly all below 300.
    mask
        uint8 of the same shape; see `LABELS`.
    spacing_mm
        Distance of voxels along the three axes.
    """
    own, weekly = np.random.default_rng([seed, patient, 0]), np.random.default_rng([seed, patient, week + 1])
    height = 144 if (patient + 13 * week) % 16 == 0 else 128  # case 019 week 1 is the tall one in HipMRI, too
    build = draw_build(own, weekly)
    space = pose(build, own, weekly, height)
    organs = lay_organs(space, build)
    tissue = _draw_tissue(own, weekly)
    texture = _draw_texture(own, weekly, space.shape)
    image = np.zeros(space.shape, np.float32)
    _paint_body(image, space, organs.body, tissue, texture, build.fat_mm)
    _paint_loops(image, space, organs.body, weekly)
    _paint_bone(image, organs.bone, tissue, texture)
    _paint_soft(image, organs, tissue, texture)
    image = _receive(image, tissue.noise, weekly)
    return image.transpose(2, 1, 0), _label(organs).transpose(2, 1, 0), SPACING_MM
