"""Counting: one confusion matrix a slice, from which every overlap metric follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.distances import CaseDistances

__all__ = ["CaseCounts", "slice_confusions"]

_NAMED_VALUES = 5  # how many wrong values an error names


@dataclass(frozen=True, eq=False)
class CaseCounts:
    """What was counted in one case.

    Parameters
    ----------
    case, scan, patient
        Identifiers. Slice files of one scan share `scan`; scans of one person share `patient`.
    confusion
        Voxel counts of each slice, shape (S, K, K): rows are the reference, columns the prediction.
    voxel_volume_mm3
        Volume of one voxel in mm3, or None when the spacing is unknown.
    distances
        Between the surfaces of the K classes; None where they were not measured.

    Raises
    ------
    ValueError
        If `confusion` is not (S, K, K), the distances are of other classes or the volume is not positive and finite.
    """

    case: str
    scan: str
    patient: str
    confusion: np.ndarray
    voxel_volume_mm3: float | None = None
    distances: CaseDistances | None = None

    def __post_init__(self) -> None:
        shape = self.confusion.shape
        if len(shape) != 3 or shape[1] != shape[2]:
            raise ValueError(f"case {self.case}: confusion has shape {shape}, expected (S, K, K)")
        if self.distances is not None and any(one.shape != shape[2:] for one in self.distances.figures.values()):
            raise ValueError(f"case {self.case}: distances are not of {shape[2]} classes")
        volume = self.voxel_volume_mm3
        if volume is not None and not 0 < volume < np.inf:
            raise ValueError(f"case {self.case}: voxel_volume_mm3 is {volume}, expected a positive number or None")


def slice_confusions(reference: np.ndarray, prediction: np.ndarray, n_classes: int, *, axis: int = -1) -> np.ndarray:
    """Confusion matrix of each slice.

    Parameters
    ----------
    reference, prediction
        Class ids, integer (or bool) arrays of one shape: a slice (H, W), or a volume such as (H, W, S).
        Values 0 to `n_classes` - 1.
    n_classes
        Number of classes K, background included.
    axis
        The axis of a volume along which its slices lie. Not used for a single slice.

    Returns
    -------
    numpy.ndarray
        Voxel counts, int64, shape (S, K, K); `[s, r, p]` counts voxels of slice s with reference r, prediction p.

    Raises
    ------
    DataError
        If the shapes differ or are not 2D or 3D, if a type is not integer, or if a value is out of range.
        It carries no file name: the caller puts it on with ``.at(path)``.

    Examples
    --------
    >>> slice_confusions(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]]), 2).tolist()
    [[[1, 0], [1, 2]]]
    """
    reference, prediction = np.asarray(reference), np.asarray(prediction)
    _check_shapes(reference, prediction)
    # A pair of ids fits in one byte for up to 16 classes: an eighth of the traffic that int64 would make.
    narrow = np.min_scalar_type(n_classes * n_classes - 1)
    pairs = _checked(reference, n_classes, "reference").astype(narrow)
    pairs *= narrow.type(n_classes)
    pairs += _checked(prediction, n_classes, "prediction").astype(narrow, copy=False)
    slices = pairs[np.newaxis] if pairs.ndim == 2 else np.moveaxis(pairs, axis, 0)
    counts = np.zeros((len(slices), n_classes * n_classes), dtype=np.int64)
    # bincount widens what it is given to int64; slice by slice that copy stays in the processor's cache.
    for row, pixels in zip(counts, slices, strict=True):
        row[:] = np.bincount(pixels.ravel(order="K"), minlength=n_classes * n_classes)
    return counts.reshape(-1, n_classes, n_classes)


def _check_shapes(reference: np.ndarray, prediction: np.ndarray) -> None:
    if reference.shape != prediction.shape:
        raise DataError(
            f"the reference has shape {reference.shape} and the prediction {prediction.shape}",
            remedy="Compare masks on one grid: the original grid of the image",
        )
    if reference.ndim not in (2, 3):
        raise DataError(f"masks have shape {reference.shape}, expected a slice (H, W) or a volume (H, W, S)")


def _checked(mask: np.ndarray, n_classes: int, role: str) -> np.ndarray:
    """Give the mask back, after its type and range were found good."""
    if mask.dtype.kind not in "iub":
        what = f"the {role} has type {mask.dtype}, expected whole numbers"
        raise DataError(what, remedy="Store class ids as integers")
    if mask.size and (mask.min() < 0 or mask.max() >= n_classes):
        wrong = np.unique(mask[(mask < 0) | (mask >= n_classes)])
        values = ", ".join(str(value) for value in wrong[:_NAMED_VALUES].tolist())
        more = f" and {len(wrong) - _NAMED_VALUES} more" if len(wrong) > _NAMED_VALUES else ""
        raise DataError(
            f"the {role} has values {values}{more}, expected 0 to {n_classes - 1}",
            remedy="List every class in data.classes, or remap the values with data.label_map",
        )
    return mask
