"""Find a dataset's cases on disk, or say everything that is missing or does not pair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.config.load import Config
from pipeline.data.cases import Case, SplitName, listing, nifti_files, reading_order, stem, unfit_names
from pipeline.errors import DataError, raise_all

HIPMRI_DOI = "10.25919/45t8-p065"
HIPMRI_FOLDERS: dict[SplitName, tuple[str, str]] = {
    "train": ("keras_slices_train", "keras_slices_seg_train"),
    "validation": ("keras_slices_validate", "keras_slices_seg_validate"),
    "test": ("keras_slices_test", "keras_slices_seg_test"),
}
_HIPMRI_NAME = re.compile(r"(case|seg)_(\d+)_week_(\d+)_slice_(\d+)", re.IGNORECASE | re.ASCII)


def find_cases(config: Config) -> list[Case]:
    """Every case of a config's dataset, ordered by patient, scan and slice.

    Raises
    ------
    DataError, Faults
        Missing folders, images without a label, labels without an image, names that are not understood, ids that stand
        twice: all of them at once.
    """
    root = config.locate(config.settings.data.root)
    cases = _hipmri(config, root) if config.settings.data.layout == "hipmri" else _folders(config, root)
    if not cases:
        raise DataError("no NIfTI file in it", where=str(root), remedy="Check data.root, data.images and data.labels")
    raise_all(unfit_names(cases, str(root)))
    return sorted(_identified(config, cases), key=reading_order)


def hipmri_is_missing(root: Path) -> bool:
    """Whether none of the six folders is there: no data, rather than damaged data."""
    return not any((root / name).is_dir() for pair in HIPMRI_FOLDERS.values() for name in pair)


def hipmri_missing_message(root: Path) -> DataError:
    """What is missing, where to get it and what it should look like."""
    pairs = "\n".join(f"    {images:<23}{labels}" for images, labels in HIPMRI_FOLDERS.values())
    return DataError(
        f"no HipMRI data here; expected six folders of 2D slices, images and masks:\n{pairs}\n"
        f"  The study: Dowling and Greer, CSIRO, https://doi.org/{HIPMRI_DOI} (3D volumes; the 2D slices are\n"
        "  derived from them). Read the licence, and acknowledge the HipMRI Study.\n"
        "  Point to the folder that holds the six: HIPMRI_ROOT=DIR, or --set data.root=DIR",
        where=str(root),
        remedy="Without the data, bin/make_phantom DIR writes synthetic ones",
    )


def _hipmri(config: Config, root: Path) -> list[Case]:
    if hipmri_is_missing(root):
        raise hipmri_missing_message(root)
    missing = [name for pair in HIPMRI_FOLDERS.values() for name in pair if not (root / name).is_dir()]
    raise_all(
        DataError("a folder of the HipMRI layout is missing", where=str(root / name),
                  remedy="Copy the dataset whole: the six folders belong together")
        for name in missing
    )  # fmt: skip
    cases: list[Case] = []
    faults: list[DataError] = []
    for split, (images, labels) in HIPMRI_FOLDERS.items():
        image_files = _by_numbers(root / images, "case", faults)
        label_files = _by_numbers(root / labels, "seg", faults)
        faults += _unpaired(image_files, label_files, root / images, root / labels)
        for numbers in image_files.keys() & label_files.keys():
            patient, week, number = numbers
            scan = f"case_{patient}_week_{week}"
            name = f"{scan}_slice_{number}"
            cases.append(Case(name, image_files[numbers], label_files[numbers], patient, scan, int(number), split))
    raise_all(faults)
    return cases


def _by_numbers(folder: Path, kind: str, faults: list[DataError]) -> dict[tuple[str, str, str], Path]:
    """Files by (patient, week, slice): paired by these numbers, never by the order of names."""
    found: dict[tuple[str, str, str], Path] = {}
    strange, twice = [], []
    for path in nifti_files(folder):
        match = _HIPMRI_NAME.fullmatch(stem(path.name))
        if match is None or match[1].lower() != kind:
            strange.append(path.name)
            continue
        numbers = (f"{int(match[2]):03d}", str(int(match[3])), str(int(match[4])))
        if numbers in found:
            twice.append(f"{path.name} and {found[numbers].name}")
        found[numbers] = path
    if strange:
        faults.append(DataError(f"names that are not {kind}_NNN_week_N_slice_N.nii.gz: {listing(strange)}",
                                where=str(folder), remedy="Remove or rename them"))  # fmt: skip
    if twice:
        faults.append(DataError(f"two files for one slice: {listing(twice)}", where=str(folder),
                                remedy="Keep one of each"))  # fmt: skip
    return found


def _unpaired(
    images: Mapping[Any, Path], labels: Mapping[Any, Path], image_folder: Path, label_folder: Path
) -> list[DataError]:
    faults = []
    lonely = [images[key].name for key in images.keys() - labels.keys()]
    if lonely:
        faults.append(DataError(f"{len(lonely)} images without a label in {label_folder}: {listing(lonely)}",
                                where=str(image_folder), remedy="Add the labels, or remove the images"))  # fmt: skip
    orphans = [labels[key].name for key in labels.keys() - images.keys()]
    if orphans:
        faults.append(DataError(f"{len(orphans)} labels without an image in {image_folder}: {listing(orphans)}",
                                where=str(label_folder), remedy="Add the images, or remove the labels"))  # fmt: skip
    return faults


def _folders(config: Config, root: Path) -> list[Case]:
    data = config.settings.data
    if not root.is_dir():
        raise DataError("no such folder", where=str(root),
                        remedy=f"{config.where('data', 'root')}: set it, with --set data.root=DIR or the environment "
                        "variable that it reads, to the folder that holds the images and the labels")  # fmt: skip
    named = {"images": data.images, "labels": data.labels}
    folders = {key: root / Path(value).expanduser() for key, value in named.items()}
    raise_all(
        DataError("no such folder", where=str(folder),
                  remedy=f"{config.where('data', key)}: give the folder of the {key}, such as --set data.{key}=DIR"
                  f"{_from_here(named[key])}")
        for key, folder in folders.items() if not folder.is_dir()
    )  # fmt: skip
    if folders["images"].resolve() == folders["labels"].resolve():
        raise DataError("data.images and data.labels are the same folder: each image would be its own mask",
                        where=str(folders["images"]), remedy="Give images and masks a folder each")  # fmt: skip
    images, image_faults = _by_stem(folders["images"])
    labels, label_faults = _by_stem(folders["labels"])
    raise_all([*image_faults, *label_faults, *_unpaired(images, labels, folders["images"], folders["labels"])])
    return [Case(name, path, labels[name], name, name) for name, path in images.items()]


def _from_here(text: str) -> str:
    """A hint for a relative path that would have been right from the folder that the command was typed in."""
    path = Path(text).expanduser()
    if path.is_absolute() or not path.is_dir():
        return ""
    return f". Relative paths start at data.root; from here it is {path.resolve()}"


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[DataError]]:
    found: dict[str, Path] = {}
    twice = []
    for path in nifti_files(folder):
        name = stem(path.name)
        if name in found:
            twice.append(f"{path.name} and {found[name].name}")
        found[name] = path
    if not twice:
        return found, []
    return found, [DataError(f"two files for one case: {listing(twice)}", where=str(folder), remedy="Keep one of each")]


def _identified(config: Config, cases: list[Case]) -> list[Case]:
    """The cases with their patients and scans, as the config's regular expressions find them in their ids."""
    patient, scan = config.settings.data.patient, config.settings.data.scan
    faults = []
    for key, pattern in (("patient", patient), ("scan", scan)):
        lost = [case.id for case in cases if pattern is not None and not _identity(pattern, case.id)[0]]
        if lost:
            faults.append(DataError(f"{pattern!r} finds nothing in {listing(lost)}", where=config.where("data", key),
                                    remedy="Change the expression, or rename the files"))  # fmt: skip
    raise_all(faults)
    if patient is not None:
        cases = [replace(case, patient=_identity(patient, case.id)[0]) for case in cases]
    if scan is not None:
        cases = [_in_scan(case, scan) for case in cases]
    return cases


def _identity(pattern: str, name: str) -> tuple[str, str]:
    """What the first group of an expression finds in a name, and the rest of the name; empty where it finds nothing."""
    found = re.search(pattern, name)
    if found is None or not found[1]:
        return "", name
    start, end = found.span(1)
    return found[1], f"{name[:start]} {name[end:]}"


def _in_scan(case: Case, pattern: str) -> Case:
    scan, rest = _identity(pattern, case.id)
    numbers = re.findall(r"\d+", rest)
    number = int(numbers[-1]) if case.slice is None and numbers else case.slice
    return replace(case, scan=scan, slice=number)
