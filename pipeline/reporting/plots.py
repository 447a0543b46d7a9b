"""Bars of the scores, and the writing of every plot of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pipeline.reporting import colours
from pipeline.reporting.content import ReportContent
from pipeline.reporting.curves import loss_figure
from pipeline.reporting.overlays import mask_figure, overlay_figure
from pipeline.reporting.sheets import in_house_style, new_sheet, png
from pipeline.reporting.wording import count, plural, rate, shortened
from pipeline.runs import write_bytes

__all__ = ["OVERLAY_TITLE", "dice_figure", "extent", "save_plots"]

OVERLAY_TITLE = "Outlines of the reference and the prediction"
_BAR, _SPACE = 0.34, 0.3  # inches: width of a bar, between groups
_ROW, _LOW_ROW = 2.6, 1.4  # inches: height of a row of bars, and of one of many
_GROUPS_PER_ROW = 7


def save_plots(content: ReportContent, folder: Path) -> list[Path]:
    """Write every plot as PNG; each file appears whole or not at all.

    Parameters
    ----------
    content
        Of the run.
    folder
        Exists; files of the same names are replaced.

    Returns
    -------
    list of pathlib.Path
        loss_plot.png, average_dice_score_per_class.png, overlay_examples.png, and predicted_mask_channel_<k>.png for
        every class k, the background being 0.

    Raises
    ------
    RunError
        If a file cannot be written.
    """
    first, synthetic = content.examples[0], content.synthetic
    figures = {
        "loss_plot": lambda: loss_figure(content),
        "average_dice_score_per_class": lambda: dice_figure(content),
        "overlay_examples": lambda: overlay_figure(
            content.examples, content.captions, content.classes, title=OVERLAY_TITLE, synthetic=synthetic
        ),
    }
    paths = []
    for name, draw in figures.items():
        paths.append(folder / f"{name}.png")
        write_bytes(paths[-1], png(draw()))
    for class_id in range(len(content.classes)):
        paths.append(folder / f"predicted_mask_channel_{class_id}.png")
        write_bytes(paths[-1], png(mask_figure(first, content.classes, class_id, synthetic=synthetic)))
    return paths


@dataclass(frozen=True)
class _Group:
    """Bars of one class, or of the mean over the classes: a figure of the summary for each level."""

    label: str
    figures: Mapping[str, Mapping[str, Any]]
    muted: bool = False


@in_house_style
def dice_figure(content: ReportContent) -> Figure:
    """Show the mean Dice of each class per slice, per scan and per patient, with intervals and numbers of units.

    The mean over the classes stands behind them, and the background, which is not in it, muted at the end.
    """
    groups = _groups(content)
    rows = [groups[start : start + _GROUPS_PER_ROW] for start in range(0, len(groups), _GROUPS_PER_ROW)]
    widest = max(len(row) for row in rows)
    group_width = len(colours.LEVELS) * _BAR + _SPACE
    height = _ROW if len(rows) <= 4 else _LOW_ROW
    width, row_height = max(4.6, widest * group_width), height + 0.8
    sheet = new_sheet(
        width + 0.85, 0.35 + len(rows) * row_height, title=f"{shortened(content.name, 40)}: average Dice per class",
        subtitles=[extent(content.summary)], notes=_dice_notes(content), synthetic=content.synthetic,
    )  # fmt: skip
    for index, row in enumerate(rows):
        axes = sheet.axes(0.6, 0.55 + index * row_height, width * len(row) / widest, height)
        _draw_groups(axes, row, height)
    handles = [Patch(facecolor=colour, label=f"per {level}") for level, colour in colours.LEVELS.items()]
    place = (0.6 / sheet.size[0], 1 - sheet.top / sheet.size[1])
    sheet.figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=3, borderaxespad=0, borderpad=0)
    return sheet.figure


def _groups(content: ReportContent) -> list[_Group]:
    levels = content.summary["levels"]

    def of_class(name: str) -> dict[str, Any]:
        return {level: levels[level]["classes"][name]["dice"] for level in colours.LEVELS}

    background, *names = content.classes
    mean = {level: levels[level]["foreground"]["dice"] for level in colours.LEVELS}
    number = mean["scan"]["n_classes"]  # of those that some reference shows
    return [
        *(_Group(shortened(name, 16), of_class(name)) for name in names),
        _Group(f"mean of\n{number} {'class' if number == 1 else 'classes'}", mean),
        _Group(f"({shortened(background, 15)})\nnot in the mean", of_class(background), muted=True),
    ]


def _draw_groups(axes: Axes, groups: Sequence[_Group], height: float) -> None:
    """Draw a row of groups, `height` inches high; the x axis counts bars: a group begins every three bars and a gap."""
    step = len(colours.LEVELS) + _SPACE / _BAR
    for index, group in enumerate(groups):
        palette = colours.MUTED_LEVELS if group.muted else colours.LEVELS
        for offset, (level, colour) in enumerate(palette.items()):
            _draw_bar(axes, index * step + offset, group.figures[level], colour, height)
        middle, colour = index * step + (len(palette) - 1) / 2, colours.MUTED if group.muted else colours.INK
        for line, text in enumerate(group.label.split("\n")):
            axes.text(middle, -(0.38 + 0.16 * line) / height, text, ha="center", va="baseline", size=8, color=colour)
    axes.set_xticks([])
    axes.text(-0.62, -0.08 / height, "n", ha="right", va="top", size=7, color=colours.MUTED, style="italic")
    axes.set(xlim=(-0.5 - _SPACE / _BAR / 2, step * len(groups) - 0.5 - _SPACE / _BAR / 2), ylim=(0, 1), ylabel="Dice")
    axes.grid(visible=True, axis="y")


def _draw_bar(axes: Axes, x: float, figure: Mapping[str, Any], colour: str, height: float) -> None:
    """Draw one bar with its interval, its value above and its number of units below; a dash where there is none."""
    mean, bounds = figure["mean"], figure["interval"]
    top = 0.0
    if mean is not None:
        axes.bar(x, mean, width=0.94, color=colour)
        top = mean
    if bounds is not None:
        axes.vlines(x, *bounds, color=colours.INK, linewidth=1.1)
        top = max(top, bounds[1])
    axes.text(x, top + 0.04 / height, rate(mean), ha="center", va="bottom", size=7, clip_on=False)
    number = figure.get("n")  # a mean over classes has none
    if number is not None:
        axes.text(x, -0.08 / height, count(number), ha="center", va="top", size=7, color=colours.MUTED)


def extent(summary: Mapping[str, Any]) -> str:
    """Say how much was evaluated."""
    return " of ".join(plural(summary[f"n_{level}s"], level) for level in colours.LEVELS)


def _dice_notes(content: ReportContent) -> list[str]:
    """Say what was counted, and where an interval is missing."""
    summary, names = content.summary, content.classes[1:]
    drawn = summary["bootstrap"]
    notes = [
        "Dice of the predicted classes on the original grid, averaged over the units whose reference shows the class; "
        "n is how many those are. A scan's slices are pooled, a patient is the mean of his or her scans."
    ]
    if summary["n_patients"] < 2:
        return [*notes, f"{plural(summary['n_patients'], 'patient')}: no interval, for it takes two."]
    patients = plural(summary["n_patients"], "patient")
    text = f"Lines: {100 * drawn['confidence']:g} % interval, bootstrap over {patients}."
    levels = summary["levels"]["patient"]["classes"]
    lone = [f"{shortened(name, 16)} ({levels[name]['dice']['n']})" for name in names if levels[name]["dice"]["n"] < 2]
    if lone:
        listed = ", ".join(lone[:8]) + (f" and {len(lone) - 8} more" if len(lone) > 8 else "")
        text += f" No interval with fewer than two patients who have the class: {listed}."
    return [*notes, text]
