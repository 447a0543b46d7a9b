"""Distances between the surfaces of two masks: HD95, average symmetric surface distance, surface Dice.

A mask's surface runs between voxels: wherever the 2 x 2 (x 2) voxels about a corner of the grid are not all alike,
there is a piece of it, whose length (area, in a volume) follows from which of them are set. Every piece is counted by
that length or area, at its corner, as Nikolov et al. do ("Clinically applicable segmentation of head and neck anatomy",
JMIR 23(7), 2021), so that a slanted surface does not count for less than a straight one. What lies outside the image is
outside of the mask: where a mask meets the border, that is surface. Where both masks have a piece at one corner, its
distance is 0, and only the others are measured.

What an empty class gives (the table of the design); NaN stands for "none":

=========  ==========  ==================  ============  ======
reference  prediction  HD95, ASSD          surface Dice  missed
=========  ==========  ==================  ============  ======
empty      empty       none                none          no
empty      not empty   none                none          no
not empty  empty       the image's         0             yes
                       diagonal
not empty  not empty   value               value         no
=========  ==========  ==================  ============  ======
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.nearest import Grid, nearest
from pipeline.evaluation.surface_pieces import find_corners, piece_sizes

__all__ = ["SurfaceDistances", "SurfaceFigures", "image_diagonal", "surface_distances", "surface_figures"]

_SLACK = 1e-6  # relative: a distance that equals the tolerance but for rounding is within it


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How much of each of two masks' surfaces lies how far from the other one.

    Attributes
    ----------
    from_reference, from_prediction
        (N,), (M,) float64 distances to the nearest corner of the other surface, 0 and up, in the unit of the spacing,
        rising.
    reference_sizes, prediction_sizes
        (N,), (M,) lengths (2D) or areas (3D) of the surface at each distance, above 0.
    """

    from_reference: np.ndarray
    from_prediction: np.ndarray
    reference_sizes: np.ndarray
    prediction_sizes: np.ndarray

    def percentile(self, percent: float = 95.0) -> float:
        """The larger of the two directed percentiles of the distances, each piece weighted by its size.

        At 95 this is HD95, at 100 the Hausdorff distance. A percentile is the smallest distance within which that
        share of the surface lies, without interpolation, as Nikolov et al. count it.
        """
        return max(_percentile(self.from_reference, self.reference_sizes, percent),
                   _percentile(self.from_prediction, self.prediction_sizes, percent))  # fmt: skip

    def pooled_percentile(self, percent: float = 95.0) -> float:
        """The percentile of the distances of both directions together, each piece weighted by its size.

        At most `percentile`, since the smaller one of two surfaces, or the better one, no longer speaks for itself.
        """
        distances = np.concatenate([self.from_reference, self.from_prediction])
        order = np.argsort(distances, kind="stable")
        sizes = np.concatenate([self.reference_sizes, self.prediction_sizes])
        return _percentile(distances[order], sizes[order], percent)

    def mean(self) -> float:
        """Average symmetric surface distance: the mean over the pieces of both surfaces together, weighted by size.

        Source: Taha & Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 15 (2015),
        whose average runs over points; here each counts by its size.
        """
        total = self.from_reference @ self.reference_sizes + self.from_prediction @ self.prediction_sizes
        return float(total / (self.reference_sizes.sum() + self.prediction_sizes.sum()))

    def dice(self, tolerance: float) -> float:
        """Surface Dice, 0 to 1: the share of both surfaces that lies within `tolerance` of the other one.

        Source: Nikolov et al. (2021).
        """
        limit = tolerance * (1 + _SLACK)
        near = self.reference_sizes[self.from_reference <= limit].sum()
        near += self.prediction_sizes[self.from_prediction <= limit].sum()
        return float(near / (self.reference_sizes.sum() + self.prediction_sizes.sum()))


@dataclass(frozen=True, eq=False)
class SurfaceFigures:
    """The figures of several classes, arrays of shape (K,) in the order that the classes were asked for.

    Attributes
    ----------
    hd95, hd95_pooled, assd
        Distances in the unit of the spacing, 0 and up; NaN for none.
    surface_dice
        0 to 1; NaN for none.
    missed
        Where the distances are the image's diagonal, because the class is in the reference alone.
    """

    hd95: np.ndarray
    hd95_pooled: np.ndarray
    assd: np.ndarray
    surface_dice: np.ndarray
    missed: np.ndarray


def surface_figures(
    reference: np.ndarray, prediction: np.ndarray, classes: Sequence[int], spacing: Sequence[float], tolerance: float
) -> SurfaceFigures:
    """HD95 (both kinds), average symmetric surface distance and surface Dice of each class.

    Parameters
    ----------
    reference, prediction
        Class ids, integer (or bool) arrays of one shape: a slice (H, W) or a volume (X, Y, Z). A volume with an axis of
        length 1 is a slice.
    classes
        The K class ids to rate.
    spacing
        One an axis, above 0: in mm, or 1 each for distances in pixels.
    tolerance
        Of surface Dice, in the unit of the spacing, 0 and up.

    Raises
    ------
    DataError
        If the shapes differ or are not 2D or 3D, or a type is not integer. It carries no file name: the caller puts it
        on with ``.at(path)``.
    ValueError
        If the spacing, the tolerance or a class id is out of range.

    Examples
    --------
    >>> reference, prediction = np.array([[1, 1, 0, 0, 2]]), np.array([[1, 1, 1, 0, 0]])
    >>> found = surface_figures(reference, prediction, [1, 2, 3], (1.0, 2.0), 1.0)
    >>> found.hd95.round(2).tolist(), found.missed.tolist()
    ([2.0, 10.05, nan], [False, True, False])
    """
    reference, prediction, spacing = _checked(np.asarray(reference), np.asarray(prediction), spacing)
    if not 0 <= tolerance < np.inf or any(index < 0 for index in classes):
        raise ValueError(f"tolerance {tolerance} and classes {list(classes)}: expected values from 0")
    return _rate(reference, prediction, classes, spacing, tolerance)


def surface_distances(reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]) -> SurfaceDistances:
    """All distances between the surfaces of two masks, neither of them empty.

    Parameters
    ----------
    reference, prediction
        bool arrays of one shape, (H, W) or (X, Y, Z). A volume with an axis of length 1 is a slice.
    spacing
        One an axis, above 0.

    Raises
    ------
    DataError
        If the shapes differ or are not 2D or 3D, or a type is not integer or bool.
    ValueError
        If a mask is empty, or the spacing is out of range.
    """
    reference, prediction, spacing = _checked(np.asarray(reference), np.asarray(prediction), spacing)
    if not reference.any() or not prediction.any():
        raise ValueError("an empty mask has no surface")
    corners = find_corners(reference != 0, prediction != 0, spacing, [1])
    return _between(*corners.of(1), corners.grid, piece_sizes(spacing))


def image_diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """From one corner of an image to the opposite one: no two surfaces in it lie farther apart."""
    return float(np.linalg.norm(np.multiply(shape, spacing)))


def _checked(
    reference: np.ndarray, prediction: np.ndarray, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Both arrays and the spacing, without an axis of length 1 of a volume."""
    if reference.shape != prediction.shape or reference.ndim not in (2, 3):
        raise DataError(
            f"reference {reference.shape} and prediction {prediction.shape}: expected one shape, (H, W) or (X, Y, Z)",
            remedy="Score masks on the grid of their reference",
        )  # fmt: skip
    if any(array.dtype.kind not in "biu" for array in (reference, prediction)):
        raise DataError(
            f"masks of type {reference.dtype} and {prediction.dtype}: expected whole numbers",
            remedy="Save masks in an integer type",
        )  # fmt: skip
    if len(spacing) != reference.ndim or not all(0 < value < np.inf for value in spacing):
        raise ValueError(f"spacing {tuple(spacing)} of a {reference.ndim}D mask: expected one an axis, above 0")
    if reference.ndim == 3 and 1 in reference.shape:
        axis = reference.shape.index(1)
        left = tuple(value for number, value in enumerate(spacing) if number != axis)
        return np.squeeze(reference, axis), np.squeeze(prediction, axis), left
    return reference, prediction, tuple(spacing)


def _rate(
    reference: np.ndarray, prediction: np.ndarray, classes: Sequence[int], spacing: tuple[float, ...], tolerance: float
) -> SurfaceFigures:
    sizes = piece_sizes(spacing)
    corners = find_corners(reference, prediction, spacing, classes)
    missed = np.zeros(len(classes), dtype=bool)
    figures = np.full((4, len(classes)), np.nan)
    for place, index in enumerate(classes):
        places, codes = corners.of(index)
        there = [bool(side.any()) for side in codes]  # the border of the image is surface: what is there has one
        missed[place] = there[0] and not there[1]
        if all(there):
            found = _between(places, codes, corners.grid, sizes)
            hd95 = found.percentile(), found.pooled_percentile()
            figures[:, place] = *hd95, found.mean(), found.dice(tolerance)
    figures[:, missed] = np.array([[image_diagonal(reference.shape, spacing)] * 3 + [0.0]]).T
    return SurfaceFigures(figures[0], figures[1], figures[2], figures[3], missed)


def _between(places: np.ndarray, codes: np.ndarray, grid: Grid, sizes: np.ndarray) -> SurfaceDistances:
    """Distances of one class, whose surfaces have these codes (2, N) at these places (N,) of a grid."""
    on_surface = (codes - np.uint8(1)) < len(sizes) - 2  # neither 0, which becomes 255, nor the highest
    shared = codes.take(np.flatnonzero(on_surface[0] & on_surface[1]), axis=1)
    points = [places.take(np.flatnonzero(side)) for side in on_surface]
    found = []
    for own, other in ((0, 1), (1, 0)):
        alone = np.flatnonzero(on_surface[own] > on_surface[other])
        which, distances = nearest(places.take(alone), points[other], grid)
        there = np.bincount(which, weights=sizes.take(codes[own].take(alone)), minlength=len(distances))
        near = np.bincount(shared[own], minlength=len(sizes)) @ sizes
        distances, there = np.append(distances, 0.0), np.append(there, near)
        order = np.argsort(distances, kind="stable")
        order = order[there[order] > 0]
        found.append((distances[order], there[order]))
    return SurfaceDistances(found[0][0], found[1][0], found[0][1], found[1][1])


def _percentile(distances: np.ndarray, sizes: np.ndarray, percent: float) -> float:
    reached = np.cumsum(sizes)
    wanted = reached[-1] * (percent / 100) * (1 - 1e-9)  # rounding must not move a share that is met exactly
    return float(distances[min(int(np.searchsorted(reached, wanted)), len(distances) - 1)])
