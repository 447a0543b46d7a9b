"""Near-identical images across a split: what finding them costs, which copies are found, and who is taken for one."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.ndimage import zoom

from benchmarks.frame import Setting, Table
from benchmarks.turns import take_turns
from pipeline.data.leakage.leaks import ALIKE, CANDIDATE
from pipeline.data.leakage.likeness import compare
from pipeline.data.leakage.thumbnails import find_candidates, thumbnail
from pipeline.data.phantom.writing import scan_volume

_HIPMRI = {"train": 11_460, "validation": 660, "test": 540}
_PATIENTS, _WEEKS, _EVERY, _COPIED = 8, 2, 2, 48


def tables(setting: Setting, limits: dict[str, Any]) -> Iterator[Table | str]:
    """Measure; each table."""
    keys, slices = _phantom(setting.sized(_PATIENTS, 2))
    yield _text(_costs(slices, setting.rounds, setting.sized(1, 20)))
    yield _text(_copies(slices, setting.sized(_COPIED, 6)))
    yield _text(_others(keys, slices))


def _text(lines: list[str]) -> str:
    return "\n".join([*lines, ""])


def _phantom(patients: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """(N, 3) patient, week and number of each slice; and the slices."""
    keys, slices = [], []
    for patient in range(4, 4 + patients):
        for week in range(_WEEKS):
            volume = scan_volume(patient, week, 0)[0]
            for number in range(0, volume.shape[2], _EVERY):
                keys.append((patient, week, number))
                slices.append(volume[:, :, number])
    return np.array(keys), slices


def _costs(slices: list[np.ndarray], rounds: int, smaller: int) -> list[str]:
    """Of one image, and of the search in a set as large as HipMRI, or so many times smaller."""
    rng = np.random.default_rng(0)
    volume = np.asfortranarray(rng.normal(size=(256, 256, 128)).astype(np.float32))
    length = len(thumbnail(slices[0]))
    counts = [count // smaller for count in _HIPMRI.values()]
    sides = [rng.normal(size=(count, length)).astype(np.float32) for count in counts]
    for side in sides:
        side /= np.linalg.norm(side.reshape(len(side), 2, -1), axis=2).repeat(length // 2, axis=1)
    train, validation, test = sides
    ways = {
        f"thumbnail of a slice {slices[0].shape}": (lambda: [thumbnail(part) for part in slices], len(slices)),
        f"thumbnail of a volume {volume.shape}": (lambda: thumbnail(volume), 1),
        f"search of {' + '.join(map(str, counts))} slices": (
            lambda: [
                list(find_candidates(few, many, CANDIDATE))
                for few, many in ((validation, train), (test, train), (test, validation))
            ],
            sum(counts),
        ),
    }
    lines = ["leaks: ms an image", ""]
    for name, (way, units) in ways.items():
        seconds = statistics.median(take_turns({name: way}, rounds, units)[name])
        lines.append(f"  {name:<44} {1e3 * seconds:>9.3f}")
    return lines


def _variants(image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    top = float(np.quantile(image, 0.995))
    noisy = [(image + rng.normal(0, share * top, image.shape)).astype(np.float32) for share in (0.02, 0.05)]
    yield "int16, scaled and shifted", np.rint(3 * image + 40).astype(np.int16)
    yield "noise of 2 %", noisy[0]
    yield "noise of 5 %", noisy[1]
    yield "mirrored", image[:, ::-1]
    yield "turned by 90 degrees", image.T[::-1]
    yield "cropped by 4 on each side", image[4:-4, 4:-4]
    yield "padded by 4 at one side", np.pad(image, ((4, 0), (0, 4)))
    yield "resampled by 1.03", zoom(image, 1.03, order=1)
    yield "resampled by 0.96", zoom(image, 0.96, order=1)
    yield "turned, noise of 2 %, cropped", noisy[0].T[::-1][3:, 1:-2]


def _copies(slices: list[np.ndarray], copied: int) -> list[str]:
    chosen = np.random.default_rng(0).choice(len(slices), copied, replace=False)
    thumbnails = np.stack([thumbnail(part) for part in slices])
    lines = [f"copies of {copied} phantom slices among {len(slices)}: found, lowest product and correlation", ""]
    products: dict[str, list[tuple[float, float]]] = {}
    for place in chosen:
        for name, copy in _variants(slices[place]):
            found = [one for one in find_candidates(thumbnail(copy)[None], thumbnails, CANDIDATE) if one.other == place]
            likeness = compare(copy, slices[place], found[0].orientations) if found else None
            products.setdefault(name, []).append((
                found[0].product if found else 0.0, likeness.correlation if likeness else 0.0,
            ))  # fmt: skip
    for name, pairs in products.items():
        least = np.min(pairs, axis=0)
        count = sum(correlation >= ALIKE for _, correlation in pairs)
        lines.append(f"  {name:<32} {count:>3} of {len(pairs)}   {least[0]:.3f}   {least[1]:.3f}")
    return lines


def _others(keys: np.ndarray, slices: list[np.ndarray]) -> list[str]:
    """Pairs that are no copies: of two patients, and of two weeks of one."""
    thumbnails = np.stack([thumbnail(part) for part in slices])
    other_patient = keys[:, None, 0] != keys[None, :, 0]
    other_week = ~other_patient & (keys[:, None, 1] != keys[None, :, 1])
    lines = ["pairs that are no copies: how many, how many were compared, taken for one, highest correlation", ""]
    for name, wanted in (("two patients", other_patient), ("two weeks of one patient", other_week)):
        began = time.perf_counter()
        found = [
            likeness.correlation
            for row, mask in enumerate(wanted)
            for one in find_candidates(thumbnails[row : row + 1], thumbnails[mask], CANDIDATE)
            if (likeness := compare(slices[row], slices[np.flatnonzero(mask)[one.other]], one.orientations))
        ]
        alarms = sum(value >= ALIKE for value in found)
        lines.append(f"  {name:<32} {int(wanted.sum()):>7} {len(found):>5} {alarms:>4}   {max(found, default=0):.3f}"
                     f"   ({time.perf_counter() - began:.1f} s)")  # fmt: skip
    return lines
