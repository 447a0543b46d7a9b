"""The ceiling beside what was reached."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.evaluation.ceiling import Ceiling
from pipeline.reporting.ceiling_table import ceiling_rows, ceiling_sentence
from pipeline.reporting.content import ReportContent

Make = Callable[..., ReportContent]


def ceiling(dice: list[float], missed: tuple[int, ...] = (0, 0, 0), scans: int = 3) -> Ceiling:
    return Ceiling(np.array(dice), np.zeros(3), np.array(missed), scans, 12)


def reached(content: ReportContent, bone: float, rectum: float | None) -> ReportContent:
    for name, value in (("bone", bone), ("rectum", rectum)):
        content.summary["levels"]["scan"]["classes"][name]["dice"]["mean"] = value
    return content


def test_none_was_measured(make_content: Make) -> None:
    assert ceiling_rows(make_content()) == [] and ceiling_sentence(make_content()) == ""


def test_rows_by_hand(make_content: Make) -> None:
    content = reached(make_content(ceiling=ceiling([1.0, 0.95, 0.85], (0, 0, 2))), 0.71, 0.64)
    content.summary["levels"]["scan"]["foreground"]["dice"]["mean"] = 0.675
    bone, rectum, mean = ceiling_rows(content)
    assert (bone.reached, bone.ceiling, bone.bar, bone.room, bone.lost) == ("0.710", "0.950", 71.0, 95.0, "")
    assert (rectum.reached, rectum.ceiling, rectum.lost) == ("0.640", "0.850", "lost in 2 scans")
    assert (mean.name, mean.reached, mean.ceiling) == ("mean of 2", "0.675", "0.900")


def test_a_class_in_no_reference_has_neither(make_content: Make) -> None:
    content = reached(make_content(ceiling=ceiling([1.0, 0.95, np.nan])), 0.71, None)
    _, rectum, mean = ceiling_rows(content)
    assert (rectum.reached, rectum.ceiling, rectum.bar, rectum.room) == ("–", "–", 0.0, 0.0)
    assert (mean.name, mean.ceiling) == ("mean of 1", "0.950")


def test_the_sentence_says_what_limits(make_content: Make) -> None:
    content = reached(make_content(ceiling=ceiling([1.0, 0.95, 0.85])), 0.71, 0.84)
    assert ceiling_sentence(content).startswith("Measured on all 3 tested scans. Nearly reached for rectum: ")
    content = reached(make_content(ceiling=ceiling([1.0, 0.95, 0.85], scans=2)), 0.71, 0.64)
    assert ceiling_sentence(content).startswith("Measured on 2 of 3 tested scans. No class comes near it")
