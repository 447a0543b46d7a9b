"""The HipMRI study: six folders of 2D slices, or two folders of the 3D volumes that they were taken from."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.config.load import Config
from pipeline.data.cases import Case, SplitName, entries, listing, nifti_files, stem
from pipeline.data.layouts.pairing import unpaired
from pipeline.errors import ConfigError, DataError, Fault, raise_all

HIPMRI_DOI = "10.25919/45t8-p065"
HIPMRI_FOLDERS: dict[SplitName, tuple[str, str]] = {
    "train": ("keras_slices_train", "keras_slices_seg_train"),
    "validation": ("keras_slices_validate", "keras_slices_seg_validate"),
    "test": ("keras_slices_test", "keras_slices_seg_test"),
}
HIPMRI_VOLUMES = ("semantic_MRs_anon", "semantic_labels_anon")

# The patients of the six folders, so that results on the volumes compare with results on the slices.
_PATIENTS: dict[SplitName, frozenset[int]] = {
    "train": frozenset([*range(4, 34), 35]),
    "validation": frozenset(range(36, 40)),
    "test": frozenset(range(40, 43)),
}
_SPLIT_OF = {f"{patient:03d}": split for split, patients in _PATIENTS.items() for patient in patients}
_Numbers = tuple[str, ...]  # patient, week and, of a slice, its number
_SLICE, _SLICE_LABEL, _VOLUME, _VOLUME_LABEL = (
    (form, re.compile(pattern, re.IGNORECASE | re.ASCII))
    for form, pattern in (
        ("case_NNN_week_N_slice_N.nii.gz", r"case_(\d+)_week_(\d+)_slice_(\d+)"),
        ("seg_NNN_week_N_slice_N.nii.gz", r"seg_(\d+)_week_(\d+)_slice_(\d+)"),
        ("Case_NNN_WeekN_LFOV.nii.gz", r"case_(\d+)_week(\d+)_lfov"),
        ("Case_NNN_WeekN_SEMANTIC_LFOV.nii.gz", r"case_(\d+)_week(\d+)_semantic_lfov"),
    )
)


def hipmri_is_missing(root: Path) -> bool:
    """Whether no folder of either form is there: no data, rather than damaged data."""
    return not _has_slices(root) and not hipmri_has_volumes(root)


def hipmri_has_volumes(root: Path) -> bool:
    """Whether a folder of the 3D form is there: volumes have the scanner's affine, slices one that is undocumented."""
    return any(_folders_like(root, name) for name in HIPMRI_VOLUMES)


def hipmri_missing_message(root: Path) -> DataError:
    """What is missing, where to get it and what it should look like."""
    pairs = "\n".join(f"    {images:<23}{labels}" for images, labels in HIPMRI_FOLDERS.values())
    volumes, labels = HIPMRI_VOLUMES
    return DataError(
        f"no HipMRI data here; expected six folders of 2D slices, images and masks:\n{pairs}\n"
        f"  or the two folders of the 3D volumes:\n    {volumes:<23}{labels}\n"
        f"  The study: Dowling and Greer, CSIRO, https://doi.org/{HIPMRI_DOI} (3D volumes; the 2D slices are\n"
        "  derived from them). Read the licence, and acknowledge the HipMRI Study.\n"
        "  Point to the folder that holds them: HIPMRI_ROOT=DIR, or --set data.root=DIR",
        where=str(root),
        remedy="Without the data, bin/make_phantom DIR writes synthetic ones",
    )


def find(config: Config, root: Path, faults: list[Fault]) -> list[Case]:
    """The cases of either form.

    Raises
    ------
    DataError, ConfigError, Faults
        No data, both forms at once, missing folders, names that are not understood, images and labels that do not
        pair; of volumes, patients that the study's own split does not name.
    """
    if hipmri_is_missing(root):
        raise hipmri_missing_message(root)
    if _has_slices(root) and hipmri_has_volumes(root):
        raise DataError(
            f"two forms of the same scans: 2D slices ({_some(HIPMRI_FOLDERS)}) and 3D volumes "
            f"({', '.join(HIPMRI_VOLUMES)})", where=str(root),
            remedy="Give each form a folder of its own, and point data.root to one of them",
        )  # fmt: skip
    return _volumes(config, root, faults) if hipmri_has_volumes(root) else _slices(root, faults)


def _some(folders: dict[SplitName, tuple[str, str]]) -> str:
    return f"{folders['train'][0]} and so on"


def _has_slices(root: Path) -> bool:
    return any((root / name).is_dir() for pair in HIPMRI_FOLDERS.values() for name in pair)


def _folders_like(root: Path, name: str) -> list[Path]:
    """The folders of a name in any letter case; only the exact one, where it is there."""
    if (root / name).is_dir():
        return [root / name]
    if not root.is_dir():
        return []
    return [path for path in entries(root) if path.name.lower() == name.lower() and path.is_dir()]


def _slices(root: Path, faults: list[Fault]) -> list[Case]:
    missing = [name for pair in HIPMRI_FOLDERS.values() for name in pair if not (root / name).is_dir()]
    raise_all(
        DataError("a folder of the HipMRI layout is missing", where=str(root / name),
                  remedy="Copy the dataset whole: the six folders belong together")
        for name in missing
    )  # fmt: skip
    cases: list[Case] = []
    for split, (images, labels) in HIPMRI_FOLDERS.items():
        image_files = _by_numbers(root / images, _SLICE, faults)
        label_files = _by_numbers(root / labels, _SLICE_LABEL, faults)
        faults += unpaired(image_files, label_files, root / images, root / labels)
        for numbers in image_files.keys() & label_files.keys():
            patient, week, number = numbers
            scan = f"case_{patient}_week_{week}"
            name = f"{scan}_slice_{number}"
            cases.append(Case(name, image_files[numbers], label_files[numbers], patient, scan, int(number), split))
    return cases


def _volumes(config: Config, root: Path, faults: list[Fault]) -> list[Case]:
    images, labels = (_the_folder(root, name) for name in HIPMRI_VOLUMES)
    image_files = _by_numbers(images, _VOLUME, faults)
    label_files = _by_numbers(labels, _VOLUME_LABEL, faults)
    faults += unpaired(image_files, label_files, images, labels)
    foreign = {patient for patient, _ in image_files} - _SPLIT_OF.keys()
    if foreign and config.settings.splits.kind == "layout":
        faults.append(ConfigError(
            f"the study's split (train 004-033 and 035, validation 036-039, test 040-042) does not name the patients "
            f"{listing(foreign)} of {images}", where=config.where("splits"),
            remedy="Set splits.kind to 'holdout' or 'folds', or remove these patients",
        ))  # fmt: skip
    cases = []
    for patient, week in image_files.keys() & label_files.keys():
        name = f"case_{patient}_week_{week}"
        files = (image_files[patient, week], label_files[patient, week])
        cases.append(Case(name, *files, patient, name, split=_SPLIT_OF.get(patient)))
    return cases


def _the_folder(root: Path, name: str) -> Path:
    found = _folders_like(root, name)
    if not found:
        raise DataError("a folder of the HipMRI volumes is missing", where=str(root / name),
                        remedy="Copy the dataset whole: the two folders belong together")  # fmt: skip
    if len(found) > 1:
        raise DataError(f"folders that differ in letter case alone: {listing(path.name for path in found)}",
                        where=str(root), remedy=f"Keep one, as {name}")  # fmt: skip
    return found[0]


def _by_numbers(folder: Path, form: tuple[str, re.Pattern[str]], faults: list[Fault]) -> dict[_Numbers, Path]:
    """Files by (patient, week, and slice): paired by these numbers, never by the order of names."""
    found: dict[_Numbers, Path] = {}
    strange, twice = [], []
    for path in nifti_files(folder):
        match = form[1].fullmatch(stem(path.name))
        if match is None:
            strange.append(path.name)
            continue
        patient, *others = match.groups()
        numbers = (f"{int(patient):03d}", *(str(int(number)) for number in others))
        if numbers in found:
            twice.append(f"{path.name} and {found[numbers].name}")
        found[numbers] = path
    if strange:
        faults.append(DataError(f"names that are not {form[0]}: {listing(strange)}", where=str(folder),
                                remedy="Remove or rename them"))  # fmt: skip
    if twice:
        kind = "slice" if form in (_SLICE, _SLICE_LABEL) else "scan"
        faults.append(DataError(f"two files for one {kind}: {listing(twice)}", where=str(folder),
                                remedy="Keep one of each"))  # fmt: skip
    return found
