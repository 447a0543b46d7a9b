"""Wilcoxon's signed-rank test of paired differences, exact also with ties, and Holm's correction of several tests.

The test asks whether the signs of the differences could be those of coins. Under that hypothesis every choice of signs
is as likely as any other, so the distribution of the rank sum follows from the ranks at hand, equal ones with their
mean: it is added up rank by rank, and no table or approximation is needed that ties would spoil.

Sources: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945); zero differences are left
out, as there. Pratt and Gibbons, "Concepts of Nonparametric Theory" (1981), chapter 3, for ties. Holm, "A simple
sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["DECIMALS", "fewest_patients", "holm", "leaning", "least_holm", "least_p", "rounded", "signed_rank_p"]

DECIMALS = 6  # figures come from text and sums: a difference that is smaller than this is none
_EXACT_UP_TO = 200  # differences; above it the normal approximation is as good


def rounded(differences: np.ndarray) -> np.ndarray:
    """The differences (N,) without NaN, and without what is only rounding."""
    return np.round(differences[~np.isnan(differences)], DECIMALS) + 0.0  # + 0.0: no minus zero


def signed_rank_p(differences: np.ndarray) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test.

    Parameters
    ----------
    differences
        One a patient, shape (N,); NaN and, after `rounded`, zeros are left out.

    Returns
    -------
    float or None
        1 where every difference is zero, None where there is none at all.

    Examples
    --------
    >>> signed_rank_p(np.array([0.1, 0.2, 0.3])), signed_rank_p(np.array([0.1, -0.1])), signed_rank_p(np.array([]))
    (0.25, 1.0, None)
    """
    known = rounded(differences)
    if not known.size:
        return None
    known = known[known != 0]
    if not known.size:
        return 1.0
    ranks = _doubled_ranks(np.abs(known))
    if len(known) > _EXACT_UP_TO:
        return _normal_p(int((np.sign(known) * ranks).sum()), ranks)
    return _exact_p(int(ranks[known > 0].sum()), ranks)


def leaning(differences: np.ndarray) -> int:
    """Which way the ranks lean: 1 where the positive differences outweigh the negative ones, -1, or 0."""
    known = rounded(differences)
    known = known[known != 0]
    return int(np.sign((np.sign(known) * _doubled_ranks(np.abs(known))).sum())) if known.size else 0


def _doubled_ranks(sizes: np.ndarray) -> np.ndarray:
    """Twice the rank of each, so that the mean rank of equal ones is whole, too."""
    _, place, times = np.unique(sizes, return_inverse=True, return_counts=True)
    ends = np.cumsum(times)
    doubled: np.ndarray = (2 * ends - times + 1)[place]
    return doubled


def _exact_p(positive: int, ranks: np.ndarray) -> float:
    """Twice the smaller tail, given the sum of the ranks of the positive differences."""
    chances = np.zeros(int(ranks.sum()) + 1)
    chances[0] = 1.0
    for rank in ranks.tolist():
        with_it = np.zeros_like(chances)
        with_it[rank:] = chances[:-rank]
        chances = (chances + with_it) / 2
    tail = min(chances[: positive + 1].sum(), chances[positive:].sum())
    return float(min(1.0, 2 * tail))


def _normal_p(signed: int, ranks: np.ndarray) -> float:
    """Two-sided p of the sum of signed ranks, which has the mean 0 and the variance of the ranks' squares."""
    deviation = math.sqrt(float((ranks.astype(np.float64) ** 2).sum()))
    return math.erfc(abs(signed) / deviation / math.sqrt(2))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p of each test of a family, in their order; a test without a p is in no family.

    Examples
    --------
    >>> holm([0.25, 0.0625, None])
    [0.25, 0.125, None]
    """
    known = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, (p, index) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        adjusted[index] = highest
    return adjusted


def least_p(patients: int) -> float:
    """The smallest two-sided p that so many patients can reach: when all differ, and in the same direction.

    >>> least_p(4), least_p(0)
    (0.125, 1.0)
    """
    return min(1.0, 2.0 ** (1 - patients))


def least_holm(patients: Sequence[int]) -> list[float]:
    """The smallest p, after Holm's correction, that each test of a family can reach, by their numbers of patients.

    Each reaches it where all are as clear as can be: a smaller p of one test raises the corrected p of no other. So one
    of few patients is spared the correction of those that have more.

    >>> least_holm([5]), least_holm([20, 5])[1], least_holm([5, 5])
    ([0.0625], 0.0625, [0.125, 0.125])
    """
    return [p for p in holm([least_p(number) for number in patients]) if p is not None]


def fewest_patients(others: Sequence[int], alpha: float) -> int:
    """How many patients a test needs at least, beside others of so many, for its corrected p to come down to `alpha`.

    >>> fewest_patients([], 0.05), fewest_patients([4, 4, 4, 4], 0.05), fewest_patients([20], 0.05)
    (6, 8, 6)
    """
    patients = 1
    while least_holm([patients, *others])[0] > alpha:
        patients += 1
    return patients
