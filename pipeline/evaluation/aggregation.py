"""Figures per slice, per scan and per patient, with intervals over patients.

- **Per slice**: one unit a slice; the headline figures take the slices whose reference has the class.
- **Per scan**: the confusion matrices of all slices of a scan are added up first, then scored as one volume.
- **Per patient**: the mean over the patient's scans, so a patient with seven scans weighs as much as one with one. A
  class counts as missed (or spurious) at this level when the reference has it in some scan and no prediction of that
  patient does (or the other way round).

Distances are a case's own, a scan's the mean over its cases (see `pipeline.evaluation.levels`). A missed class counts
with the image's diagonal, so a mean over misses never reads as good.

The mean of a column of a table is the mean in the summary (for `difference_ml`, without the rows that are both empty).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation import bootstrap, levels, nnunet
from pipeline.evaluation.confusion import CaseCounts
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.means import mean_over_classes
from pipeline.evaluation.overlap import OUTCOMES, Tallies

__all__ = ["FORMAT", "METRICS", "Evaluation", "evaluate"]

FORMAT = 1  # of summary.json
METRICS = (
    "dice", "dice_with_empty", "iou", "precision", "recall", "relative_difference", "difference_ml", *DISTANCES,
)  # fmt: skip
_BOTH_EMPTY = OUTCOMES.index("both_empty")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A finished evaluation.

    Parameters
    ----------
    classes
        Class names, index 0 the background.
    cases, scans, patients
        One row a unit and class: names, voxels, volumes, metrics, outcome. None for none.
    summary
        Plain values, ready for JSON: means, intervals and counts, and nnU-Net's fields. Never NaN.
    """

    classes: tuple[str, ...]
    cases: list[dict[str, Any]]
    scans: list[dict[str, Any]]
    patients: list[dict[str, Any]]
    summary: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Resampling:
    """Weights of the patients in each resample (resamples, n_patients), the same for every figure."""

    weights: np.ndarray
    confidence: float


def evaluate(
    counts: Sequence[CaseCounts], classes: Sequence[str], *, seed: int = 0, resamples: int = 2000,
    confidence: float = 0.95, files: Mapping[str, tuple[str | None, str]] | None = None,
    class_ids: Sequence[int] | None = None,
) -> Evaluation:  # fmt: skip
    """Score cases that have been counted.

    Parameters
    ----------
    counts
        At least one case; their order has no influence. A scan belongs to its patient: scans of two patients may have
        the same name.
    classes
        K distinct class names, the background first.
    seed, resamples, confidence
        Of the percentile bootstrap over patients. An interval is None when fewer than two patients have the class.
    files
        Prediction file and reference file of each case, for nnU-Net's fields.
    class_ids
        The value that each class has in the files, where it is not its place among the classes.

    Raises
    ------
    DataError
        If there is no case, or a case comes twice.
    ValueError
        If a confusion matrix does not fit the classes, a class name comes twice, distances are in several units or
        have several tolerances, or `resamples` or `confidence` is out of range.
    """
    _check(counts, classes, resamples, confidence)
    ids = list(range(len(classes)) if class_ids is None else class_ids)
    counts = levels.in_order(counts)
    cases, scans = levels.case_units(counts), levels.scan_units(counts)
    patients = levels.patient_units(scans)
    units = {"slice": levels.slice_units(counts), "scan": scans, "patient": patients}
    drawn = bootstrap.draw_patients(len(patients.names), resamples, seed)
    resampling = _Resampling(bootstrap.weights_of(drawn), confidence)
    summary = {
        **_extent(counts, units, classes, ids),
        "bootstrap": {"unit": "patient", "resamples": resamples, "seed": seed, "confidence": confidence},
        "levels": {name: _level(one, classes, resampling) for name, one in units.items()},
        **_totals(counts, files, ids),
    }
    by_case, by_scan, by_patient = (levels.rows(one, classes, ids) for one in (cases, scans, patients))
    return Evaluation(tuple(classes), by_case, by_scan, by_patient, summary)


def _extent(
    counts: Sequence[CaseCounts], units: Mapping[str, levels.Units], classes: Sequence[str], ids: list[int]
) -> dict[str, Any]:
    """What was evaluated, and how much of it."""
    return {
        "format": FORMAT,
        "classes": list(classes),
        "class_ids": ids,
        "n_cases": len(counts),
        **{f"n_{name}s": len(one.names) for name, one in units.items()},
        "distances": _distances(counts),
    }


def _distances(counts: Sequence[CaseCounts]) -> dict[str, Any] | None:
    """What the distances are measured in, and how many slices and volumes were; None where none was."""
    measured = [one.distances for one in counts if one.distances is not None]
    if not measured:
        return None
    ways = {(one.unit, one.tolerance) for one in measured}
    if len(ways) > 1:
        raise ValueError(f"distances of several kinds (unit, tolerance): {sorted(ways)}")
    ((unit, tolerance),) = ways
    flat = sum(one.rank == 2 for one in measured)
    return {"unit": unit, "tolerance": tolerance, "n_2d": flat, "n_3d": len(measured) - flat}


def _totals(
    counts: Sequence[CaseCounts], files: Mapping[str, tuple[str | None, str]] | None, class_ids: Sequence[int]
) -> dict[str, Any]:
    """Add up the confusion matrix of everything, and give what nnU-Net's summary holds."""
    tallies = Tallies.of(np.stack([one.slices.tallies.sum(axis=0) for one in counts]))
    fields = nnunet.nnunet_fields([one.case for one in counts], tallies, files, class_ids)
    confusion = np.zeros_like(counts[0].slices.confusion)
    for one in counts:
        confusion += one.slices.confusion
    return {"confusion": confusion.tolist(), **fields}


def _check(counts: Sequence[CaseCounts], classes: Sequence[str], resamples: int, confidence: float) -> None:
    if not counts:
        raise DataError("there is no case to evaluate", remedy="Check that predictions and labels were found")
    twice = [name for name, times in Counter(one.case for one in counts).items() if times > 1]
    if twice:
        raise DataError(f"cases come twice: {', '.join(twice[:5])}", remedy="Give every case a name of its own")
    if len(set(classes)) < len(classes):
        raise ValueError(f"class names must be distinct: {list(classes)}")
    for one in counts:
        if len(one.slices.confusion) != len(classes):
            raise ValueError(f"case {one.case}: confusion for {len(one.slices.confusion)} classes, not {len(classes)}")
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"resamples is {resamples} and confidence {confidence}, expected >= 1 and between 0 and 1")


def _level(units: levels.Units, classes: Sequence[str], resampling: _Resampling) -> dict[str, Any]:
    """Summarise one level."""
    outcomes = units.outcomes
    by_class: dict[str, dict[str, Any]] = {name: {} for name in classes}
    foreground = {}
    for metric in METRICS:
        values = units.figures[metric]
        if metric == "difference_ml":  # 0 where both are empty, which would only water the mean down
            values = np.where(outcomes == _BOTH_EMPTY, np.nan, values)
        sums, numbers = bootstrap.group_sums(values, units.patient, resampling.weights.shape[1])
        means = bootstrap.resampled_means(sums, numbers, resampling.weights)
        for index, name in enumerate(classes):
            by_class[name][metric] = _statistics(values[:, index], numbers[:, index], means[:, index], resampling)
        foreground[metric] = _foreground(sums[:, 1:], numbers[:, 1:], means[:, 1:], resampling)
    for index, name in enumerate(classes):
        for code, outcome in enumerate(OUTCOMES):
            by_class[name][outcome] = int((outcomes[:, index] == code).sum())
    return {"foreground": foreground, "classes": by_class}


def _statistics(values: np.ndarray, numbers: np.ndarray, means: np.ndarray, resampling: _Resampling) -> dict[str, Any]:
    """One class: its units' values (N,), the number of them each patient has, the mean of each resample."""
    known = values[~np.isnan(values)]
    n_patients = int((numbers > 0).sum())
    return {
        "mean": float(known.mean()) if known.size else None,
        "sd": float(known.std(ddof=1)) if known.size > 1 else None,
        "median": float(np.median(known)) if known.size else None,
        "interval": bootstrap.interval(means, resampling.confidence) if n_patients > 1 else None,
        "n": known.size,
        "n_patients": n_patients,
    }


def _foreground(sums: np.ndarray, numbers: np.ndarray, means: np.ndarray, resampling: _Resampling) -> dict[str, Any]:
    """Mean over the classes' means, the background left out; `n_classes` is how many classes have a mean.

    A resample without a class takes the mean over the classes that it has.
    """
    once = np.ones((1, len(sums)))
    mean = mean_over_classes(bootstrap.resampled_means(sums, numbers, once))[0]
    n_patients = int((numbers > 0).any(axis=1).sum())
    return {
        "mean": None if np.isnan(mean) else float(mean),
        "interval": bootstrap.interval(mean_over_classes(means), resampling.confidence) if n_patients > 1 else None,
        "n_classes": int((numbers > 0).any(axis=0).sum()),
        "n_patients": n_patients,
    }
