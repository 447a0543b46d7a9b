"""What a case is: one image with, perhaps, a label; a 2D slice file or a 3D volume that is read as slices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.safe_names import UNSAFE_NAME
from pipeline.errors import DataError

SplitName = Literal["train", "validation", "test"]
SUFFIXES = (".nii.gz", ".nii")
_SUFFIX = re.compile(r"(\.nii(\.gz)?)+\Z", re.IGNORECASE)
_LISTED = 100
_EXAMPLES = 3
_SHOWN = 60
_LONGEST_ID = 200  # bytes, of the 255 that a file's name may have


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

    >>> stem("case_040_week_2_slice_17.nii.gz"), stem("a.b.NII"), stem("case_1.nii.gz.nii.gz")
    ('case_040_week_2_slice_17', 'a.b', 'case_1')
    """
    return _SUFFIX.sub("", name)


def is_nifti_name(name: str) -> bool:
    """Whether a file is one to read, by its name: hidden files, macOS's ``._x.nii.gz`` among them, are not."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def entries(folder: Path) -> list[Path]:
    """What lies directly in a folder, sorted by name.

    Raises
    ------
    DataError
        When the folder cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"the folder cannot be read ({error.strerror})", where=str(folder),
                        remedy="Check it and its rights") from error  # fmt: skip


def nifti_files(folder: Path) -> list[Path]:
    """The NIfTI files directly in a folder, sorted by name; hidden files are passed over.

    Raises
    ------
    DataError
        When the folder cannot be read.
    """
    return [path for path in entries(folder) if is_nifti_name(path.name)]


def listing(names: Iterable[object]) -> str:
    """Names in one string; the rest is counted where they are very many."""
    known = sorted(str(name) for name in names)
    text = ", ".join(known[:_LISTED])
    return text if len(known) <= _LISTED else f"{text} and {len(known) - _LISTED} more"


def unfit_names(
    cases: Sequence[Case], where: str, remedy: str = "Give each image a name of its own"
) -> list[DataError]:
    """Faults for the case ids that stand more than once, with their files, and for those that make no file name.

    Parameters
    ----------
    cases
        All of a dataset.
    where
        What the faults name: the dataset's folder or table.
    remedy
        What to do where an id stands more than once.
    """
    files: dict[str, list[Path]] = {}
    for case in cases:
        files.setdefault(case.id, []).append(case.image)
    faults = []
    repeated = [f"{name} ({listing(paths)})" for name, paths in files.items() if len(paths) > 1]
    if repeated:
        faults.append(DataError(f"case ids that stand more than once: {listing(repeated)}", where=where,
                                remedy=remedy))  # fmt: skip
    unsafe = [f"{name!r:.{_SHOWN}}" for name in files if not _is_file_name(name)]
    if unsafe:
        faults.append(DataError(f"case ids that are no file names: {listing(unsafe)}", where=where,
                                remedy="Rename them: no slash or backslash, no '..', no control character, plain "
                                f"UTF-8, no dot or space at the start, {_LONGEST_ID} bytes at most"))  # fmt: skip
    return faults


def _is_file_name(name: str) -> bool:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:  # bytes of a file's name that are no UTF-8: tables and reports could not hold it
        return False
    return 0 < size <= _LONGEST_ID and ".." not in name and not UNSAFE_NAME.search(name)


def mixed_channels(cases: Sequence[Case], where: str) -> list[DataError]:
    """A fault where images of a dataset differ in their number of channels: no network takes them all."""
    by_count: dict[int, list[str]] = {}
    for case in cases:
        by_count.setdefault(case.channels, []).append(case.id)
    if len(by_count) < 2:
        return []
    counts = "; ".join(
        f"{count} in {len(names)} ({listing(sorted(names)[:_EXAMPLES])})" for count, names in sorted(by_count.items())
    )
    return [DataError(f"images differ in their number of channels: {counts}", where=where,
                      remedy="Give all images the same channels, or leave some out")]  # fmt: skip
