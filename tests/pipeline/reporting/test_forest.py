"""The marks of a forest plot stand where their numbers are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.evaluation.differences import Row
from pipeline.reporting.forest import forest

MEAN = Row("dice", "foreground", None, 9, 0.5, 0.6, 0.1, (0.05, 0.2), 0.004, 0.004, 1, 9, 0, 0)
BONE = replace(MEAN, name="bone", place=1, difference=-0.05, interval=(-0.2, 0.1), p_holm=0.4)
NONE = replace(MEAN, name="rectum", place=2, n_patients=0, first=None, other=None, difference=None, interval=None,
               p=None, p_holm=None)  # fmt: skip


def test_places_are_in_proportion() -> None:
    plot = forest([MEAN, BONE, NONE], "dice", 0.05, ("A", "B"))
    bone, rectum, mean = plot.marks  # the mean comes last
    assert [mark.name for mark in plot.marks] == ["bone", "rectum", "foreground"]
    assert (rectum.x, rectum.low, rectum.text) == (None, None, "–")
    assert bone.low is not None and bone.high is not None and mean.high is not None and mean.x is not None
    per_percent = (mean.high - bone.low) / 0.4  # from -0.2 to +0.2
    assert plot.zero == pytest.approx(bone.low + 0.2 * per_percent, abs=0.01)
    assert mean.x == pytest.approx(plot.zero + 0.1 * per_percent, abs=0.01)
    assert bone.high == pytest.approx(mean.x, abs=0.01)
    assert 0 < bone.low < mean.high < 100
    for x, text in plot.ticks:
        assert x == pytest.approx(plot.zero + float(text.replace("−", "-")) * per_percent, abs=0.01)
    assert {"−0.1", "0", "+0.1"} <= {text for _, text in plot.ticks}
    assert (mean.state, bone.state) == ("better", "")
    assert plot.marks[-1].top < plot.body < plot.height


def test_the_better_side_is_the_one_of_the_metric() -> None:
    assert (forest([MEAN], "dice", 0.05, ("A", "B")).right, forest([MEAN], "dice", 0.05, ("A", "B")).left) == (
        "B better", "A better",
    )  # fmt: skip
    assert forest([replace(MEAN, metric="hd95")], "hd95", 0.05, ("A", "B")).left == "B better"


def test_no_difference_at_all_has_an_axis() -> None:
    plot = forest([replace(MEAN, difference=0.0, interval=(0.0, 0.0))], "dice", 0.05, ("A", "B"))
    assert plot.marks[0].x == plot.zero == pytest.approx(50)
    assert len(plot.ticks) > 2
