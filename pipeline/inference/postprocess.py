"""What is removed from a class, or filled in it, once a case is predicted; on the original grid.

Parts hang together by faces, edges or corners: 26 neighbours in a volume, 8 in a slice. Background hangs together by
faces alone (6, 4), so that a ring whose pixels meet at corners encloses what is within it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Literal

import cc3d
import numpy as np

from pipeline.config.schema import PostprocessRule
from pipeline.errors import DataError

__all__ = ["choose_postprocess", "component_sizes", "postprocess"]

_BACKGROUND = 0
_LARGEST = PostprocessRule(largest=True)


def postprocess(
    mask: np.ndarray, rules: Mapping[int, PostprocessRule], spacing_mm: Sequence[float] | None = None
) -> np.ndarray:
    """A case's mask with each class's rule applied.

    First the parts that a rule does not keep are removed, and become background. Then the background that a class
    encloses becomes that class, where its rule says so; voxels of other classes stay, and of several classes around a
    voxel the one whose hole is the smallest has it.

    Parameters
    ----------
    mask
        (H, W) or (X, Y, Z) class indices, unsigned.
    rules
        By class index, without the background's. Of parts that are equally large, the first in the order of the axes
        is kept.
    spacing_mm
        Of the mask's axes; needed for ``min_mm3`` alone.

    Returns
    -------
    np.ndarray
        Of the same shape and type; `mask` itself is left as it is.

    Raises
    ------
    DataError
        When a rule has ``min_mm3`` and the mask is no volume, or its spacing is not known.
    """
    result = np.ascontiguousarray(mask).copy()
    view = result.reshape([side for side in mask.shape if side != 1] or [1])
    for index, rule in sorted(rules.items()):
        _remove(view, index, rule.keep or (1 if rule.largest else None), _least_voxels(rule, mask, spacing_mm))
    if view.ndim > 1:  # on a line nothing is enclosed
        _fill(view, [index for index, rule in sorted(rules.items()) if rule.fill_holes])
    return result


def component_sizes(mask: np.ndarray, classes: int) -> tuple[np.ndarray, ...]:
    """The voxels of each connected part of each class, falling; of the background none are counted."""
    sizes = [np.zeros(0, dtype=np.int64)] * classes
    for index in range(1, classes):
        box = _box(mask == index)
        if box is not None:
            counts = np.bincount(_components(mask[box] == index).ravel())[1:]
            sizes[index] = np.sort(counts)[::-1]
    return tuple(sizes)


def choose_postprocess(
    pairs: Iterable[tuple[Hashable, np.ndarray, np.ndarray]], classes: Sequence[str]
) -> dict[str, PostprocessRule]:
    """The classes for which keeping the largest part alone raises the mean Dice over scans.

    As nnU-Net chooses (Isensee et al., Nature Methods 18, 2021), each class by itself. What is removed becomes
    background, which no other class's Dice depends on: none gets worse.

    Parameters
    ----------
    pairs
        (scan, prediction, reference) of validation cases, masks of one shape; slices of one scan are pooled.
    classes
        All names, that of the background first.

    Returns
    -------
    dict
        By class name, as ``inference.postprocess`` has it. A scan whose reference lacks a class has no say in it.
    """
    counts: dict[Hashable, np.ndarray] = {}  # by scan, (2, 3, K): before and after; true positives, sizes of the two
    for scan, prediction, reference in pairs:
        cleaned = postprocess(prediction, dict.fromkeys(range(1, len(classes)), _LARGEST))
        found = np.stack([_counted(one, reference, len(classes)) for one in (prediction, cleaned)])
        counts[scan] = counts.get(scan, 0) + found
    if not counts:
        return {}
    true, predicted, wanted = np.moveaxis(np.stack(list(counts.values())), 2, 0)
    shown = wanted > 0
    dice = np.divide(2 * true, predicted + wanted, out=np.zeros(true.shape), where=shown)
    before, after = dice.sum(axis=0)  # of as many scans: their sums compare as their means do
    return {name: _LARGEST for index, name in enumerate(classes) if index and after[index] > before[index]}


def _counted(prediction: np.ndarray, reference: np.ndarray, classes: int) -> np.ndarray:
    """(3, K) true positives, and the voxels of each class in the prediction and in the reference."""
    masks = (prediction[prediction == reference], prediction, reference)
    return np.stack([np.bincount(mask.ravel(), minlength=classes) for mask in masks])


def _least_voxels(rule: PostprocessRule, mask: np.ndarray, spacing_mm: Sequence[float] | None) -> int:
    """How many voxels a part has at least."""
    if rule.min_mm3 is None:
        return rule.min_voxels or 1
    if mask.ndim != 3 or spacing_mm is None:
        what = "a file of one slice has no size in mm3" if mask.ndim != 3 else "the spacing is not known"
        raise DataError(f"'min_mm3' is set, but {what}", where="inference.postprocess", remedy="Use min_voxels")
    # A part of exactly min_mm3 stays, however the quotient is rounded.
    least = math.ceil(rule.min_mm3 / math.prod(spacing_mm) * (1 - 1e-9))
    return max(rule.min_voxels or 1, least)


def _remove(mask: np.ndarray, index: int, keep: int | None, least: int) -> None:
    """Make background of the parts of a class that are too small, or too many."""
    box = _box(mask == index) if keep is not None or least > 1 else None
    if box is None:
        return
    part = mask[box]
    labels = _components(part == index)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = sizes >= least
    if keep is not None:
        first = np.argsort(-sizes, kind="stable")[:keep]
        kept &= np.isin(np.arange(len(sizes)), first)
    kept[0] = True  # what is not of the class
    part[~kept[labels]] = _BACKGROUND


def _fill(mask: np.ndarray, indices: Sequence[int]) -> None:
    """Give each voxel of background that a class of `indices` encloses to it."""
    smallest = np.full(mask.shape if indices else (0,), np.iinfo(np.int64).max)
    owner = np.zeros(smallest.shape, dtype=mask.dtype)
    for index in indices:
        box = _box(mask == index)
        if box is None:
            continue
        labels = _components(mask[box] != index, faces=True)
        sizes = np.bincount(labels.ravel())
        sizes[_at_the_border(labels)] = 0
        sizes[0] = 0
        around = sizes[labels]
        nearer = (around > 0) & (around < smallest[box]) & (mask[box] == _BACKGROUND)
        smallest[box][nearer] = around[nearer]
        owner[box][nearer] = index
    if indices:
        np.copyto(mask, owner, where=owner > 0)


def _at_the_border(labels: np.ndarray) -> np.ndarray:
    """The parts that reach an end of some axis: there is no telling what lies behind it."""
    ends = [np.unique(labels.take([0, -1], axis)) for axis in range(labels.ndim)]
    return np.unique(np.concatenate(ends))


def _components(inside: np.ndarray, *, faces: bool = False) -> np.ndarray:
    """Connected parts numbered from 1, in the order of the axes; 0 outside."""
    connectivity: Literal[4, 6, 8, 26]
    connectivity = (4 if faces else 8) if inside.ndim < 3 else (6 if faces else 26)
    # Whole numbers: of truth values, cc3d 4.1 finds wrong parts where a slice is one pixel wide. In C order: the parts
    # are numbered as voxels lie in memory.
    values = np.ascontiguousarray(np.atleast_2d(inside), dtype=np.uint8)
    return np.asarray(cc3d.connected_components(values, connectivity=connectivity)).reshape(inside.shape)


def _box(inside: np.ndarray) -> tuple[slice, ...] | None:
    """The bounds of what is True; None where nothing is."""
    bounds = []
    for axis in range(inside.ndim):
        along = np.flatnonzero(inside.any(axis=tuple(other for other in range(inside.ndim) if other != axis)))
        if not len(along):
            return None
        bounds.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(bounds)
