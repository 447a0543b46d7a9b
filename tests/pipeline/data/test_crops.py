"""What a chain cuts off, counted by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.data.cases import Case
from pipeline.data.crops import crop_faults
from pipeline.data.inspection import inspect_cases
from pipeline.data.reading import read_options
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


def test_volumes_are_cropped_as_they_are_turned(make_config: Callable[..., Any], tmp_path: Path) -> None:
    # Of 6 columns (front to back) the last 4 are kept, in RAS. The label lies in the first: in the file that is turned
    # round, the first is the last. Both files lose their 6 voxels, and are tried each for itself.
    label = np.zeros((6, 6, 2), dtype=np.uint8)
    label[:, 0, 0] = 1
    cases = []
    for name, turn in (("a", [[0, 1], [1, 1], [2, 1]]), ("b", [[0, 1], [1, -1], [2, 1]])):
        for folder, array in (("images", np.random.default_rng(0).random((6, 6, 2))), ("labels", label)):
            path = tmp_path / folder / f"{name}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)).as_reoriented(np.array(turn)), path)
        cases.append(Case(name, tmp_path / f"images/{name}.nii.gz", tmp_path / f"labels/{name}.nii.gz", name, name))
    config = make_config(data={"patient": "^(.)"})
    step = {"_target_": "SpatialCropd", "keys": ["image", "label"], "roi_start": [0, 2], "roi_end": [6, 6]}
    told, _ = faults_of(config, cases, [step])
    assert ["cuts off 6 labelled voxels" in what for what in told] == [True, True]
    step = {"_target_": "SpatialPadd", "keys": ["image", "label"], "spatial_size": [8, 8]}
    assert faults_of(config, cases, [step]) == ([], 2), "grids that differ in orientation are two grids"
    config = make_config(data={"patient": "^(.)", "orientation": "file"})
    step = {"_target_": "SpatialCropd", "keys": ["image", "label"], "roi_start": [0, 2], "roi_end": [6, 6]}
    told, _ = faults_of(config, cases, [step])
    assert len(told) == 1 and "voxels of a " in told[0]
