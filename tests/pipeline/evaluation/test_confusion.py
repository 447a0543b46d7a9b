from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.evaluation.confusion import CaseCounts, SliceCounts, count_slices, slice_confusions

ROOT = Path(__file__).parents[3]


def by_loops(reference: np.ndarray, prediction: np.ndarray, n_classes: int) -> np.ndarray:
    """Count voxel by voxel, slices in the last axis."""
    counts = np.zeros((reference.shape[2], n_classes, n_classes), dtype=int)
    for place in np.ndindex(reference.shape):
        counts[place[2], reference[place], prediction[place]] += 1
    return counts


def test_counts_a_drawn_slice() -> None:
    # reference  prediction
    #  0 1 1 0    0 1 1 1
    #  0 1 1 0    0 1 0 0
    #  2 2 0 0    2 0 0 0
    reference = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [2, 2, 0, 0]])
    prediction = np.array([[0, 1, 1, 1], [0, 1, 0, 0], [2, 0, 0, 0]])
    counts = slice_confusions(reference, prediction, 3)
    assert counts.dtype == np.int64
    # The rows: six voxels of background, one of them called 1; four of class 1, one lost; two of class 2, one lost.
    assert counts.tolist() == [[[5, 1, 0], [1, 3, 0], [1, 0, 1]]]


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3),
    n_classes=st.sampled_from([1, 2, 6, 16, 17, 40]),  # 17 is the first whose pairs of ids need two bytes
    seed=st.integers(0, 2**32 - 1),
    types=st.tuples(*[st.sampled_from(["u1", "i1", "i2", "u4", "i8", ">i2"])] * 2),
    orders=st.tuples(*[st.sampled_from("CF")] * 2),
)
def test_equals_a_loop(
    shape: tuple[int, int, int], n_classes: int, seed: int, types: tuple[str, str], orders: tuple[str, str]
) -> None:
    rng = np.random.default_rng(seed)
    reference, prediction = (
        np.asarray(rng.integers(n_classes, size=shape), dtype=kind, order=order)  # type: ignore[call-overload]
        for kind, order in zip(types, orders, strict=True)
    )
    expected = by_loops(reference, prediction, n_classes)
    np.testing.assert_array_equal(slice_confusions(reference, prediction, n_classes), expected)
    for axis in (0, 1):
        moved = [np.moveaxis(mask, 2, axis) for mask in (reference, prediction)]
        np.testing.assert_array_equal(slice_confusions(moved[0], moved[1], n_classes, axis=axis), expected)


@pytest.mark.parametrize(("slices", "n_classes"), [(256, 16), (257, 16), (5, 118), (4, 118)])
@pytest.mark.parametrize("turned", [False, True])
def test_slices_that_lie_side_by_side_are_counted_apart(slices: int, n_classes: int, turned: bool) -> None:
    """As many bins as 16 bits can tell apart, and more: the highest id of the last slice has the last bin."""
    rng = np.random.default_rng(slices)
    masks = [np.asfortranarray(rng.integers(n_classes, size=(slices, 2, 3), dtype=np.uint8)) for _ in range(2)]
    masks = [np.asfortranarray(mask.transpose(0, 2, 1)).transpose(0, 2, 1) if turned else mask for mask in masks]
    for mask in masks:
        mask[-1] = n_classes - 1
    expected = np.zeros((slices, n_classes, n_classes), int)
    for number, *pixel in np.ndindex(masks[0].shape):
        expected[number, masks[0][number, *pixel], masks[1][number, *pixel]] += 1
    np.testing.assert_array_equal(slice_confusions(masks[0], masks[1], n_classes, axis=0), expected)


def test_a_slice_is_a_volume_of_one() -> None:
    rng = np.random.default_rng(0)
    reference, prediction = rng.integers(3, size=(2, 5, 7))
    expected = by_loops(reference[..., np.newaxis], prediction[..., np.newaxis], 3)
    np.testing.assert_array_equal(slice_confusions(reference, prediction, 3), expected)


def test_masks_may_be_bool_and_stay_untouched() -> None:
    reference = np.array([[True, False]])
    prediction = np.array([[1, 1]], dtype=np.uint8)
    assert slice_confusions(reference, prediction, 2).tolist() == [[[0, 1], [0, 1]]]
    assert reference.tolist() == [[True, False]]
    assert prediction.tolist() == [[1, 1]]


@pytest.mark.parametrize("role", ["reference", "prediction"])
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([0, 6, 2], "6"),
        ([-1, 0, 5], "-1"),
        ([-1, 0, 255], "-1, 255"),
        ([300, 6, 7, 8, 9, 10, 11], "6, 7, 8, 9, 10 and 2 more"),
    ],
)
def test_values_out_of_range_are_named(role: str, values: list[int], named: str) -> None:
    bad = np.array([values], dtype=np.int16)
    masks = {"reference": np.zeros_like(bad), "prediction": np.zeros_like(bad), role: bad}
    with pytest.raises(DataError) as caught:
        slice_confusions(masks["reference"], masks["prediction"], 6)
    assert caught.value.what == f"the {role} has values {named}, expected 0 to 5"
    assert "data.label_map" in caught.value.remedy


@pytest.mark.parametrize("value", [256, 2**32, 2**40 + 1])
def test_a_value_is_not_wrapped_into_the_range(value: int) -> None:
    # As one byte these would read as 0, 0 and 1.
    with pytest.raises(DataError, match=str(value)):
        slice_confusions(np.array([[value]]), np.array([[0]]), 2)


@pytest.mark.parametrize(
    ("reference", "prediction", "says"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"shape \(2, 3\) and the prediction \(3, 2\)"),
        (np.zeros(4, int), np.zeros(4, int), r"shape \(4,\), expected a slice"),
        (np.zeros((2, 2, 2, 2), int), np.zeros((2, 2, 2, 2), int), "expected a slice"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), "the reference has type float64"),
        (np.zeros((2, 2), int), np.zeros((2, 2), np.float32), "the prediction has type float32"),
    ],
)
def test_masks_that_cannot_be_compared_are_refused(reference: np.ndarray, prediction: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        slice_confusions(reference, prediction, 2)


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 3), (1, 1, 2, 2)])
def test_case_counts_refuse_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected \\(S, K, K\\)"):
        SliceCounts.of(np.zeros(shape, int))


@pytest.mark.parametrize(("tallies", "confusion"), [((1, 3, 2), (3, 3)), ((1, 2, 2), (2, 2)), ((1, 3, 2), (2, 3))])
def test_counts_that_do_not_fit(tallies: tuple[int, ...], confusion: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected \\(S, 3, K\\)"):
        SliceCounts(np.zeros(tallies, int), np.zeros(confusion, int))


def test_the_tallies_of_slices_by_hand() -> None:
    reference = np.array([[[0, 1], [1, 2]], [[0, 0], [2, 2]]])  # two slices of 2 x 2
    prediction = np.array([[[0, 1], [2, 2]], [[1, 0], [2, 0]]])
    found = count_slices(reference, prediction, 3, axis=0)
    assert found.tallies.tolist() == [[[1, 1, 1], [1, 2, 1], [1, 1, 2]], [[1, 0, 1], [2, 0, 2], [2, 1, 1]]]
    assert found.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [1, 0, 2]]
    assert len(found) == 2
    assert found.tallies.dtype == found.confusion.dtype == np.int64
    same = SliceCounts.of(slice_confusions(reference, prediction, 3, axis=0))
    np.testing.assert_array_equal(same.tallies, found.tallies)
    np.testing.assert_array_equal(same.confusion, found.confusion)


@pytest.mark.parametrize("volume", [0.0, -1.0, float("nan"), float("inf")])
def test_case_counts_refuse_a_volume_that_is_none(volume: float) -> None:
    with pytest.raises(ValueError, match="voxel_volume_mm3"):
        CaseCounts("case", "scan", "patient", SliceCounts.of(np.zeros((1, 2, 2), int)), volume)


def test_the_room_needs_neither_torch_nor_monai() -> None:
    code = (
        "import sys, pipeline.evaluation.tables; "
        "print([name for name in ('torch', 'monai', 'scipy', 'nibabel', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
