"""Write the phantom: synthetic slices of the male pelvis in the layout of HipMRI, made from equations and a seed.

It stands in for data that may not be handed on: runs, tests and benchmarks need something with six classes, rare small
organs, weeks of the same patient, and the odd file shapes of the real set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.phantom.appearance import scan_volume
from pipeline.data.phantom.files import write_nifti
from pipeline.data.phantom.folder import MARKER, Progress, make_whole, read_phantom_marker
from pipeline.data.phantom.solids import SCAN_SLICES
from pipeline.data.phantom.specs import PhantomSpec

__all__ = ["MARKER", "PhantomSpec", "read_phantom_marker", "scan_volume", "write_phantom"]

FIRST_PATIENT = 4  # as in HipMRI, whose first case is 004
_SPLITS = ("train", "validate", "test")


@dataclass(frozen=True)
class _Scan:
    split: str
    patient: int
    week: int


def _scans(spec: PhantomSpec) -> Iterator[_Scan]:
    patient = FIRST_PATIENT
    for split in _SPLITS:
        for _ in range(getattr(spec, split)):
            for week in range(spec.weeks):
                yield _Scan(split, patient, week)
            patient += 1


def _slice_numbers(count: int) -> list[int]:
    """Numbers of `count` slices, evenly spread over the scan, from the first: 20 of 60 are 0, 3, 6, ..., 57."""
    return [i * SCAN_SLICES // count for i in range(count)]


def _write_scan(root: Path, scan: _Scan, spec: PhantomSpec) -> None:
    image, mask, spacing_mm = scan_volume(scan.patient, scan.week, spec.seed)
    affine = np.diag([*spacing_mm, 1.0])
    for number in _slice_numbers(spec.slices):
        stem = f"{scan.patient:03d}_week_{scan.week}_slice_{number}.nii.gz"
        # a few files of HipMRI keep a third axis of length one, and readers must cope
        trailing = (scan.patient + scan.week + number) % 11 == 0
        part = np.s_[:, :, number : number + 1] if trailing else np.s_[:, :, number]
        write_nifti(root / f"keras_slices_{scan.split}" / f"case_{stem}", image[part], affine)
        write_nifti(root / f"keras_slices_seg_{scan.split}" / f"seg_{stem}", mask[part], affine)


def write_phantom(root: Path, spec: PhantomSpec, *, workers: int = 1, progress: Progress | None = None) -> None:
    """Write a phantom: six folders of slices, PHANTOM.json and README.txt; all of it or nothing.

    The same spec gives the same bytes, however many workers make it. Where the root is that phantom already, it stays.

    Parameters
    ----------
    root
        The folder to make; it must not exist, or be empty. Its parent is made when missing.
    spec
        What to write.
    workers
        Scans made at the same time, each in about 0.2 GB of memory.
    progress
        Called with (scans done, scans in all) after each scan, in the caller's thread.

    Raises
    ------
    ConfigError
        When `workers` is less than 1.
    DataError
        When the root holds something else.
    RunError
        When it cannot be written: no room, no right.
    """
    folders = [f"keras_slices_{kind}{split}" for split in _SPLITS for kind in ("", "seg_")]
    make_whole(
        root, spec, folders, list(_scans(spec)), lambda folder, scan: _write_scan(folder, scan, spec),
        layout="only the file layout is that of HipMRI", workers=workers, progress=progress,
    )  # fmt: skip
