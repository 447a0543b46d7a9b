"""What trackers are told, by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from pipeline.reporting.tracking import figures


def test_the_figures_of_an_epoch() -> None:
    row = {
        "epoch": 3, "step": 30, "slices_per_second": 80.5, "learning_rate": 1e-3, "train_loss": 0.5,
        "validation_loss": 0.75, "validation_dice": 0.8, "dice_bone": 0.9, "dice_rectum": math.nan,
    }  # fmt: skip
    assert figures.epoch_figures(row) == {
        "training/step": 30, "training/slices_per_second": 80.5, "training/learning_rate": 1e-3, "training/loss": 0.5,
        "validation/loss": 0.75, "validation/dice": 0.8, "validation/dice_bone": 0.9,
    }  # fmt: skip


def test_names_that_a_tracker_would_refuse_or_confuse() -> None:
    row = {"epoch": 1, "dice_a+b": 0.1, "dice_a*b": 0.2, "dice_左腎": 0.3}
    assert figures.epoch_figures(row) == {
        "validation/dice_a_b": 0.1, "validation/dice_a_b_2": 0.2, "validation/dice_左腎": 0.3,
    }  # fmt: skip


def test_the_figures_of_the_test_are_those_of_the_summary(make_content: Callable[..., Any]) -> None:
    summary = make_content(distances=True).summary
    found = figures.final_figures(summary)
    scan = summary["levels"]["scan"]
    assert found["test/dice_per_scan"] == scan["foreground"]["dice"]["mean"]
    assert found["test/dice_per_scan_rectum"] == scan["classes"]["rectum"]["dice"]["mean"]
    assert found["test/hd95_per_patient_bone"] == summary["levels"]["patient"]["classes"]["bone"]["hd95"]["mean"]
    assert len(found) == 3 * 3 * 3  # levels, metrics, the mean and two classes
    assert not any("background" in name for name in found)


def test_what_was_not_measured_is_left_out(make_content: Callable[..., Any]) -> None:
    found = figures.final_figures(make_content().summary)
    assert {name.split("_per_")[0] for name in found} == {"test/dice"}
