"""Find a dataset's cases on disk, or say everything that is missing or does not pair."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.config.load import Config
from pipeline.data.cases import Case, SplitName, duplicates, listing, nifti_files, stem
from pipeline.errors import DataError, raise_all

HIPMRI_DOI = "10.25919/45t8-p065"
HIPMRI_FOLDERS: dict[SplitName, tuple[str, str]] = {
    "train": ("keras_slices_train", "keras_slices_seg_train"),
    "validation": ("keras_slices_validate", "keras_slices_seg_validate"),
    "test": ("keras_slices_test", "keras_slices_seg_test"),
}
_HIPMRI_NAME = re.compile(r"(case|seg)_(\d+)_week_(\d+)_slice_(\d+)$", re.IGNORECASE)


def find_cases(config: Config) -> list[Case]:
    """Every case of a config's dataset, in the order of its ids.

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
    raise_all(duplicates(cases, str(root)))
    return sorted(cases, key=lambda case: (case.scan, -1 if case.slice is None else case.slice, case.id))


def hipmri_is_missing(root: Path) -> bool:
    """Whether none of the six folders is there: no data, rather than damaged data."""
    return not any((root / name).is_dir() for pair in HIPMRI_FOLDERS.values() for name in pair)


def hipmri_missing_message(root: Path) -> DataError:
    """What is missing, where to get it and what it should look like."""
    pairs = "; ".join(f"{images} with {labels}" for images, labels in HIPMRI_FOLDERS.values())
    return DataError(
        f"no HipMRI data here. Expected six folders of 2D slices: {pairs}",
        where=str(root),
        remedy=(
            f"The study's data: Dowling and Greer, CSIRO, https://doi.org/{HIPMRI_DOI} (read the licence; acknowledge the "
            "HipMRI Study). Point to the folder that holds the six with HIPMRI_ROOT=DIR or --set data.root=DIR, or make "
            "synthetic data with bin/make_phantom DIR"
        ),
    )


def _hipmri(config: Config, root: Path) -> list[Case]:
    if hipmri_is_missing(root):
        raise hipmri_missing_message(root)
    missing = [name for pair in HIPMRI_FOLDERS.values() for name in pair if not (root / name).is_dir()]
    raise_all(DataError("a folder of the HipMRI layout is missing", where=str(root / name),
                        remedy="Copy the dataset whole: the six folders belong together") for name in missing)  # fmt: skip
    cases: list[Case] = []
    faults: list[DataError] = []
    for split, (images, labels) in HIPMRI_FOLDERS.items():
        image_files = _by_numbers(root / images, "case", faults)
        label_files = _by_numbers(root / labels, "seg", faults)
        faults += _unpaired(image_files, label_files, root / images, root / labels)
        for numbers in sorted(image_files.keys() & label_files.keys()):
            patient, week, number = numbers
            scan = f"case_{patient}_week_{week}"
            cases.append(
                Case(f"{scan}_slice_{number}", image_files[numbers], label_files[numbers], patient, scan, int(number), split)
            )
    raise_all(faults)
    pattern = config.settings.data.patient
    return cases if pattern is None else [_with_patient(case, pattern) for case in cases]


def _by_numbers(folder: Path, kind: str, faults: list[DataError]) -> dict[tuple[str, str, str], Path]:
    """Files by (patient, week, slice): paired by these numbers, never by the order of names."""
    found: dict[tuple[str, str, str], Path] = {}
    strange, twice = [], []
    for path in nifti_files(folder):
        match = _HIPMRI_NAME.match(stem(path.name))
        if match is None or match[1].lower() != kind:
            strange.append(path.name)
            continue
        numbers = (match[2].zfill(3), str(int(match[3])), str(int(match[4])))
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


def _unpaired(images: dict, labels: dict, image_folder: Path, label_folder: Path) -> list[DataError]:  # type: ignore[type-arg]
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
    folders = {key: root / Path(value).expanduser() for key, value in (("images", data.images), ("labels", data.labels))}
    raise_all(
        DataError("no such folder", where=str(folder),
                  remedy=f"{config.where('data', key)}: give the folder of the {key}, such as --set data.{key}=DIR")
        for key, folder in folders.items() if not folder.is_dir()
    )  # fmt: skip
    images, image_faults = _by_stem(folders["images"])
    labels, label_faults = _by_stem(folders["labels"])
    raise_all([*image_faults, *label_faults, *_unpaired(images, labels, folders["images"], folders["labels"])])
    cases = [Case(name, path, labels[name], name, name) for name, path in images.items()]
    return [_with_patient(case, data.patient, data.scan) for case in cases]


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


def _with_patient(case: Case, patient: str | None, scan: str | None = None) -> Case:
    """The case with its patient and scan, as the config's regular expressions find them in its id."""
    fields = {}
    for key, pattern in (("patient", patient), ("scan", scan)):
        if pattern is None:
            continue
        found = re.search(pattern, case.id)
        if found is None or not found[1]:
            raise DataError(f"data.{key} {pattern!r} finds nothing in {case.id!r}", where=str(case.image),
                            remedy="Change the expression, or rename the file")  # fmt: skip
        fields[key] = found[1]
    if not fields:
        return case
    number = re.findall(r"\d+", case.id)
    values = {**case.__dict__, **fields}
    if case.slice is None and scan is not None and fields["scan"] != case.id:
        values["slice"] = int(number[-1]) if number else None
    return Case(**values)
