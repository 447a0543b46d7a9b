"""The page of a comparison: one HTML file that opens anywhere, offline."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from pipeline.evaluation.comparison import Comparison, Pair
from pipeline.evaluation.differences import Counts, Row
from pipeline.evaluation.stored import Stored
from pipeline.evaluation.verdicts import Verdict, left_out, letter, p_text, verdict
from pipeline.evaluation.wording import signed, signed_interval
from pipeline.reporting.colours import class_colour
from pipeline.reporting.content import PHANTOM, Example
from pipeline.reporting.forest import Forest, forest
from pipeline.reporting.overlays import overlay_figure
from pipeline.reporting.regressions import Picture
from pipeline.reporting.sheets import png
from pipeline.reporting.wording import NONE, count, distance, plural, rate

__all__ = ["ComparisonContent", "render_comparison"]

_UNITS = {"mm": "mm", "pixels": "px", None: ""}
_WORDS = {"better": "better", "worse": "worse", "unclear": "different", "none": "no difference shown",
          "few": "too few patients to tell", "empty": "nothing to compare"}  # fmt: skip
_IMAGE_DPI = 110


@dataclass(frozen=True, eq=False)
class ComparisonContent:
    """All that the page shows.

    Attributes
    ----------
    comparison
        From `pipeline.evaluation.comparison.compare`.
    pictures
        Of the regressions of each pair.
    synthetic
        Whether any of the data are a phantom.
    evaluations
        As they were read, the first one first.
    command, version
        What made the page.
    """

    comparison: Comparison
    pictures: Sequence[Sequence[Picture]]
    synthetic: bool
    evaluations: Sequence[Stored]
    command: str
    version: str


@dataclass(frozen=True, eq=False)
class _Table:
    """One metric of one pair."""

    metric: str
    title: str
    head: str
    rows: list[dict[str, Any]]
    forest: Forest


def render_comparison(content: ComparisonContent) -> str:
    """Write the page: style, plots (SVG) and pictures (PNG) inside, nothing loaded; names are escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reporting"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"count": count, "rate": rate, "distance": distance, "signed": signed}
    comparison = content.comparison
    return environment.get_template("comparison.html.j2").render(
        content=content,
        comparison=comparison,
        phantom=PHANTOM,
        dash=NONE,
        title=_title(comparison),
        percent=f"{100 * comparison.confidence:g} %",
        evaluations=[_evaluation(one, number) for number, one in enumerate(content.evaluations)],
        pairs=[_pair(content, number) for number in range(len(comparison.pairs))],
    )


def _title(comparison: Comparison) -> str:
    names = [pair.name for pair in comparison.pairs]
    return f"{names[0] if len(names) == 1 else f'{len(names)} evaluations'} compared with {comparison.first}"


def _evaluation(stored: Stored, number: int) -> dict[str, Any]:
    unit = _UNITS[stored.unit]
    return {
        "letter": letter(number), "name": stored.name, "folder": str(stored.source.folder),
        "cases": count(len(stored.cases)), "patients": count(len(set(stored.patients))),
        "distances": f"in {unit}, surface Dice at {stored.tolerance:g} {unit}" if unit else "not measured",
    }  # fmt: skip


def _pair(content: ComparisonContent, number: int) -> dict[str, Any]:
    """What the template needs of one compared evaluation."""
    comparison = content.comparison
    pair, pictures = comparison.pairs[number], content.pictures[number]
    found = verdict(comparison, pair)
    shared = pair.matched.first
    scans = len(set(zip(shared.patients, shared.scans, strict=True)))
    return {
        "id": f"pair-{number + 1}", "name": pair.name, "letter": letter(number + 1),
        "verdict": found, "word": _WORDS[found.state], "figure": _figure(pair, found),
        "extent": f"{plural(len(shared.cases), 'case')} of {plural(scans, 'scan')} of "
        f"{plural(len(set(shared.patients)), 'patient')}",
        "warnings": left_out(pair),
        "tables": [_table(comparison, pair, number, metric, rows) for metric, rows in pair.rows.items()],
        "regressions": [_regression(content, pair, number, picture) for picture in pictures],
        "unit": _UNITS[shared.unit] if "hd95" in pair.rows else "",
    }  # fmt: skip


def _figure(pair: Pair, found: Verdict) -> str:
    return NONE if found.state == "empty" else signed(pair.rows["dice"][0].difference)


def _table(comparison: Comparison, pair: Pair, number: int, metric: str, rows: Sequence[Row]) -> _Table:
    stored = pair.matched.first
    unit = _UNITS[stored.unit]
    title, head = {
        "dice": ("Dice", "Dice"),
        "hd95": (f"HD95 in {unit}: less is better", f"HD95, {unit}"),
        "surface_dice": (f"Surface Dice at {stored.tolerance or 0:g} {unit}", "surface Dice"),
    }[metric]
    mean, *classes = rows
    counts = {one.name: one for one in pair.counts} if metric == "dice" else {}
    cells = [_cells(row, comparison, counts.get(row.name) if row.place else None) for row in (*classes, mean)]
    return _Table(metric, title, head, cells, forest(rows, metric, comparison.alpha, (letter(0), letter(number + 1))))


def _cells(row: Row, comparison: Comparison, counts: Counts | None) -> dict[str, Any]:
    write = distance if row.metric == "hd95" else rate
    total = max(1, row.n_patients)
    return {
        "name": row.name if row.place is not None else "mean over classes",
        "colour": "" if row.place is None else class_colour(row.place), "is_mean": row.place is None,
        "first": write(row.first), "other": write(row.other), "difference": signed(row.difference, row.metric),
        "interval": signed_interval(row.interval, row.metric), "p": re.sub("^p (= )?", "", p_text(row.p_holm)),
        "shown": row.shown(comparison.alpha), "n": count(row.n_patients),
        "wins": row.wins, "losses": row.losses, "ties": row.ties,
        "shares": [round(100 * part / total, 2) for part in (row.wins, row.ties, row.losses)],
        "counts": [] if counts is None else [counts.missed, counts.spurious],
    }  # fmt: skip


def _regression(content: ComparisonContent, pair: Pair, number: int, picture: Picture) -> dict[str, Any]:
    one = picture.regression
    sides = zip((letter(0), letter(number + 1)), (content.comparison.first, pair.name), picture.examples or (),
                strict=False)  # fmt: skip
    return {
        "row": one, "colour": class_colour(one.place), "note": picture.note,
        "slice": None if picture.examples is None else picture.examples[0].slice,
        "images": [
            {"letter": mark, "name": name, "dice": rate(example.dice[one.name]),
             "image": _drawn(content, pair, mark, example)}
            for mark, name, example in sides
        ],
    }  # fmt: skip


def _drawn(content: ComparisonContent, pair: Pair, mark: str, example: Example) -> str:
    classes = pair.matched.first.classes
    drawn = png(overlay_figure([example], [""], classes, title=mark, synthetic=content.synthetic), _IMAGE_DPI)
    return f"data:image/png;base64,{base64.b64encode(drawn).decode('ascii')}"
