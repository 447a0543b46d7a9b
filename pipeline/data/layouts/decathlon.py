"""The Medical Segmentation Decathlon's tasks: a dataset.json that lists the images and the labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.config.load import Config
from pipeline.data.cases import Case, listing, stem
from pipeline.data.layouts.class_names import by_value, checked_labels, class_faults
from pipeline.data.layouts.nnunet import version_2_text
from pipeline.data.layouts.pairing import is_file, need_root, real_path
from pipeline.data.layouts.text_files import read_json
from pipeline.errors import DataError, Fault, raise_all

_EXAMPLE = (
    'Such as {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "organ"}, '
    '"training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]}'
)
_LISTS = ("training", "validation")  # "test" has no labels


def find(config: Config, root: Path, faults: list[Fault]) -> list[Case]:
    """The labelled cases that a dataset.json lists; an image of several modalities is one 4D file.

    Raises
    ------
    DataError, ConfigError, Faults
        A dataset.json that is missing or not of this form; classes that are not the config's; files that are missing,
        listed twice, or outside of the dataset's folder.
    """
    need_root(config, root, "dataset.json, imagesTr and labelsTr")
    path = root / "dataset.json"
    content = read_json(path, _EXAMPLE)
    channels, labels, pairs = _description(content, path)
    faults += [*class_faults(config, labels, path), *_wrong_files(content, pairs, path)]
    cases = []
    for image, label in pairs:
        if _leaves(image) or _leaves(label):
            continue
        name = stem(PurePosixPath(image).name)
        cases.append(Case(name, root / image, root / label, name, name, channels_in_file=channels))
    return cases


def _description(content: Mapping[str, Any], path: Path) -> tuple[int, dict[int, str], list[tuple[str, str]]]:
    """How many channels there are, the class of each value, and the pairs of images and labels."""
    if "channel_names" in content and "training" not in content:
        raise DataError("a dataset.json of nnU-Net ('channel_names', no 'training')", where=str(path),
                        remedy="Set data.layout: nnunet")  # fmt: skip
    missing = [key for key in ("modality", "labels", "training") if key not in content]
    if missing:
        raise DataError(f"lacks {', '.join(missing)}", where=str(path), remedy=_EXAMPLE)
    faults: list[Fault] = []
    modality, names = content["modality"], content["labels"]
    if not isinstance(modality, dict) or not modality or set(modality) != {str(n) for n in range(len(modality))}:
        faults.append(DataError(f"'modality' is {modality!r:.80}, expected the name of each channel, from \"0\" on",
                                where=str(path), remedy='Such as {"0": "T1", "1": "T2"}'))  # fmt: skip
    labels: dict[int, str] = {}
    pairs: list[tuple[str, str]] = []
    try:
        labels = _labels(names, path)
    except Fault as fault:
        faults.append(fault)
    for key in _LISTS:
        pairs += _pairs(key, content.get(key, []), path, faults)
    raise_all(faults)
    return len(modality), labels, pairs


def _labels(names: Any, path: Path) -> dict[int, str]:
    if not isinstance(names, dict):
        raise DataError(f"'labels' is {names!r:.80}, expected a name for each number", where=str(path),
                        remedy='Such as {"0": "background", "1": "organ"}')  # fmt: skip
    return checked_labels(list(by_value(names).items()), path)


def _pairs(key: str, listed: Any, path: Path, faults: list[Fault]) -> list[tuple[str, str]]:
    """Image and label of each entry; those of macOS's ``._`` files are passed over."""
    if not isinstance(listed, list):
        faults.append(DataError(f"'{key}' is no list", where=str(path), remedy=_EXAMPLE))
        return []
    pairs: list[tuple[str, str]] = []
    odd = []
    for number, entry in enumerate(listed):
        image, label = (entry.get("image"), entry.get("label")) if isinstance(entry, dict) else (None, None)
        if not (isinstance(image, str) and isinstance(label, str) and image and label):
            odd.append(str(number))
        elif not PurePosixPath(image).name.startswith("._"):
            pairs.append((image, label))
    if odd:
        faults.append(DataError(
            f"{len(odd)} entries of '{key}' do not name one image and one label (counted from 0: "
            f"{', '.join(odd[:20])}{' ...' if odd[20:] else ''})", where=str(path), remedy=_EXAMPLE,
        ))  # fmt: skip
    return pairs


def _wrong_files(content: Mapping[str, Any], pairs: list[tuple[str, str]], path: Path) -> list[DataError]:
    """Listed files that are outside of the dataset, listed twice, or not there."""
    listed = [name for pair in pairs for name in pair]
    faults = []
    outside = sorted({name for name in listed if _leaves(name)})
    if outside:
        faults.append(DataError(f"lists files outside of its own folder: {listing(outside)}", where=str(path),
                                remedy="Name files below the folder of dataset.json, without '..'"))  # fmt: skip
    names_of: dict[str, list[str]] = {}
    for name in (str(PurePosixPath(name)) for name in listed):
        names_of.setdefault(name if _leaves(name) else real_path(path.parent, name), []).append(name)
    repeated = [" as ".join(dict.fromkeys(names)) for names in names_of.values() if len(names) > 1]
    if repeated:
        faults.append(DataError(f"lists files more than once: {listing(repeated)}", where=str(path),
                                remedy="Keep one entry for each image, with a label of its own"))  # fmt: skip
    missing = sorted({name for name in listed if not _leaves(name) and not is_file(path.parent, name)})
    if missing:
        faults.append(DataError(f"lists {len(missing)} files that are not there: {listing(missing)}", where=str(path),
                                remedy=_remedy_for(missing, content, path)))  # fmt: skip
    return faults


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def _remedy_for(missing: list[str], content: Mapping[str, Any], path: Path) -> str:
    """nnU-Net's first version lists its files as the Decathlon does, but has the channel at the end of their names."""
    with_channel = [PurePosixPath(name).with_name(f"{stem(PurePosixPath(name).name)}_0000.nii.gz") for name in missing]
    if any(is_file(path.parent, str(name)) for name in with_channel):
        return f"There are such files ending in _0000: set data.layout: nnunet, and write {version_2_text(content)}"
    return "Copy the dataset whole, or take them off the list"
