"""The signed-rank test against all sign flips, against SciPy and by hand; Holm's by hand and step by step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluation.signed_ranks import fewest_patients, holm, leaning, least_holm, least_p, signed_rank_p


def by_enumeration(differences: np.ndarray) -> float:
    """Two-sided p over every choice of signs: twice the share of rank sums that are as far out."""
    known = differences[differences != 0]
    ranks = stats.rankdata(np.abs(known))
    seen = ranks[known > 0].sum()
    sums = np.array([ranks[np.array(signs)].sum() for signs in itertools.product([False, True], repeat=len(known))])
    return min(1.0, 2 * min((sums <= seen + 1e-9).mean(), (sums >= seen - 1e-9).mean()))


@pytest.mark.parametrize("seed", range(12))
def test_p_is_that_of_all_sign_flips_also_with_ties_and_zeros(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = rng.integers(-3, 5, size=rng.integers(2, 12)) / 8  # many are equal, some zero
    if not differences.any():
        differences[0] = 1
    assert signed_rank_p(differences) == pytest.approx(by_enumeration(differences), abs=1e-12)


@pytest.mark.parametrize("n", [5, 17, 40])
def test_p_is_scipys_exact_one_without_ties(n: int) -> None:
    differences = np.random.default_rng(n).normal(0.3, 1, n).round(4)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank_p(differences) == pytest.approx(expected, rel=1e-9)


def test_p_of_very_many_is_scipys_approximation() -> None:
    differences = np.random.default_rng(1).integers(-20, 24, 500) / 100
    known = differences[differences != 0]
    expected = stats.wilcoxon(known, method="approx", correction=False).pvalue
    assert signed_rank_p(differences) == pytest.approx(expected, rel=1e-6)


def test_the_approximation_begins_where_it_is_close(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = np.random.default_rng(2).normal(0.1, 1, 200)
    exact = signed_rank_p(differences)
    monkeypatch.setattr("pipeline.evaluation.signed_ranks._EXACT_UP_TO", 10)
    near = signed_rank_p(differences)
    assert exact is not None and near is not None
    assert near != exact
    assert near == pytest.approx(exact, abs=0.003)


def test_p_by_hand() -> None:
    # 3 of 3 positive: 1 of 8 choices of signs, two-sided 2 of 8. Ranks 1 2 3 4, only rank 1 negative: sums 9 and 10
    # are as far out, 2 of 16, two-sided 4 of 16.
    assert signed_rank_p(np.array([1.0, 2.0, 3.0])) == 0.25
    assert signed_rank_p(np.array([-1.0, 2.0, 3.0, 4.0])) == 0.25
    assert signed_rank_p(np.array([0.0, np.nan, 0.0])) == 1.0
    assert signed_rank_p(np.array([np.nan])) is None
    assert signed_rank_p(np.array([0.1 + 0.2 - 0.3, 0.5])) == 1.0  # rounding is no difference: one patient is left


def test_all_alike_reach_the_least_p() -> None:
    for n in range(1, 12):
        assert signed_rank_p(np.arange(1.0, n + 1)) == pytest.approx(least_p(n))


def test_leaning_goes_by_ranks_not_by_the_mean() -> None:
    values = np.array([-10.0, 1.0, 2.0, 3.0, 4.0])  # the mean is 0, ranks: -5 against 10
    assert leaning(values) == 1
    assert leaning(-values) == -1
    assert leaning(np.array([1.0, -1.0])) == 0
    assert leaning(np.array([np.nan])) == 0


def test_holm_by_hand() -> None:
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1 -> 0.04, 0.06, 0.06, and 0.04 raised to what comes before it
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([None, 0.6, 0.7]) == [None, 1.0, 1.0]


@pytest.mark.parametrize("seed", range(8))
def test_holm_rejects_what_the_step_down_procedure_rejects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p_values = (rng.random(7) ** 3).round(3).tolist()
    adjusted = holm(p_values)
    for alpha in (0.01, 0.05, 0.2, 0.5):
        rejected = set()
        for step, index in enumerate(np.argsort(p_values, kind="stable")):
            if p_values[index] > alpha / (len(p_values) - step):
                break
            rejected.add(int(index))
        assert {index for index, p in enumerate(adjusted) if p is not None and p <= alpha * (1 + 1e-12)} == rejected


@pytest.mark.parametrize("patients", [(3,), (3, 3), (4, 2), (2, 4, 3), (3, 1, 3, 2)])
def test_no_outcome_of_a_family_has_a_smaller_p(patients: tuple[int, ...]) -> None:
    """Every p that signs can give is tried for every test, with every p of the others."""
    reachable = [
        {
            signed_rank_p(np.array(signs) * np.arange(1, number + 1.0))
            for signs in itertools.product([-1, 1], repeat=number)
        }
        for number in patients
    ]
    outcomes = [holm(p_values) for p_values in itertools.product(*reachable)]
    assert least_holm(patients) == [min(p for p in column if p is not None) for column in zip(*outcomes, strict=True)]


@pytest.mark.parametrize(("tests", "alpha", "needed"), [(1, 0.05, 6), (1, 0.25, 3), (5, 0.05, 8), (12, 0.05, 9)])
def test_the_fewest_patients_are_the_first_that_suffice(tests: int, alpha: float, needed: int) -> None:
    assert fewest_patients([2] * (tests - 1), alpha) == needed
    assert tests * 2 / 2**needed <= alpha < tests * 2 / 2 ** (needed - 1)
