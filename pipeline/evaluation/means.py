"""Means of what is known: over units of a group, and over the classes of a unit."""

from __future__ import annotations

import numpy as np

from pipeline.evaluation.bootstrap import group_sums

__all__ = ["group_means", "mean_over_classes"]


def group_means(values: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """The mean of each group and class, shape (n_groups, K), NaN left out; NaN where nothing is left.

    Parameters
    ----------
    values
        One row a unit, one column a class, shape (N, K).
    group
        The group of each unit, integers 0 to `n_groups` - 1, shape (N,).
    """
    sums, numbers = group_sums(values, group, n_groups)
    return np.divide(sums, numbers, out=np.full(sums.shape, np.nan), where=numbers > 0)


def mean_over_classes(values: np.ndarray) -> np.ndarray:
    """The mean of each row (N, K) over the classes that it has, shape (N,); NaN where it has none."""
    sums, numbers = np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)
    return np.divide(sums, numbers, out=np.full(len(values), np.nan), where=numbers > 0)
