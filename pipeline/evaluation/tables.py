"""An evaluation as text: tables for a spreadsheet, a summary for programs, a table for the terminal.

Nothing here touches a file: what is returned is written by somebody who knows how to write files whole.
"""

from __future__ import annotations

import csv
import io
import json
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.aggregation import Evaluation
from pipeline.evaluation.levels import FIGURES

__all__ = ["CASE_COLUMNS", "PATIENT_COLUMNS", "SCAN_COLUMNS", "cases_csv", "patients_csv", "scans_csv", "summary_json",
           "terminal_table"]  # fmt: skip

_SHARED = ("class_id", "class", *FIGURES, "outcome")
CASE_COLUMNS = ("case", "scan", "patient", "slices", *_SHARED)
SCAN_COLUMNS = ("scan", "patient", "slices", *_SHARED)
PATIENT_COLUMNS = ("patient", "scans", "slices", *_SHARED)

_LEVELS = ("slice", "scan", "patient")
_NONE = "–"
_GAP = "  "
_MEAN = "foreground"
_CLASS_MIN = 6  # columns of the terminal that a class name gets at least
_FEW_PATIENTS = 10  # below this a percentile interval tends to come out too narrow


def cases_csv(evaluation: Evaluation) -> str:
    """One row a case and class; empty where there is no value; volumes in ml, empty when the spacing is unknown."""
    return _csv(evaluation.cases, CASE_COLUMNS)


def scans_csv(evaluation: Evaluation) -> str:
    """One row a scan and class, the scan's slices pooled; columns as in `cases_csv`, without the case."""
    return _csv(evaluation.scans, SCAN_COLUMNS)


def patients_csv(evaluation: Evaluation) -> str:
    """One row a patient and class; every figure, voxels and volumes too, is the mean over the patient's scans."""
    return _csv(evaluation.patients, PATIENT_COLUMNS)


def summary_json(evaluation: Evaluation) -> str:
    """Write the summary as strict JSON: no NaN, one line end at the end."""
    return json.dumps(evaluation.summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def terminal_table(evaluation: Evaluation, *, title: str, width: int = 80) -> str:
    """Show the result at a glance: plain text, without a line end at the end.

    Parameters
    ----------
    evaluation
        From `evaluate`.
    title
        First line, shortened to `width`.
    width
        Most columns of the terminal that a line may take; the figures need about 70.

    Returns
    -------
    str
        One row a class, the background in brackets after them, the mean over the classes last. Dice is the headline
        one; missed and spurious are counted in slices.
    """
    summary = evaluation.summary
    percent = f"{100 * summary['bootstrap']['confidence']:g} % CI"
    lines = [_fitted(text, width) for text in (title, _extent(summary))]
    lines += _grid(summary, percent, width)
    lines += ["", *(_note(term, text, width) for term, text in _notes(summary, percent).items())]
    return "\n".join(lines)


def _grid(summary: Mapping[str, Any], percent: str, width: int) -> list[str]:
    """Draw the lines from the first rule to the mean; the class column gets the room that the figures leave."""
    background, *foreground = summary["classes"]
    cells = [_class_cells(summary, name) for name in (*foreground, background)]
    names = [*foreground, f"({background})"]
    header = ["slice", "scan", "patient", percent, "sl/sc/pat", "missed", "spurious"]
    mean = _mean_cells(summary)
    widths = [max(map(_width, column)) for column in zip(header, mean, *cells, strict=True)]
    taken = sum(widths) + len(_GAP) * len(widths)
    first = max(_CLASS_MIN, min(max(map(_width, (*names, _MEAN))), width - taken))
    rule = "─" * (first + taken)
    groups = {"mean Dice per": widths[:3], "": widths[3:4], "n": widths[4:5], "in slices": widths[5:]}
    spanned = [text.center(sum(span) + len(_GAP) * (len(span) - 1)) for text, span in groups.items()]
    return [
        rule,
        _GAP.join([" " * first, *spanned]).rstrip(),
        _line("class", header, first, widths),
        rule,
        *(_line(name, row, first, widths) for name, row in zip(names, cells, strict=True)),
        rule,
        _line(_MEAN, mean, first, widths),
    ]


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _field(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return format(value, ".10g") if isinstance(value, float) else str(value)


def _class_cells(summary: Mapping[str, Any], name: str) -> list[str]:
    """Fill the cells of one class, after its name."""
    levels = [summary["levels"][level]["classes"][name] for level in _LEVELS]
    dice = [level["dice"] for level in levels]
    return [
        *(_rate(one["mean"]) for one in dice),
        _interval(dice[-1]["interval"]),
        "/".join(str(one["n"]) for one in dice),
        str(levels[0]["missed"]),
        str(levels[0]["spurious"]),
    ]


def _mean_cells(summary: Mapping[str, Any]) -> list[str]:
    """Fill the cells of the mean over the classes, after its name."""
    dice = [summary["levels"][level]["foreground"]["dice"] for level in _LEVELS]
    return [*(_rate(one["mean"]) for one in dice), _interval(dice[-1]["interval"]), "", "", ""]


def _rate(value: float | None) -> str:
    return _NONE if value is None else f"{value:.3f}"


def _interval(bounds: Sequence[float] | None) -> str:
    return _NONE if bounds is None else "–".join(f"{bound:.3f}" for bound in bounds)


def _extent(summary: Mapping[str, Any]) -> str:
    """How much was evaluated, such as "540 slices of 9 scans of 3 patients"."""
    numbers = [(summary[f"n_{level}s"], level) for level in _LEVELS]
    return " of ".join(f"{number} {level}{'' if number == 1 else 's'}" for number, level in numbers)


def _notes(summary: Mapping[str, Any], percent: str) -> dict[str, str]:
    """Say what is counted, and how far the interval can be trusted."""
    patients, resamples = summary["n_patients"], summary["bootstrap"]["resamples"]
    if patients == 1:
        trust = "none: it takes two patients"
    else:
        few = ", rough with so few" if patients < _FEW_PATIENTS else ""
        trust = f"of the patient mean; {resamples} resamples of {patients} patients{few}"
    return {
        "Dice, n": "slices (sl), scans (sc: slices pooled) and patients (pat: mean of their scans) "
        "that contain the class; the background is in no mean",
        "missed": "slices with the class where the prediction has none of it",
        "spurious": "slices without the class where the prediction has some; not in Dice",
        percent: trust,
    }


def _note(term: str, text: str, width: int) -> str:
    head = f"{term:<8}{_GAP}"
    return textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head))


def _line(name: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
    name = _fitted(name, first)
    padded = [" " * (width - _width(cell)) + cell for cell, width in zip(cells, widths, strict=True)]
    return _GAP.join([name + " " * (first - _width(name)), *padded]).rstrip()


def _width(text: str) -> int:
    """Columns that the text takes in a terminal: East Asian wide characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _fitted(text: str, width: int) -> str:
    """Put the text on one line, its end replaced by an ellipsis when it is too wide."""
    text = " ".join(text.split())
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"
