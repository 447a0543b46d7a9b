from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipeline.evaluation.confusion import slice_confusions
from pipeline.evaluation.nnunet import nnunet_fields


def scored(reference: np.ndarray, prediction: np.ndarray, label: int) -> dict[str, float]:
    """One case and label straight from the masks, by nnU-Net's definition."""
    ref, pred = reference == label, prediction == label
    tp, fp, fn = int((ref & pred).sum()), int((~ref & pred).sum()), int((ref & ~pred).sum())
    some = tp + fp + fn > 0
    return {
        "Dice": 2 * tp / (2 * tp + fp + fn) if some else math.nan,
        "IoU": tp / (tp + fp + fn) if some else math.nan,
        "TP": tp, "FP": fp, "FN": fn, "TN": int((~ref & ~pred).sum()), "n_pred": fp + tp, "n_ref": fn + tp,
    }  # fmt: skip


def nullable(value: float) -> object:
    return None if math.isnan(value) else pytest.approx(value, rel=1e-12)


def test_equals_the_definition_on_random_cases() -> None:
    rng = np.random.default_rng(5)
    masks = [rng.integers(5, size=(2, 3, 3, 2)) * (rng.random((2, 3, 3, 2)) < 0.1) for _ in range(12)]
    confusion = np.stack([slice_confusions(reference, prediction, 5).sum(axis=0) for reference, prediction in masks])
    fields = nnunet_fields([f"case{i}" for i in range(12)], confusion)
    expected = [
        {str(label): scored(reference, prediction, label) for label in range(1, 5)} for reference, prediction in masks
    ]
    assert any(math.isnan(case["1"]["Dice"]) for case in expected)

    for found, case in zip(fields["metric_per_case"], expected, strict=True):
        assert found["metrics"] == {
            label: {field: nullable(value) for field, value in metrics.items()} for label, metrics in case.items()
        }
    means = {
        label: {field: float(np.nanmean([case[label][field] for case in expected])) for field in expected[0]["1"]}
        for label in ("1", "2", "3", "4")
    }
    assert fields["mean"] == {label: pytest.approx(metrics) for label, metrics in means.items()}
    foreground = {field: np.mean([metrics[field] for metrics in means.values()]) for field in means["1"]}
    assert fields["foreground_mean"] == pytest.approx(foreground)


def test_a_spurious_case_scores_zero_and_an_absent_class_null() -> None:
    # Class 1: one voxel of two found in the first case, spurious in the second. Class 2 is nowhere.
    confusion = np.array([[[2, 0, 0], [1, 1, 0], [0, 0, 0]], [[3, 1, 0], [0, 0, 0], [0, 0, 0]]])
    fields = nnunet_fields(["a", "b"], confusion, {"a": ("pred/a.nii.gz", "ref/a.nii.gz")})
    assert fields["mean"]["1"] == {
        "Dice": pytest.approx((2 / 3 + 0) / 2), "IoU": pytest.approx((1 / 2 + 0) / 2),
        "TP": 0.5, "FP": 0.5, "FN": 0.5, "TN": 2.5, "n_pred": 1, "n_ref": 1,
    }  # fmt: skip
    assert fields["mean"]["2"]["Dice"] is None
    assert fields["mean"]["2"]["TN"] == 4
    assert fields["foreground_mean"]["Dice"] is None  # as nnU-Net: a plain mean over the classes, of which one is none
    assert fields["foreground_mean"]["n_ref"] == 0.5
    first, second = fields["metric_per_case"]
    assert (first["prediction_file"], first["reference_file"]) == ("pred/a.nii.gz", "ref/a.nii.gz")
    assert (second["prediction_file"], second["reference_file"]) == (None, None)
    assert second["metrics"]["1"]["Dice"] == 0
    json.dumps(fields, allow_nan=False)


def test_background_alone_has_no_fields() -> None:
    fields = nnunet_fields(["a"], np.array([[[4]]]))
    assert fields["mean"] == {}
    assert fields["foreground_mean"]["Dice"] is None
    assert fields["metric_per_case"][0]["metrics"] == {}
