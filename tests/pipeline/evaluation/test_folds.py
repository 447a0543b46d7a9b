"""Folds beside each other: figures are those of each fold's own summary, spread by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.aggregation import evaluate
from pipeline.evaluation.confusion import CaseCounts, SliceCounts
from pipeline.evaluation.folds import fold_figures, fold_table

CLASSES = ("background", "a", "b")


def counts(name: str, both: int, only: int, *, shows_b: bool = True) -> CaseCounts:
    """One slice: of class a, `both` voxels are found and `only` are missed; of class b, half of four."""
    confusion = np.zeros((1, 3, 3), dtype=int)
    confusion[0, 0, 0], confusion[0, 1, 1], confusion[0, 1, 0] = 50, both, only
    if shows_b:
        confusion[0, 2, 2], confusion[0, 2, 0] = 2, 2
    return CaseCounts(name, name, name, SliceCounts.of(confusion))


# Dice of a, 2 both / (2 both + only): 0.8, 0.5 and 1; of b, 4 / 6 where it is shown.
FOLDS = [
    [counts("p1", 2, 1), counts("p2", 2, 1)],
    [counts("p3", 1, 2)],
    [counts("p4", 3, 0, shows_b=False)],
]


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return fold_figures([evaluate(fold, CLASSES, resamples=100).summary for fold in FOLDS], [4, 5, 6])


def test_each_fold_and_the_spread_by_hand(figures: dict[str, Any]) -> None:
    each = figures["each"]
    assert [(one["fold"], one["best_epoch"], one["n_patients"]) for one in each] == [(0, 4, 2), (1, 5, 1), (2, 6, 1)]
    assert [(one["n_cases"], one["n_scans"]) for one in each] == [(2, 2), (1, 1), (1, 1)]
    for level in ("slice", "scan", "patient"):
        of_a = [one["dice"][level]["classes"]["a"] for one in each]
        assert of_a == pytest.approx([0.8, 0.5, 1.0])
        of_b = [one["dice"][level]["classes"]["b"] for one in each]
        assert of_b == [pytest.approx(2 / 3), pytest.approx(2 / 3), None]
        means = [one["dice"][level]["foreground"] for one in each]
        assert means == pytest.approx([(0.8 + 2 / 3) / 2, (0.5 + 2 / 3) / 2, 1.0])
        spread = figures["spread"]["dice"][level]
        assert spread["classes"]["a"] == {
            "mean": pytest.approx(2.3 / 3),
            # squared distances from 2.3 / 3: (0.1/3)^2 + (0.8/3)^2 + (0.7/3)^2, over two
            "sd": pytest.approx(math.sqrt((0.01 + 0.64 + 0.49) / 9 / 2)),
            "lowest": pytest.approx(0.5), "highest": pytest.approx(1.0), "n": 3,
        }  # fmt: skip
        assert spread["classes"]["b"]["n"] == 2 and spread["classes"]["b"]["sd"] == pytest.approx(0, abs=1e-12)
        assert spread["foreground"]["mean"] == pytest.approx(np.mean(means))
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures, "plain values"


def test_one_fold_and_none_that_shows_a_class() -> None:
    figures = fold_figures([evaluate(FOLDS[2], CLASSES, resamples=100).summary], [1])
    spread = figures["spread"]["dice"]["scan"]["classes"]
    assert spread["a"]["sd"] is None and spread["a"]["n"] == 1
    assert spread["b"] == {"mean": None, "sd": None, "lowest": None, "highest": None, "n": 0}


def test_a_line_a_fold(figures: dict[str, Any]) -> None:
    text = fold_table(figures, CLASSES).splitlines()
    assert [line.split() for line in text] == [
        "Dice per scan of each fold".split(),
        "fold patients best epoch mean a b".split(),
        ["0", "2", "4", "0.733", "0.800", "0.667"],
        ["1", "1", "5", "0.583", "0.500", "0.667"],
        ["2", "1", "6", "1.000", "1.000", "–"],
        ["mean", "0.772", "0.767", "0.667"],
        ["sd", "0.211", "0.252", "0.000"],
    ]
    assert len({len(line) for line in text[1:]}) == 1, "columns end together"


def test_classes_that_do_not_fit_are_left_out() -> None:
    classes = ("background", *(f"a long name of class {number}" for number in range(12)))
    confusion = np.eye(13, dtype=int)[None] * 3
    summary = evaluate([CaseCounts("p", "p", "p", SliceCounts.of(confusion))], classes, resamples=100).summary
    figures = fold_figures([summary, summary], [1, 2])
    narrow, wide = (fold_table(figures, classes, width=width).splitlines() for width in (80, 200))
    assert max(map(len, narrow)) <= 80 < max(map(len, wide)) <= 200
    assert narrow[1].split() == ["fold", "patients", "best", "epoch", "mean"]
    assert wide[1].count("a long n…") == 12
