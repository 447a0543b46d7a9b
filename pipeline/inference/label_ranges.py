"""What the training labels show of each class: how large it is, and in how many parts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal

import numpy as np

from pipeline.data.facts import CaseFacts

__all__ = ["KINDS", "Kind", "LabelRanges", "Ranges", "kind_of", "label_ranges", "training_ranges", "union_of"]

Kind = Literal["slice", "volume"]  # of a label: an area is not held against volumes
KINDS: tuple[Kind, ...] = ("slice", "volume")


@dataclass(frozen=True, eq=False)
class LabelRanges:
    """What labels show of K classes, the background's entries without meaning; label by label.

    Attributes
    ----------
    always
        (K,) whether every label has the class.
    least, most
        (K,) its least and largest volume in a label that has it, in mm3 (mm2 for a slice; voxels where the spacing is
        not known); NaN where none has.
    parts
        (K,) the most connected parts of it in one label; 0 where none has it.
    """

    always: np.ndarray
    least: np.ndarray
    most: np.ndarray
    parts: np.ndarray

    def ratio(self, index: int, volume: float) -> float:
        """Where the volume of a predicted class lies against the labels' range.

        Parameters
        ----------
        index
            The class.
        volume
            In the unit of the ranges; 0 where the class is not predicted.

        Returns
        -------
        float
            1 within the range; below it, the share of the least volume; above it, how many times the largest. For a
            class that is not predicted: 0 where every label has it, else NaN. NaN where no label has it.
        """
        if not self.parts[index] or (volume == 0 and not self.always[index]):
            return math.nan
        return float(volume / np.clip(volume, self.least[index], self.most[index]))

    def plausibility(self, index: int, volume: float, sizes: np.ndarray) -> float:
        """How far a predicted class is like those of the labels, 0 to 1; 1 where no label has it.

        The ratio by which its volume lies outside their range, times the share of its voxels that lie in as many of its
        largest parts as a label has at most.

        Parameters
        ----------
        index
            The class.
        volume
            Above 0, in the unit of the ranges.
        sizes
            The voxels of each of its parts, falling.
        """
        if not self.parts[index]:
            return 1.0
        ratio = self.ratio(index, volume)
        return float(min(ratio, 1 / ratio) * sizes[: self.parts[index]].sum() / sizes.sum())

    def as_plain(self) -> dict[str, list[Any]]:
        """Lists that JSON can hold (None for NaN), which `from_plain` takes."""
        columns = {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}
        return {name: [None if value != value else value for value in column] for name, column in columns.items()}

    @classmethod
    def from_plain(cls, values: Mapping[str, Sequence[Any]], classes: int) -> LabelRanges:
        """What `as_plain` gave of so many classes.

        Raises
        ------
        KeyError, TypeError, ValueError
            When a column is missing, is no list of numbers, or is not of `classes` entries.
        """
        kinds: dict[str, type] = {"always": bool, "parts": int}
        columns: dict[str, np.ndarray] = {}
        for name in cls.__dataclass_fields__:
            known = [math.nan if value is None else value for value in values[name]]
            columns[name] = np.array(known, dtype=kinds.get(name, float))
        if any(column.shape != (classes,) for column in columns.values()):
            raise ValueError(f"the columns are not of {classes} classes")
        return cls(**columns)


Ranges = Mapping[Kind, LabelRanges]  # of the kinds of labels that there were


def kind_of(axes: int) -> Kind:
    """What a label, or a mask, of so many axes is."""
    return "slice" if axes == 2 else "volume"


def label_ranges(volumes: np.ndarray, parts: np.ndarray) -> LabelRanges:
    """The ranges of N labels.

    Parameters
    ----------
    volumes
        (N, K) of each class in each label, 0 where it has none of it; N is 1 at least.
    parts
        (N, K) in how many connected parts it lies.
    """
    shown = volumes > 0
    there = shown.any(axis=0)
    least = np.where(there, np.where(shown, volumes, np.inf).min(axis=0), math.nan)
    most = np.where(there, volumes.max(axis=0), math.nan)
    return LabelRanges(np.asarray(shown.all(axis=0)), least, most, np.asarray(parts).max(axis=0))


def training_ranges(facts: Iterable[CaseFacts], *, knows_spacing: bool) -> dict[Kind, LabelRanges]:
    """What the labels of training cases show, by what is known of them; no file is read.

    Parameters
    ----------
    facts
        Of the cases that the network learns from.
    knows_spacing
        Whether the files' spacing is to be believed; else volumes are counted in voxels.
    """
    found: dict[Kind, list[tuple[np.ndarray, np.ndarray]]] = {}
    for fact in facts:
        voxel = math.prod(fact.spacing_mm[: len(fact.shape)]) if knows_spacing else 1.0
        found.setdefault(kind_of(len(fact.shape)), []).append((fact.voxels * voxel, fact.parts))
    return {kind: label_ranges(*map(np.stack, zip(*rows, strict=True))) for kind, rows in found.items()}


def union_of(members: Sequence[Ranges]) -> dict[Kind, LabelRanges]:
    """What the labels of several trainings show together.

    Parameters
    ----------
    members
        At least one.
    """
    return {kind: reduce(_joined, [one[kind] for one in members if kind in one])
            for kind in KINDS if any(kind in one for one in members)}  # fmt: skip


def _joined(one: LabelRanges, other: LabelRanges) -> LabelRanges:
    return LabelRanges(
        one.always & other.always, np.fmin(one.least, other.least), np.fmax(one.most, other.most),
        np.maximum(one.parts, other.parts),
    )  # fmt: skip
