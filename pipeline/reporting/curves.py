"""Curves of the training: of one network, or of every fold's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting import colours
from pipeline.reporting.content import FoldContent, ReportContent, TrainingContent
from pipeline.reporting.sheets import in_house_style, new_sheet
from pipeline.reporting.wording import legend_label, plural, rate, shortened

__all__ = ["loss_figure", "training_figure"]

_CURVES = {"left": 0.72, "width": 5.7, "sheet": 8.35}  # inches
_MOST_NAMED = 24  # curves that get a colour and a name of their own
_MOST_FOLDS = 10  # that do
_FEW_EPOCHS = 30  # up to here each epoch gets a marker
_PANELS = {"train_loss": "training loss", "validation_loss": "validation loss", "validation_dice": "validation Dice"}
_PANEL, _BETWEEN = 1.75, 0.25  # inches: height of one of the folds' panels, space between two


@in_house_style
def loss_figure(content: ReportContent) -> Figure:
    """Show the training: losses above, Dice of the validation patients below, the best epoch marked.

    Of a cross-validation, a curve a fold.
    """
    return _folds(content) if content.folds else training_figure(content.training)


def _folds(content: ReportContent) -> Figure:
    """Show both losses and the mean validation Dice, each in a panel, with one colour a fold through all of them."""
    body = len(_PANELS) * (_PANEL + _BETWEEN) + 0.25
    note = "Dice is the mean over the classes, of the fold's validation patients; a ring marks the epoch that was kept."
    sheet = new_sheet(
        _CURVES["left"] + _CURVES["width"] + 1.1, body,
        title=f"{shortened(content.name, 40)}: training of {len(content.folds)} folds",
        subtitles=[_best_of_folds(content.folds)], notes=[note], synthetic=content.synthetic,
    )  # fmt: skip
    named = len(content.folds) <= _MOST_FOLDS
    rows = [row for fold in content.folds for row in fold.history]
    for place, (key, label) in enumerate(_PANELS.items()):
        axes = sheet.axes(_CURVES["left"], 0.05 + place * (_PANEL + _BETWEEN), _CURVES["width"], _PANEL)
        for number, fold in enumerate(content.folds):
            _fold_curve(axes, fold, key, number, f"fold {number}" if named else None)
        if key == "validation_dice":
            axes.set_ylim(0, 1)
        axes.set_ylabel(label)
        _frame(axes, rows)
        last = place == len(_PANELS) - 1
        axes.tick_params(labelbottom=last)
        if last:
            axes.set_xlabel("epoch")
        if place == 0 and axes.lines and named:
            axes.legend(loc="upper left", bbox_to_anchor=(1.015, 1.0), borderaxespad=0, labelspacing=0.35)
    return sheet.figure


def _best_of_folds(folds: Sequence[FoldContent]) -> str:
    known = [fold.best_dice for fold in folds if fold.best_dice is not None]
    if not known:
        return f"{plural(len(folds), 'fold')}, no epoch of them validated"
    span = rate(known[0]) if len(known) == 1 else f"{rate(min(known))} to {rate(max(known))}"
    return f"mean validation Dice of the epochs that were kept: {span}"


def _fold_curve(axes: Axes, fold: FoldContent, key: str, number: int, label: str | None) -> None:
    colour = colours.BACKGROUND if label is None else colours.class_colour(number + 1)
    look = {"color": colour, "linestyle": "solid" if label is None else colours.class_linestyle(number + 1)}
    _curve(axes, fold.history, key, label=label, linewidth=1.4 if label else 0.6, markersize=2.4, **look)
    kept = fold.best_dice
    if key == "validation_dice" and kept is not None and math.isfinite(kept):
        axes.plot(
            [fold.best_epoch], [kept], marker="o", linestyle="none", markersize=7.5, markerfacecolor="none",
            markeredgecolor=colour, markeredgewidth=1.6, zorder=3, clip_on=False,
        )  # fmt: skip


@in_house_style
def training_figure(content: TrainingContent) -> Figure:
    """Show both losses above, Dice of the validation patients, by class and in the mean, below."""
    history, names = content.history, content.classes[1:]
    named = len(names) <= _MOST_NAMED
    low = max(2.5, 0.17 * (len(names) + 2)) if named else 2.5
    sheet = new_sheet(
        _CURVES["sheet"], 2.1 + 0.3 + low + 0.5, title=f"{shortened(content.name, 50)}: training",
        subtitles=[_best(content)], synthetic=content.synthetic,
    )  # fmt: skip
    losses = sheet.axes(_CURVES["left"], 0.05, _CURVES["width"], 2.1)
    dice = sheet.axes(_CURVES["left"], 2.45, _CURVES["width"], low)
    _curve(losses, history, "train_loss", label="training", color=colours.INK, linewidth=1.6)
    _curve(losses, history, "validation_loss", label="validation", color="#d9541e", linewidth=1.6, linestyle="dashed")
    losses.set_ylabel("loss")
    for class_id, name in enumerate(names, start=1):
        if named:
            look = {"color": colours.class_colour(class_id), "linestyle": colours.class_linestyle(class_id)}
            _curve(dice, history, f"dice_{name}", label=legend_label(name, 18), linewidth=1.3, **look)
        else:
            label = f"each of {len(names)} classes" if class_id == 1 else None
            _curve(dice, history, f"dice_{name}", label=label, linewidth=0.5, color=colours.BACKGROUND)
    _curve(dice, history, "validation_dice", label="mean", color=colours.INK, linewidth=2.2)
    dice.set(ylabel="validation Dice", ylim=(0, 1), xlabel="epoch")
    for axes in (losses, dice):
        _finish_curves(axes, history, content.best_epoch)
    losses.tick_params(labelbottom=False)
    return sheet.figure


def _best(content: TrainingContent) -> str:
    """Say which epoch was kept, or would be if the training ended now."""
    epochs = plural(len(content.history), "epoch") + (" so far" if content.running else "")
    found = [row.get("validation_dice") for row in content.history if row["epoch"] == content.best_epoch]
    if not found:
        return f"{epochs}, none of them validated"
    kept = "" if content.running else ", which was kept"
    return f"{epochs}; the best{kept}: epoch {content.best_epoch}, mean validation Dice {rate(found[0])}"


def _curve(axes: Axes, history: Sequence[Mapping[str, Any]], key: str, *, label: str | None, **look: Any) -> None:
    """Draw one column of the history; epochs without a finite value are passed over."""
    points = [(row["epoch"], row[key]) for row in history if _is_number(row.get(key))]
    if points:
        marker = "o" if len(points) <= _FEW_EPOCHS else None
        epochs, values = zip(*points, strict=True)
        axes.plot(epochs, values, label=label, marker=marker, **({"markersize": 3.2, "clip_on": False} | look))


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _frame(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    """Set the grid, the room for labels and the axis of the epochs."""
    axes.grid(visible=True, axis="y")
    axes.yaxis.set_label_coords(-0.095, 0.5)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4))  # a huge loss must not push its label off the sheet
    if not axes.lines:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center", color=colours.MUTED)
    epochs = [row["epoch"] for row in history] or [1]
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _finish_curves(axes: Axes, history: Sequence[Mapping[str, Any]], best_epoch: int) -> None:
    _frame(axes, history)
    if best_epoch in [row["epoch"] for row in history]:
        axes.axvline(best_epoch, color=colours.MUTED, linewidth=1.0, linestyle="dotted", label="best epoch", zorder=0)
    if axes.lines:
        axes.legend(loc="upper left", bbox_to_anchor=(1.015, 1.0), borderaxespad=0, labelspacing=0.35)
