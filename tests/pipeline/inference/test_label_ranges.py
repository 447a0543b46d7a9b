"""What labels show of each class, by hand; and how far a prediction is like that."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.inference.label_ranges import LabelRanges, label_ranges, training_ranges
from transforms.nifti import ReadOptions

ONE = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [2, 2, 2, 2]], dtype=np.uint8)  # class 1: 3 pixels in 2 parts; 2: 4 in 1
TWO = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=np.uint8)  # class 1: 6 pixels in 1 part


@pytest.fixture
def ranges() -> LabelRanges:
    return label_ranges([(ONE, (1.0, 2.0)), (TWO, (1.0, 1.0))], 4)


def test_by_hand(ranges: LabelRanges) -> None:
    assert ranges.always.tolist() == [False, True, False, False]
    assert ranges.parts.tolist() == [0, 2, 1, 0]
    np.testing.assert_array_equal(ranges.least, [math.nan, 6, 8, math.nan])
    np.testing.assert_array_equal(ranges.most, [math.nan, 6, 8, math.nan])
    np.testing.assert_allclose(ranges.log_mean, [math.nan, math.log(6), math.log(8), math.nan])
    np.testing.assert_allclose(ranges.log_deviation, [math.nan, 0, math.nan, math.nan])


def test_plausibility_and_z() -> None:
    labels = [(np.ones((1, count), dtype=np.uint8), (2.0, 1.0)) for count in (1, 4)]
    ranges = label_ranges(labels, 3)  # class 1: 2 and 8, in one part
    whole = np.array([10])
    assert [ranges.plausibility(1, volume, whole) for volume in (1, 2, 5, 8, 16)] == [0.5, 1, 1, 1, 0.5]
    assert ranges.plausibility(1, 5, np.array([6, 3, 1])) == pytest.approx(0.6)
    two = label_ranges([(ONE, (1.0, 2.0))], 3)  # class 1 in two parts
    assert two.plausibility(1, 6, np.array([6, 3, 1])) == pytest.approx(0.9)
    assert ranges.plausibility(1, 1, np.array([6, 4])) == pytest.approx(0.3)
    assert ranges.plausibility(2, 1e9, np.array([1, 1])) == 1  # no label has it: nothing is known
    # log 2 and log 8: mean log 4, standard deviation (n - 1) log 4 / sqrt 2.
    assert ranges.volume_z(1, 4) == pytest.approx(0, abs=1e-12)
    assert ranges.volume_z(1, 16) == pytest.approx(math.sqrt(2))
    assert math.isnan(ranges.volume_z(1, 0)) and math.isnan(ranges.volume_z(2, 3))


def test_one_label_gives_no_z(ranges: LabelRanges) -> None:
    assert math.isnan(ranges.volume_z(1, 3)) and math.isnan(ranges.volume_z(2, 3))


def test_files_are_read(write_nifti: Callable[..., Path], make_case: Callable[..., Any], tmp_path: Path) -> None:
    cases = [
        make_case(name, label=write_nifti(tmp_path / f"{name}.nii.gz", mask[..., None].repeat(2, -1), (1.0, 2.0, 0.5)))
        for name, mask in (("one", ONE), ("two", TWO))
    ]
    found = training_ranges(cases, ReadOptions(), 4)
    assert found.least.tolist()[1:3] == [6, 8]
    assert found.most.tolist()[1:3] == [12, 8]
    assert found.parts.tolist() == [0, 2, 1, 0]


def test_plain_values_come_back(ranges: LabelRanges) -> None:
    again = LabelRanges.from_plain(json.loads(json.dumps(ranges.as_plain(), allow_nan=False)))
    for name in ranges.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(ranges, name))
        assert getattr(again, name).dtype == getattr(ranges, name).dtype


@pytest.mark.parametrize("change", [{"least": [1]}, {"parts": ["x"] * 4}, {"most": 3}])
def test_odd_values_are_refused(ranges: LabelRanges, change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        LabelRanges.from_plain({**ranges.as_plain(), **change})
    with pytest.raises(KeyError):
        LabelRanges.from_plain({})
