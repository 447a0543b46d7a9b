"""How far a prediction can be trusted, told from the prediction alone: no label is looked at.

Every figure speaks of the most probable classes, before any post-processing: what that removes is a sign, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pipeline.data.components import component_sizes
from pipeline.inference.label_ranges import LabelRanges
from pipeline.inference.mirroring import agreement

__all__ = ["AMBIGUOUS_MARGIN", "Review", "ReviewSums", "class_trust", "review_rows", "trust"]

AMBIGUOUS_MARGIN = 0.2  # a voxel whose two most probable classes are closer than this is ambiguous
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class Review:
    """What one case's probabilities say of its prediction.

    Attributes
    ----------
    expected_dice
        (K,) soft Dice of each class's probabilities p with its predicted mask m, 2 sum(p m) / (sum(p) + sum(m)), from
        0 to 1: about the Dice to be expected, were the probabilities calibrated. NaN for the background, and for a
        class that is not predicted.
    agreement
        (K,) mean Dice of each two members (mirror images, networks) on the prepared grid; NaN where there is one
        member, or no member has the class.
    peak
        (K,) the highest probability of each class.
    volume
        (K,) of each class, in mm3 (mm2 for a slice).
    component_sizes
        Of each class, the voxels of its connected parts, falling; none for the background.
    entropy, border_entropy
        Mean entropy of the probabilities over the predicted foreground, and over the voxels on both sides of a border
        between two classes in a slice; as a share of the most there can be, log K. NaN without such voxels.
    margin
        Mean difference of the two highest probabilities over the predicted foreground, 0 to 1.
    ambiguous
        Share of the predicted foreground where that is below `AMBIGUOUS_MARGIN`.
    """

    expected_dice: np.ndarray
    agreement: np.ndarray
    peak: np.ndarray
    volume: np.ndarray
    component_sizes: tuple[np.ndarray, ...]
    entropy: float
    border_entropy: float
    margin: float
    ambiguous: float

    @property
    def predicted(self) -> np.ndarray:
        """(K,) whether each class is predicted anywhere; False for the background."""
        return np.array([len(sizes) > 0 for sizes in self.component_sizes])


@dataclass
class ReviewSums:
    """Adds up what a `Review` needs, so that no more than a few slices' probabilities are held at once.

    Parameters
    ----------
    classes
        K, how many there are.
    """

    classes: int
    _of_class: np.ndarray = field(init=False)  # (3, K): sum of p, of p within the mask, of the mask's voxels
    _peak: np.ndarray = field(init=False)
    _region: np.ndarray = field(init=False)  # (foreground, border) sums of entropy, then their voxels
    _sure: np.ndarray = field(init=False)  # sum of the margins, ambiguous voxels

    def __post_init__(self) -> None:
        self._of_class, self._peak = np.zeros((3, self.classes)), np.zeros(self.classes)
        self._region, self._sure = np.zeros((2, 2)), np.zeros(2)

    def add(self, probabilities: torch.Tensor, highest: torch.Tensor, mask: np.ndarray) -> None:
        """Count some slices.

        Parameters
        ----------
        probabilities
            (S, K, H, W) float32 on the CPU.
        highest
            (S, H, W) the highest probability of each pixel.
        mask
            (S, H, W) the class that has it.
        """
        flat = mask.ravel()
        own = np.bincount(flat, weights=highest.numpy().ravel(), minlength=self.classes)
        voxels = np.bincount(flat, minlength=self.classes)
        self._of_class += np.stack([probabilities.sum((2, 3)).double().sum(0).numpy(), own, voxels])
        self._peak = np.maximum(self._peak, probabilities.amax((0, 2, 3)).numpy())
        foreground, border = mask > 0, _borders(mask)
        region = np.flatnonzero(foreground | border)
        picked = probabilities.movedim(1, 0).reshape(self.classes, -1)[:, torch.from_numpy(region)]
        entropy = torch.special.entr(picked).sum(0).numpy()
        inside, edge = foreground.ravel()[region], border.ravel()[region]
        self._region += [[entropy[inside].sum(dtype=float), entropy[edge].sum(dtype=float)], [inside.sum(), edge.sum()]]
        top = picked.topk(2, dim=0).values
        margins = (top[0] - top[1]).numpy()[inside]
        self._sure += [margins.sum(dtype=float), (margins < AMBIGUOUS_MARGIN).sum()]

    def review(self, mask: np.ndarray, spacing_mm: Sequence[float], shared: np.ndarray | None = None) -> Review:
        """What was counted, as one case.

        Parameters
        ----------
        mask
            All of its mask, (H, W) or (X, Y, Z).
        spacing_mm
            Of the mask's axes.
        shared
            (K, M, M), the `pipeline.inference.mirroring.overlaps` of its slices added up; None for one member.
        """
        probable, within, voxels = self._of_class
        known = voxels > 0
        known[0] = False
        expected = np.divide(2 * within, probable + voxels, out=np.full(self.classes, np.nan), where=known)
        agreed = np.full(self.classes, np.nan) if shared is None else agreement(shared)
        most = math.log(self.classes)
        (inside, edge), (count, edge_count) = self._region
        margins, ambiguous = self._sure
        return Review(
            expected, agreed, self._peak, voxels * math.prod(spacing_mm), component_sizes(mask, self.classes),
            _mean(inside / most, count), _mean(edge / most, edge_count), _mean(margins, count),
            _mean(ambiguous, count),
        )  # fmt: skip


def _mean(total: float, count: float) -> float:
    return float(total / count) if count else math.nan


def _borders(mask: np.ndarray) -> np.ndarray:
    """The pixels with a neighbour of another class in their slice, above, below, left or right; (S, H, W)."""
    border = np.zeros(mask.shape, dtype=bool)
    for axis in (1, 2):
        low: list[slice] = [slice(None)] * 3
        high = low.copy()
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        differs = mask[tuple(low)] != mask[tuple(high)]
        border[tuple(low)] |= differs
        border[tuple(high)] |= differs
    return border


def plausibility(review: Review, ranges: LabelRanges | None) -> np.ndarray:
    """How far each class is like those of the training labels, 0 to 1.

    Returns
    -------
    np.ndarray
        (K,) `LabelRanges.plausibility` of a class that is predicted; 0 for one that is not, though every label has it.
        NaN for one that is not and need not be, for the background, and where no ranges are known.
    """
    found = np.full(len(review.volume), math.nan)
    if ranges is None:
        return found
    found[1:][~review.predicted[1:] & ranges.always[1:]] = 0.0
    for index in np.flatnonzero(review.predicted):
        found[index] = ranges.plausibility(int(index), review.volume[index], review.component_sizes[index])
    return found


def class_trust(review: Review, ranges: LabelRanges | None = None) -> np.ndarray:
    """How far each class's mask can be trusted, 0 to 1.

    For a class that is predicted, the lower one of `Review.expected_dice` and `Review.agreement`, times the ratio by
    which its volume lies outside the range of the training labels (v / least, or most / v), times the share of its
    voxels that lie in as many of its largest parts as a training label has at most. For a class that is not predicted,
    0 if every training label has it. So more overlap or agreement never lowers it, nor does a volume closer to the
    range, or less in stray parts; and nothing in it is fitted to any result.

    Parameters
    ----------
    review
        Of K classes.
    ranges
        Of the training labels; None for the two overlaps alone.

    Returns
    -------
    np.ndarray
        (K,) float64; NaN for the background, and for a class that is not predicted and need not be.
    """
    found = np.where(review.predicted, np.fmin(review.expected_dice, review.agreement), math.nan)
    if ranges is None:
        return found
    like = plausibility(review, ranges)
    return np.where(like == 0, 0.0, found * like)


def trust(review: Review, ranges: LabelRanges | None = None) -> float:
    """How far a case's prediction can be trusted, 0 to 1: the mean of `class_trust` over the classes that have one.

    Where none has one, nothing was predicted and nothing had to be: 1 less the highest probability of a foreground
    class.
    """
    found = _mean_known(class_trust(review, ranges))
    return float(1 - review.peak[1:].max(initial=0)) if math.isnan(found) else found


def review_rows(
    reviews: Iterable[tuple[str, Review]], classes: Sequence[str], ranges: LabelRanges | None = None
) -> list[dict[str, Any]]:
    """Rows of ``review.csv``: one a case, the least trusted first (then by case).

    Parameters
    ----------
    reviews
        (case id, review); volumes in the unit of the ranges.
    classes
        All names, that of the background first.
    ranges
        Of the training labels, where they are known.

    Returns
    -------
    list of dict
        The same columns in each; None for what is not known. ``weakest`` names the class with the lowest trust,
        ``out_of_range`` the classes that no training label is like, and by how much.
    """
    rows = [_row(case, review, classes, ranges) for case, review in reviews]
    return sorted(rows, key=lambda row: (row["trust"], row["case"]))


def _row(case: str, review: Review, classes: Sequence[str], ranges: LabelRanges | None) -> dict[str, Any]:
    by_class = class_trust(review, ranges)
    known = not np.isnan(by_class).all()
    row: dict[str, Any] = {
        "case": case,
        "trust": _rounded(trust(review, ranges)),
        "weakest": classes[int(np.nanargmin(by_class))] if known else None,
        "out_of_range": _out_of_range(review, classes, ranges),
        "expected_dice": _rounded(_mean_known(review.expected_dice)),
        "agreement": _rounded(_mean_known(np.where(review.predicted, review.agreement, math.nan))),
        "plausibility": _rounded(_mean_known(plausibility(review, ranges))),
        "entropy": _rounded(review.entropy),
        "border_entropy": _rounded(review.border_entropy),
        "margin": _rounded(review.margin),
        "ambiguous": _rounded(review.ambiguous),
    }
    for index, name in list(enumerate(classes))[1:]:
        row |= {
            f"trust_{name}": _rounded(by_class[index]),
            f"expected_dice_{name}": _rounded(review.expected_dice[index]),
            f"agreement_{name}": _rounded(review.agreement[index]),
            f"components_{name}": len(review.component_sizes[index]),
            f"volume_{name}": _rounded(review.volume[index]),
            f"range_ratio_{name}": _rounded(ranges.ratio(index, review.volume[index])) if ranges else None,
        }
    return row


def _out_of_range(review: Review, classes: Sequence[str], ranges: LabelRanges | None) -> str | None:
    """The classes that no training label is like, in words; None where there is none."""
    if ranges is None:
        return "unknown"
    found = []
    for index, name in list(enumerate(classes))[1:]:
        ratio, most = ranges.ratio(index, review.volume[index]), ranges.parts[index]
        parts = review.component_sizes[index]
        if ratio == 0:
            found.append(f"{name} is missing")
        elif (off := _rounded(ratio)) not in (None, 1):
            found.append(f"{name} has {off:g} times the {'largest' if ratio > 1 else 'least'} volume")
        if most and len(parts) > most:
            found.append(f"{name} lies in {len(parts)} parts, {most} at most in training")
        if not most and len(parts):
            found.append(f"{name} is in no training label")
    return "; ".join(found) or None


def _mean_known(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), _DIGITS)
