"""The resampling ceiling: what a chain alone loses, by hand and by brute force."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.cases import Case
from pipeline.evaluation.ceiling import resampling_ceiling, spread_scans
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions

CLASSES = ("background", "bar", "dot")


def chain(*steps: dict[str, Any]) -> PrepareChain:
    keys = ["image", "label"]
    first = [{"_target_": "LoadImaged", "keys": keys}, {"_target_": "EnsureChannelFirstd", "keys": keys}]
    return PrepareChain([*first, *steps, {"_target_": "ToTensord", "keys": keys}], ReadOptions())


def crop(*size: int) -> dict[str, Any]:
    return {"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": list(size)}


def resize(*size: int, mode: str = "nearest") -> dict[str, Any]:
    return {"_target_": "Resized", "keys": ["image", "label"], "spatial_size": list(size), "mode": ["bilinear", mode]}


@pytest.fixture
def store(tmp_path: Path, write_nifti: Callable[..., Path]) -> Callable[..., Case]:
    def write(name: str, label: np.ndarray, scan: str | None = None, number: int | None = None) -> Case:
        image = write_nifti(tmp_path / f"{name}.nii.gz", np.arange(label.size).reshape(label.shape), dtype=np.float32)
        mask = write_nifti(tmp_path / f"{name}_seg.nii.gz", label, dtype=np.uint8)
        return Case(name, image, mask, "p", scan or name, number)

    return write


def measure(cases: list[Case], *steps: dict[str, Any], spacing: tuple[float, ...] = (1.0, 1.0)) -> Any:
    return resampling_ceiling([chain(*steps)], cases, ReadOptions(), CLASSES, lambda case: spacing)


def drawing() -> np.ndarray:
    """12 x 12: a bar of rows 2 to 9 in columns 4 to 6, a dot in a corner."""
    label = np.zeros((12, 12), dtype=np.uint8)
    label[2:10, 4:7], label[0, 0] = 1, 2
    return label


@pytest.mark.parametrize("steps", [[], [crop(16, 20)], [resize(24, 24, mode="nearest-exact")]])
def test_a_chain_that_loses_nothing(store: Callable[..., Case], steps: list[dict[str, Any]]) -> None:
    found = measure([store("a", drawing())], *steps)
    assert found.dice.tolist() == [1, 1, 1] and found.hd95.tolist() == [0, 0, 0] and found.missed.tolist() == [0, 0, 0]
    assert (found.scans, found.cases) == (1, 1)


def test_a_crop_by_hand(store: Callable[..., Case]) -> None:
    # The middle 6 rows are kept, 3 to 8: of the bar's 8 rows 6 come back, and the dot does not.
    found = measure([store("a", drawing())], crop(6, 12), spacing=(2.0, 1.0))
    assert found.dice[1] == pytest.approx(2 * 6 / (8 + 6))
    assert found.dice[2] == 0 and found.missed.tolist() == [0, 0, 1]
    assert found.hd95[1] == pytest.approx(2.0), "one row of 2 at each end"
    assert found.hd95[2] == pytest.approx(np.hypot(24, 12)), "what is lost counts as the image's diagonal"


def test_a_resize_by_brute_force(store: Callable[..., Case]) -> None:
    label = np.zeros((12, 12), dtype=np.uint8)
    label[1:6, 3:10] = 1
    found = measure([store("a", label)], resize(4, 4, mode="nearest-exact"))
    # nearest-exact takes pixel floor((i + 1/2) 3) = 3 i + 1; on the way back each pixel is weighted linearly.
    small = label[1::3, 1::3].astype(float)
    weights = np.zeros((12, 4))
    for place in range(12):
        source = min(max((place + 0.5) / 3 - 0.5, 0), 3)
        low = int(source)
        weights[place, low] += 1 - (source - low)
        weights[place, min(low + 1, 3)] += source - low
    back = (weights @ small @ weights.T > 0.5).astype(int)
    assert 0 < back.sum() != label.sum(), "or it would show nothing"
    assert found.dice[1] == pytest.approx(2 * (back & label).sum() / (back.sum() + label.sum()))


def test_slices_of_a_scan_are_pooled_and_a_class_nobody_shows_has_no_figure(store: Callable[..., Case]) -> None:
    whole, cut = np.zeros((12, 12), dtype=np.uint8), np.zeros((12, 12), dtype=np.uint8)
    whole[5:7, :], cut[0:4, :] = 1, 1
    cases = [store("a0", whole, "a", 0), store("a1", cut, "a", 1)]
    found = measure(cases, crop(6, 12))
    # 24 voxels come back whole; of 48 those of row 3 do: Dice 2 * 36 / (72 + 36), not the mean of 1 and .4.
    assert found.dice[1] == pytest.approx(2 * 36 / (72 + 36))
    assert np.isnan(found.dice[2]) and np.isnan(found.hd95[2])
    assert (found.scans, found.cases) == (1, 2)


def test_a_volume_counts_along_its_axes(store: Callable[..., Case]) -> None:
    label = np.stack([drawing()] * 3, axis=2)
    found = measure([store("a", label)], crop(6, 12), spacing=(1.0, 1.0, 1.0))
    assert found.dice[1] == pytest.approx(2 * 6 / (8 + 6)) and found.hd95[1] == pytest.approx(1.0)


def test_whole_scans_are_taken_evenly() -> None:
    cases = [
        Case(f"{patient}{number}", Path(), None, patient, patient, number)
        for patient in "abcdef"
        for number in range(10)
    ]
    chosen = spread_scans(cases[::-1], lambda case: 1, limit=30)
    assert sorted({case.patient for case in chosen}) == ["a", "c", "f"]
    assert len(chosen) == 30, "each with all of its slices"
    assert len(spread_scans(cases, lambda case: 1, limit=1)) == 10, "one at least"
    assert len(spread_scans(cases, lambda case: 1, limit=10**9)) == 60
