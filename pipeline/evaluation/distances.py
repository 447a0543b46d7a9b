"""Surface distances of one case, beside its counts: per class, in mm or in pixels, and saying which.

The figures and what an empty class gives are those of `pipeline.evaluation.surfaces`. The background has none: its
surface is that of everything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.evaluation.surfaces import surface_figures

__all__ = ["DISTANCES", "CaseDistances", "case_distances"]

DISTANCES = (
    "hd95",
    "hd95_pooled",
    "assd",
    "surface_dice",
)  # of SurfaceFigures, in the order of the columns

Unit = Literal["mm", "pixels"]


@dataclass(frozen=True, eq=False)
class CaseDistances:
    """Distances between the surfaces of one case's masks.

    Attributes
    ----------
    figures
        Each of `DISTANCES`, float64, shape (K,); NaN for none. A missed class has the image's diagonal, and a surface
        Dice of 0.
    unit
        Of the distances and of the tolerance.
    tolerance
        Of surface Dice.
    rank
        2 for a slice, 3 for a volume.
    """

    figures: Mapping[str, np.ndarray]
    unit: Unit
    tolerance: float
    rank: int


def case_distances(
    reference: np.ndarray, prediction: np.ndarray, n_classes: int, spacing_mm: Sequence[float] | None, tolerance: float
) -> CaseDistances:
    """Measure every class but the background.

    Parameters
    ----------
    reference, prediction
        Class ids, integer arrays of one shape: a slice (H, W) or a volume (X, Y, Z).
    n_classes
        Number of classes K, background included.
    spacing_mm
        One an axis; None where it is not known, and distances are then in pixels.
    tolerance
        Of surface Dice, in mm or, where the spacing is not known, in pixels.

    Raises
    ------
    DataError, ValueError
        As `surfaces.surface_figures`.

    Examples
    --------
    >>> found = case_distances(np.array([[0, 1, 1, 0]]), np.array([[0, 1, 1, 1]]), 2, None, 1.0)
    >>> found.figures["hd95"].tolist(), found.unit
    ([nan, 1.0], 'pixels')
    """
    spacing = (1.0,) * reference.ndim if spacing_mm is None else tuple(spacing_mm)
    found = surface_figures(reference, prediction, range(1, n_classes), spacing, tolerance)
    figures = {name: np.concatenate([[np.nan], getattr(found, name)]) for name in DISTANCES}
    rank = 2 if 1 in reference.shape else reference.ndim
    return CaseDistances(figures, "pixels" if spacing_mm is None else "mm", tolerance, rank)
