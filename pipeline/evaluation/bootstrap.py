"""Bootstrap over patients, vectorised: a resample is a row of weights, its mean a quotient of two matrix products.

Slices of a patient, and weekly scans of a patient, are near copies. Resampling them would pretend to more evidence than
there is, so whole patients are drawn, and each brings all that it has (the cluster bootstrap; Davison and Hinkley,
"Bootstrap Methods and their Application", 1997, section 3.8).
"""

from __future__ import annotations

import numpy as np

__all__ = ["FEW_PATIENTS", "draw_patients", "group_sums", "interval", "resampled_means", "weights_of"]

FEW_PATIENTS = 10  # below this a percentile interval tends to come out too narrow


def draw_patients(n_patients: int, resamples: int, seed: int) -> np.ndarray:
    """Patients of each resample, drawn with replacement: indices, shape (resamples, n_patients)."""
    return np.random.default_rng(seed).integers(n_patients, size=(resamples, n_patients))


def weights_of(drawn: np.ndarray) -> np.ndarray:
    """How often each patient was drawn, float64, shape (resamples, n_patients)."""
    resamples, n_patients = drawn.shape
    offsets = np.arange(resamples)[:, np.newaxis] * n_patients
    counts = np.bincount((drawn + offsets).ravel(), minlength=resamples * n_patients)
    return counts.reshape(resamples, n_patients).astype(np.float64)


def group_sums(values: np.ndarray, group: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each group, NaN left out.

    Parameters
    ----------
    values
        One row a unit, one column a class, shape (N, K).
    group
        The group of each unit, integers 0 to `n_groups` - 1, shape (N,).

    Returns
    -------
    sums, numbers : numpy.ndarray
        float64, shape (n_groups, K).
    """
    there = ~np.isnan(values)
    sums, numbers = np.zeros((2, n_groups, values.shape[1]))
    np.add.at(sums, group, np.where(there, values, 0.0))
    np.add.at(numbers, group, there)
    return sums, numbers


def resampled_means(sums: np.ndarray, numbers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of each class in each resample.

    Parameters
    ----------
    sums, numbers
        Of each patient and class, shape (n_patients, K).
    weights
        From `weights_of`, shape (resamples, n_patients).

    Returns
    -------
    numpy.ndarray
        Shape (resamples, K); NaN where no drawn patient has the class.
    """
    total = weights @ numbers
    return np.divide(weights @ sums, total, out=np.full(total.shape, np.nan), where=total > 0)


def interval(means: np.ndarray, confidence: float) -> list[float] | None:
    """Percentile interval of a statistic over its resamples, shape (resamples,), NaN left out; None if all are NaN."""
    known = means[~np.isnan(means)]
    if not known.size:
        return None
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(known, [tail, 1.0 - tail])
    return [float(low), float(high)]
