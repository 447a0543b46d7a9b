from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation import bootstrap


def units() -> tuple[np.ndarray, np.ndarray]:
    """Values of 30 units and 3 classes, some none, and the patient of each unit: 5 patients of unequal weight."""
    rng = np.random.default_rng(1)
    values = rng.random((30, 3))
    values[rng.random((30, 3)) < 0.4] = np.nan
    patient = rng.choice(5, size=30, p=[0.5, 0.2, 0.1, 0.1, 0.1])
    values[patient != 2, 2] = np.nan  # the last class is in one patient only
    return values, patient


def test_equals_a_loop_over_the_same_draws() -> None:
    values, patient = units()
    drawn = bootstrap.draw_patients(5, 200, seed=7)
    found = bootstrap.resampled_means(*bootstrap.group_sums(values, patient, 5), bootstrap.weights_of(drawn))
    for resample, means in zip(drawn, found, strict=True):
        for label in range(3):
            bag = [value for one in resample for value in values[patient == one, label] if not np.isnan(value)]
            assert means[label] == pytest.approx(np.mean(bag) if bag else np.nan, nan_ok=True, rel=1e-12)
    assert np.isnan(found[:, 2]).any()  # resamples without the only patient who has the class


def test_draws_are_whole_patients_and_follow_the_seed() -> None:
    drawn = bootstrap.draw_patients(4, 3000, seed=0)
    assert drawn.shape == (3000, 4)
    assert set(drawn.ravel()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(drawn, bootstrap.draw_patients(4, 3000, seed=0))
    assert (drawn != bootstrap.draw_patients(4, 3000, seed=1)).any()
    # With replacement: four of four distinct in 4! / 4^4 = 9.4 % of the draws.
    distinct = np.mean([len(set(one)) == 4 for one in drawn.tolist()])
    assert distinct == pytest.approx(24 / 256, abs=0.03)


def test_weights_count_the_draws() -> None:
    weights = bootstrap.weights_of(np.array([[0, 0, 2], [1, 2, 1]]))
    assert weights.tolist() == [[2, 0, 1], [0, 2, 1]]


def test_interval_takes_percentiles_and_leaves_none_out() -> None:
    means = np.append(np.arange(101) / 100, [np.nan, np.nan])  # 0.00, 0.01 ... 1.00
    assert bootstrap.interval(means, 0.9) == pytest.approx([0.05, 0.95])
    assert bootstrap.interval(means, 0.5) == pytest.approx([0.25, 0.75])
    assert bootstrap.interval(np.full(3, np.nan), 0.9) is None
