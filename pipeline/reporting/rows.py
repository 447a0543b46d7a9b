"""The tables of the report: what stands in each cell, ready to be set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.data.statistics import SideStatistics, span_text
from pipeline.reporting.colours import LEVELS, class_colour
from pipeline.reporting.content import ReportContent
from pipeline.reporting.distances import DistanceCell, class_cells, mean_cells, unit_of
from pipeline.reporting.wording import count, distance, interval, percent, plural, rate

__all__ = ["MOST_ROWS", "Score", "UnitTable", "class_rows", "dataset_rows", "fold_rows", "side_table",
           "unit_table"]  # fmt: skip

MOST_ROWS = 600
_MOST_CELLS = 20_000  # a page with more is slow to open on a telephone
_MARKS = {"missed": "missed", "spurious": "spurious"}


@dataclass(frozen=True)
class Score:
    """One figure of the summary: mean, interval and number of units, as text."""

    mean: str
    interval: str
    n: str


def class_rows(content: ReportContent) -> list[dict[str, Any]]:
    """Rows of the table of classes: each class, then the mean over them, then the background.

    Returns
    -------
    list of dict
        "name"; "colour", empty for the mean; "kind", one of class, mean, background; "scores", a `Score` for each
        level; "distances", a `DistanceCell` each for HD95 and surface Dice, empty where none was measured; "counts",
        the slices that are missed, spurious and both empty, empty for the mean.
    """
    levels = content.summary["levels"]
    rows = []
    measured = content.summary["distances"] is not None
    for class_id, name in enumerate(content.classes):
        of_class = {level: levels[level]["classes"][name] for level in LEVELS}
        rows.append({
            "name": name, "colour": class_colour(class_id), "kind": "class" if class_id else "background",
            "scores": [_score(one["dice"]) for one in of_class.values()],
            "distances": _class_distances(content, name) if measured else [],
            "counts": [count(of_class["slice"][key]) for key in ("missed", "spurious", "both_empty")],
        })  # fmt: skip
    mean = {
        "name": f"mean of {levels['scan']['foreground']['dice']['n_classes']}", "colour": "", "kind": "mean",
        "counts": [], "scores": [_score(levels[level]["foreground"]["dice"]) for level in LEVELS],
        "distances": mean_cells(content.summary) if measured else [],
    }  # fmt: skip
    return [*rows[1:], mean, rows[0]]


def _class_distances(content: ReportContent, name: str) -> list[DistanceCell]:
    return class_cells(content.summary, content.cases, name, in_mean=name != content.classes[0])


def _score(figure: Mapping[str, Any]) -> Score:
    return Score(rate(figure["mean"]), interval(figure["interval"]), count(figure.get("n")))


@dataclass(frozen=True)
class UnitTable:
    """Cases or patients, worst first.

    Parameters
    ----------
    rows
        "name", "slices", "mean", "distance", the mean HD95, and "cells", one a class but the background, each (Dice,
        outcome, HD95). Distances are with their unit, and empty where there is none. "marks": the outcomes among
        them, for a filter.
    total
        How many there are; more than `rows` when only the worst are shown.
    """

    rows: list[dict[str, Any]]
    total: int


def unit_table(
    rows: Sequence[Mapping[str, Any]], key: str, classes: Sequence[str], summary: Mapping[str, Any]
) -> UnitTable:  # fmt: skip
    """Gather one row a unit from one row a unit and class.

    Parameters
    ----------
    rows
        `Evaluation.cases` or `Evaluation.patients`.
    key
        "case" or "patient".
    classes
        Class names, the background first.
    summary
        Of the evaluation, which tells the unit of the distances.

    Returns
    -------
    UnitTable
        Sorted by the mean Dice over the classes that the unit's reference shows; units that show none come last. At
        most 600 rows, fewer when there are many classes.
    """
    units: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        units.setdefault(str(row[key]), {})[row["class"]] = row
    names = classes[1:]
    means = {unit: _mean([by_class[name]["dice"] for name in names]) for unit, by_class in units.items()}
    measure = unit_of(summary)
    ordered = sorted(units, key=lambda unit: (means[unit] is None, means[unit] or 0.0))
    most = min(MOST_ROWS, max(50, _MOST_CELLS // max(1, len(names))))
    found = [_unit_row(unit, units[unit], means[unit], names, measure) for unit in ordered[:most]]
    return UnitTable(found, len(ordered))


def _unit_row(
    unit: str, by_class: Mapping[str, Mapping[str, Any]], mean: float | None, names: Sequence[str], measure: str
) -> dict[str, Any]:
    far = [by_class[name]["hd95"] if measure else None for name in names]
    cells = [
        (rate(by_class[name]["dice"]), _MARKS.get(by_class[name]["outcome"], ""), _with_unit(value, measure))
        for name, value in zip(names, far, strict=True)
    ]
    return {
        "name": unit, "slices": count(by_class[names[0]]["slices"]), "mean": rate(mean), "cells": cells,
        "distance": _with_unit(_mean(far), measure), "marks": " ".join(sorted({mark for _, mark, _ in cells if mark})),
    }  # fmt: skip


def _with_unit(value: float | None, measure: str) -> str:
    return "" if value is None else f"{distance(value)} {measure}"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def fold_rows(content: ReportContent) -> list[dict[str, Any]]:
    """Rows of the table of folds: each fold, then the mean over the folds and their standard deviation.

    Returns
    -------
    list of dict
        "name"; "facts", the fold's patients, its best epoch and the validation Dice of that, empty for the last two
        rows; "cells", the Dice per scan: the mean over the classes, then each class. Empty without folds.
    """
    if not content.folds:
        return []
    figures, rows = content.summary["folds"], []
    for fold, trained in zip(figures["each"], content.folds, strict=True):
        facts = [count(fold["n_patients"]), count(fold["best_epoch"]), rate(trained.best_dice)]
        rows.append({"name": f"fold {fold['fold']}", "facts": facts, "cells": _fold_cells(fold["dice"], content)})
    spread = figures["spread"]["dice"]
    for name, key in (("mean of the folds", "mean"), ("standard deviation", "sd")):
        rows.append({"name": name, "facts": [], "cells": _fold_cells(spread, content, key)})
    return rows


def _fold_cells(dice: Mapping[str, Any], content: ReportContent, key: str | None = None) -> list[str]:
    of_scans = dice["scan"]
    found = [of_scans["foreground"], *(of_scans["classes"][name] for name in content.classes[1:])]
    return [rate(one if key is None else one[key]) for one in found]


def side_table(content: ReportContent) -> list[tuple[str, list[list[str]]]]:
    """Columns of the table of splits: the head, and for each side the lines of its cell, without what is not known."""
    sides = content.dataset
    counts = ("patients", "scans", "cases", "slices")
    return [
        ("split", [[one.side] for one in sides]),
        *((name, [[count(getattr(one, name))] for one in sides]) for name in counts),
        ("size", [_grid_lines(one, known=content.knows_spacing) for one in sides]),
        ("intensity", [
            [span_text(one.low, one.high), f"image means {span_text(one.mean_low, one.mean_high)}"] for one in sides
        ]),
    ]  # fmt: skip


def _grid_lines(side: SideStatistics, *, known: bool) -> list[str]:
    """Sizes in voxels; under them the spacing and where the axes point."""
    orientations = [" ".join(side.orientations)] if side.orientations else []
    return [side.sizes, *([f"{side.spacing_mm} mm"] if known else []), *orientations]


def dataset_rows(content: ReportContent) -> list[dict[str, Any]]:
    """Rows of the table of classes by split.

    Returns
    -------
    list of dict
        "name", "colour" and "splits": for each split the slices with the class, their share of the split's slices, the
        patients with it, and the class's share of the split's voxels.
    """
    return [
        {
            "name": name,
            "colour": class_colour(class_id),
            "splits": [
                (
                    count(side.slices_with[class_id]),
                    percent(side.slices_with[class_id], side.slices),
                    plural(int(side.patients_with[class_id]), "patient"),
                    percent(side.voxels[class_id], side.voxels.sum()),
                )
                for side in content.dataset
            ],
        }
        for class_id, name in enumerate(content.classes)
    ]
