"""The connected parts of a class: by faces, edges or corners, which are 26 neighbours in a volume and 8 in a slice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import cc3d
import numpy as np

__all__ = ["bounds", "component_counts", "component_sizes", "components"]


def component_sizes(mask: np.ndarray, classes: int) -> tuple[np.ndarray, ...]:
    """The voxels of each connected part of each class, falling; of the background none are counted."""
    sizes = [np.zeros(0, dtype=np.int64)] * classes
    for index, inside in _classes_in_boxes(mask, classes):
        counts = np.bincount(components(inside).ravel())[1:]
        sizes[index] = np.sort(counts)[::-1]
    return tuple(sizes)


def component_counts(mask: np.ndarray, classes: int) -> np.ndarray:
    """(K,) in how many connected parts each class lies; 0 for the background."""
    counts = np.zeros(classes, dtype=np.int64)
    for index, inside in _classes_in_boxes(mask, classes):
        counts[index] = components(inside).max()
    return counts


def _classes_in_boxes(mask: np.ndarray, classes: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each class that there is but the background, and where it is within its bounds."""
    if mask.flags.f_contiguous:  # as files are read: the axes turned round cost nothing, and change no part
        mask = mask.T
    for index in range(1, classes):
        inside = mask == index
        box = bounds(inside)
        if box is not None:
            yield index, inside[box]


def components(inside: np.ndarray, *, faces: bool = False) -> np.ndarray:
    """Connected parts numbered from 1, in the order of the axes; 0 outside."""
    connectivity: Literal[4, 6, 8, 26]
    connectivity = (4 if faces else 8) if inside.ndim < 3 else (6 if faces else 26)
    # Whole numbers: of truth values, cc3d 4.1 finds wrong parts where a slice is one pixel wide. In C order: the parts
    # are numbered as voxels lie in memory.
    values = np.ascontiguousarray(np.atleast_2d(inside), dtype=np.uint8)
    return np.asarray(cc3d.connected_components(values, connectivity=connectivity)).reshape(inside.shape)


def bounds(inside: np.ndarray) -> tuple[slice, ...] | None:
    """The bounds of what is True; None where nothing is."""
    found = []
    for axis in range(inside.ndim):
        along = np.flatnonzero(inside.any(axis=tuple(other for other in range(inside.ndim) if other != axis)))
        if not len(along):
            return None
        found.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(found)
