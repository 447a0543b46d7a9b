"""Curves of a training that goes on: drawn when their time has come, harmless when they cannot be."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from pipeline.pacing import Allowance
from pipeline.reporting import live
from pipeline.reporting.curves import loss_figure, training_figure
from pipeline.reporting.live import LiveCurves
from pipeline.reporting.sheets import png

CLASSES = ("background", "bone", "rectum")


class Due(Allowance):
    """One that is due when the test says so."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.now = True

    @property
    def is_due(self) -> bool:
        return self.now


@pytest.fixture
def due() -> Due:
    return Due()


@pytest.fixture
def curves(tmp_path: Path, due: Due) -> tuple[LiveCurves, list[str]]:
    said: list[str] = []
    return LiveCurves("small", CLASSES, tmp_path / "plots", said.append, synthetic=True, allowance=due), said


def test_they_are_drawn_when_an_epoch_was_validated_and_the_time_has_come(
    curves: tuple[LiveCurves, list[str]], due: Due, make_epoch: Callable[..., dict[str, Any]]
) -> None:
    drawing, said = curves
    rows = [make_epoch(number, CLASSES) for number in (1, 2, 3)]
    only_trained = {"epoch": 1, "train_loss": 0.4}
    drawing.epoch([only_trained], 0)
    assert not drawing.path.exists(), "nothing was validated"
    due.now = False
    drawing.epoch(rows[:1], 1)
    assert not drawing.path.exists(), "it is too early"
    due.now = True
    drawing.epoch(rows[:2], 2)
    two = imread(drawing.path)
    drawing.epoch(rows, 3)
    three = imread(drawing.path)
    assert two.shape == three.shape and not np.array_equal(two, three)
    due.now = False
    drawing.end(rows, 3)
    assert not np.array_equal(imread(drawing.path), three), "at the end it does not say 'so far'"
    assert said == []


def test_the_last_drawing_is_that_of_the_report(
    curves: tuple[LiveCurves, list[str]], make_content: Callable[..., Any]
) -> None:
    content = make_content(CLASSES)
    drawing, _ = curves
    drawing.end(content.history, content.best_epoch)
    kept = drawing.path.read_bytes()
    assert kept == png(loss_figure(content))


def test_a_training_that_goes_on_says_so(make_content: Callable[..., Any]) -> None:
    from dataclasses import replace

    training = make_content(CLASSES).training
    texts = [text.get_text() for text in training_figure(replace(training, running=True)).texts]
    assert "4 epochs so far; the best: epoch 3, mean validation Dice 0.750" in texts
    texts = [text.get_text() for text in training_figure(training).texts]
    assert "4 epochs; the best, which was kept: epoch 3, mean validation Dice 0.750" in texts


def test_a_failing_drawing_is_said_once(
    curves: tuple[LiveCurves, list[str]], make_epoch: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing, said = curves
    tried = []

    def fail(content: Any) -> None:
        tried.append(content)
        raise ValueError("no such font")

    monkeypatch.setattr(live, "drawn", fail)
    rows = [make_epoch(1, CLASSES)]
    for _ in range(3):
        drawing.epoch(rows, 1)
    drawing.end(rows, 1)
    assert said == ["warning: the curves cannot be drawn while it trains (ValueError: no such font)"]
    assert len(tried) == 1


def test_a_folder_that_cannot_be_written_is_said_once(
    tmp_path: Path, due: Due, make_epoch: Callable[..., dict[str, Any]]
) -> None:
    said: list[str] = []
    (tmp_path / "plots").write_text("a file where the folder should be")
    drawing = LiveCurves("small", CLASSES, tmp_path / "plots", said.append, synthetic=False, allowance=due)
    for _ in range(2):
        drawing.epoch([make_epoch(1, CLASSES)], 1)
    assert len(said) == 1 and "cannot be drawn" in said[0]


def test_no_random_state_is_touched(
    curves: tuple[LiveCurves, list[str]], make_epoch: Callable[..., dict[str, Any]]
) -> None:
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state()  # type: ignore[index]
    curves[0].epoch([make_epoch(1, CLASSES)], 1)
    assert curves[0].path.exists()
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tobytes() == before[1]  # type: ignore[index]
    assert torch.equal(torch.get_rng_state(), before[2])
