"""What a case is: one image with, perhaps, a label; a 2D slice file or a 3D volume that is read as slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    patient
        Never on both sides of a split.
    scan
        The examination; several 2D slices share one, a volume is one.
    slice
        The number of a 2D slice in its scan; None for a volume.
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
    """The NIfTI files directly in a folder, sorted by name; hidden files are passed over."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES) and not path.name.startswith("."))


def listing(names: Iterable[object]) -> str:
    """Names in one string; the rest is counted where they are very many."""
    known = sorted(str(name) for name in names)
    text = ", ".join(known[:_LISTED])
    return text if len(known) <= _LISTED else f"{text} and {len(known) - _LISTED} more"


def duplicates(cases: Sequence[Case], where: str) -> list[DataError]:
    """A fault for the case ids that stand more than once."""
    seen: dict[str, int] = {}
    for case in cases:
        seen[case.id] = seen.get(case.id, 0) + 1
    repeated = [name for name, count in seen.items() if count > 1]
    if not repeated:
        return []
    return [DataError(f"case ids that stand more than once: {listing(repeated)}", where=where,
                      remedy="Give each image a name of its own")]  # fmt: skip
