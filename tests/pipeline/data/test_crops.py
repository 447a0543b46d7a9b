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
from transforms.plugins import plugin_classes, plugin_target

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


@pytest.mark.parametrize("by", ["MONAI's", "a plugin's", "a plugin's heir"])
def test_a_crop_to_the_foreground_is_tried_for_every_case(
    make_config: Callable[..., Any], tmp_path: Path, write_nifti: Callable[..., Path], by: str
) -> None:
    # Three slices of one size: the first is bright all over and kept whole; the second is dark where 3 voxels of its
    # label lie, in the last two columns; the third is dark there as well, but has no label.
    cases = []
    for name, dark, labelled in (("a", 0, 0), ("b", 2, 3), ("c", 2, 0)):
        image, label = np.full((6, 6), 5.0), np.zeros((6, 6), dtype=np.uint8)
        image[:, 6 - dark :] = 0
        image[0, 0] = 6
        label[:labelled, 4] = label[:, 1] = 1
        files = [write_nifti(tmp_path / f"{folder}/{name}.nii.gz", array, (1.0, 1.0))
                 for folder, array in (("images", image), ("labels", label * bool(name != "c")))]  # fmt: skip
        cases.append(Case(name, files[0], files[1], name, name))
    plugin = tmp_path / "mine.py"
    plugin.write_text("from monai.transforms import CropForegroundd\nclass Base(CropForegroundd): pass\n"
                      "class Cutd(Base): pass\n")  # fmt: skip
    name = {"MONAI's": "CropForegroundd", "a plugin's": "Base", "a plugin's heir": "Cutd"}[by]
    target = name if by == "MONAI's" else plugin_target(f"mine.{name}", plugin_classes(plugin)[name])
    step = {"_target_": target, "keys": ["image", "label"], "source_key": "image"}
    told, asked = faults_of(make_config(data={"patient": "^(.)"}), cases, [step])
    assert len(told) == 1 and "cuts off 3 labelled voxels of b (6 x 6)" in told[0]
    assert asked == 3


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
