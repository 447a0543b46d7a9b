"""What a chain cuts off, counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.cases import Case
from pipeline.data.crops import crop_faults
from pipeline.data.inspection import inspect_cases, read_options
from transforms.chain import PrepareChain

LOAD = [
    {"_target_": "LoadImaged", "keys": ["image", "label"]},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
]


def faults_of(config: Any, cases: list[Case], steps: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What is told, and how many images were prepared for it."""
    options = read_options(config)
    chain = PrepareChain([*LOAD, *steps], options, keys=("image",))
    facts = {fact.case: fact for fact in inspect_cases(config, cases)}
    asked = []

    def prepared(number: int) -> Any:
        asked.append(number)
        return chain({"image": str(cases[number].image)})["image"]

    return [fault.what for fault in crop_faults(chain, cases, facts, options, prepared)], len(asked)


@pytest.fixture
def three(tmp_path: Path, write_nifti: Callable[..., Path]) -> list[Case]:
    """Three 6 x 6 slices, each with one labelled column: the first, the third, none."""
    cases = []
    for name, column in (("a", 0), ("b", 2), ("c", None)):
        label = np.zeros((6, 6), dtype=np.uint8)
        if column is not None:
            label[:, column] = 1
        image = write_nifti(tmp_path / f"images/{name}.nii.gz", np.random.default_rng(0).random((6, 6)), (1.0, 1.0))
        cases.append(Case(name, image, write_nifti(tmp_path / f"labels/{name}.nii.gz", label, (1.0, 1.0)), name, name))
    return cases


def test_a_crop_of_the_labelled_column(make_config: Callable[..., Any], three: list[Case]) -> None:
    # 4 columns of 6 are kept, the second to the fifth: "a" loses its 6 voxels, "b" none.
    config = make_config(data={"patient": "^(.)"})
    step = {"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": [6, 4]}
    told, asked = faults_of(config, three, [step])
    assert len(told) == 1 and "cuts off 6 labelled voxels of a (6 x 6)" in told[0]
    assert asked == 3


def test_what_is_kept_whole_is_tried_once(make_config: Callable[..., Any], three: list[Case]) -> None:
    config = make_config(data={"patient": "^(.)"})
    step = {"_target_": "SpatialPadd", "keys": ["image", "label"], "spatial_size": [8, 8]}
    assert faults_of(config, three, [step]) == ([], 1)
