"""What a finished cell of an ablation tells: read from the files of its run, without a network or an image."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RunError

__all__ = ["FinishedCell", "ScanScores", "VALIDATION", "has_validation", "parts_of", "read_cell"]

VALIDATION = "validation"  # folder of a run, or of each of its folds: the validation cases on the grid of their files


@dataclass(frozen=True, eq=False)
class ScanScores:
    """The Dice of scans, of one side of the split of one run.

    Attributes
    ----------
    classes
        K names, without the background.
    units
        What each of the N scans is: fold, patient, scan.
    dice
        (N, K); NaN where the reference lacks the class.
    """

    classes: tuple[str, ...]
    units: tuple[tuple[int, str, str], ...]
    dice: np.ndarray

    @property
    def patients(self) -> tuple[str, ...]:
        """In the order of the scans."""
        return tuple(dict.fromkeys(patient for _, patient, _ in self.units))


@dataclass(frozen=True, eq=False)
class FinishedCell:
    """The figures of one run.

    Attributes
    ----------
    validation, test
        Dice of their scans, on the grid of the files.
    prepared_dice
        The validation Dice that chose the epoch: on the prepared grid, which is another one for each chain; the mean
        over the folds.
    summary
        Of the test cases.
    provenance
        As the run wrote it.
    steps
        Of the training, of all folds together.
    """

    validation: ScanScores
    test: ScanScores
    prepared_dice: float
    summary: dict[str, Any]
    provenance: dict[str, Any]
    steps: int

    @property
    def validation_dice(self) -> float | None:
        """The mean over the classes of the mean over the validation scans; None where those show no class."""
        shown = [column[~np.isnan(column)] for column in self.validation.dice.T]
        means = [column.mean() for column in shown if column.size]
        return float(np.mean(means)) if means else None

    @property
    def training_seconds(self) -> float:
        """Spent in training, in all sessions."""
        return float(self.provenance["training_seconds"])

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory that the run's process has held, in its last session."""
        return int(self.provenance["peak_memory_bytes"])


def parts_of(folder: Path) -> tuple[Path, ...]:
    """The folder of each network of a run: its folds in order, or the run's own."""
    folds = [path for path in folder.glob("fold_*") if path.name.removeprefix("fold_").isdecimal()]
    return tuple(sorted(folds, key=lambda path: int(path.name.removeprefix("fold_")))) or (folder,)


def has_validation(folder: Path) -> bool:
    """Whether the validation cases of every network of a run were scored."""
    return all((part / VALIDATION / "summary.json").is_file() for part in parts_of(folder))


def read_cell(folder: Path) -> FinishedCell:
    """Read the figures of a run that is finished, and whose validation cases were scored.

    Raises
    ------
    RunError
        When a file is missing or damaged.
    """
    parts = parts_of(folder)
    try:
        histories = [_rows(part / "history.csv") for part in parts]
        summary = _json(folder / "evaluation" / "summary.json")
        classes = tuple(summary["classes"][1:])
        return FinishedCell(
            validation=_scores([part / VALIDATION for part in parts], classes),
            test=_scores([folder / "evaluation"], classes),
            prepared_dice=float(np.mean([_kept_dice(history) for history in histories])),
            summary=summary,
            provenance=_json(folder / "provenance.json"),
            steps=sum(int(history[-1]["step"]) for history in histories),
        )
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise RunError(
            f"a finished run whose files cannot be read ({type(error).__name__}: {error})", where=str(folder),
            remedy="Remove this folder, to have the run made anew",
        ) from error  # fmt: skip


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _kept_dice(history: Sequence[dict[str, str]]) -> float:
    """The highest of a training's history, whose epoch was kept."""
    return max(value for row in history if not math.isnan(value := float(row["validation_dice"] or "nan")))


def _scores(evaluations: Sequence[Path], classes: tuple[str, ...]) -> ScanScores:
    """The Dice of the scans in the tables of one evaluation a fold."""
    found: dict[tuple[int, str, str], dict[str, float]] = {}
    for unit, name, value in _values([folder / "scans.csv" for folder in evaluations]):
        found.setdefault(unit, {})[name] = value
    told = sum(_json(folder / "summary.json")["n_scans"] for folder in evaluations)
    if len(found) != told:
        raise ValueError(f"{len(found)} scans in the tables, and {told} in the summary")
    dice = [[by_class[name] for name in classes] for by_class in found.values()]
    return ScanScores(classes, tuple(found), np.array(dice, dtype=np.float64).reshape(len(found), len(classes)))


def _values(paths: Sequence[Path]) -> Iterator[tuple[tuple[int, str, str], str, float]]:
    for fold, path in enumerate(paths):
        for row in _rows(path):
            yield (fold, row["patient"], row["scan"]), row["class"], float(row["dice"] or "nan")
