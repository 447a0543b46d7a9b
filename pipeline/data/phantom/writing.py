"""Write the phantom: synthetic slices of the male pelvis in the layout of HipMRI, made from equations and a seed.

It stands in for data that may not be handed on: runs, tests and benchmarks need something with six classes, rare small
organs, weeks of the same patient, and the odd file shapes of the real set.
"""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.phantom.appearance import scan_volume
from pipeline.data.phantom.solids import SCAN_SLICES, Point
from pipeline.errors import ConfigError, DataError, RunError

__all__ = ["MARKER", "PhantomSpec", "read_phantom_marker", "scan_volume", "write_phantom"]

MARKER = "PHANTOM.json"
FORMAT = 1
FIRST_PATIENT = 4  # as in HipMRI, whose first case is 004
NOTE = "Synthetic images of a male pelvis, made by equations: they show no patient, and scores on them mean little."
README = (
    "These are synthetic images made by equations, not images of patients; only the file layout is that of HipMRI.\n"
    "bin/make_phantom makes them again from the settings in PHANTOM.json; scores on them say nothing about patients.\n"
)
_COMPRESSION = 2  # of 0 to 3 in isal
_BOUNDS = {
    "train": (1, 900),
    "validate": (1, 45),
    "test": (1, 45),  # patients have three digits
    "weeks": (1, 99),
    "slices": (1, SCAN_SLICES),
    "seed": (0, 2**32 - 1),
}


@dataclass(frozen=True)
class PhantomSpec:
    """What a phantom holds.

    Attributes
    ----------
    train, validate, test
        Patients in each split.
    weeks
        Scans of each patient.
    slices
        Slices written of each scan's 60, evenly spread, with their true numbers.
    seed
        What all is drawn from.

    Raises
    ------
    ConfigError
        When a value is not a whole number or out of range.
    """

    train: int = 31
    validate: int = 4
    test: int = 3
    weeks: int = 3
    slices: int = SCAN_SLICES
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(
                    f"{name} is {value!r}, expected a whole number from {low} to {high}", where=f"phantom: {name}"
                )


@dataclass(frozen=True)
class _Scan:
    split: str
    patient: int
    week: int


def _scans(spec: PhantomSpec) -> Iterator[_Scan]:
    patient = FIRST_PATIENT
    for split in ("train", "validate", "test"):
        for _ in range(getattr(spec, split)):
            for week in range(spec.weeks):
                yield _Scan(split, patient, week)
            patient += 1


def _slice_numbers(count: int) -> list[int]:
    """Numbers of `count` slices, evenly spread over the scan, from the first: 20 of 60 are 0, 3, 6, ..., 57."""
    return [i * SCAN_SLICES // count for i in range(count)]


# ---------------------------------------------------------------- files


@functools.cache
def _header(shape: tuple[int, ...], dtype: str, spacing_mm: Point) -> bytes:
    """The 352 bytes before the voxels of a single-file NIfTI-1 (348 of header, 4 that say there is no extension)."""
    import nibabel

    header = nibabel.Nifti1Header(endianness="<")
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(shape)
    affine = np.diag([*spacing_mm, 1.0])
    header.set_qform(affine, code="scanner")
    header.set_sform(affine, code="scanner")
    header.set_xyzt_units(xyz="mm")
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    header["scl_slope"], header["scl_inter"] = 1, 0
    return bytes(header.binaryblock) + bytes(4)


def _write_slice(path: Path, plane: NDArray[Any], spacing_mm: Point) -> None:
    from isal import igzip

    content = _header(plane.shape, plane.dtype.newbyteorder("<").str, spacing_mm) + plane.tobytes(order="F")
    path.write_bytes(igzip.compress(content, _COMPRESSION, mtime=0))


def _write_scan(root: Path, scan: _Scan, spec: PhantomSpec) -> None:
    image, mask, spacing_mm = scan_volume(scan.patient, scan.week, spec.seed)
    for number in _slice_numbers(spec.slices):
        stem = f"{scan.patient:03d}_week_{scan.week}_slice_{number}.nii.gz"
        # a few files of HipMRI keep a third axis of length one, and readers must cope
        trailing = (scan.patient + scan.week + number) % 11 == 0
        part = np.s_[:, :, number : number + 1] if trailing else np.s_[:, :, number]
        _write_slice(root / f"keras_slices_{scan.split}" / f"case_{stem}", image[part], spacing_mm)
        _write_slice(root / f"keras_slices_seg_{scan.split}" / f"seg_{stem}", mask[part], spacing_mm)


def read_phantom_marker(root: Path) -> dict[str, Any] | None:
    """What PHANTOM.json in a folder says.

    Parameters
    ----------
    root
        The folder that may be a phantom.

    Returns
    -------
    marker
        "format", "synthetic" (True), "spec" (the fields of `PhantomSpec`) and "note"; None where there is no phantom.

    Raises
    ------
    DataError
        When the file is there and cannot be read, or does not hold those.
    """
    path = Path(root) / MARKER
    remedy = "Remove the folder and make the phantom again"
    try:
        marker = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"a phantom's marker cannot be read: {error}", where=str(path), remedy=remedy) from error
    if not isinstance(marker, dict) or marker.get("synthetic") is not True:
        raise DataError("a phantom's marker is damaged: it does not say synthetic", where=str(path), remedy=remedy)
    found = marker.get("format")
    if found != FORMAT:
        raise DataError(f"the phantom has format {found!r}, expected {FORMAT}", where=str(path), remedy=remedy)
    spec, names = marker.get("spec"), {f.name for f in fields(PhantomSpec)}
    if not isinstance(spec, dict) or set(spec) != names:
        raise DataError("a phantom's marker is damaged: its spec is incomplete", where=str(path), remedy=remedy)
    return marker


def _is_done(root: Path, spec: PhantomSpec) -> bool:
    """Whether the root holds this very phantom; refuse one that holds anything else."""
    marker = read_phantom_marker(root)
    if marker is not None:
        if marker["spec"] == asdict(spec):
            return True
        raise DataError(
            f"holds a phantom with other settings: {marker['spec']}, wanted {asdict(spec)}",
            where=str(root), remedy="Name another folder (data.root), or remove this one",
        )  # fmt: skip
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise DataError(
            "exists, and is not a phantom or an empty folder", where=str(root), remedy="Name another folder"
        )
    return False


def _fill(folder: Path, spec: PhantomSpec, workers: int, progress: Callable[[int, int], None] | None) -> None:
    scans = list(_scans(spec))
    for split in ("train", "validate", "test"):
        (folder / f"keras_slices_{split}").mkdir()
        (folder / f"keras_slices_seg_{split}").mkdir()
    # Threads do: numpy and isal let go of the interpreter's lock, and nothing has to be started or pickled.
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(_write_scan, folder, scan, spec) for scan in scans]
        try:
            for done, job in enumerate(as_completed(jobs), start=1):
                job.result()
                if progress is not None:
                    progress(done, len(scans))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    marker = {"format": FORMAT, "synthetic": True, "spec": asdict(spec), "note": NOTE}
    (folder / "README.txt").write_text(README, encoding="utf-8")
    (folder / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")


def write_phantom(
    root: Path, spec: PhantomSpec, *, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> None:
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
    root = Path(root).resolve()  # a link to a scratch disk is followed, not replaced
    if workers < 1:
        raise ConfigError(f"workers is {workers}, expected at least 1", where="phantom: workers")
    if _is_done(root, spec):
        return
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{root.name}.", suffix=".partial", dir=root.parent) as partial:
            folder = Path(partial) / root.name  # one level down, so that it has the usual rights
            folder.mkdir()
            _fill(folder, spec, workers, progress)
            if not _is_done(root, spec):  # another run may have been quicker
                folder.rename(root)
    except OSError as error:
        raise RunError(
            f"the phantom cannot be written: {error}", where=str(root), remedy="Check its free space and your rights"
        ) from error
