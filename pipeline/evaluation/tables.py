"""An evaluation as text: tables for a spreadsheet, a summary for programs, a table for the terminal.

Nothing here touches a file: what is returned is written by somebody who knows how to write files whole.
"""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import Fault
from pipeline.evaluation.aggregation import Evaluation
from pipeline.evaluation.bootstrap import FEW_PATIENTS
from pipeline.evaluation.levels import FIGURES
from pipeline.evaluation.wording import NONE, interval, rate
from pipeline.terminal import width_of

__all__ = ["CASE_COLUMNS", "PATIENT_COLUMNS", "SCAN_COLUMNS", "cases_csv", "csv_text", "failures_csv", "patients_csv",
           "scans_csv", "fitted", "summary_json", "table_line", "terminal_table"]  # fmt: skip

_SHARED = ("class_id", "class", *FIGURES, "outcome")
CASE_COLUMNS = ("case", "scan", "patient", "slices", *_SHARED)
SCAN_COLUMNS = ("scan", "patient", "slices", *_SHARED)
PATIENT_COLUMNS = ("patient", "scans", "slices", *_SHARED)

_LEVELS = {"slice": "slice", "scan": "scan", "patient": "pat."}  # with what the terminal has room for
_GAP = "  "
_MEAN = "foreground"
_CLASS_MIN = 6  # columns of the terminal that a class name gets at least
_UNITS = {"mm": "mm", "pixels": "px"}
_WIDE = 88  # columns from which surface Dice is shown too
Paint = Callable[[str, str], str]  # (text, style)


def _plain(text: str, style: str) -> str:
    return text


def cases_csv(evaluation: Evaluation) -> str:
    """One row a case and class; empty where there is no value; volumes in ml, empty when the spacing is unknown."""
    return _csv(evaluation.cases, CASE_COLUMNS)


def scans_csv(evaluation: Evaluation) -> str:
    """One row a scan and class, the scan's slices pooled; columns as in `cases_csv`, without the case."""
    return _csv(evaluation.scans, SCAN_COLUMNS)


def patients_csv(evaluation: Evaluation) -> str:
    """One row a patient and class; every figure, voxels and volumes too, is the mean over the patient's scans."""
    return _csv(evaluation.patients, PATIENT_COLUMNS)


def failures_csv(failures: Sequence[tuple[str, Fault]]) -> str:
    """One row a fault: the case, the file, what is wrong, what to do."""
    columns = ("case", "file", "what", "remedy")
    rows = [(case, fault.where, fault.what, fault.remedy) for case, fault in failures]
    return _csv([dict(zip(columns, row, strict=True)) for row in rows], columns)


def summary_json(evaluation: Evaluation) -> str:
    """Write the summary as strict JSON: no NaN, one line end at the end."""
    return json.dumps(evaluation.summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def terminal_table(evaluation: Evaluation, *, title: str, width: int = 80, paint: Paint = _plain) -> str:
    """Show the result at a glance: text without a line end at the end.

    Parameters
    ----------
    evaluation
        From `evaluate`.
    title
        First line, shortened to `width`.
    width
        Most columns of the terminal that a line may take; the figures need about 70. From 88, surface Dice is shown.
    paint
        Makes a text one of the styles of `pipeline.terminal.painted`; nothing by itself. The class with the lowest
        Dice per scan is a ``warning``.

    Returns
    -------
    str
        One row a class, the background in brackets after them, the mean over the classes last. Dice is the headline
        one; HD95 is the mean over scans, where distances were measured; missed and spurious are counted in slices.
    """
    summary = evaluation.summary
    wide = width >= _WIDE
    percent = f"{100 * summary['bootstrap']['confidence']:g} % CI"
    lines = [paint(fitted(title, width), "heading"), fitted(_extent(summary), width)]
    lines += _grid(summary, percent, width, paint)
    notes = _notes(summary, percent, wide=wide)
    wrapped = "\n".join(_note(term.ljust(max(map(len, notes))), text, width) for term, text in notes.items())
    lines += ["", *(paint(line, "muted") for line in wrapped.split("\n"))]
    return "\n".join(lines)


def _worst(summary: Mapping[str, Any]) -> str | None:
    """The class with the lowest Dice per scan; None where it is not worse than another, or there is no other."""
    rows = summary["levels"]["scan"]["classes"]
    known = {name: rows[name]["dice"]["mean"] for name in summary["classes"][1:]}
    means = {name: mean for name, mean in known.items() if mean is not None}
    lowest = [name for name, mean in means.items() if mean == min(means.values())]
    return lowest[0] if len(lowest) == 1 and len(means) > 1 else None


@dataclass(frozen=True)
class _Column:
    """A column of figures: its head, the cell of each class, the cell of the mean over the classes."""

    head: str
    cells: Sequence[str]
    mean: str = ""

    @property
    def width(self) -> int:
        return max(map(width_of, (self.head, self.mean, *self.cells)))


def _grid(summary: Mapping[str, Any], percent: str, width: int, paint: Paint) -> list[str]:
    """Draw the lines from the first rule to the mean; the class column gets the room that the figures leave."""
    background, *foreground = summary["classes"]
    groups = _columns(summary, percent, (*foreground, background), wide=width >= _WIDE)
    columns = [column for group in groups.values() for column in group]
    names = [*foreground, f"({background})"]
    widths = [column.width for column in columns]
    taken = sum(widths) + len(_GAP) * len(widths)
    first = max(_CLASS_MIN, min(max(map(width_of, (*names, _MEAN))), width - taken))
    rule = "─" * (first + taken)
    spanned = [
        text.center(sum(column.width for column in group) + len(_GAP) * (len(group) - 1))
        for text, group in groups.items()
    ]
    rows = [
        table_line(fitted(name, first), [column.cells[row] for column in columns], first, widths)
        for row, name in enumerate(names)
    ]
    worst = _worst(summary)
    return [
        rule,
        _GAP.join([" " * first, *spanned]).rstrip(),
        table_line("class", [column.head for column in columns], first, widths),
        rule,
        *(
            paint(line, "warning") if name == worst else line
            for name, line in zip(names, rows, strict=True)
        ),
        rule,
        paint(table_line(fitted(_MEAN, first), [column.mean for column in columns], first, widths), "heading"),
    ]  # fmt: skip


def _columns(
    summary: Mapping[str, Any], percent: str, classes: Sequence[str], *, wide: bool
) -> dict[str, list[_Column]]:
    """The columns of figures, by what stands above them."""
    levels = [summary["levels"][level] for level in _LEVELS]
    by_level = [[level["classes"][name] for name in classes] for level in levels]
    intervals = [interval(row["dice"]["interval"]) for row in by_level[-1]]
    numbers = ["/".join(str(row["dice"]["n"]) for row in rows) for rows in zip(*by_level, strict=True)]
    return {
        "mean Dice per": [
            _Column(head, [rate(row["dice"]["mean"]) for row in rows], rate(level["foreground"]["dice"]["mean"]))
            for head, rows, level in zip(_LEVELS.values(), by_level, levels, strict=True)
        ],
        "": [_Column(percent, intervals, interval(levels[-1]["foreground"]["dice"]["interval"]))],
        **_distance_columns(summary, classes, wide=wide),
        "n": [_Column("sl/sc/pt", numbers)],
        "in slices": [_Column(name, [str(row[name]) for row in by_level[0]]) for name in ("missed", "spurious")],
    }


def _distance_columns(summary: Mapping[str, Any], classes: Sequence[str], *, wide: bool) -> dict[str, list[_Column]]:
    """HD95 by scan and, where there is room, surface Dice; nothing where no distance was measured."""
    if summary["distances"] is None:
        return {}
    scan = summary["levels"]["scan"]
    unit = _UNITS[summary["distances"]["unit"]]
    shown: dict[str, tuple[str, str, Callable[[float | None], str]]] = {"HD95": ("hd95", unit, _distance)}
    if wide:
        head = f"{summary['distances']['tolerance']:g} {unit}"
        shown["surf. Dice"] = ("surface_dice", head, rate)
    return {
        # As wide as what stands above: the group has one column.
        group: [_Column(head.rjust(len(group)), [write(scan["classes"][name][metric]["mean"]) for name in classes],
                        write(scan["foreground"][metric]["mean"]))]
        for group, (metric, head, write) in shown.items()
    }  # fmt: skip


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    return csv_text(columns, ([row[column] for column in columns] for row in rows))


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table for a spreadsheet: fractions with ten digits, an empty field for None.

    >>> print(csv_text(["name", "dice"], [["a, b", 2 / 3], ["c", None]]), end="")
    name,dice
    "a, b",0.6666666667
    c,
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_field(value) for value in row] for row in rows)
    return text.getvalue()


def _field(value: object) -> str:
    if value is None:
        return ""
    return format(value, ".10g") if isinstance(value, float) else str(value)


def _distance(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def _extent(summary: Mapping[str, Any]) -> str:
    """How much was evaluated, such as "540 slices of 9 scans of 3 patients"."""
    numbers = [(summary[f"n_{level}s"], level) for level in _LEVELS]
    return " of ".join(f"{number} {level}{'' if number == 1 else 's'}" for number, level in numbers)


def _notes(summary: Mapping[str, Any], percent: str, *, wide: bool) -> dict[str, str]:
    """Say what is counted, and how far the interval can be trusted."""
    patients, resamples = summary["n_patients"], summary["bootstrap"]["resamples"]
    if patients == 1:
        trust = "none: it takes two patients"
    else:
        few = ", rough with so few" if patients < FEW_PATIENTS else ""
        trust = f"of the patient mean; {resamples} resamples of {patients} patients{few}"
    return {
        "Dice, n": "slices (sl), scans (sc: slices pooled) and patients (pt: mean of their scans) "
        "that contain the class; the background is in no mean",
        **_distance_notes(summary, wide=wide),
        "missed": "slices with the class where the prediction has none of it",
        "spurious": "slices without the class where the prediction has some; not in Dice",
        percent: trust,
    }


def _distance_notes(summary: Mapping[str, Any], *, wide: bool) -> dict[str, str]:
    """Say what the distances are between, and what a miss counts as."""
    measured = summary["distances"]
    if measured is None:
        return {}
    between = "volumes" if not measured["n_2d"] else "2D slices" if not measured["n_3d"] else "slices and volumes"
    over = "mean over scans" if not measured["n_2d"] else "mean over scans, of the mean over their slices"
    note = f"between surfaces of {between}, {over}; a missed class counts with the image's diagonal"
    if measured["unit"] == "pixels":
        note += "; px: pixels, the spacing is not known"
    notes = {"HD95": note}
    if wide:
        unit = _UNITS[measured["unit"]]
        notes["surf. Dice"] = f"share of both surfaces within {measured['tolerance']:g} {unit} of the other"
    return notes


def _note(term: str, text: str, width: int) -> str:
    head = term + _GAP
    return textwrap.fill(text, width, initial_indent=head, subsequent_indent=" " * len(head))


def table_line(name: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
    """A row of a table: the name at the left of `first` columns of the terminal, each cell at the right of its own.

    >>> table_line("liver", ["0.9", "–"], 6, [4, 2]), table_line("肝臓", ["0.9", "–"], 6, [4, 2])
    ('liver    0.9   –', '肝臓     0.9   –')
    """
    padded = [" " * (width - width_of(cell)) + cell for cell, width in zip(cells, widths, strict=True)]
    return _GAP.join([name + " " * (first - width_of(name)), *padded]).rstrip()


def fitted(text: str, width: int) -> str:
    """Put the text on one line, its end replaced by an ellipsis when it is too wide."""
    text = " ".join(text.split())
    if width_of(text) <= width:
        return text
    while width_of(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"
