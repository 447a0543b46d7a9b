"""A case through the chain, step by step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.commands.checks.trace import (
    Seen,
    Step,
    changed_labels,
    channel_lines,
    trace_case,
    trace_lines,
    trace_values,
)
from pipeline.data.cases import Case
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions

KEYS = ["image", "label"]


@pytest.fixture
def case(tmp_path: Path, write_nifti: Callable[..., Path]) -> Case:
    image = np.arange(4 * 6 * 3, dtype=np.float32).reshape(4, 6, 3)
    label = np.zeros((4, 6, 3), dtype=np.uint8)
    label[1:3, 2:4, 1], label[0, 0, 2] = 1, 2
    files = [write_nifti(tmp_path / f"{name}.nii", array) for name, array in (("image", image), ("label", label))]
    return Case("a", files[0], files[1], "p", "a")


def traced(case: Case, *steps: dict[str, Any]) -> list[Step]:
    first = [{"_target_": "LoadImaged", "keys": KEYS}, {"_target_": "EnsureChannelFirstd", "keys": KEYS}]
    return trace_case(PrepareChain([*first, *steps], ReadOptions()), case)


def test_each_step_is_seen(case: Case) -> None:
    scale = {"_target_": "ScaleIntensityd", "keys": "image", "minv": -1.0, "maxv": 1.0}
    pad = {"_target_": "SpatialPadd", "keys": KEYS, "spatial_size": [8, 8]}
    steps = traced(case, scale, pad)
    assert [step.name for step in steps] == ["LoadImaged", "EnsureChannelFirstd", "ScaleIntensityd", "SpatialPadd"]
    images = [step.image for step in steps if step.image is not None]
    assert [one.array.shape for one in images] == [(3, 4, 6)] * 3 + [(3, 8, 8)]
    assert [(one.low, one.high) for one in images] == [(0, 71), (0, 71), (-1, 1), (-1, 1)]
    labels = [step.label for step in steps if step.label is not None]
    assert len(labels) == 4 and all(one.values == (0.0, 1.0, 2.0) for one in labels)
    assert all(step.seconds > 0 for step in steps) and not changed_labels(steps)


def test_what_happens_to_the_labels_is_told(case: Case) -> None:
    steps = traced(case, {"_target_": "CenterSpatialCropd", "keys": KEYS, "roi_size": [2, 2]})
    assert changed_labels(steps) == ["after CenterSpatialCropd the label shows no 2 any more"]
    blurred = Seen(np.zeros((1, 2, 2)), (1, 2, 2), "float32", 0.0, 1.5, (0.0, 0.5, 1.0, 1.5))
    assert changed_labels([*steps, Step("Bad", 0.0, None, blurred)])[1:] == [
        "Bad makes label values that the file has not"
    ]
    many = Seen(np.zeros((1, 2, 2)), (1, 2, 2), "float32", 0.0, 1.5, None)
    assert changed_labels([Step("Bad", 0.0, None, many)]) == ["Bad makes label values that the file has not"]


def test_lines_and_values(case: Case) -> None:
    steps = traced(case)
    head, load, _ = (line.split() for line in trace_lines(steps))
    assert head == ["step", "image", "range", "label", "values", "ms"]
    assert " ".join(load[:-1]) == "LoadImaged 3 x 4 x 6 float32 0 to 71 3 x 4 x 6 float32 0 1 2"
    (value, _) = trace_values(steps)
    assert value["step"] == "LoadImaged" and value["image"]["shape"] == [3, 4, 6] and value["image"]["values"] is None
    assert value["label"]["values"] == [0.0, 1.0, 2.0] and value["milliseconds"] > 0


def test_a_slice_has_no_axis_of_slices_until_a_step_makes_one(tmp_path: Path, write_nifti: Callable[..., Path]) -> None:
    files = [write_nifti(tmp_path / f"{name}.nii", np.eye(4), dtype=np.uint8) for name in "ab"]
    steps = traced(Case("a", files[0], files[1], "p", "a"))
    found = [step.image for step in steps if step.image is not None]
    assert [one.shape for one in found] == [(4, 4), (1, 4, 4)]
    assert [one.array.shape for one in found] == [(1, 4, 4)] * 2


def test_each_channel_is_told() -> None:
    image = torch.stack([torch.zeros(3, 2, 2), torch.arange(12.0).reshape(3, 2, 2)], dim=1)
    assert [line.split() for line in channel_lines(image)[1:]] == [
        ["0", "0", "to", "0", "0"],
        ["1", "0", "to", "11", "5.5"],
    ]
