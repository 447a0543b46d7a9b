"""Overlap metrics from confusion matrices: Dice, IoU, precision, recall and volumes.

Every function takes one confusion matrix (K, K) or a stack (..., K, K), voxel counts with rows for the reference and
columns for the prediction, or the `Tallies` of such, and returns one value a class: shape (..., K). NaN is "none".

What an empty class gives (the table of the design):

=========  ==========  =====  ===============  =====  =========  ======  ==========
reference  prediction  Dice   dice_with_empty  IoU    precision  recall  outcome
=========  ==========  =====  ===============  =====  =========  ======  ==========
empty      empty       none   none             none   none       none    both_empty
empty      not empty   none   0                none   none       none    spurious
not empty  empty       0      0                0      none       0       missed
not empty  not empty   value  value            value  value      value   present
=========  ==========  =====  ===============  =====  =========  ======  ==========

So the four headline figures speak of the same units, those whose reference has the class; what was predicted elsewhere
is told by `dice_with_empty` and by the count of spurious units. Precision is none, too, where nothing was predicted:
there is no claim whose truth could be rated, and the count of missed units tells it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "OUTCOMES", "Counts", "Tallies", "Volumes", "dice", "dice_with_empty", "false_negatives", "false_positives", "iou",
    "outcomes", "precision", "predicted_voxels", "recall", "reference_voxels", "relative_difference", "true_negatives",
    "true_positives", "volumes",
]  # fmt: skip

OUTCOMES = ("both_empty", "spurious", "missed", "present")  # indexed by 2 * (in the reference) + (in the prediction)


@dataclass(frozen=True, eq=False)
class Tallies:
    """What of confusion matrices the metrics need: voxels of each class, integers, shape (..., K) each.

    `true` is in both masks, `reference` in the reference, `predicted` in the prediction.
    """

    true: np.ndarray
    reference: np.ndarray
    predicted: np.ndarray

    @classmethod
    def of(cls, stacked: np.ndarray) -> Tallies:
        """From one array (..., 3, K) of the three, in this order."""
        return cls(stacked[..., 0, :], stacked[..., 1, :], stacked[..., 2, :])


Counts = np.ndarray | Tallies


@dataclass(frozen=True, eq=False)
class Volumes:
    """Volumes of each class, arrays of shape (..., K), in mm3 or, without a voxel volume, in voxels.

    `difference` is predicted minus reference; `relative` is that over the reference, none where the reference is empty.
    """

    reference: np.ndarray
    predicted: np.ndarray
    difference: np.ndarray
    relative: np.ndarray


def reference_voxels(confusion: Counts) -> np.ndarray:
    """Voxels of each class in the reference: TP + FN."""
    return confusion.reference if isinstance(confusion, Tallies) else confusion.sum(axis=-1)


def predicted_voxels(confusion: Counts) -> np.ndarray:
    """Voxels of each class in the prediction: TP + FP."""
    return confusion.predicted if isinstance(confusion, Tallies) else confusion.sum(axis=-2)


def true_positives(confusion: Counts) -> np.ndarray:
    """Voxels of the class in both masks."""
    if isinstance(confusion, Tallies):
        return confusion.true
    return np.diagonal(confusion, axis1=-2, axis2=-1).copy()


def false_positives(confusion: Counts) -> np.ndarray:
    """Voxels of the class in the prediction only."""
    return predicted_voxels(confusion) - true_positives(confusion)


def false_negatives(confusion: Counts) -> np.ndarray:
    """Voxels of the class in the reference only."""
    return reference_voxels(confusion) - true_positives(confusion)


def true_negatives(confusion: Counts) -> np.ndarray:
    """Voxels of the class in neither mask."""
    reference = reference_voxels(confusion)
    return reference.sum(axis=-1, keepdims=True) - reference - predicted_voxels(confusion) + true_positives(confusion)


def dice(confusion: Counts) -> np.ndarray:
    """Dice coefficient, 2 TP / (2 TP + FP + FN), 0 to 1; none where the reference is empty.

    Source: Dice, "Measures of the amount of ecologic association between species", Ecology 26 (1945).
    """
    reference = reference_voxels(confusion)
    both = reference + predicted_voxels(confusion)
    return _ratio(2 * true_positives(confusion), both, where=reference > 0)


def dice_with_empty(confusion: Counts) -> np.ndarray:
    """Dice that punishes a class predicted where the reference has none: 0 there; none only where both are empty."""
    both = reference_voxels(confusion) + predicted_voxels(confusion)
    return _ratio(2 * true_positives(confusion), both, where=both > 0)


def iou(confusion: Counts) -> np.ndarray:
    """Intersection over union, TP / (TP + FP + FN), 0 to 1; none where the reference is empty, as for Dice.

    Source: Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11 (1912).
    """
    reference, true = reference_voxels(confusion), true_positives(confusion)
    return _ratio(true, reference + predicted_voxels(confusion) - true, where=reference > 0)


def precision(confusion: Counts) -> np.ndarray:
    """Share of the predicted voxels that are right, TP / (TP + FP), 0 to 1; none where either mask is empty."""
    predicted = predicted_voxels(confusion)
    return _ratio(true_positives(confusion), predicted, where=(predicted > 0) & (reference_voxels(confusion) > 0))


def recall(confusion: Counts) -> np.ndarray:
    """Share of the reference voxels that were found, TP / (TP + FN), 0 to 1; none where the reference is empty."""
    reference = reference_voxels(confusion)
    return _ratio(true_positives(confusion), reference, where=reference > 0)


def volumes(confusion: Counts, voxel_volume_mm3: float | None = None) -> Volumes:
    """Volumes of each class.

    Parameters
    ----------
    confusion
        Voxel counts, shape (..., K, K), or their tallies.
    voxel_volume_mm3
        Volume of one voxel in mm3. None: the volumes are in voxels.
    """
    unit = 1.0 if voxel_volume_mm3 is None else voxel_volume_mm3
    reference, predicted = reference_voxels(confusion) * unit, predicted_voxels(confusion) * unit
    return Volumes(reference, predicted, predicted - reference, relative_difference(confusion))


def relative_difference(confusion: Counts) -> np.ndarray:
    """Relative volume difference, (predicted - reference) / reference, -1 and up; none where the reference is empty."""
    reference = reference_voxels(confusion)
    return _ratio(predicted_voxels(confusion) - reference, reference, where=reference > 0)


def outcomes(reference: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Index into `OUTCOMES` from the voxels (or volumes) of a class in the reference and in the prediction.

    "present" says that both masks have the class, not that they meet: Dice may still be 0.
    """
    return 2 * (reference > 0).astype(np.int8) + (predicted > 0)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, *, where: np.ndarray) -> np.ndarray:
    """Divide, with NaN where the quotient is not wanted."""
    none = np.full(np.shape(numerator), np.nan)
    return np.divide(numerator, denominator, out=none, where=where)
