"""Means of what is known, against loops and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.means import group_means, mean_over_classes


@pytest.fixture
def values() -> np.ndarray:
    """Of 20 units and 4 classes, a third unknown; the last class of nobody, the first unit without any."""
    rng = np.random.default_rng(4)
    drawn = np.where(rng.random((20, 4)) < 0.3, np.nan, rng.normal(size=(20, 4)))
    drawn[:, 3] = drawn[0] = np.nan
    return drawn


def test_means_of_groups_are_those_of_a_loop(values: np.ndarray) -> None:
    group = np.arange(20) % 3 + (np.arange(20) > 15)  # 0 to 3
    found = group_means(values, group, 5)  # nobody is in the last group
    assert found.shape == (5, 4)
    for number in range(5):
        for label in range(4):
            known = [value for value in values[group == number, label] if not np.isnan(value)]
            expected = sum(known) / len(known) if known else np.nan
            assert found[number, label] == pytest.approx(expected, nan_ok=True)


def test_means_over_classes_leave_out_what_is_unknown(values: np.ndarray) -> None:
    found = mean_over_classes(values)
    assert np.isnan(found[0]) and not np.isnan(found[1:]).all()
    shown = ~np.isnan(values).all(axis=1)
    assert found[shown] == pytest.approx(np.nanmean(values[shown], axis=1))
