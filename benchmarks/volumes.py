"""Phantom volumes of any size as NIfTI files: what the parts measure on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from pipeline.data.phantom.writing import scan_volume

CLASSES = ["background", "body", "bone", "bladder", "rectum", "prostate"]


def phantom_volume(number: int, shape: Sequence[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Image (float32) and mask (uint8) of a phantom patient, its voxels repeated to a shape."""
    image, mask, _ = scan_volume(4 + number, 0, 0)
    places = [np.arange(wanted) * have // wanted for wanted, have in zip(shape or mask.shape, mask.shape, strict=True)]
    grid = np.ix_(*places)
    return np.ascontiguousarray(image[grid], dtype=np.float32), np.ascontiguousarray(mask[grid], dtype=np.uint8)


def save(path: Path, array: np.ndarray, spacing_mm: Sequence[float]) -> None:
    """Write an array with a diagonal affine."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, np.diag([*spacing_mm, 1.0]), dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def write_pairs(folder: Path, count: int, shape: Sequence[int] | None = None,
                spacing_mm: Sequence[float] = (1.7, 1.6, 2.0)) -> None:  # fmt: skip
    """``images/`` and ``labels/`` of phantom volumes, ``scan_000.nii.gz`` and on."""
    for number in range(count):
        image, mask = phantom_volume(number, shape)
        save(folder / "images" / f"scan_{number:03d}.nii.gz", np.rint(image).astype(np.int16), spacing_mm)
        save(folder / "labels" / f"scan_{number:03d}.nii.gz", mask, spacing_mm)
