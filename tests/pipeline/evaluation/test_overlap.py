from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation import overlap
from pipeline.evaluation.confusion import slice_confusions

# reference  prediction      class 1: TP 3, FP 1, FN 1, TN 7
#  0 1 1 0    0 1 1 1        class 2: TP 1, FP 0, FN 1, TN 10
#  0 1 1 0    0 1 0 0        background: TP 5, FP 2, FN 1, TN 4
#  2 2 0 0    2 0 0 0
REFERENCE = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [2, 2, 0, 0]])
PREDICTION = np.array([[0, 1, 1, 1], [0, 1, 0, 0], [2, 0, 0, 0]])
DRAWN = np.array([[5, 1, 0], [1, 3, 0], [1, 0, 1]])

NONE = np.nan
METRICS = {
    "dice": overlap.dice,
    "dice_with_empty": overlap.dice_with_empty,
    "iou": overlap.iou,
    "precision": overlap.precision,
    "recall": overlap.recall,
    "relative_difference": overlap.relative_difference,
}


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (overlap.true_positives, [5, 3, 1]),
        (overlap.false_positives, [2, 1, 0]),
        (overlap.false_negatives, [1, 1, 1]),
        (overlap.true_negatives, [4, 7, 10]),
        (overlap.reference_voxels, [6, 4, 2]),
        (overlap.predicted_voxels, [7, 4, 1]),
        (overlap.dice, [10 / 13, 6 / 8, 2 / 3]),
        (overlap.dice_with_empty, [10 / 13, 6 / 8, 2 / 3]),
        (overlap.iou, [5 / 8, 3 / 5, 1 / 2]),
        (overlap.precision, [5 / 7, 3 / 4, 1]),
        (overlap.recall, [5 / 6, 3 / 4, 1 / 2]),
        (overlap.relative_difference, [1 / 6, 0, -1 / 2]),
    ],
)
def test_the_drawn_slice(function: Callable[[np.ndarray], np.ndarray], expected: list[float]) -> None:
    np.testing.assert_allclose(function(DRAWN), expected, rtol=1e-15)
    # A stack of any depth gives the same, one row a matrix.
    np.testing.assert_allclose(function(np.stack([[DRAWN, DRAWN]])), [[expected, expected]], rtol=1e-15)


@pytest.mark.parametrize(
    ("reference", "prediction", "outcome", "expected"),
    [
        # Class 1 in four voxels:  dice, dice_with_empty, iou, precision, recall, relative_difference
        ([0, 0, 0, 0], [0, 0, 0, 0], "both_empty", [NONE, NONE, NONE, NONE, NONE, NONE]),
        ([0, 0, 0, 0], [0, 1, 1, 0], "spurious", [NONE, 0, NONE, NONE, NONE, NONE]),
        ([0, 1, 1, 0], [0, 0, 0, 0], "missed", [0, 0, 0, NONE, 0, -1]),
        ([1, 1, 0, 0], [0, 0, 1, 0], "present", [0, 0, 0, 0, 0, -0.5]),  # both there, side by side
        ([1, 1, 0, 0], [1, 0, 0, 0], "present", [2 / 3, 2 / 3, 1 / 2, 1, 1 / 2, -0.5]),
    ],
)
def test_the_table_of_empty_classes(
    reference: list[int], prediction: list[int], outcome: str, expected: list[float]
) -> None:
    confusion = slice_confusions(np.array([reference]), np.array([prediction]), 2)[0]
    found = [metric(confusion)[1] for metric in METRICS.values()]
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    code = overlap.outcomes(overlap.reference_voxels(confusion), overlap.predicted_voxels(confusion))[1]
    assert overlap.OUTCOMES[code] == outcome


def test_volumes_in_mm3_and_in_voxels() -> None:
    # Class 1 of the drawing has 4 and 4 voxels, class 2 has 2 and 1; a voxel of 1 x 2 x 1.5 mm is 3 mm3.
    found = overlap.volumes(DRAWN, 3.0)
    np.testing.assert_allclose(found.reference, [18, 12, 6])
    np.testing.assert_allclose(found.predicted, [21, 12, 3])
    np.testing.assert_allclose(found.difference, [3, 0, -3])
    np.testing.assert_allclose(found.relative, [1 / 6, 0, -1 / 2])
    np.testing.assert_array_equal(overlap.volumes(DRAWN).reference, [6, 4, 2])


pairs = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).integers(4, size=(2, 3, 3, 4)))


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_dice_is_symmetric_and_a_function_of_iou(masks: np.ndarray) -> None:
    first, second = masks
    there, back = slice_confusions(first, second, 4), slice_confusions(second, first, 4)
    np.testing.assert_array_equal(overlap.dice_with_empty(there), overlap.dice_with_empty(back))
    np.testing.assert_allclose(overlap.dice(there), 2 * overlap.iou(there) / (1 + overlap.iou(there)), rtol=1e-12)
    # What is precise one way is found the other way.
    np.testing.assert_array_equal(np.nan_to_num(overlap.precision(there)), np.nan_to_num(overlap.recall(back)))


@settings(deadline=None, max_examples=60)
@given(pairs)
def test_pooled_dice_is_the_dice_of_the_volume(masks: np.ndarray) -> None:
    pooled = slice_confusions(masks[0], masks[1], 4).sum(axis=0)
    for label in range(4):
        reference, prediction = masks == label
        if reference.any():
            expected = 2 * (reference & prediction).sum() / (reference.sum() + prediction.sum())
            assert overlap.dice(pooled)[label] == pytest.approx(expected, rel=1e-12)
        else:
            assert np.isnan(overlap.dice(pooled)[label])


def test_agrees_with_monai() -> None:
    torch = pytest.importorskip("torch")
    from monai.metrics.meandice import DiceMetric

    # Forty slices of 4 x 4 with four classes, of which few hold all: every line of the table occurs.
    rng = np.random.default_rng(3)
    reference, prediction = (rng.integers(4, size=(4, 4, 40)) * (rng.random((4, 4, 40)) < 0.2) for _ in range(2))
    counts = slice_confusions(reference, prediction, 4)
    there, predicted = overlap.reference_voxels(counts), overlap.predicted_voxels(counts)
    assert set(overlap.outcomes(there, predicted).ravel()) == {0, 1, 2, 3}

    one_hot = [
        torch.nn.functional.one_hot(torch.from_numpy(mask), 4).permute(2, 3, 0, 1) for mask in (prediction, reference)
    ]
    present = DiceMetric(include_background=True)(*one_hot)
    np.testing.assert_allclose(overlap.dice(counts), np.asarray(present), rtol=1e-6)
    # With ignore_empty=False MONAI scores 0 where a class is spurious, as here, and 1 where both are empty.
    scored = DiceMetric(include_background=True, ignore_empty=False)(*one_hot)
    np.testing.assert_allclose(np.nan_to_num(overlap.dice_with_empty(counts), nan=1.0), np.asarray(scored), rtol=1e-6)
