"""The ceiling beside what was reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.ceiling import Ceiling
from pipeline.reporting.ceiling_table import ceiling_rows, ceiling_sentence
from pipeline.reporting.content import ReportContent

Make = Callable[..., ReportContent]


def ceiling(dice: list[float], missed: tuple[int, ...] = (0, 0, 0), scans: int = 2) -> Ceiling:
    """Of the scans of the first patients."""
    keys = frozenset((f"p{number}", f"scan_{number}") for number in range(scans))
    return Ceiling(np.array(dice), np.zeros(3), np.array(missed), scans, 12, keys)


def content_of(
    make_content: Make, bone: list[float | None], rectum: list[float | None], **changes: Any
) -> ReportContent:
    """A run of three patients with a scan each, whose Dice is given."""
    content = make_content(**changes)
    values = {("bone", number): value for number, value in enumerate(bone)}
    values |= {("rectum", number): value for number, value in enumerate(rectum)}
    for row in content.scans:
        if row["class"] != "background":
            row["dice"] = values[row["class"], int(row["patient"][1:])]
    return content


def test_none_was_measured(make_content: Make) -> None:
    assert ceiling_rows(make_content()) == [] and ceiling_sentence(make_content()) == ""


def test_rows_are_of_the_scans_that_were_measured(make_content: Make) -> None:
    measured = ceiling([1.0, 0.95, 0.85], (0, 0, 2))
    content = content_of(make_content, [0.7, 0.8, 0.1], [0.6, None, 0.1], ceiling=measured)  # the third was not
    bone, rectum, mean = ceiling_rows(content)
    assert (bone.reached, bone.ceiling, bone.bar, bone.room, bone.lost) == ("0.750", "0.950", 75.0, 95.0, "")
    assert (rectum.reached, rectum.ceiling, rectum.lost) == ("0.600", "0.850", "lost in 2 scans")
    assert (mean.name, mean.reached, mean.ceiling) == ("mean of 2", "0.675", "0.900")


def test_a_class_that_no_measured_scan_shows_is_in_no_mean(make_content: Make) -> None:
    measured = ceiling([1.0, 0.95, np.nan])
    _, rectum, mean = ceiling_rows(content_of(make_content, [0.7, 0.8, 0.1], [None, None, 0.9], ceiling=measured))
    assert (rectum.reached, rectum.ceiling, rectum.bar, rectum.room) == ("–", "–", 0.0, 0.0)
    assert (mean.name, mean.reached, mean.ceiling) == ("mean of 1", "0.750", "0.950")


@pytest.mark.parametrize(
    ("dice", "limits", "told"),
    [
        ([0.96, 0.60], [0.90, 0.55], "Of rectum the chain loses more than the network does"),  # .40 and .05
        ([1.00, 1.00], [0.985, 0.98], "What is missing is the network's rather than the chain's"),
        ([0.995, 0.992], [0.99, 0.985], "What is missing is the network's"),  # the chain loses next to nothing
        ([0.80, 0.70], [0.70, 0.60], "Of bone, rectum the chain loses more"),
    ],
)
def test_the_sentence_says_which_loses_more(
    make_content: Make, dice: list[float], limits: list[float], told: str
) -> None:
    content = content_of(make_content, [limits[0]] * 3, [limits[1]] * 3, ceiling=ceiling([1.0, *dice]))
    assert ceiling_sentence(content).startswith(f"Measured on 2 of 3 tested scans. {told}")
    content = content_of(make_content, [limits[0]] * 3, [limits[1]] * 3, ceiling=ceiling([1.0, *dice], scans=3))
    assert ceiling_sentence(content).startswith(f"Measured on all 3 tested scans. {told}")


def test_without_a_class_nothing_is_said_of_them(make_content: Make) -> None:
    content = content_of(make_content, [None] * 3, [None] * 3, ceiling=ceiling([1.0, np.nan, np.nan]))
    assert ceiling_sentence(content) == "Measured on 2 of 3 tested scans."
    assert ceiling_rows(content)[-1].name == "mean of 0"
