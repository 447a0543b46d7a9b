"""What the layouts share: folders that must be there, images and labels that must pair."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TypeVar

from pipeline.config.load import Config
from pipeline.data.cases import listing
from pipeline.errors import DataError

Key = TypeVar("Key", bound=Hashable)


def need_root(config: Config, root: Path, holds: str) -> None:
    """Refuse a ``data.root`` that is no folder; `holds` says what should be in it.

    Raises
    ------
    DataError
        With the key, and how to set it.
    """
    if not root.is_dir():
        raise DataError("no such folder", where=str(root),
                        remedy=f"{config.where('data', 'root')}: set it, with --set data.root=DIR or the environment "
                        f"variable that it reads, to the folder that holds {holds}")  # fmt: skip


def from_here(text: str) -> str:
    """A hint for a relative path that would have been right from the folder that the command was typed in."""
    path = Path(text).expanduser()
    if path.is_absolute() or not path.exists():
        return ""
    return f". Relative paths start at data.root; from here it is {path.resolve()}"


def is_file(folder: Path, name: str) -> bool:
    """Whether a name that a list gives is a file's, from a folder; also names that no file can have are answered."""
    return os.path.isfile(folder / name)


def real_path(folder: Path, name: str) -> str:
    """What tells a file that a list names from all others: ``./a.nii``, ``x/../a.nii`` and ``a.nii`` are one.

    Links to folders are followed, those to files are not: stores that keep each content once, such as git-annex, link
    all blank masks to one file. A name that is no file's is given as it stands.
    """
    path = folder / name
    return os.path.join(os.path.realpath(path.parent), path.name) if is_file(folder, name) else str(path)


def composed(name: str) -> str:
    """A name in Unicode's form NFC: macOS takes accents apart (NFD), so that equal names may differ in their bytes.

    >>> composed("Mu\u0308ller") == "M\u00fcller"
    True
    """
    return unicodedata.normalize("NFC", name)


def unpaired(
    images: Mapping[Key, Path], labels: Mapping[Key, Path], image_folder: Path, label_folder: Path
) -> list[DataError]:
    """Faults for the images without a label, and the labels without an image; the files are named from their folder."""
    faults = []
    lonely = [images[key].relative_to(image_folder) for key in images.keys() - labels.keys()]
    if lonely:
        faults.append(DataError(f"{len(lonely)} images without a label in {label_folder}: {listing(lonely)}",
                                where=str(image_folder), remedy="Add the labels, or remove the images"))  # fmt: skip
    orphans = [labels[key].relative_to(label_folder) for key in labels.keys() - images.keys()]
    if orphans:
        faults.append(DataError(f"{len(orphans)} labels without an image in {image_folder}: {listing(orphans)}",
                                where=str(label_folder), remedy="Add the images, or remove the labels"))  # fmt: skip
    return faults
