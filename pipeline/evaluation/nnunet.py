"""The fields of nnU-Net's summary.json, so that tools made for those read this project's evaluation.

They keep to nnU-Net's definition, which is not that of this project's headline: one unit is one case; a class that the
reference lacks and the prediction has scores 0 and counts; where both lack it there is no score. So ``mean[c]["Dice"]``
is the mean of `dice_with_empty` over the cases. Source: nnU-Net v2, nnunetv2/evaluation/evaluate_predictions.py.

nnU-Net writes NaN for a missing score, which is not JSON; here it is null. A mean is null when no case has a score, and
a foreground mean when some class has no mean (nnU-Net takes a plain mean over the classes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation import overlap

__all__ = ["nnunet_fields"]

_FIELDS = ("Dice", "IoU", "FP", "TP", "FN", "TN", "n_pred", "n_ref")


def nnunet_fields(
    cases: Sequence[str], counts: overlap.Counts, files: Mapping[str, tuple[str | None, str]] | None = None,
    class_ids: Sequence[int] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Give the fields `mean`, `foreground_mean` and `metric_per_case`.

    Parameters
    ----------
    cases
        Names of the N cases.
    counts
        Voxel counts of each case: confusion matrices (N, K, K), or tallies (N, K).
    files
        Prediction file and reference file of a case; those of an unlisted case are null.
    class_ids
        The value of each class in the files, by which it is named; else its place.

    Returns
    -------
    dict
        JSON-ready. Classes are named by their ids as text, without the background; counts are voxels, means of counts
        are not whole; NaN is None.
    """
    scores = _scores(counts)
    n_classes = scores["TP"].shape[-1]
    places = range(1, n_classes)
    ids = range(n_classes) if class_ids is None else class_ids
    files = files or {}
    mean = {str(ids[place]): {field: _nanmean(scores[field][:, place]) for field in _FIELDS} for place in places}
    return {
        "foreground_mean": {field: _mean([one[field] for one in mean.values()]) for field in _FIELDS},
        "mean": mean,
        "metric_per_case": [
            {
                "metrics": {
                    str(ids[place]): {field: _number(scores[field][index, place]) for field in _FIELDS}
                    for place in places
                },
                "prediction_file": files.get(case, (None, None))[0],
                "reference_file": files.get(case, (None, None))[1],
            }
            for index, case in enumerate(cases)
        ],
    }


def _scores(confusion: overlap.Counts) -> dict[str, np.ndarray]:
    """Every field, shape (N, K)."""
    true = overlap.true_positives(confusion)
    union = overlap.reference_voxels(confusion) + overlap.predicted_voxels(confusion) - true
    none = np.full(union.shape, np.nan)
    return {
        "Dice": overlap.dice_with_empty(confusion),
        "IoU": np.divide(true, union, out=none, where=union > 0),
        "FP": overlap.false_positives(confusion),
        "TP": true,
        "FN": overlap.false_negatives(confusion),
        "TN": overlap.true_negatives(confusion),
        "n_pred": overlap.predicted_voxels(confusion),
        "n_ref": overlap.reference_voxels(confusion),
    }


def _nanmean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(values) if known and len(known) == len(values) else None


def _number(value: np.generic) -> float | int | None:
    plain = value.item()
    return None if math.isnan(plain) else plain
