"""Spearman's rho against scipy and by hand; intervals against resamples that are drawn one by one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.evaluation.aggregation import Evaluation
from pipeline.evaluation.bootstrap import draw_patients
from pipeline.evaluation.ranking import rank_correlations, ranking_lines, weighted_spearman
from pipeline.terminal import width_of

PLAN = {"seed": 3, "resamples": 200, "confidence": 0.9}


def test_by_hand() -> None:
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: squared differences 1 1 1 1 0, so rho = 1 - 6 * 4 / (5 * 24) = 0.8.
    one, other = np.array([0.1, 0.2, 0.3, 0.4, 0.5]), np.array([20, 10, 40, 30, 50])
    assert weighted_spearman(one, other, np.ones((1, 5)))[0] == pytest.approx(0.8)
    assert weighted_spearman(one, -one, np.ones((1, 5)))[0] == pytest.approx(-1)
    # Ties share the mean of their ranks: 1.5 1.5 3 against 1 2 3, rho = 1.5 / sqrt(1.5 * 2).
    tied = weighted_spearman(np.array([1, 1, 2]), np.array([1, 2, 3]), np.ones((1, 3)))
    assert tied[0] == pytest.approx(np.sqrt(0.75))
    assert np.isnan(weighted_spearman(np.ones(4), np.arange(4), np.ones((1, 4)))).all()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 12), st.integers(2, 9))
def test_as_scipy_finds_it_for_repeated_pairs(seed: int, pairs: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, values, (2, pairs)).astype(float)
    weights = rng.integers(0, 4, (5, pairs))
    weights[:, 0] += 1
    found = weighted_spearman(one, other, weights.astype(float))
    for rho, times in zip(found, weights, strict=True):
        a, b = np.repeat(one, times), np.repeat(other, times)
        if len(set(a)) < 2 or len(set(b)) < 2:
            assert np.isnan(rho)
        else:
            assert rho == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)


def evaluated(dice: dict[str, list[float | None]], patients: dict[str, str]) -> Evaluation:
    """An evaluation of cases with the Dice of two classes each."""
    rows: list[dict[str, Any]] = [
        {"case": case, "patient": patients.get(case, case), "class": name, "dice_with_empty": value, "dice": -1}
        for case, values in dice.items()
        for name, value in zip(("background", "one", "two"), (1.0, *values), strict=True)
    ]
    return Evaluation(("background", "one", "two"), rows, [], [], {})


def reviewed(trust: dict[str, float | None]) -> dict[str, dict[str, Any]]:
    return {case: {"trust": value, "trust_one": value, "entropy": None if value is None else 1 - value}
            for case, value in trust.items()}  # fmt: skip


def test_a_case_has_the_mean_of_its_classes() -> None:
    dice: dict[str, list[float | None]] = {
        "a": [0.9, 0.1],
        "b": [0.6, None],
        "c": [0.8, 0.8],
        "d": [None, None],
        "e": [0.0, 0.0],
    }  # means 0.5, 0.6, 0.8, none
    reviews = reviewed({"a": 0.3, "b": 0.2, "c": 0.9, "d": 0.0})
    found = rank_correlations(reviews, evaluated(dice, {}), **PLAN)  # type: ignore[arg-type]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["n_cases"] == 4
    trust = found["scores"]["trust"]
    assert (trust["n"], trust["n_patients"]) == (3, 3)
    assert trust["rho"] == pytest.approx(stats.spearmanr([0.3, 0.2, 0.9], [0.5, 0.6, 0.8]).statistic)
    assert found["scores"]["entropy"]["rho"] == pytest.approx(-trust["rho"])
    assert found["classes"]["one"]["trust"]["rho"] == pytest.approx(
        stats.spearmanr([0.3, 0.2, 0.9], [0.9, 0.6, 0.8]).statistic
    )
    assert found["scores"]["agreement"] == {"rho": None, "interval": None, "n": 0, "n_patients": 0}


def test_the_interval_is_over_patients() -> None:
    rng = np.random.default_rng(5)
    cases = [f"c{number}" for number in range(20)]
    owner = {case: f"p{number % 6}" for number, case in enumerate(cases)}
    quality = {case: float(value) for case, value in zip(cases, rng.random(20), strict=True)}
    trusts = {case: value + 0.3 * float(rng.random()) for case, value in quality.items()}
    whole = evaluated({case: [value, None] for case, value in quality.items()}, owner)
    found = rank_correlations(reviewed(trusts), whole, **PLAN)["scores"]["trust"]  # type: ignore[arg-type]
    assert (found["n"], found["n_patients"]) == (20, 6)
    patients = sorted(set(owner.values()))
    drawn = []
    for picked in draw_patients(6, PLAN["resamples"], PLAN["seed"]):  # type: ignore[arg-type]
        again = [case for place in picked for case in cases if owner[case] == patients[place]]
        drawn.append(stats.spearmanr([trusts[case] for case in again], [quality[case] for case in again]).statistic)
    assert found["interval"] == pytest.approx(np.quantile(drawn, [0.05, 0.95]))


@pytest.mark.parametrize(("count", "patient", "same"), [(2, None, False), (5, "p", False), (5, None, True)])
def test_what_cannot_be_ranked_is_none(count: int, patient: str | None, same: bool) -> None:
    dice = {f"c{number}": [0.1 * number, None] for number in range(count)}
    reviews = reviewed({case: 0.5 if same else 0.2 * number for number, case in enumerate(dice)})
    owner = dict.fromkeys(dice, patient) if patient else {}
    found = rank_correlations(reviews, evaluated(dice, owner), **PLAN)["scores"]["trust"]  # type: ignore[arg-type]
    assert found["n"] == count
    assert found["interval"] is None
    assert found["rho"] == (pytest.approx(1) if patient else None)


def test_lines() -> None:
    dice: dict[str, list[float | None]] = {f"c{number}": [0.1 * number, None] for number in range(4)}
    found = rank_correlations(reviewed({case: 0.5 for case in dice}), evaluated(dice, {}), **PLAN)  # type: ignore[arg-type]
    assert list(ranking_lines(found, 0.9)) == [
        "review.csv    Spearman's rho with Dice, 90 % CI (rough with so few), cases/patients",
        "trust             –               –  4/4",
        "entropy           –               –  4/4",
        "trust in one      –               –  4/4",
    ]
    found["scores"]["trust"] |= {"rho": 0.816, "interval": [-0.25, 0.9]}
    wide = {**found, "classes": {"肝臓": found["classes"]["one"]}}
    ends = [width_of(line.rpartition("  ")[0]) for line in list(ranking_lines(wide, 0.9))[1:]]
    assert "trust in 肝臓" in list(ranking_lines(wide, 0.9))[-1] and len(set(ends)) == 1, "the columns are straight"
    assert list(ranking_lines(found, 0.9))[1] == "trust          0.82   -0.25 to 0.90  4/4"
