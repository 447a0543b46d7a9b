"""Two folders with equal file names, images and labels; subfolders, of patients perhaps, are gone through."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.load import Config
from pipeline.data.cases import Case, entries, is_nifti_name, listing, stem
from pipeline.data.layouts.pairing import composed, from_here, need_root, unpaired
from pipeline.errors import DataError, Fault, raise_all


def find(config: Config, root: Path, faults: list[Fault]) -> list[Case]:
    """Pair the files of two folders by their names, below the folder and without the suffix.

    Raises
    ------
    DataError, Faults
        Folders that are missing or the same, files that do not pair, symbolic links that run in a circle.
    """
    need_root(config, root, "the images and the labels")
    data = config.settings.data
    named = {"images": data.images, "labels": data.labels}
    folders = {key: root / Path(value).expanduser() for key, value in named.items()}
    raise_all(
        DataError("no such folder", where=str(folder),
                  remedy=f"{config.where('data', key)}: give the folder of the {key}, such as --set data.{key}=DIR"
                  f"{from_here(named[key])}")
        for key, folder in folders.items() if not folder.is_dir()
    )  # fmt: skip
    images, labels = folders["images"], folders["labels"]
    if images.resolve() == labels.resolve():
        raise DataError("data.images and data.labels are the same folder: each image would be its own mask",
                        where=str(images), remedy="Give images and masks a folder each")  # fmt: skip
    image_files = _by_name(images, labels, faults)
    label_files = _by_name(labels, images, faults)
    faults += unpaired(image_files, label_files, images, labels)
    return [_case(name, path, label_files[name]) for name, path in image_files.items() if name in label_files]


def name_below(config: Config, root: Path, case: Case) -> str:
    """What ``data.patient`` and ``data.scan`` are matched with: the path below ``data.images``, without the suffix."""
    path = case.image.relative_to(root / Path(config.settings.data.images).expanduser())
    return _name_of(path)


def scattered_patients(config: Config, cases: Sequence[Case]) -> list[str]:
    """A word where subfolders look like patients, but each file in them counts as a patient of its own.

    One subfolder that holds all files there are says nothing of patients.
    """
    data = config.settings.data
    if data.layout != "folders" or data.patient is not None:
        return []
    below = [name_below(config, config.locate(data.root), case).partition("/") for case in cases]
    held = Counter(first for first, slash, _ in below if slash)
    several = sorted(name for name, count in held.items() if count > 1)
    loose = len(below) - held.total()
    if not several or len(held) + loose < 2:
        return []
    count, others = held[several[0]], len(several) - 1
    more = f", and {others} more subfolder{'s hold' if others > 1 else ' holds'} several" if others else ""
    return [
        f"{data.images}/{several[0]} holds {count} files, which count as {count} patients{more}; data.patient: "
        f"'^([^/]+){'' if loose else '/'}' would keep them together"
    ]


def _name_of(below: Path) -> str:
    return composed(below.with_name(stem(below.name)).as_posix())


def _case(name: str, image: Path, label: Path) -> Case:
    flat = name.replace("/", "_")
    return Case(flat, image, label, flat, flat)


def _by_name(folder: Path, other: Path, faults: list[Fault]) -> dict[str, Path]:
    """NIfTI files by their path below a folder, without the suffix."""
    found: dict[str, Path] = {}
    twice = []
    for path in _files_below(folder, other.resolve(), faults):
        below = path.relative_to(folder)
        name = _name_of(below)
        if name in found:
            twice.append(f"{below} and {found[name].relative_to(folder)}")
        found[name] = path
    if twice:
        faults.append(DataError(f"two files for one case: {listing(twice)}", where=str(folder),
                                remedy="Keep one of each"))  # fmt: skip
    return found


def _files_below(folder: Path, other: Path, faults: list[Fault]) -> list[Path]:
    """The NIfTI files of a folder and its subfolders, save hidden ones and `other`, which may lie within it."""
    found: list[Path] = []
    waiting: list[tuple[Path, frozenset[Path]]] = [(folder, frozenset([folder.resolve()]))]
    while waiting:
        here, above = waiting.pop()
        for path in entries(here):
            if path.name.startswith("."):
                continue
            if path.is_dir():
                real = path.resolve()
                if real in above:
                    faults.append(_circle(path))
                elif real != other:
                    waiting.append((path, above | {real}))
            elif path.is_symlink() and _runs_in_circle(path):
                faults.append(_circle(path))
            elif is_nifti_name(path.name):
                found.append(path)
    return sorted(found)


def _runs_in_circle(path: Path) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _circle(path: Path) -> DataError:
    return DataError("a symbolic link that runs in a circle; it is not followed", where=str(path),
                     remedy="Remove the link")  # fmt: skip
