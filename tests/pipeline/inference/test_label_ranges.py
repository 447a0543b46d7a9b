"""What labels show of each class, by hand; and how far a prediction is like that."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.inspection import inspect_cases
from pipeline.inference.label_ranges import LabelRanges, label_ranges, training_ranges, union_of

ONE = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [2, 2, 2, 2]], dtype=np.uint8)  # class 1: 3 pixels in 2 parts; 2: 4 in 1
TWO = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=np.uint8)  # class 1: 6 pixels in 1 part


@pytest.fixture
def ranges() -> LabelRanges:
    """Of class 1: volumes 2 and 8, in 1 and 2 parts; of class 2: 5 in one of the two labels; of class 3 nothing."""
    return label_ranges(np.array([[90, 2, 5, 0], [80, 8, 0, 0]]), np.array([[0, 1, 1, 0], [0, 2, 0, 0]]))


def same(one: LabelRanges, other: LabelRanges) -> None:
    for name in one.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, name)[1:], getattr(other, name)[1:])


def test_by_hand(ranges: LabelRanges) -> None:
    assert ranges.always[1:].tolist() == [True, False, False]
    assert ranges.parts[1:].tolist() == [2, 1, 0]
    np.testing.assert_array_equal(ranges.least[1:], [2, 5, math.nan])
    np.testing.assert_array_equal(ranges.most[1:], [8, 5, math.nan])


def test_the_ratio_says_on_which_side_and_by_how_much(ranges: LabelRanges) -> None:
    assert [ranges.ratio(1, volume) for volume in (0, 1, 2, 5, 8, 20)] == [0, 0.5, 1, 1, 1, 2.5]
    assert [ranges.ratio(2, volume) for volume in (4, 5, 6)] == pytest.approx([0.8, 1, 1.2])
    assert math.isnan(ranges.ratio(2, 0)), "a label without it was seen"
    assert math.isnan(ranges.ratio(3, 7)) and math.isnan(ranges.ratio(3, 0))


def test_plausibility(ranges: LabelRanges) -> None:
    whole = np.array([10])
    assert [ranges.plausibility(1, volume, whole) for volume in (1, 2, 5, 8, 16)] == [0.5, 1, 1, 1, 0.5]
    assert ranges.plausibility(1, 5, np.array([6, 3, 1])) == pytest.approx(0.9)
    assert ranges.plausibility(2, 5, np.array([6, 3, 1])) == pytest.approx(0.6)
    assert ranges.plausibility(1, 1, np.array([5, 3, 2])) == pytest.approx(0.4)
    assert ranges.plausibility(3, 1e9, np.array([1, 1])) == 1  # no label has it: nothing is known


@pytest.fixture
def facts(
    write_nifti: Callable[..., Path], make_case: Callable[..., Any], make_config: Callable[..., Any], tmp_path: Path
) -> list[Any]:
    """What files tell: ONE and TWO as slices of 1 x 2 mm, and each twice over as a volume of 1 x 2 x 0.5 mm."""
    cases = []
    for name, mask in (("one", ONE), ("two", TWO)):
        for kind, array in (("flat", mask), ("deep", mask[..., None].repeat(2, -1))):
            files = {side: write_nifti(tmp_path / side / f"{name}_{kind}.nii.gz", array, (1.0, 2.0, 0.5))
                     for side in ("image", "label")}  # fmt: skip
            cases.append(make_case(f"{name}_{kind}", **files))
    return list(inspect_cases(make_config(data={"patient": "^(.+)$"}), cases))


def test_ranges_of_files_by_their_kind(facts: list[Any]) -> None:
    found = training_ranges(facts, knows_spacing=True)
    assert set(found) == {"slice", "volume"}
    for kind, voxel in (("slice", 2.0), ("volume", 2.0 * 0.5 * 2)):
        one = found[kind]  # type: ignore[index]
        assert one.least.tolist()[1:] == [3 * voxel, 4 * voxel]
        assert one.most.tolist()[1:] == [6 * voxel, 4 * voxel]
        assert one.parts.tolist() == [0, 2, 1]
        assert one.always.tolist()[1:] == [True, False]


def test_voxels_where_the_spacing_is_not_known(facts: list[Any]) -> None:
    found = training_ranges(facts, knows_spacing=False)
    assert found["slice"].most.tolist()[1:] == [6, 4]
    assert found["volume"].most.tolist()[1:] == [12, 8]


def test_a_union_is_the_range_of_all_labels_together(facts: list[Any], ranges: LabelRanges) -> None:
    parts = [training_ranges([fact], knows_spacing=True) for fact in facts]
    whole = training_ranges(facts, knows_spacing=True)
    found = union_of(parts)
    assert list(found) == ["slice", "volume"]
    for kind in found:
        same(found[kind], whole[kind])
    same(union_of([{"slice": ranges}])["slice"], ranges)


def test_plain_values_come_back(ranges: LabelRanges) -> None:
    again = LabelRanges.from_plain(json.loads(json.dumps(ranges.as_plain(), allow_nan=False)), 4)
    same(again, ranges)
    for name in ranges.__dataclass_fields__:
        assert getattr(again, name).dtype.kind == getattr(ranges, name).dtype.kind or name in ("least", "most")


@pytest.mark.parametrize("change", [{"least": [1]}, {"parts": ["x"] * 4}, {"most": 3}])
def test_odd_values_are_refused(ranges: LabelRanges, change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        LabelRanges.from_plain({**ranges.as_plain(), **change}, 4)
    with pytest.raises(ValueError, match="not of 3 classes"):
        LabelRanges.from_plain(ranges.as_plain(), 3)
    with pytest.raises(KeyError):
        LabelRanges.from_plain({}, 4)
