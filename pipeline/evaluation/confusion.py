"""Counting: what every overlap metric follows from, slice by slice, and the confusion matrix of a whole case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.distances import CaseDistances

__all__ = ["CaseCounts", "SliceCounts", "count_slices", "slice_confusions"]

_NAMED_VALUES = 5  # how many wrong values an error names
_MOST_BINS = 1 << 16  # of all slices together: they are counted at once where that is 16 bits a pixel


@dataclass(frozen=True, eq=False)
class SliceCounts:
    """Voxels counted in the S slices of a case. Its length is S.

    A confusion matrix is kept for all slices together only: of 118 classes and 200 slices they would be 22 MB a case.

    Parameters
    ----------
    tallies
        Of each slice and class, int64, shape (S, 3, K): voxels in both masks, in the reference, in the prediction.
    confusion
        Of all slices, int64, shape (K, K): rows are the reference, columns the prediction.

    Raises
    ------
    ValueError
        If the shapes are others.
    """

    tallies: np.ndarray
    confusion: np.ndarray

    def __post_init__(self) -> None:
        n_classes = len(self.confusion)
        if self.confusion.shape != (n_classes, n_classes) or self.tallies.shape[1:] != (3, n_classes):
            shapes = f"{self.tallies.shape} and {self.confusion.shape}"
            raise ValueError(f"tallies and confusion have shapes {shapes}, expected (S, 3, K) and (K, K)")

    def __len__(self) -> int:
        return len(self.tallies)

    @classmethod
    def of(cls, confusions: np.ndarray) -> SliceCounts:
        """From the confusion matrices of slices, shape (S, K, K)."""
        if confusions.ndim != 3 or confusions.shape[1] != confusions.shape[2]:
            raise ValueError(f"confusions have shape {confusions.shape}, expected (S, K, K)")
        return cls(np.stack([_tally(one) for one in confusions]), confusions.sum(axis=0))


@dataclass(frozen=True, eq=False)
class CaseCounts:
    """What was counted in one case.

    Parameters
    ----------
    case, scan, patient
        Identifiers. Slice files of one scan share `scan`; scans of one person share `patient`.
    slices
        What was counted in its slices.
    voxel_volume_mm3
        Volume of one voxel in mm3, or None when the spacing is unknown.
    distances
        Between the surfaces of the K classes; None where they were not measured.

    Raises
    ------
    ValueError
        If the distances are of other classes or the volume is not positive and finite.
    """

    case: str
    scan: str
    patient: str
    slices: SliceCounts
    voxel_volume_mm3: float | None = None
    distances: CaseDistances | None = None

    def __post_init__(self) -> None:
        classes = len(self.slices.confusion)
        if self.distances is not None and any(one.shape != (classes,) for one in self.distances.figures.values()):
            raise ValueError(f"case {self.case}: distances are not of {classes} classes")
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
    return np.stack(list(_each_confusion(reference, prediction, n_classes, axis)))


def count_slices(reference: np.ndarray, prediction: np.ndarray, n_classes: int, *, axis: int = -1) -> SliceCounts:
    """As `slice_confusions`, which takes the same and raises the same, but no more is held than is kept.

    Examples
    --------
    >>> found = count_slices(np.array([[0, 1, 1, 1]]), np.array([[0, 0, 1, 1]]), 2)
    >>> found.tallies.tolist(), found.confusion.tolist()
    ([[[1, 2], [1, 3], [2, 2]]], [[1, 0], [1, 2]])
    """
    tallies = []
    pooled = np.zeros((n_classes, n_classes), dtype=np.int64)
    for confusion in _each_confusion(reference, prediction, n_classes, axis):
        tallies.append(_tally(confusion))
        pooled += confusion
    return SliceCounts(np.stack(tallies), pooled)


def _tally(confusion: np.ndarray) -> np.ndarray:
    """Voxels in both masks, in the reference and in the prediction, shape (3, K)."""
    return np.stack([np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)])


def _each_confusion(
    reference: np.ndarray, prediction: np.ndarray, n_classes: int, axis: int
) -> Iterator[np.ndarray]:  # fmt: skip
    """The confusion matrix of each slice, int64, shape (K, K)."""
    reference, prediction = np.asarray(reference), np.asarray(prediction)
    _check_shapes(reference, prediction)
    # A pair of ids fits in one byte for up to 16 classes: an eighth of the traffic that int64 would make.
    narrow = np.min_scalar_type(n_classes * n_classes - 1)
    pairs = _checked(reference, n_classes, "reference").astype(narrow)
    pairs *= narrow.type(n_classes)
    pairs += _checked(prediction, n_classes, "prediction").astype(narrow, copy=False)
    if pairs.ndim == 3 and pairs.strides[axis] == pairs.itemsize and pairs.shape[axis] * n_classes**2 <= _MOST_BINS:
        yield from _interleaved(np.moveaxis(pairs, axis, -1), n_classes)
        return
    slices = pairs[np.newaxis] if pairs.ndim == 2 else np.moveaxis(pairs, axis, 0)
    # bincount widens what it is given to int64; slice by slice that copy stays in the processor's cache.
    for pixels in slices:
        counts = np.bincount(pixels.ravel(order="K"), minlength=n_classes * n_classes)
        yield counts.astype(np.int64, copy=False).reshape(n_classes, n_classes)


def _interleaved(pairs: np.ndarray, n_classes: int) -> np.ndarray:
    """Confusion matrices (S, K, K) of slices whose pixels lie side by side in memory, from pairs of ids (A, B, S).

    All slices are counted at once, in the order of the memory, with bins of its own for each.
    """
    bins = n_classes * n_classes
    starts = np.arange(pairs.shape[-1], dtype=np.uint16) * np.uint16(bins)
    counts = np.zeros(pairs.shape[-1] * bins, dtype=np.int64)
    for rows in pairs if pairs.strides[0] > pairs.strides[1] else np.moveaxis(pairs, 1, 0):
        counts += np.bincount((rows + starts).ravel(), minlength=len(counts))
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
