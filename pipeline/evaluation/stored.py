"""An evaluation read back from its folder: cases.csv and summary.json, checked as what others may have changed.

Voxels are counts, so the true positives follow from the Dice of a row; with them, scans can be pooled anew from any of
their cases, which is what a comparison of the cases that two evaluations share needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.layouts.text_files import read_json
from pipeline.errors import ConfigError, DataError, Fault, raise_all
from pipeline.evaluation.aggregation import FORMAT
from pipeline.evaluation.case_table import MOST_BYTES, is_writable, read_case_table

__all__ = ["Source", "Stored", "find_evaluation", "read_evaluation"]

_REMEDY = "Copy the evaluation whole, or score again with bin/evaluate"
_CASES, _SUMMARY = "cases.csv", "summary.json"
_UNITS = ("mm", "pixels")
_MOST_RESAMPLES = 100_000


@dataclass(frozen=True)
class Source:
    """Where an evaluation is.

    Attributes
    ----------
    folder
        With cases.csv and summary.json.
    run
        The folder of the run that it is of; None for one that bin/evaluate wrote.
    """

    folder: Path
    run: Path | None


@dataclass(frozen=True, eq=False)
class Stored:
    """An evaluation of N cases and K classes.

    Attributes
    ----------
    name
        By which it is told from others.
    source
        Where it was read from.
    classes, class_ids
        Names, the background first, and the value of each in the files.
    cases, scans, patients
        Of each case, N.
    reference, predicted, true
        Voxels in the reference, in the prediction and in both, int64, shape (N, K).
    hd95, surface_dice
        Of each case, float64, shape (N, K); NaN where there is none.
    unit, tolerance
        Of the distances: mm or pixels, and of surface Dice; None where no distances were measured.
    resamples, seed, confidence
        Of its bootstrap.
    files
        Prediction file and reference file of a case, as they were called when it was scored; None where not known.
    """

    name: str
    source: Source
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    cases: tuple[str, ...]
    scans: tuple[str, ...]
    patients: tuple[str, ...]
    reference: np.ndarray
    predicted: np.ndarray
    true: np.ndarray
    hd95: np.ndarray
    surface_dice: np.ndarray
    unit: str | None
    tolerance: float | None
    resamples: int
    seed: int
    confidence: float
    files: Mapping[str, tuple[str | None, str | None]]

    def of(self, indices: Sequence[int]) -> Stored:
        """The same evaluation, of these cases alone and in this order."""
        rows = np.asarray(indices, dtype=np.intp)
        return replace(
            self,
            cases=tuple(self.cases[one] for one in indices),
            scans=tuple(self.scans[one] for one in indices),
            patients=tuple(self.patients[one] for one in indices),
            reference=self.reference[rows],
            predicted=self.predicted[rows],
            true=self.true[rows],
            hd95=self.hd95[rows],
            surface_dice=self.surface_dice[rows],
        )


def find_evaluation(path: Path) -> Source:
    """Where the evaluation is that a path names: a run's folder, its ``evaluation/``, or what bin/evaluate wrote.

    Raises
    ------
    ConfigError
        When there is none.
    """
    folder = path.resolve()
    if not folder.is_dir():
        what = "is a file, expected a folder" if folder.is_file() else "no such folder"
        raise ConfigError(what, where=str(path), remedy="Name a run, or the DIR of bin/evaluate --out DIR")
    inside = folder / "evaluation"
    if not (folder / _CASES).is_file() and inside.is_dir():
        folder = inside
    missing = [name for name in (_CASES, _SUMMARY) if not (folder / name).is_file()]
    if missing:
        is_run = (path / "config.yaml").is_file()
        raise ConfigError(
            f"no evaluation in it: there is no {' and no '.join(missing)}", where=str(path),
            remedy="Let the run finish: bin/run_pipeline --resume goes on with it" if is_run
            else "Name a run that is finished, its evaluation/ folder, or the DIR of bin/evaluate --out DIR",
        )  # fmt: skip
    of_run = folder.name == "evaluation" and (folder.parent / "config.yaml").is_file()
    return Source(folder, folder.parent if of_run else None)


def read_evaluation(source: Source, name: str) -> Stored:
    """Read and check an evaluation.

    Raises
    ------
    DataError, Faults
        Everything that is damaged in its files, or does not fit together.
    """
    path = source.folder / _SUMMARY
    summary = read_json(path, _REMEDY, MOST_BYTES)
    raise_all(_summary_faults(summary, path))
    classes = tuple(summary["classes"])
    table = read_case_table(source.folder / _CASES, classes, _REMEDY)
    if len(table.cases) != summary["n_cases"]:
        raise DataError(f"holds {len(table.cases)} cases, but {_SUMMARY} beside it speaks of {summary['n_cases']}",
                        where=str(source.folder / _CASES), remedy=_REMEDY)  # fmt: skip
    measured, drawn = summary.get("distances"), summary["bootstrap"]
    return Stored(
        name=name, source=source, classes=classes, class_ids=tuple(summary["class_ids"]), cases=table.cases,
        scans=table.scans, patients=table.patients, reference=table.reference, predicted=table.predicted,
        true=table.true, hd95=table.hd95, surface_dice=table.surface_dice,
        unit=None if measured is None else measured["unit"],
        tolerance=None if measured is None else float(measured["tolerance"]),
        resamples=drawn["resamples"], seed=drawn["seed"], confidence=float(drawn["confidence"]),
        files=_files(summary, table.cases),
    )  # fmt: skip


def _summary_faults(summary: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """What is wrong with the parts of summary.json that are used."""
    form = summary.get("format")
    if form != FORMAT:
        if "metric_per_case" in summary and form is None:
            what = "nnU-Net's own summary, which lacks patients, scans and classes"
            yield DataError(what, where=str(path), remedy="Score its masks with bin/evaluate --predictions --labels")
        else:
            yield DataError(f"format is {form!r:.40}, expected {FORMAT}", where=str(path), remedy=_REMEDY)
        return
    expected = {
        "classes": ("two or more distinct names", _are_classes),
        "class_ids": ("one whole number a class", lambda ids: _are_ids(ids, summary.get("classes"))),
        "n_cases": ("a whole number above 0", lambda number: _is_whole(number) and number > 0),
        "distances": ("null, or a unit (mm or pixels) and a tolerance", _is_measure),
        "bootstrap": ("resamples, seed and confidence", _is_bootstrap),
    }
    for key, (wanted, fits) in expected.items():
        if not fits(summary.get(key)):
            got = f"is {summary[key]!r:.60}" if key in summary else "is missing"
            yield DataError(f"{key!r} {got}, expected {wanted}", where=str(path), remedy=_REMEDY)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _are_classes(names: Any) -> bool:
    return (
        isinstance(names, list)
        and len(names) > 1
        and all(isinstance(one, str) and one and is_writable(one) for one in names)
        and len(set(names)) == len(names)
    )


def _are_ids(ids: Any, classes: Any) -> bool:
    return isinstance(ids, list) and isinstance(classes, list) and len(ids) == len(classes) and all(map(_is_whole, ids))


def _is_measure(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and value.get("unit") in _UNITS
        and _is_number(value.get("tolerance"))
        and value["tolerance"] >= 0
    )


def _is_bootstrap(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_whole(value.get("resamples")) and 1 <= value["resamples"] <= _MOST_RESAMPLES
        and _is_whole(value.get("seed")) and value["seed"] >= 0
        and _is_number(value.get("confidence")) and 0 < value["confidence"] < 1
    )  # fmt: skip


def _files(summary: Mapping[str, Any], cases: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """The files of each case; its entries stand in the order of the cases. None where they cannot be understood."""
    entries = summary.get("metric_per_case")
    if not isinstance(entries, list) or len(entries) != len(cases):
        return {}
    found = {}
    for case, entry in zip(cases, entries, strict=True):
        names = [entry.get(key) if isinstance(entry, dict) else None for key in ("prediction_file", "reference_file")]
        prediction, reference = (name if isinstance(name, str) and name else None for name in names)
        found[case] = (prediction, reference)
    return found
