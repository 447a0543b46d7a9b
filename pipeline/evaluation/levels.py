"""From counts to figures at each level: slices, cases, scans and patients.

Counts add up, so that a scan's slices are pooled before they are scored. Distances do not: the spacing between 2D files
is not known, and a scan's distances are the mean over those of its cases whose reference shows the class. A scan that
is one volume has the volume's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation import overlap
from pipeline.evaluation.confusion import CaseCounts
from pipeline.evaluation.distances import DISTANCES
from pipeline.evaluation.means import group_means
from pipeline.evaluation.overlap import Tallies

__all__ = ["FIGURES", "Units", "case_units", "in_order", "patient_units", "rows", "scan_units", "slice_units"]

VOXELS = ("reference_voxels", "predicted_voxels")
VOLUMES = ("reference_ml", "predicted_ml", "difference_ml")
RATES: dict[str, Callable[[Tallies], np.ndarray]] = {
    "relative_difference": overlap.relative_difference,
    "dice": overlap.dice,
    "dice_with_empty": overlap.dice_with_empty,
    "iou": overlap.iou,
    "precision": overlap.precision,
    "recall": overlap.recall,
}
FIGURES = (*VOXELS, *VOLUMES, *RATES, *DISTANCES)  # in the order of the tables' columns
_MM3_PER_ML = 1000.0

Names = Sequence[Mapping[str, str | int]]


@dataclass(frozen=True, eq=False)
class Units:
    """Slices, cases, scans or patients side by side.

    Parameters
    ----------
    names
        What each of the N units is called: the first columns of its table.
    patient
        Index of each unit's patient, shape (N,).
    figures
        Every figure of `FIGURES`, float64, shape (N, K), NaN for none.
    """

    names: Names
    patient: np.ndarray
    figures: Mapping[str, np.ndarray]

    @property
    def outcomes(self) -> np.ndarray:
        """Index into `overlap.OUTCOMES`, shape (N, K)."""
        return overlap.outcomes(self.figures["reference_voxels"], self.figures["predicted_voxels"])


def in_order(counts: Sequence[CaseCounts]) -> list[CaseCounts]:
    """Sort cases by patient, scan and case, numbers in names by their value: slice_2 before slice_10."""
    return sorted(counts, key=lambda one: [_natural(name) for name in (one.patient, one.scan, one.case)])


def slice_units(counts: Sequence[CaseCounts]) -> Units:
    """Every slice of every case; of a volume's slices no distances are known."""
    n_slices = [len(one.slices) for one in counts]
    voxel_mm3 = np.repeat(_voxel_mm3(counts), n_slices)
    names: Names = [{"case": one.case, "slice": index} for one in counts for index in range(len(one.slices))]
    tallies = Tallies.of(np.concatenate([one.slices.tallies for one in counts]))
    flat = np.repeat([number == 1 for number in n_slices], n_slices)[:, np.newaxis]
    distances = {
        name: np.where(flat, np.repeat(values, n_slices, axis=0), np.nan) for name, values in _distances(counts).items()
    }
    figures = _figures(tallies, *_mm3(tallies, voxel_mm3)) | distances
    return Units(names, np.repeat(_patient_index(counts), n_slices), figures)


def case_units(counts: Sequence[CaseCounts]) -> Units:
    """Every case, its slices pooled."""
    names: Names = [
        {"case": one.case, "scan": one.scan, "patient": one.patient, "slices": len(one.slices)} for one in counts
    ]
    tallies = Tallies.of(_pooled(counts))
    figures = _figures(tallies, *_mm3(tallies, _voxel_mm3(counts))) | _distances(counts)
    return Units(names, _patient_index(counts), figures)


def scan_units(counts: Sequence[CaseCounts]) -> Units:
    """Every scan: the slices of all its cases pooled first, then scored; distances are means over its cases."""
    keys, index = _groups([(one.patient, one.scan) for one in counts])
    pooled = _pooled(counts)
    volumes = [_summed(part, index, len(keys)) for part in _mm3(Tallies.of(pooled), _voxel_mm3(counts))]
    figures = _figures(Tallies.of(_summed(pooled, index, len(keys))), *volumes)
    figures |= {name: group_means(values, index, len(keys)) for name, values in _distances(counts).items()}
    slices = np.bincount(index, weights=[len(one.slices) for one in counts]).astype(int)
    names: Names = [
        {"scan": scan, "patient": patient, "slices": int(number)}
        for (patient, scan), number in zip(keys, slices, strict=True)
    ]
    patient_of_scan = _groups([patient for patient, _ in keys])[1]
    return Units(names, patient_of_scan, figures)


def patient_units(scans: Units) -> Units:
    """Every patient: each figure is the mean of that figure over the patient's scans, those with none left out.

    So a patient with seven scans weighs as much as one with one. Voxels and volumes are means over the scans as well.
    """
    patients = list(dict.fromkeys(str(names["patient"]) for names in scans.names))
    figures = {name: group_means(values, scans.patient, len(patients)) for name, values in scans.figures.items()}
    n_scans = np.bincount(scans.patient)
    n_slices = np.bincount(scans.patient, weights=[int(names["slices"]) for names in scans.names])
    names: Names = [
        {"patient": patient, "scans": int(n_scans[index]), "slices": int(n_slices[index])}
        for index, patient in enumerate(patients)
    ]
    return Units(names, np.arange(len(patients)), figures)


def rows(units: Units, classes: Sequence[str], class_ids: Sequence[int]) -> list[dict[str, Any]]:
    """One row a unit and class, None for none; whole voxel counts are integers."""
    outcomes = units.outcomes.tolist()
    columns = {name: values.tolist() for name, values in units.figures.items()}
    return [
        {
            **names,
            "class_id": class_id,
            "class": class_name,
            **{name: _plain(values[unit][index], whole=name in VOXELS) for name, values in columns.items()},
            "outcome": overlap.OUTCOMES[outcomes[unit][index]],
        }
        for unit, names in enumerate(units.names)
        for index, (class_id, class_name) in enumerate(zip(class_ids, classes, strict=True))
    ]


def _figures(tallies: Tallies, reference_mm3: np.ndarray, predicted_mm3: np.ndarray) -> dict[str, np.ndarray]:
    """Every figure of `FIGURES` but the distances, for the units' tallies (N, K)."""
    return {
        "reference_voxels": tallies.reference.astype(np.float64),
        "predicted_voxels": tallies.predicted.astype(np.float64),
        "reference_ml": reference_mm3 / _MM3_PER_ML,
        "predicted_ml": predicted_mm3 / _MM3_PER_ML,
        "difference_ml": (predicted_mm3 - reference_mm3) / _MM3_PER_ML,
        **{name: rate(tallies) for name, rate in RATES.items()},
    }


def _distances(counts: Sequence[CaseCounts]) -> dict[str, np.ndarray]:
    """Each of `DISTANCES` of the cases, shape (N, K); NaN where a case was not measured."""
    none = np.full(len(counts[0].slices.confusion), np.nan)
    return {
        name: np.stack([none if one.distances is None else one.distances.figures[name] for one in counts])
        for name in DISTANCES
    }


def _mm3(tallies: Tallies, voxel_mm3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the reference and the predicted volume of each unit and class."""
    unit = voxel_mm3[:, np.newaxis]
    return tallies.reference * unit, tallies.predicted * unit


def _voxel_mm3(counts: Sequence[CaseCounts]) -> np.ndarray:
    """Voxel volume of each case, NaN where unknown: it then stays unknown in every sum."""
    return np.array([np.nan if one.voxel_volume_mm3 is None else one.voxel_volume_mm3 for one in counts])


def _pooled(counts: Sequence[CaseCounts]) -> np.ndarray:
    """The tallies of whole cases, shape (N, 3, K)."""
    return np.stack([one.slices.tallies.sum(axis=0) for one in counts])


def _summed(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    sums = np.zeros((n_groups, *values.shape[1:]), dtype=values.dtype)
    np.add.at(sums, group, values)
    return sums


def _patient_index(counts: Sequence[CaseCounts]) -> np.ndarray:
    return _groups([one.patient for one in counts])[1]


def _groups(keys: Sequence[Any]) -> tuple[list[Any], np.ndarray]:
    """Find the distinct keys, in the order of their first appearance, and the index of each key among them."""
    index = {key: position for position, key in enumerate(dict.fromkeys(keys))}
    return list(index), np.array([index[key] for key in keys])


def _natural(name: str) -> tuple[list[str | int], str]:
    parts = re.split(r"([0-9]+)", name)  # text and digits in turn, so that like is compared with like
    return [int(part) if position % 2 else part for position, part in enumerate(parts)], name


def _plain(value: float, *, whole: bool) -> float | int | None:
    if math.isnan(value):
        return None
    return int(value) if whole and value.is_integer() else value
