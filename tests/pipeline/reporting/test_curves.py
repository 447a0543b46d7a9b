"""Curves: what is drawn is the history, of one network or of every fold's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from pipeline.reporting.content import FoldContent, ReportContent
from pipeline.reporting.curves import loss_figure

Make = Callable[..., ReportContent]


def line(figure: Figure, panel: int, label: str) -> tuple[list[float], list[float]]:
    (found,) = [one for one in figure.axes[panel].lines if one.get_label() == label]
    x, y = np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)
    return x.tolist(), y.tolist()


def test_curves_show_the_history(make_content: Make) -> None:
    figure = loss_figure(make_content())
    assert line(figure, 0, "training") == ([1, 2, 3, 4], [1, 1 / 2, 1 / 3, 1 / 4])
    assert line(figure, 0, "validation") == ([1, 2, 3, 4], [1.5, 0.75, 0.5, 0.375])
    assert line(figure, 1, "mean") == ([1, 2, 3, 4], [1 / 2, 1 - 1 / 3, 3 / 4, 4 / 5])
    assert line(figure, 1, "bone") == ([1, 2, 3, 4], [1 - 1 / 3, 3 / 4, 4 / 5, 1 - 1 / 6])
    assert figure.axes[1].get_ylim() == (0, 1)
    for panel in (0, 1):
        assert line(figure, panel, "best epoch")[0] == [3, 3]
    assert "epoch 3, mean validation Dice 0.750" in figure.texts[2].get_text()


def test_epochs_without_validation_or_with_nan_are_passed_over(make_content: Make, make_epoch: Any) -> None:
    classes = ("background", "bone", "rectum")
    nan = {"dice_bone": math.nan, "validation_loss": math.inf}
    bare = {key: value for key, value in make_epoch(2, classes).items() if "dice" not in key and "valid" not in key}
    rows = [make_epoch(1, classes, **nan), bare, make_epoch(3, classes, dice_rectum=None)]
    figure = loss_figure(make_content(history=rows, best_epoch=3))
    assert line(figure, 0, "training")[0] == [1, 2, 3]
    assert line(figure, 0, "validation")[0] == [3]
    assert line(figure, 1, "bone")[0] == [3]
    assert line(figure, 1, "rectum")[0] == [1]
    assert line(figure, 1, "mean")[0] == [1, 3]


@pytest.mark.parametrize(("epochs", "marked"), [(1, True), (300, False)])
def test_one_epoch_and_many_can_be_read(make_content: Make, epochs: int, marked: bool) -> None:
    figure = loss_figure(make_content(epochs=epochs, best_epoch=epochs))
    figure.canvas.draw()
    curve = figure.axes[0].lines[0]
    assert (curve.get_marker() == "o") is marked  # a single point has no line
    labels = [text.get_text() for text in figure.axes[1].get_xticklabels() if text.get_text()]
    assert 1 <= len(labels) <= 12
    assert all(label.isdigit() for label in labels)
    low, high = figure.axes[1].get_xlim()
    assert low <= 1 <= epochs <= high


@pytest.mark.parametrize("history", [[], [{"epoch": 1, "train_loss": math.nan}]])
def test_a_history_without_values_says_so(make_content: Make, history: list[dict[str, Any]]) -> None:
    figure = loss_figure(make_content(history=history, best_epoch=0))
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["no values", "no values"]
    assert "none of them validated" in figure.texts[2].get_text()


def test_many_classes_share_one_colour_in_the_curves(make_content: Make) -> None:
    classes = ("background", *(f"organ {number}" for number in range(40)))
    legend = loss_figure(make_content(classes)).axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["each of 40 classes", "mean", "best epoch"]


# ---------------------------------------------------------------- folds


def test_each_fold_has_a_curve_in_each_panel(make_folds: Make) -> None:
    figure = loss_figure(make_folds())
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "validation loss", "validation Dice"]
    for number in range(3):
        epochs = [1, 2, 3, 4]
        assert line(figure, 0, f"fold {number}") == (epochs, [1, 1 / 2, 1 / 3, 1 / 4])
        assert line(figure, 1, f"fold {number}") == (epochs, [1.5, 0.75, 0.5, 0.375])
        assert line(figure, 2, f"fold {number}") == (epochs, [n / (n + number + 1) for n in epochs])
    assert figure.axes[2].get_ylim() == (0, 1)
    faces = [[to_hex(one.get_color()) for one in axes.lines if one.get_linestyle() != "None"] for axes in figure.axes]
    assert faces[0] == faces[1] == faces[2] and len(set(faces[0])) == 3, "a colour is a fold, in all panels"
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["fold 0", "fold 1", "fold 2"]


def test_the_epoch_that_a_fold_kept_wears_a_ring(make_folds: Make) -> None:
    figure = loss_figure(make_folds())
    rings = [one for one in figure.axes[2].lines if one.get_linestyle() == "None"]
    places = [tuple(float(np.asarray(values)[0]) for values in one.get_data()) for one in rings]
    # Fold k kept epoch k + 1, whose Dice is (k + 1) / (2 k + 2).
    assert places == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert not [one for axes in figure.axes[:2] for one in axes.lines if one.get_linestyle() == "None"]
    assert "of the epochs that were kept: 0.500 to 0.500" in figure.texts[2].get_text()


def test_many_folds_share_one_colour(make_folds: Make) -> None:
    figure = loss_figure(make_folds(12))
    assert all(axes.get_legend() is None for axes in figure.axes)
    assert len({to_hex(one.get_color()) for one in figure.axes[0].lines}) == 1
    assert len(figure.axes[0].lines) == 12


def test_folds_of_different_lengths_and_without_values(make_folds: Make) -> None:
    content = make_folds(2)
    short, long = content.folds
    figure = loss_figure(make_folds(2, folds=(FoldContent(short.history[:1], 1), long)))
    assert line(figure, 0, "fold 0") == ([1], [1])
    assert figure.axes[0].get_xlim() == (0.5, 4.5)
    empty = loss_figure(make_folds(2, folds=(FoldContent([], 0), FoldContent([], 0))))
    assert [text.get_text() for axes in empty.axes for text in axes.texts] == ["no values"] * 3
    assert "no epoch of them validated" in empty.texts[2].get_text()
