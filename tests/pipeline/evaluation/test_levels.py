from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation import levels
from pipeline.evaluation.confusion import CaseCounts, SliceCounts


def one_class(true: int, false_positive: int = 0, false_negative: int = 0) -> SliceCounts:
    """Counts of one slice with a background and a class; ten voxels of background are found."""
    return SliceCounts.of(np.array([[[10, false_positive], [false_negative, true]]]))


# Patient A: scan 1 of two slice files, scan 2 of one. Patient B: a volume of two slices, its scan named as A's first.
#               slice     Dice of class 1            scan pooled
#   A, scan 1   a1  TP 1 FP 0 FN 1   2/3        \    TP 4 FP 2 FN 1: 8/11
#               a2  TP 3 FP 2 FN 0   3/4        /
#   A, scan 2   a3  TP 0 FP 4 FN 0   spurious        none
#   B, scan 1   b/0 TP 0 FP 0 FN 2   0 (missed) \    TP 2 FP 0 FN 2: 2/3
#               b/1 TP 2 FP 0 FN 0   1          /
COUNTS = [
    CaseCounts("a1", "1", "A", one_class(1, 0, 1), 2.0),
    CaseCounts("a2", "1", "A", one_class(3, 2, 0), 500.0),
    CaseCounts("a3", "2", "A", one_class(0, 4, 0), 2.0),
    CaseCounts("b", "1", "B", SliceCounts.of(np.array([[[10, 0], [2, 0]], [[10, 0], [0, 2]]])), None),
]
NONE = np.nan


def test_slices_stand_alone() -> None:
    units = levels.slice_units(COUNTS)
    np.testing.assert_allclose(units.figures["dice"][:, 1], [2 / 3, 3 / 4, NONE, 0, 1])
    assert units.patient.tolist() == [0, 0, 0, 1, 1]
    assert units.outcomes[:, 1].tolist() == [3, 3, 1, 2, 3]


def test_cases_pool_their_slices() -> None:
    units = levels.case_units(COUNTS)
    np.testing.assert_allclose(units.figures["dice"][:, 1], [2 / 3, 3 / 4, NONE, 2 / 3])
    assert [names["slices"] for names in units.names] == [1, 1, 1, 2]


def test_scans_pool_their_cases() -> None:
    units = levels.scan_units(COUNTS)
    assert [(names["patient"], names["scan"], names["slices"]) for names in units.names] == [
        ("A", "1", 2), ("A", "2", 1), ("B", "1", 2),
    ]  # fmt: skip
    np.testing.assert_allclose(units.figures["dice"][:, 1], [8 / 11, NONE, 2 / 3])
    np.testing.assert_allclose(units.figures["dice_with_empty"][:, 1], [8 / 11, 0, 2 / 3])
    assert units.patient.tolist() == [0, 0, 1]
    # Volumes add up in mm3: 2 voxels of 2 and 3 of 500 make 1.504 ml; B's spacing is unknown.
    np.testing.assert_allclose(units.figures["reference_ml"][:, 1], [1.504, 0, NONE])
    np.testing.assert_allclose(units.figures["predicted_ml"][:, 1], [2.502, 0.008, NONE])
    np.testing.assert_allclose(units.figures["difference_ml"][:, 1], [0.998, 0.008, NONE])


def test_patients_are_means_over_their_scans() -> None:
    units = levels.patient_units(levels.scan_units(COUNTS))
    assert list(units.names) == [
        {"patient": "A", "scans": 2, "slices": 3},
        {"patient": "B", "scans": 1, "slices": 2},
    ]
    np.testing.assert_allclose(units.figures["dice"][:, 1], [8 / 11, 2 / 3])
    np.testing.assert_allclose(units.figures["dice_with_empty"][:, 1], [4 / 11, 2 / 3])
    np.testing.assert_allclose(units.figures["reference_voxels"][:, 1], [5 / 2, 4])
    np.testing.assert_allclose(units.figures["predicted_ml"][:, 1], [(2.502 + 0.008) / 2, NONE])
    assert units.outcomes[:, 1].tolist() == [3, 3]


def test_rows_are_plain() -> None:
    first, second = levels.rows(levels.scan_units(COUNTS), ["background", "bladder"], [0, 4])[2:4]
    assert first["class"] == "background"
    assert second == {
        "scan": "2", "patient": "A", "slices": 1, "class_id": 4, "class": "bladder",
        "reference_voxels": 0, "predicted_voxels": 4,
        "reference_ml": 0.0, "predicted_ml": 0.008, "difference_ml": 0.008, "relative_difference": None,
        "dice": None, "dice_with_empty": 0.0, "iou": None, "precision": None, "recall": None,
        "hd95": None, "hd95_pooled": None, "assd": None, "surface_dice": None, "outcome": "spurious",
    }  # fmt: skip
    assert type(second["predicted_voxels"]) is int
    patient = levels.rows(levels.patient_units(levels.scan_units(COUNTS)), ["background", "bladder"], [0, 4])[1]
    assert patient["reference_voxels"] == pytest.approx(2.5)


def test_order_goes_by_number() -> None:
    named = [
        ("9", "b", "x"),
        ("10", "b", "x"),
        ("10", "a", "s_10"),
        ("10", "a", "s_2"),
        ("10", "a", "s_02"),
        ("", "", ""),
    ]
    counts = [CaseCounts(case, scan, patient, one_class(1)) for patient, scan, case in named]
    found = [(one.patient, one.case) for one in levels.in_order(counts)]
    assert found == [("", ""), ("9", "x"), ("10", "s_02"), ("10", "s_2"), ("10", "s_10"), ("10", "x")]
