"""What is removed from a class, or filled in it, once a case is predicted; on the original grid.

Parts hang together as `pipeline.data.components` says; background hangs together by faces alone, so that a ring whose
pixels meet at corners encloses what is within it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.config.schema import PostprocessRule
from pipeline.data.components import bounds, components
from pipeline.errors import DataError

__all__ = ["postprocess"]

_BACKGROUND = 0


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
    box = bounds(mask == index) if keep is not None or least > 1 else None
    if box is None:
        return
    part = mask[box]
    labels = components(part == index)
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
        box = bounds(mask == index)
        if box is None:
            continue
        labels = components(mask[box] != index, faces=True)
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
