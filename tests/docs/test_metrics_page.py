"""docs/metrics.md names every column, and its table of empty classes is what the code gives."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.evaluation.distances import case_distances
from pipeline.evaluation.levels import FIGURES
from pipeline.evaluation.overlap import OUTCOMES, dice, dice_with_empty, iou, outcomes, precision, recall
from pipeline.evaluation.overlap import relative_difference as relative

PAGE = (Path(__file__).resolve().parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ((?:not )?empty) \| ((?:not )?empty) \| (.+) \|$", PAGE, re.MULTILINE)
EMPTY = np.zeros((3, 4), int)
FULL, NEAR = EMPTY.copy(), EMPTY.copy()
FULL[1, 1:3], NEAR[1, 1:4] = 1, 1


def test_every_column_is_explained() -> None:
    assert set(FIGURES) <= set(re.findall(r"`(\w+)`", PAGE))


def test_the_table_has_every_outcome() -> None:
    assert [row[2].split(" | ")[-1] for row in ROWS] == [f"`{name}`" for name in OUTCOMES]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}, {row[1]}")
def test_an_empty_class_gives_what_the_table_says(row: tuple[str, str, str]) -> None:
    reference = EMPTY if row[0] == "empty" else FULL
    prediction = EMPTY if row[1] == "empty" else NEAR
    counted = np.zeros((2, 2), int)
    np.add.at(counted, (reference.ravel(), prediction.ravel()), 1)
    surfaces = case_distances(reference, prediction, 2, (1.0, 1.0), 0.5).figures
    rates, exact, with_empty, difference, distances, surface, outcome = row[2].split(" | ")

    for function in (dice, iou, recall):
        assert told(function(counted)[1]) == rates
    assert told(precision(counted)[1]) == exact
    assert told(dice_with_empty(counted)[1]) == with_empty
    assert told(relative(counted)[1]) == difference
    for name in ("hd95", "hd95_pooled", "assd"):
        assert told(surfaces[name][1], diagonal=math.hypot(3, 4)) == distances
    assert told(surfaces["surface_dice"][1]) == surface
    assert f"`{OUTCOMES[int(outcomes(*(counted.sum(axis) for axis in (1, 0)))[1])]}`" == outcome


def told(value: float, diagonal: float | None = None) -> str:
    """A figure in the words of the table; the masks are such that no real value is 0, -1 or the diagonal."""
    if math.isnan(value):
        return "none"
    if diagonal is not None and value == pytest.approx(diagonal):
        return "the image's diagonal"
    return f"{value:g}" if value in (0, -1) else "value"
