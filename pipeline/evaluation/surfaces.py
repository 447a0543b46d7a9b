"""Distances between the surfaces of two masks: HD95, average symmetric surface distance, surface Dice.

A mask's surface runs between voxels: wherever the 2 x 2 (x 2) voxels about a corner of the grid are not all alike,
there is a piece of it, whose length (area, in a volume) follows from which of them are set. Every piece is counted by
that length or area, at its corner, as Nikolov et al. do ("Clinically applicable segmentation of head and neck anatomy",
JMIR 23(7), 2021), so that a slanted surface does not count for less than a straight one. What lies outside the image is
outside of the mask: where a mask meets the border, that is surface.

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
from typing import Literal

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.surface_pieces import neighbour_codes, piece_sizes

__all__ = ["SurfaceDistances", "SurfaceFigures", "image_diagonal", "surface_distances", "surface_figures"]

_SLACK = 1e-6  # relative: distances are float32, and one that equals the tolerance but for rounding is within it


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far each piece of one mask's surface lies from the other mask's, both ways.

    Attributes
    ----------
    from_reference, from_prediction
        (N,), (M,) float32 distances to the nearest corner of the other surface, 0 and up, in the unit of the spacing,
        rising.
    reference_sizes, prediction_sizes
        (N,), (M,) lengths (2D) or areas (3D) of the pieces, above 0, in the order of the distances.
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
    hd95, assd
        Distances in the unit of the spacing, 0 and up; NaN for none.
    surface_dice
        0 to 1; NaN for none.
    missed
        Where the distances are the image's diagonal, because the class is in the reference alone.
    """

    hd95: np.ndarray
    assd: np.ndarray
    surface_dice: np.ndarray
    missed: np.ndarray


def surface_figures(
    reference: np.ndarray, prediction: np.ndarray, classes: Sequence[int], spacing: Sequence[float], tolerance: float
) -> SurfaceFigures:
    """HD95, average symmetric surface distance and surface Dice of each class.

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
    own, other = (_boxes(array != 0, 1)[1] for array in (reference, prediction))
    if own is None or other is None:
        raise ValueError("an empty mask has no surface")
    box = _union(own, other)
    return _between(reference[box] != 0, prediction[box] != 0, spacing)


def image_diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """From one corner of an image to the opposite one: no two surfaces in it lie farther apart."""
    return float(np.linalg.norm(np.multiply(shape, spacing)))


Box = tuple[slice, ...]


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


def _boxes(array: np.ndarray, highest: int) -> list[Box | None]:
    """The bounding box of each class from 0 to `highest`, in one pass; of class 0 the whole, when it is there."""
    from scipy.ndimage import find_objects

    ids = array.view(np.uint8) if array.dtype == bool else array
    boxes: list[Box | None] = list(find_objects(ids, highest)) if highest else []
    return [None if array.all() else tuple(slice(0, length) for length in array.shape), *boxes]


def _union(one: Box, other: Box) -> Box:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))


def _rate(
    reference: np.ndarray, prediction: np.ndarray, classes: Sequence[int], spacing: tuple[float, ...], tolerance: float
) -> SurfaceFigures:
    own, other = (_boxes(array, max(classes, default=0)) for array in (reference, prediction))
    missed = np.array([own[index] is not None and other[index] is None for index in classes], dtype=bool)
    figures = np.full((3, len(classes)), np.nan)
    figures[:, missed] = np.array([[image_diagonal(reference.shape, spacing)] * 2 + [0.0]]).T
    for place, index in enumerate(classes):
        boxes = own[index], other[index]
        if boxes[0] is not None and boxes[1] is not None:
            box = _union(boxes[0], boxes[1])
            found = _between(reference[box] == index, prediction[box] == index, spacing)
            figures[:, place] = found.percentile(), found.mean(), found.dice(tolerance)
    return SurfaceFigures(figures[0], figures[1], figures[2], missed)


def _between(reference: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...]) -> SurfaceDistances:
    sizes = piece_sizes(spacing)
    layout: Literal["C", "F"] = "F" if reference.flags.fnc else "C"  # all arrays are walked as they lie in memory
    codes = [neighbour_codes(np.asarray(mask, order=layout)) for mask in (reference, prediction)]
    on_surface = [(code != 0) & (code != len(sizes) - 1) for code in codes]
    found = []
    for own, other in ((0, 1), (1, 0)):
        pieces = np.flatnonzero(on_surface[own].ravel(layout))
        distances = _distances_to(on_surface[other], spacing).ravel(layout)[pieces]
        order = np.argsort(distances, kind="stable")
        found.append((distances[order], sizes[codes[own].ravel(layout)[pieces[order]]]))
    return SurfaceDistances(found[0][0], found[1][0], found[0][1], found[1][1])


def _distances_to(surface: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Exact Euclidean distance of each corner of the grid to the nearest one on the surface."""
    import edt

    if surface.flags.fnc:
        return edt.edt(~surface.T, anisotropy=spacing[::-1]).T
    return edt.edt(~surface, anisotropy=spacing)


def _percentile(distances: np.ndarray, sizes: np.ndarray, percent: float) -> float:
    reached = np.cumsum(sizes)
    wanted = reached[-1] * (percent / 100) * (1 - 1e-9)  # rounding must not move a share that is met exactly
    return float(distances[min(int(np.searchsorted(reached, wanted)), len(distances) - 1)])
