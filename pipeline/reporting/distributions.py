"""How the patients' scores lie: a dot each, with the quartiles, class by class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.reporting import colours
from pipeline.reporting.content import ReportContent
from pipeline.reporting.sheets import in_house_style, new_sheet, text_width
from pipeline.reporting.wording import count, shortened

__all__ = ["distribution_figure", "patient_scores"]

_ROW, _WIDTH, _RIGHT = 0.44, 5.4, 0.75  # inches: height of a class, width of the axis, room for n
_SPREAD = 0.3  # of a row that dots are moved up and down by, so that equal ones are seen
_MOST_SHAPES = 1500  # dots; more are drawn as pixels, which a page loads faster


def patient_scores(content: ReportContent) -> dict[str, list[float]]:
    """Dice of each patient whose reference shows a class, by the name of the class; without the background."""
    found: dict[str, list[float]] = {name: [] for name in content.classes[1:]}
    for row in content.patients:
        if row["class"] in found and row["dice"] is not None:
            found[row["class"]].append(float(row["dice"]))
    return found


@in_house_style
def distribution_figure(content: ReportContent) -> Figure:
    """Show the Dice of every patient, class by class, over the box of the quartiles with the median in it.

    The axis begins at the tenth below the lowest score, so that the differences between patients can be seen.
    """
    scores = patient_scores(content)
    names = [shortened(name, 18) for name in scores]
    left = max(text_width(name, 8.5) for name in names) + 0.35
    sheet = new_sheet(
        left + _WIDTH + _RIGHT, len(scores) * _ROW + 0.55, synthetic=content.synthetic,
        title=f"{shortened(content.name, 40)}: Dice of each patient",
        notes=["A dot is a patient (the mean of his or her scans). The box holds the middle half of the patients, the "
               "line in it is the median; n patients show the class."],
    )  # fmt: skip
    axes = sheet.axes(left, 0.1, _WIDTH, len(scores) * _ROW)
    solid = sum(map(len, scores.values())) <= _MOST_SHAPES
    for place, (class_id, values) in enumerate(enumerate(scores.values(), start=1)):
        _draw_class(axes, place, values, colours.class_colour(class_id), solid=solid)
    _dress(axes, names, [len(values) for values in scores.values()], _lowest(scores.values()))
    return sheet.figure


def _lowest(scores: Iterable[Sequence[float]]) -> float:
    """Where the axis begins: the tenth below every score, and 0 without any."""
    known = [value for values in scores for value in values]
    return max(0.0, min(0.9, math.floor(10 * min(known) - 1e-9) / 10)) if known else 0.0


def _draw_class(axes: Axes, place: int, values: Sequence[float], colour: str, *, solid: bool) -> None:
    if not values:
        axes.text(0.5, place, "in no reference", transform=axes.get_yaxis_transform(), ha="center", va="center",
                  size=8, color=colours.MUTED)  # fmt: skip
        return
    low, middle, high = np.percentile(values, [25, 50, 75])
    if len(values) > 2:
        axes.barh(place, high - low, left=low, height=0.62, color=colour, alpha=0.22, linewidth=0)
        axes.vlines(middle, place - 0.31, place + 0.31, color=colour, linewidth=2.2)
    ordered = np.sort(values)
    # Neighbours in the order lie apart: a fixed pattern, so that the same run gives the same picture.
    moved = place + _SPREAD * (np.arange(len(ordered)) % 5 - 2) / 2.5 * (len(ordered) > 3)
    axes.scatter(ordered, moved, s=13, color=colour, edgecolors="none", alpha=0.85, rasterized=not solid, zorder=3,
                 clip_on=False)  # fmt: skip


def _dress(axes: Axes, names: Sequence[str], numbers: Sequence[int], lowest: float) -> None:
    """Axis, names of the classes at the left, numbers of patients at the right."""
    axes.set(xlim=(lowest, 1.0), ylim=(len(names) - 0.5, -0.5), xlabel="Dice per patient")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelsize=8.5)
    axes.grid(visible=True, axis="x")
    for place, number in enumerate(numbers):
        axes.text(1.015, place, f"n {count(number)}", transform=axes.get_yaxis_transform(), ha="left", va="center",
                  size=7.5, color=colours.MUTED)  # fmt: skip
