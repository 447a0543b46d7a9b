"""The fine structure of an image: what is its own, where outlines and intensities are those of its kind."""

from __future__ import annotations

import numpy as np

__all__ = ["fine_structure", "limited"]

_FINE, _COARSE = 1.0, 4.0  # voxels: the structure lies between these Gaussian blurs
_NOTHING = 1e-3  # of the largest value: less is what the blur leaves of a flat background


def fine_structure(array: np.ndarray) -> np.ndarray:
    """What is coarser than the noise of single voxels and finer than organs: float32 (H, W) or (X, Y, Z), about 0."""
    from scipy.ndimage import gaussian_filter

    array = array.astype(np.float32, copy=False)
    found = gaussian_filter(array, _FINE, truncate=3) - gaussian_filter(array, _COARSE, truncate=3)
    return found if found.any() and np.ptp(array) > 0 else np.zeros_like(array)


def limited(*structures: np.ndarray) -> tuple[np.ndarray, ...]:
    """Structures of one shape, each cut off at its median size, and 0 where any of them shows nothing.

    Without that, edges would outvote all else: the rim of a scanner's round field of view, say, which all images have.
    """
    shown = np.ones(structures[0].shape, dtype=bool)
    for values in structures:
        shown &= np.abs(values) > _NOTHING * np.abs(values).max()
    if not shown.any():
        return tuple(np.zeros_like(values) for values in structures)
    limits = [np.median(np.abs(values[shown])) for values in structures]
    return tuple(
        np.where(shown, np.clip(values, -limit, limit), 0) for values, limit in zip(structures, limits, strict=True)
    )
