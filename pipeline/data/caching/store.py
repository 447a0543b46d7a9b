"""Prepared slices in a folder: raw stacks by size, an index, and last a manifest with every size and checksum.

    images-0.f32   (N, C, H, W) little-endian float32 of the first size; images-1.f32 of the next, ...
    labels-0.u8    (N, H, W)
    index.npz      shapes (M, 4): slices, channels, height and width of each case; present (slices, K)
    manifest.json  {"format", "about", "files": {name: {"bytes", "crc32"}}}

A folder without a manifest is no store: who is killed while writing leaves nothing that could be taken for one.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from isal.isal_zlib import crc32

FORMAT = 1
_MANIFEST, _INDEX = "manifest.json", "index.npz"
_BLOCK = 2**20


class DamagedStore(Exception):
    """A folder that is no whole store; the text says why."""


@dataclass(frozen=True)
class Store:
    """A whole store, opened.

    Attributes
    ----------
    shapes
        (M, 4) slices, channels, height and width of each case.
    present
        (N, K) whether each slice shows each class, in the order of the cases.
    images, labels
        A stack a size, in the order in which sizes first appear, mapped from the files and read-only:
        (N, C, H, W) float32 and (N, H, W) uint8.
    """

    shapes: np.ndarray
    present: np.ndarray
    images: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...]

    def case(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The slices of one case: image (S, C, H, W) and label (S, H, W), as they lie in the files."""
        planes = [tuple(shape) for shape in self.shapes[:, 1:].tolist()]
        group = list(dict.fromkeys(planes)).index(planes[number])
        alike = [place for place in range(number) if planes[place] == planes[number]]
        rows = slice(start := int(self.shapes[alike, 0].sum()), start + int(self.shapes[number, 0]))
        return self.images[group][rows], self.labels[group][rows]


class StoreWriter:
    """Writes a store, a case at a time, in the order of the cases.

    Parameters
    ----------
    folder
        There, and empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, dict[str, int]] = {}
        self._sizes: dict[tuple[int, int], int] = {}
        self._shapes: list[tuple[int, ...]] = []
        self._present: list[np.ndarray] = []

    def add(self, image: np.ndarray, label: np.ndarray, present: np.ndarray) -> None:
        """Add a case's slices.

        Parameters
        ----------
        image
            (S, C, H, W) float32.
        label
            (S, H, W) uint8.
        present
            (S, K) whether each slice shows each class.

        Raises
        ------
        OSError
            When they cannot be written.
        """
        height, width = label.shape[1:]
        number = self._sizes.setdefault((height, width), len(self._sizes))
        self._append(f"images-{number}.f32", image.astype("<f4", copy=False))
        self._append(f"labels-{number}.u8", label.astype(np.uint8, copy=False))
        self._shapes.append(image.shape)
        self._present.append(present)

    def _append(self, name: str, array: np.ndarray) -> None:
        content = np.ascontiguousarray(array).data.cast("B")
        # Opened anew each time: volumes of many sizes would use up the files that a process may have open.
        with (self.folder / name).open("ab", buffering=0) as file:
            written = 0
            while written < len(content):
                written += file.write(content[written:]) or 0
        known = self._files.setdefault(name, {"bytes": 0, "crc32": 0})
        known["bytes"] += len(content)
        known["crc32"] = crc32(content, known["crc32"])

    def finish(self, about: Mapping[str, Any]) -> None:
        """Write the index and, once all else is on the disk, the manifest.

        Parameters
        ----------
        about
            What the store was made of, for people: plain values.

        Raises
        ------
        OSError
            When they cannot be written.
        """
        index = io.BytesIO()
        np.savez(index, shapes=np.array(self._shapes, dtype=np.int64), present=np.concatenate(self._present))
        self._append(_INDEX, np.frombuffer(index.getvalue(), dtype=np.uint8))
        for name in self._files:
            _to_disk(self.folder / name)
        manifest = {"format": FORMAT, "about": dict(about), "files": self._files}
        (self.folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        _to_disk(self.folder / _MANIFEST)


def _to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read_store(folder: Path, classes: int) -> Store:
    """Open a store, when every byte of it is what was written.

    Parameters
    ----------
    folder
        Of the store.
    classes
        How many classes its presence table has.

    Raises
    ------
    FileNotFoundError
        When there is none.
    DamagedStore
        When anything about it is not as the manifest says.
    """
    if not folder.is_dir():
        raise FileNotFoundError(str(folder))
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        files = {str(name): (int(known["bytes"]), int(known["crc32"])) for name, known in manifest["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedStore(f"its manifest cannot be read ({error})") from error
    if manifest.get("format") != FORMAT:
        raise DamagedStore(f"its format is {manifest.get('format')!r}, not {FORMAT}")
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # the checksum lets other threads run
        faults = [fault for fault in pool.map(lambda item: _fault(folder / item[0], *item[1]), files.items()) if fault]
    if faults:
        raise DamagedStore("; ".join(faults))
    try:
        return _mapped(folder, files, classes)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DamagedStore(f"its index does not fit its stacks ({error})") from error


def _fault(path: Path, size: int, checksum: int) -> str:
    """What is wrong with a file; nothing where it is whole."""
    buffer = memoryview(bytearray(_BLOCK))
    found, seen = 0, 0
    try:
        with path.open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != size:
                return f"{path.name} has {os.fstat(file.fileno()).st_size} bytes, not {size}"
            while count := file.readinto(buffer):
                found, seen = crc32(buffer[:count], found), seen + count
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    return "" if (found, seen) == (checksum, size) else f"the checksum of {path.name} is not the one that it had"


def _mapped(folder: Path, files: Mapping[str, Any], classes: int) -> Store:
    with np.load(folder / _INDEX, allow_pickle=False) as index:
        shapes, present = index["shapes"], index["present"]
    if shapes.ndim != 2 or shapes.shape[1] != 4 or present.shape != (shapes[:, 0].sum(), classes):
        raise ValueError(f"{shapes.shape} shapes and {present.shape} classes present")
    counts: dict[tuple[int, ...], int] = {}
    for slices, *rest in shapes.tolist():
        counts[tuple(rest)] = counts.get(tuple(rest), 0) + slices
    if len(files) != 2 * len(counts) + 1:
        raise ValueError(f"{len(files)} files of {len(counts)} sizes")
    images, labels = [], []
    for number, ((channels, height, width), slices) in enumerate(counts.items()):
        whole = np.memmap(folder / f"images-{number}.f32", "<f4", mode="r")
        images.append(whole.reshape(slices, channels, height, width))
        labels.append(np.memmap(folder / f"labels-{number}.u8", np.uint8, mode="r").reshape(slices, height, width))
    return Store(shapes, present, tuple(images), tuple(labels))
