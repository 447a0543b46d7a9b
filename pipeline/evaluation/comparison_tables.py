"""A comparison as text: comparison.csv for a spreadsheet, a table of at most 80 columns for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from pipeline.evaluation.comparison import Comparison, Pair
from pipeline.evaluation.differences import Row
from pipeline.evaluation.tables import csv_text, fitted, table_line
from pipeline.evaluation.verdicts import left_out, letter, verdict
from pipeline.evaluation.wording import NONE, distance, rate, signed
from pipeline.terminal import width_of

__all__ = ["COLUMNS", "comparison_csv", "comparison_table"]

COLUMNS = (
    "metric", "unit", "class_id", "class", "first", "compared", "n_patients", "mean_first", "mean_compared",
    "difference", "low", "high", "confidence", "p", "p_holm", "shown", "wins", "losses", "ties", "n_cases",
    "missed_first", "missed_compared", "spurious_first", "spurious_compared",
)  # fmt: skip
_TITLES = {"dice": "Dice", "hd95": "HD95", "surface_dice": "surface Dice"}
_GAP = "  "
_COUNTED = ("missed", "spur.")
_LEAST_NAME = 10  # columns that a class name gets at least


def comparison_csv(comparison: Comparison) -> str:
    """One row a metric, class and compared evaluation; `class` is "foreground", without an id, for the mean.

    A field is empty where there is no value. `shown` is better, worse or unclear where the corrected p is at most
    1 - confidence, and empty else; missed and spurious are numbers of cases.
    """
    return csv_text(COLUMNS, (
        _values(comparison, pair, row) for pair in comparison.pairs for rows in pair.rows.values() for row in rows
    ))  # fmt: skip


def _values(comparison: Comparison, pair: Pair, row: Row) -> list[object]:
    first = pair.matched.first
    found = None if row.place is None else pair.counts[row.place - 1]
    counts = [None] * 4 if found is None else [*found.missed, *found.spurious]
    return [
        row.metric, first.unit if row.metric == "hd95" else None,
        None if row.place is None else first.class_ids[row.place], row.name, comparison.first, pair.name,
        row.n_patients, row.first, row.other, row.difference, *(row.interval or (None, None)), comparison.confidence,
        row.p, row.p_holm, row.shown(comparison.alpha), row.wins, row.losses, row.ties, len(first.cases),
        *counts,
    ]  # fmt: skip


def comparison_table(comparison: Comparison, *, width: int = 80) -> str:
    """Show each comparison at a glance: what it shows, in words, then a table a metric.

    Parameters
    ----------
    comparison
        From `compare`.
    width
        Most columns that a line may take, at least 72.
    """
    parts = []
    for number, pair in enumerate(comparison.pairs, start=1):
        found = verdict(comparison, pair)
        lines = _wrapped(found.headline, width)
        for sentence in (*found.sentences, *left_out(pair)):
            lines += _wrapped(sentence, width, indent="  ")
        for metric, rows in pair.rows.items():
            lines += ["", *_grid(comparison, pair, letter(number), metric, rows, width)]
        parts.append("\n".join(lines))
    percent = f"{100 * comparison.confidence:g} %"
    note = (
        f"Means over patients of their scans; difference: compared minus {comparison.first}, with its {percent} "
        f"interval ({comparison.resamples} resamples of the patients); p: Wilcoxon's signed ranks over patients, after "
        "Holm's correction (foreground apart from the classes); W/L/T: patients for whom the compared one is better, "
        "worse, the same; missed, spur(ious): cases with the class where the prediction has none, and the other way "
        "round."
    )
    return "\n\n".join([*parts, "\n".join(_wrapped(note, width))])


def _grid(
    comparison: Comparison, pair: Pair, name: str, metric: str, rows: Sequence[Row], width: int
) -> list[str]:  # fmt: skip
    """Draw one metric of one compared evaluation, which the letter `name` stands for."""
    unit = {"mm": "mm", "pixels": "px"}.get(pair.matched.first.unit or "", "")
    better = ", less is better" if metric == "hd95" else ""
    title = f"{_TITLES[metric]}{f', {unit}' if metric == 'hd95' else ''}{better}"
    title += f" | {letter(0)}: {comparison.first} | {name}: {pair.name}"
    write = distance if metric == "hd95" else rate
    head = [letter(0), name, f"{name} − {letter(0)}", f"{100 * comparison.confidence:g} % interval", "p", "W/L/T", "n"]
    mean, *classes = rows
    cells = [_cells(row, write) for row in (*classes, mean)]
    if metric == "dice":
        counts = [[f"{one}→{other}" for one, other in (found.missed, found.spurious)] for found in pair.counts]
        wider = [row + more for row, more in zip(cells, [*counts, ["", ""]], strict=True)]
        widest = [max(map(width_of, column)) for column in zip([*head, *_COUNTED], *wider, strict=True)]
        if sum(widest) + len(_GAP) * len(widest) + _LEAST_NAME <= width:  # else they are in the other files alone
            head, cells = [*head, *_COUNTED], wider
    widths = [max(width_of(text) for text in column) for column in zip(head, *cells, strict=True)]
    taken = sum(widths) + len(_GAP) * len(widths)
    names = [row.name for row in (*classes, mean)]
    first = max(min(max(map(width_of, names)), width - taken), min(_LEAST_NAME, max(map(width_of, names))))
    rule = "─" * min(width, first + taken)
    lines = [table_line(fitted(name, first), line, first, widths) for name, line in zip(names, cells, strict=True)]
    return [fitted(title, width), rule, table_line("class", head, first, widths), rule, *lines[:-1], rule, lines[-1]]


def _cells(row: Row, write: Callable[[float | None], str]) -> list[str]:
    bounds = NONE if row.interval is None else "…".join(signed(bound, row.metric) for bound in row.interval)
    p = NONE if row.p_holm is None else "<.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}"
    wins = f"{row.wins}/{row.losses}/{row.ties}"
    return [
        write(row.first), write(row.other), signed(row.difference, row.metric), bounds, p, wins, str(row.n_patients)
    ]  # fmt: skip


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=True) or [""]
