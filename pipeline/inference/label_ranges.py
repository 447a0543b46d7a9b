"""What the training labels show of each class: how large it is, and in how many parts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.data.cases import Case
from pipeline.inference.postprocess import component_sizes
from transforms.nifti import ReadOptions, read_label

__all__ = ["LabelRanges", "label_ranges", "training_ranges"]


@dataclass(frozen=True, eq=False)
class LabelRanges:
    """What labels show of K classes, the background's entries without meaning; case by case, a volume or a slice.

    Attributes
    ----------
    always
        (K,) whether every label has the class.
    least, most
        (K,) its least and largest volume in a label that has it, in mm3 (mm2 for a slice); NaN where none has.
    log_mean, log_deviation
        (K,) mean and standard deviation of the natural logarithm of that volume; NaN where none, and only one, has it.
    parts
        (K,) the most connected parts of it in one label.
    """

    always: np.ndarray
    least: np.ndarray
    most: np.ndarray
    log_mean: np.ndarray
    log_deviation: np.ndarray
    parts: np.ndarray

    def plausibility(self, index: int, volume: float, sizes: np.ndarray) -> float:
        """How far a predicted class is like those of the labels, 0 to 1; 1 where no label has it.

        The ratio by which its volume lies outside their range, times the share of its voxels that lie in as many of its
        largest parts as a label has at most.

        Parameters
        ----------
        index
            The class.
        volume
            Above 0, in mm3 (mm2 for a slice).
        sizes
            The voxels of each of its parts, falling.
        """
        if not self.parts[index]:
            return 1.0
        outside = min(1.0, volume / self.least[index], self.most[index] / volume)
        return float(outside * sizes[: self.parts[index]].sum() / sizes.sum())

    def volume_z(self, index: int, volume: float) -> float:
        """By how many standard deviations the logarithm of a volume lies above the labels' mean; NaN if not known."""
        deviation = self.log_deviation[index]
        if not volume > 0 or not deviation > 0:
            return math.nan
        return float((math.log(volume) - self.log_mean[index]) / deviation)

    def as_plain(self) -> dict[str, list[Any]]:
        """Lists that JSON can hold (None for NaN), which `from_plain` takes."""
        columns = {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}
        return {name: [None if value != value else value for value in column] for name, column in columns.items()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Sequence[Any]]) -> LabelRanges:
        """What `as_plain` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            When a column is missing, is no list of numbers, or is not as long as the others.
        """
        kinds: dict[str, type] = {"always": bool, "parts": int}
        columns: dict[str, np.ndarray] = {}
        for name in cls.__dataclass_fields__:
            known = [math.nan if value is None else value for value in values[name]]
            columns[name] = np.array(known, dtype=kinds.get(name, float))
        if len({column.shape for column in columns.values()}) != 1:
            raise ValueError("the columns differ in length")
        return cls(**columns)


def label_ranges(labels: Iterable[tuple[np.ndarray, Sequence[float]]], classes: int) -> LabelRanges:
    """What masks show.

    Parameters
    ----------
    labels
        (mask of class indices, spacing of its axes in mm), at least one.
    classes
        K, how many there are.
    """
    return _ranges([_measured(mask, spacing_mm, classes) for mask, spacing_mm in labels])


def training_ranges(cases: Sequence[Case], options: ReadOptions, classes: int) -> LabelRanges:
    """What the labels of cases show, each of which is read, some at a time.

    Parameters
    ----------
    cases
        At least one; each with a label.
    options
        How files are read.
    classes
        K, how many there are.

    Raises
    ------
    ImageFileError
        When a label cannot be read.
    """

    def measured(case: Case) -> tuple[np.ndarray, np.ndarray]:
        assert case.label is not None
        label = read_label(case.label, options)
        return _measured(label.array, label.spacing_mm, classes)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return _ranges(list(pool.map(measured, cases)))


def _measured(mask: np.ndarray, spacing_mm: Sequence[float], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(K,) volumes of each class, and in how many parts it lies."""
    sizes = component_sizes(mask, classes)
    volumes = np.array([part.sum() for part in sizes]) * math.prod(spacing_mm)
    return volumes, np.array([len(part) for part in sizes])


def _ranges(measured: Sequence[tuple[np.ndarray, np.ndarray]]) -> LabelRanges:
    volumes, parts = (np.stack(column) for column in zip(*measured, strict=True))
    least, most, mean, deviation = (np.full(volumes.shape[1], math.nan) for _ in range(4))
    for index, column in enumerate(volumes.T):
        shown = column[column > 0]
        if len(shown):
            least[index], most[index], mean[index] = shown.min(), shown.max(), np.log(shown).mean()
        if len(shown) > 1:
            deviation[index] = np.log(shown).std(ddof=1)
    always = np.asarray((volumes > 0).all(axis=0))
    return LabelRanges(always, least, most, mean, deviation, parts.max(axis=0))
