"""nnU-Net's raw datasets (version 2): imagesTr, labelsTr and a dataset.json that says what they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config.load import Config
from pipeline.data.cases import SUFFIXES, Case, SplitName, listing, nifti_files
from pipeline.data.layouts.class_names import by_value, checked_labels, class_faults
from pipeline.data.layouts.pairing import composed, is_file, need_root, unpaired
from pipeline.data.layouts.text_files import read_json
from pipeline.errors import ConfigError, DataError, Fault, raise_all

_KEYS = ("channel_names", "labels", "numTraining", "file_ending")
_EXAMPLE = (
    'Write one, such as {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "organ": 1}, "numTraining": 20, '
    '"file_ending": ".nii.gz"}'
)
_CHANNEL = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)


class _Files(NamedTuple):
    """Files by case; an image's by the number of the channel too."""

    images: dict[str, dict[int, Path]]
    labels: dict[str, Path]


def find(config: Config, root: Path, faults: list[Fault]) -> list[Case]:
    """The labelled cases of a dataset's folder; those of imagesTs are its test cases where labelsTs is there.

    Raises
    ------
    DataError, ConfigError, Faults
        A dataset.json that is missing or says what is not read; classes that are not the config's; files that are
        missing, do not pair or are not as many as it says.
    """
    need_root(config, root, "imagesTr, labelsTr and dataset.json")
    path = root / "dataset.json"
    content = read_json(path, _EXAMPLE)
    channels, ending, labels = _description(content, path)
    faults += class_faults(config, labels, path)
    train = _find_files(root, "Tr", channels, ending, faults)
    faults += _wrong_number(content["numTraining"], train, path)
    labelled = (root / "labelsTs").is_dir() and bool(nifti_files(root / "labelsTs"))
    test = _find_files(root, "Ts", channels, ending, faults) if labelled else _Files({}, {})
    if config.settings.splits.kind == "layout" and not labelled:
        faults.append(ConfigError(
            "this dataset gives no split: it has no test cases with labels, in imagesTs and labelsTs",
            where=config.where("splits"),
            remedy="Set splits.kind to 'holdout' or 'folds', or to 'file' with nnU-Net's splits_final.json",
        ))  # fmt: skip
    return [*_cases(train, channels, "train" if labelled else None), *_cases(test, channels, "test")]


def version_2_text(content: Mapping[str, Any]) -> str:
    """What a dataset.json of nnU-Net's first version reads in its second, as JSON."""
    names, training = content.get("labels"), content.get("training")
    values = by_value(names) if isinstance(names, dict) else {}
    return json.dumps({
        "channel_names": content.get("modality"),
        "labels": {str(name): value for value, name in values.items()},
        "numTraining": len(training) if isinstance(training, list) else content.get("numTraining"),
        "file_ending": ".nii.gz",
    }, ensure_ascii=False)  # fmt: skip


def _description(content: Mapping[str, Any], path: Path) -> tuple[int, str, dict[int, str]]:
    """How many channels there are, how file names end, and the class of each value."""
    if "modality" in content and "channel_names" not in content:
        raise _version_1(content, path)
    if "dataset" in content:
        raise DataError("'dataset' lists files of its own, which this layout does not read", where=str(path),
                        remedy="Write the list as a CSV, and set data.layout: table")  # fmt: skip
    missing = [key for key in _KEYS if key not in content]
    if missing:
        raise DataError(f"lacks {', '.join(missing)}", where=str(path), remedy=_EXAMPLE)
    channels, ending = content["channel_names"], content["file_ending"]
    faults: list[Fault] = []
    if not isinstance(channels, dict) or not channels or set(channels) != {str(n) for n in range(len(channels))}:
        faults.append(DataError(f"'channel_names' is {channels!r:.80}, expected each channel's name, from \"0\" on",
                                where=str(path), remedy='Such as {"0": "T1", "1": "T2"}'))  # fmt: skip
    if ending not in SUFFIXES:
        faults.append(DataError(f"'file_ending' is {ending!r:.40}, expected .nii.gz or .nii", where=str(path),
                                remedy="Convert the files to NIfTI, or correct it"))  # fmt: skip
    labels: dict[int, str] = {}
    try:
        labels = _labels(content["labels"], path)
    except Fault as fault:
        faults.append(fault)
    raise_all(faults)
    return len(channels), str(ending), labels


def _version_1(content: Mapping[str, Any], path: Path) -> DataError:
    """What to do with a dataset.json that has 'modality': it is the Decathlon's, or of nnU-Net's first version."""
    training = content.get("training")
    listed = [entry.get("image") for entry in training if isinstance(entry, dict)] if isinstance(training, list) else []
    if any(isinstance(image, str) and is_file(path.parent, image) for image in listed):
        remedy = "Set data.layout: decathlon"
    else:
        remedy = ("Set data.layout: decathlon where the files are as its 'training' lists them; where they end in "
                  f"_0000, write {version_2_text(content)}")  # fmt: skip
    return DataError("a dataset.json of nnU-Net's first version or of the Decathlon ('modality', no 'channel_names')",
                     where=str(path), remedy=remedy)  # fmt: skip


def _labels(labels: Any, path: Path) -> dict[int, str]:
    """Names by value; labels that are made of regions, or ignored, are no classes of one mask."""
    if not isinstance(labels, dict):
        raise DataError(f"'labels' is {labels!r:.80}, expected a number for each name", where=str(path),
                        remedy='Such as {"background": 0, "organ": 1}')  # fmt: skip
    faults = []
    regions = [name for name, value in labels.items() if isinstance(value, list)]
    if regions:
        faults.append(DataError(f"labels that are made of regions: {listing(regions)}; here each voxel has one class",
                                where=str(path), remedy="Give each value of the masks a name"))  # fmt: skip
    if "ignore" in labels:
        faults.append(DataError("an 'ignore' label: every voxel counts here, none can be left out", where=str(path),
                                remedy="Give these voxels a class, with data.label_map perhaps"))  # fmt: skip
    raise_all(faults)
    return checked_labels([(value, name) for name, value in labels.items()], path)


def _find_files(root: Path, side: str, channels: int, ending: str, faults: list[Fault]) -> _Files:
    """The files of imagesTr and labelsTr, or of imagesTs and labelsTs."""
    images, labels = root / f"images{side}", root / f"labels{side}"
    missing = [folder for folder in (images, labels) if not folder.is_dir()]
    faults += [DataError("no such folder", where=str(folder), remedy="Copy the dataset whole") for folder in missing]
    if missing:
        return _Files({}, {})
    by_channel = _by_channel(images, ending, channels, faults)
    label_files = {composed(path.name.removesuffix(ending)): path for path in _ending_so(labels, ending, faults)}
    first = {name: files[min(files)] for name, files in by_channel.items()}
    faults += unpaired(first, label_files, images, labels)
    faults += _missing_channels(by_channel, images, channels, ending)
    return _Files(by_channel, label_files)


def _cases(files: _Files, channels: int, split: SplitName | None) -> list[Case]:
    return [
        Case(name, by_number[0], files.labels[name], name, name, split=split,
             further=tuple(by_number[number] for number in range(1, channels)))
        for name, by_number in files.images.items()
        if name in files.labels and by_number.keys() >= set(range(channels))
    ]  # fmt: skip


def _by_channel(folder: Path, ending: str, channels: int, faults: list[Fault]) -> dict[str, dict[int, Path]]:
    """Image files by case, then by channel."""
    found: dict[str, dict[int, Path]] = {}
    strange, beyond = [], []
    for path in _ending_so(folder, ending, faults):
        match = _CHANNEL.fullmatch(composed(path.name.removesuffix(ending)))
        if match is None:
            strange.append(path.name)
        elif int(match[2]) >= channels:
            beyond.append(path.name)
        else:
            found.setdefault(match[1], {})[int(match[2])] = path
    if strange:
        faults.append(DataError(f"names without a channel: {listing(strange)}", where=str(folder),
                                remedy=f"Name images CASE_0000{ending}, CASE_0001{ending} ..."))  # fmt: skip
    if beyond:
        faults.append(DataError(f"files of channels that dataset.json does not name ({channels} in 'channel_names'): "
                                f"{listing(beyond)}", where=str(folder),
                                remedy="Name the channels, or remove the files"))  # fmt: skip
    return found


def _ending_so(folder: Path, ending: str, faults: list[Fault]) -> list[Path]:
    files = nifti_files(folder)
    forms: dict[str, list[str]] = {}
    for path in files:
        forms.setdefault(composed(path.name), []).append(path.name)
    alike = [" and ".join(map(ascii, names)) for names in forms.values() if len(names) > 1]
    if alike:
        faults.append(DataError(f"file names that differ in their Unicode form alone: {listing(alike)}",
                                where=str(folder), remedy="Keep one of each"))  # fmt: skip
    others = [path.name for path in files if not path.name.endswith(ending)]
    if others:
        faults.append(DataError(f"files that do not end in {ending}, as dataset.json has it: {listing(others)}",
                                where=str(folder), remedy="Convert or remove them, or mend 'file_ending'"))  # fmt: skip
    return [path for path in files if path.name.endswith(ending)]


def _missing_channels(
    by_channel: Mapping[str, Mapping[int, Path]], folder: Path, channels: int, ending: str
) -> list[DataError]:
    missing = [f"{name}_{number:04d}{ending}" for name, files in by_channel.items() for number in range(channels)
               if number not in files]  # fmt: skip
    if not missing:
        return []
    return [DataError(f"{len(missing)} files of channels are missing: {listing(missing)}", where=str(folder),
                      remedy="Add them, or remove their cases")]  # fmt: skip


def _wrong_number(said: Any, files: _Files, path: Path) -> list[DataError]:
    found = len(files.images.keys() | files.labels.keys())
    if said == found and not isinstance(said, bool):
        return []
    return [DataError(f"'numTraining' is {said!r:.40}, but there are {found} cases in imagesTr and labelsTr",
                      where=str(path), remedy="Copy the dataset whole, or correct 'numTraining'")]  # fmt: skip
