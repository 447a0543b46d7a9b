"""Write a phantom of volumes: images and labels in two folders with equal file names, as people keep their own data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.data.phantom.appearance import scan_volume
from pipeline.data.phantom.files import write_nifti
from pipeline.data.phantom.folder import Progress, make_whole
from pipeline.data.phantom.solids import SCAN_SLICES
from pipeline.data.phantom.specs import VolumeSpec

__all__ = ["write_volumes"]


def write_volumes(root: Path, spec: VolumeSpec, *, workers: int = 1, progress: Progress | None = None) -> None:
    """Write volumes: ``images/p001_week0.nii.gz`` and ``labels/p001_week0.nii.gz``, PHANTOM.json and README.txt.

    Images are int16, masks uint8, both (LR, SI, AP) with an affine that says so: right, superior, anterior. The same
    spec gives the same bytes, however many workers make it. Where the root is that phantom already, it stays.

    Parameters
    ----------
    root, workers, progress
        As for `pipeline.data.phantom.writing.write_phantom`.
    spec
        What to write.

    Raises
    ------
    ConfigError, DataError, RunError
        As there.
    """
    scans = [(patient, week) for patient in range(1, spec.patients + 1) for week in range(spec.weeks)]
    make_whole(
        root, spec, ("images", "labels"), scans, lambda folder, scan: _write_scan(folder, *scan, spec),
        layout="images and labels have equal names", workers=workers, progress=progress,
    )  # fmt: skip


def _write_scan(root: Path, patient: int, week: int, spec: VolumeSpec) -> None:
    image, mask, (across_mm, up_mm, forward_mm) = scan_volume(patient, week, spec.seed)
    step = SCAN_SLICES // spec.slices
    affine = np.zeros((4, 4))
    affine[0, 0], affine[2, 1], affine[1, 2], affine[3, 3] = across_mm, up_mm, forward_mm * step, 1.0
    image, mask = image[:, :, ::step], mask[:, :, ::step]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(image.shape) - 1) / 2)  # the origin in the middle
    name = f"p{patient:03d}_week{week}.nii.gz"
    write_nifti(root / "images" / name, image.astype(np.int16), affine)  # whole numbers below 1000: nothing is lost
    write_nifti(root / "labels" / name, mask, affine)
