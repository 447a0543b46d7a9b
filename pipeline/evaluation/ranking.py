"""How well the figures of a review rank cases by their true Dice: Spearman's rho, with intervals over patients.

A case's true Dice is the mean of its classes' `dice_with_empty`: a class that was predicted where the reference has
none counts 0, as it should lower the trust; one that neither has does not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation import bootstrap
from pipeline.evaluation.aggregation import Evaluation
from pipeline.evaluation.means import mean_over_classes
from pipeline.evaluation.tables import table_line
from pipeline.evaluation.wording import NONE
from pipeline.terminal import width_of

__all__ = ["CLASS_SCORES", "SCORES", "rank_correlations", "ranking_lines", "weighted_spearman"]

SCORES = ("trust", "expected_dice", "agreement", "plausibility", "entropy", "border_entropy", "margin", "ambiguous")
CLASS_SCORES = ("trust", "expected_dice", "agreement")  # that are known of each class
_FEWEST = 3  # cases: two are always ranked rightly or wrongly
_AT_ONCE = 2_000_000  # weights that are held together
_DICE = "dice_with_empty"


def weighted_spearman(one: np.ndarray, other: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spearman's rho of N pairs, each of which counts several times.

    Parameters
    ----------
    one, other
        (N,) values; equal ones share the mean of their ranks.
    weights
        (R, N) how often each pair counts, in each of R samples.

    Returns
    -------
    np.ndarray
        (R,) from -1 to 1; NaN where all values of one side are equal.
    """
    total = weights.sum(axis=1, keepdims=True)
    ranks = [_ranks(values, weights) for values in (one, other)]
    a, b = (rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks)
    spread = np.sqrt((weights * a * a).sum(axis=1) * (weights * b * b).sum(axis=1))
    return np.divide((weights * a * b).sum(axis=1), spread, out=np.full(len(weights), math.nan), where=spread > 1e-9)


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R, N) the rank of each value among all, each repeated as often as it counts; equal ones share the mean."""
    place = np.unique(values, return_inverse=True)[1]
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.diff(place[order], prepend=-1))
    times = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks: np.ndarray = (np.cumsum(times, axis=1) - (times - 1) / 2)[:, place]
    return ranks


def rank_correlations(
    reviews: Mapping[str, Mapping[str, Any]], evaluation: Evaluation, *, seed: int, resamples: int, confidence: float
) -> dict[str, Any]:
    """Rank correlation of every score with the true Dice.

    Parameters
    ----------
    reviews
        Rows of review.csv, by the case's name in the evaluation.
    evaluation
        Of these cases, and perhaps of others, which are left out.
    seed, resamples, confidence
        Of the percentile bootstrap over patients.

    Returns
    -------
    dict
        Ready for JSON. ``scores`` has for each of `SCORES` its ``rho`` (None for fewer than three cases, and where all
        are equal), ``interval`` (None with one patient), ``n`` and ``n_patients``; ``classes`` has the same of
        `CLASS_SCORES` for each class, with that class's Dice.
    """
    background, *classes = evaluation.classes
    rows = [row for row in evaluation.cases if row["case"] in reviews and row["class"] != background]
    patients = {str(row["case"]): str(row["patient"]) for row in rows}
    names = list(patients)
    by_class = {name: {row["case"]: _number(row[_DICE]) for row in rows if row["class"] == name} for name in classes}
    dice = np.array([[by_class[name][case] for name in classes] for case in names]).reshape(len(names), len(classes))
    whole = mean_over_classes(dice)
    drawn = _Drawn([patients[case] for case in names], seed, resamples, confidence)

    def column(score: str) -> np.ndarray:
        return np.array([_number(reviews[case].get(score)) for case in names])

    return {
        "dice": f"{_DICE}; of a case, the mean over its classes",
        "n_cases": len(names),
        "scores": {score: drawn.correlation(column(score), whole) for score in SCORES},
        "classes": {
            name: {score: drawn.correlation(column(f"{score}_{name}"), dice[:, index]) for score in CLASS_SCORES}
            for index, name in enumerate(classes)
        },
    }


class _Drawn:
    """Cases of patients, who are drawn anew in each resample."""

    def __init__(self, patients: Sequence[str], seed: int, resamples: int, confidence: float) -> None:
        self.patients = np.array(patients)
        self.seed, self.resamples, self.confidence = seed, resamples, confidence

    def correlation(self, score: np.ndarray, dice: np.ndarray) -> dict[str, Any]:
        """The figures of one score; cases that lack it, or have no Dice, are left out."""
        known = ~(np.isnan(score) | np.isnan(dice))
        score, dice, owners = score[known], dice[known], self.patients[known]
        patients, owner = np.unique(owners, return_inverse=True)
        found: dict[str, Any] = {"rho": None, "interval": None, "n": len(score), "n_patients": len(patients)}
        if len(score) < _FEWEST:
            return found
        rho = float(weighted_spearman(score, dice, np.ones((1, len(score))))[0])
        if math.isnan(rho):
            return found
        found["rho"] = rho
        if len(patients) > 1:
            weights = bootstrap.weights_of(bootstrap.draw_patients(len(patients), self.resamples, self.seed))
            step = max(1, _AT_ONCE // len(score))
            parts = [weights[start : start + step][:, owner] for start in range(0, len(weights), step)]
            drawn = np.concatenate([weighted_spearman(score, dice, part) for part in parts])
            found["interval"] = bootstrap.interval(drawn, self.confidence)
        return found


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def ranking_lines(found: Mapping[str, Any], confidence: float) -> Iterator[str]:
    """What `rank_correlations` found, for the terminal."""
    rows = {score: one for score, one in found["scores"].items() if one["n"]}
    rows |= {f"trust in {name}": one["trust"] for name, one in found["classes"].items() if one["trust"]["n"]}
    width = max(map(width_of, ["review.csv", *rows]))
    few = " (rough with so few)" if any(one["n_patients"] < bootstrap.FEW_PATIENTS for one in rows.values()) else ""
    yield f"{'review.csv':<{width}}  Spearman's rho with Dice, {100 * confidence:g} % CI{few}, cases/patients"
    for name, one in rows.items():
        rho = NONE if one["rho"] is None else f"{one['rho']:.2f}"
        low_high = NONE if one["interval"] is None else " to ".join(f"{bound:.2f}" for bound in one["interval"])
        yield f"{table_line(name, [rho, low_high], width, [5, 14])}  {one['n']}/{one['n_patients']}"
