"""Each case is prepared once, and what fails names its file."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data.caching.prepared import prepare_cases, sample_of
from pipeline.data.cases import Case
from pipeline.errors import Fault, ImageFileError
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions

ENTRIES = [
    {"_target_": "LoadImaged", "keys": ["image", "label"]},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
    {"_target_": "ToTensord", "keys": ["image", "label"]},
]


@pytest.fixture
def cases(tmp_path: Path, write_nifti: Callable[..., Path]) -> list[Case]:
    found = []
    for number in range(9):
        image = write_nifti(tmp_path / "images" / f"c{number}.nii.gz", np.full((4, 3), number), dtype=np.float32)
        label = write_nifti(tmp_path / "labels" / f"c{number}.nii.gz", np.full((4, 3), number % 3), dtype=np.uint8)
        found.append(Case(f"c{number}", image, label, f"p{number}", f"s{number}"))
    return found


def test_a_sample_names_the_files(make_case: Callable[..., Any]) -> None:
    assert sample_of(make_case("a")) == {"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}
    assert sample_of(make_case("a", label=None)) == {"image": "images/a.nii.gz"}


def test_each_case_is_prepared_once_and_in_its_place(cases: list[Case]) -> None:
    calls: Counter[str] = Counter()
    told: list[int] = []
    lock = threading.Lock()

    class Counting(PrepareChain):
        def __call__(self, sample: Any) -> dict[str, Any]:
            with lock:
                calls[sample["image"]] += 1
            return super().__call__(sample)

    dataset = prepare_cases(Counting(ENTRIES, ReadOptions()), cases, lambda: told.append(1), threads=3)
    for _ in range(3):
        for number in range(len(cases)):
            sample = dataset[number]
            assert torch.equal(torch.as_tensor(sample["image"]), torch.full((1, 1, 4, 3), float(number)))
            assert torch.equal(sample["label"], torch.full((1, 4, 3), number % 3, dtype=torch.uint8))
            assert sample["label"].dtype == torch.uint8, "a quarter of what the chain gave"
    assert calls == Counter({str(case.image): 1 for case in cases})
    assert len(told) == len(cases)


def test_a_fault_carries_its_file(cases: list[Case]) -> None:
    damaged = cases[5].image
    damaged.write_bytes(damaged.read_bytes()[:-12])
    with pytest.raises(ImageFileError) as fault:
        prepare_cases(PrepareChain(ENTRIES, ReadOptions()), cases)
    assert fault.value.where == str(damaged)


def test_a_step_that_fails_names_the_case(cases: list[Case]) -> None:
    flip = {"_target_": "Flipd", "keys": ["image", "label"], "spatial_axis": 7}
    with pytest.raises(Fault) as fault:
        prepare_cases(PrepareChain([*ENTRIES, flip], ReadOptions()), cases[:1])
    assert fault.value.where == str(cases[0].image)


def test_a_case_without_a_label_is_named(cases: list[Case]) -> None:
    bare = Case("bare", cases[0].image, None, "p", "s")
    with pytest.raises(Fault, match="no label") as fault:
        prepare_cases(PrepareChain(ENTRIES, ReadOptions()), [bare])
    assert fault.value.where == str(bare.image)
    dataset = prepare_cases(PrepareChain(ENTRIES, ReadOptions(), keys=("image",)), [bare])
    assert set(dataset[0]) == {"image"}


@pytest.mark.parametrize("value", [0.5, -1.0, 256.0])
def test_labels_that_are_no_classes_are_left_for_who_says_so(cases: list[Case], value: float) -> None:
    class Spoiling(PrepareChain):
        def __call__(self, sample: Any) -> dict[str, Any]:
            found = super().__call__(sample)
            found["label"][0, 0, 0] = value
            return found

    (sample,) = [prepare_cases(Spoiling(ENTRIES, ReadOptions()), cases[:1])[0]]
    assert float(sample["label"][0, 0, 0]) == value


def test_a_sample_that_was_dropped_is_prepared_again(cases: list[Case]) -> None:
    dataset = prepare_cases(PrepareChain(ENTRIES, ReadOptions()), cases)
    dataset.drop(3)
    assert [sample is None for sample in dataset._cache] == [number == 3 for number in range(9)]
    assert float(dataset[3]["image"].max()) == 3
