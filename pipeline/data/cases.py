"""What a case is: one image with, perhaps, a label; a 2D slice file or a 3D volume that is read as slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.schema import UNSAFE_NAME
from pipeline.errors import DataError

SplitName = Literal["train", "validation", "test"]
SUFFIXES = (".nii.gz", ".nii")
_LISTED = 100


@dataclass(frozen=True)
class Case:
    """One image with, perhaps, a label.

    Attributes
    ----------
    id
        Unique in its dataset; the stem of the image's file name.
    image, label
        Files; the label is None where there is none.
    further
        Files of the further channels of the image, on its grid and in the order of the channels.
    channels_in_file
        How many channels the image's one file holds along its last axis; 1 where each channel is a file.
    patient
        Never on both sides of a split.
    scan
        The examination; several 2D slices share one, a volume is one. Scans of two patients may have the same name.
    slice
        The number of a 2D slice in its scan, which orders it among its neighbours; None where the name gives none. A
        volume is its own stack of slices, whatever stands here.
    split
        The side that the layout puts it on, where it does.
    """

    id: str
    image: Path
    label: Path | None
    patient: str
    scan: str
    slice: int | None = None
    split: SplitName | None = None
    further: tuple[Path, ...] = ()
    channels_in_file: int = 1

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of all channels."""
        return (self.image, *self.further)

    @property
    def channels(self) -> int:
        """How many channels the image has."""
        return len(self.images) * self.channels_in_file


def scan_key(case: Case) -> tuple[str, str]:
    """What tells a case's scan from all others: the scan's name alone may be used for two patients."""
    return case.patient, case.scan


def reading_order(case: Case) -> tuple[str, str, int, str]:
    """What cases are sorted by: patient, scan, number of the slice (2 before 10), id."""
    return (*scan_key(case), -1 if case.slice is None else case.slice, case.id)


def check_neighbours(cases: Sequence[Case]) -> None:
    """Refuse 2D slices of one scan whose order is not known, where a network sees neighbours.

    Parameters
    ----------
    cases
        2D slices, each a file of its own; several scans may be among them.

    Raises
    ------
    DataError
        When two slices of a scan have the same number, or none.
    """
    remedy = (
        "A slice's number is the last one in its file's name outside of what data.scan finds; name the files so, "
        "change data.scan, or set data.context: 0"
    )
    numbers: dict[tuple[str, str], dict[int | None, Case]] = {}
    for case in cases:
        known = numbers.setdefault(scan_key(case), {})
        other = known.setdefault(case.slice, case)
        if other is not case:
            name = "no number" if case.slice is None else f"the number {case.slice}"
            raise DataError(
                f"two slices of scan {case.scan!r} have {name}, so their neighbours are not known: {other.image} and "
                f"{case.image}", where="data.context", remedy=remedy,
            )  # fmt: skip


def stem(name: str) -> str:
    """A file name without its NIfTI suffix, which some copies of HipMRI carry twice.

    >>> stem("case_040_week_2_slice_17.nii.gz"), stem("a.b.nii"), stem("case_1.nii.gz.nii.gz")
    ('case_040_week_2_slice_17', 'a.b', 'case_1')
    """
    for suffix in SUFFIXES:
        while name.endswith(suffix):
            name = name.removesuffix(suffix)
    return name


def nifti_files(folder: Path) -> list[Path]:
    """The NIfTI files directly in a folder, sorted by name; hidden files are passed over.

    Raises
    ------
    DataError
        When the folder cannot be read.
    """
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"the folder cannot be read ({error.strerror})", where=str(folder),
                        remedy="Check it and its rights") from error  # fmt: skip
    return sorted(path for path in paths if path.name.endswith(SUFFIXES) and not path.name.startswith("."))


def listing(names: Iterable[object]) -> str:
    """Names in one string; the rest is counted where they are very many."""
    known = sorted(str(name) for name in names)
    text = ", ".join(known[:_LISTED])
    return text if len(known) <= _LISTED else f"{text} and {len(known) - _LISTED} more"


def unfit_names(cases: Sequence[Case], where: str) -> list[DataError]:
    """Faults for the case ids that stand more than once, with their files, and for those that make no file name."""
    files: dict[str, list[Path]] = {}
    for case in cases:
        files.setdefault(case.id, []).append(case.image)
    faults = []
    repeated = [f"{name} ({listing(paths)})" for name, paths in files.items() if len(paths) > 1]
    if repeated:
        faults.append(DataError(f"case ids that stand more than once: {listing(repeated)}", where=where,
                                remedy="Give each image a name of its own"))  # fmt: skip
    unsafe = [repr(name) for name in files if UNSAFE_NAME.search(name) or ".." in name]
    if unsafe:
        faults.append(DataError(f"case ids that are no file names: {listing(unsafe)}", where=where,
                                remedy="Rename the files: no backslash, no '..', no control character"))  # fmt: skip
    return faults
