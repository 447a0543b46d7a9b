"""Variants of a config side by side: what each scores, pooled over its seeds, and how it differs from the first one.

Figures are Dice per scan, the mean over the classes of the mean over scans, as in a run's own summary. Intervals are
over patients (`pipeline.evaluation.bootstrap`): of the mean over seeds of each scan, so that they say how far another
choice of patients may move a figure, while the standard deviation over seeds says how far chance in training does. A
difference is taken scan by scan and seed by seed before anything is averaged: what makes a patient hard for both
variants cancels out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation import bootstrap
from pipeline.evaluation.ablation_cells import FinishedCell, ScanScores
from pipeline.evaluation.means import group_means, mean_over_classes

__all__ = ["Difference", "Figure", "Resampling", "Side", "Variant", "Unit", "VariantFigures", "SIDES", "compare"]

SIDES = ("validation", "test")
Seed = str
Unit = tuple[int, str, str]  # fold, patient, scan


@dataclass(frozen=True)
class Resampling:
    """The bootstrap over patients: how often, from which seed, and how wide its intervals are."""

    resamples: int = 2000
    seed: int = 0
    confidence: float = 0.95

    @classmethod
    def of_summary(cls, summary: Mapping[str, object]) -> Resampling:
        """That of a run's own summary."""
        drawn = summary["bootstrap"]
        assert isinstance(drawn, dict)
        return cls(drawn["resamples"], drawn["seed"], drawn["confidence"])


@dataclass(frozen=True)
class Figure:
    """A mean with what is known of its spread.

    Attributes
    ----------
    mean
        Over classes and scans; None where no reference shows a class.
    interval
        Over patients; None for fewer than two.
    sd
        Standard deviation over seeds (of the sample); None for fewer than two.
    by_class
        The mean of each class.
    patients, seeds
        How many there are.
    """

    mean: float | None
    interval: tuple[float, float] | None
    sd: float | None
    by_class: Mapping[str, float | None]
    patients: int
    seeds: int


@dataclass(frozen=True)
class Difference(Figure):
    """A variant less the first one, over the scans and the seeds that both have."""


@dataclass(frozen=True)
class Side:
    """One side of the split: the variant's own figure, and its difference from the first variant (None of itself)."""

    own: Figure
    difference: Difference | None


@dataclass(frozen=True)
class Variant:
    """Cells that differ in their seed alone: those that are finished, by their seed."""

    name: str
    cells: Mapping[Seed, FinishedCell]


@dataclass(frozen=True)
class VariantFigures:
    """What one variant reached.

    Attributes
    ----------
    name
        Of the variant.
    seeds
        Of the cells that are finished.
    sides
        By ``validation`` and ``test``.
    seconds, steps, memory
        Of the training: the mean over seeds of the time and of the steps, the most memory of any.
    """

    name: str
    seeds: tuple[Seed, ...]
    sides: Mapping[str, Side]
    seconds: float
    steps: float
    memory: int


def compare(variants: Sequence[Variant], resampling: Resampling) -> list[VariantFigures]:
    """The figures of every variant that has a finished cell; differences are from the first one, where that has one.

    Parameters
    ----------
    variants
        In the order of the grid.
    resampling
        Of the intervals.
    """
    found = []
    for number, variant in enumerate(variants):
        if not variant.cells:
            continue
        sides = {}
        for side in SIDES:
            own = _scores(variant, side)
            others = _scores(variants[0], side) if number else {}
            sides[side] = Side(_figure(own, resampling), _difference(others, own, resampling))
        cells = variant.cells.values()
        found.append(VariantFigures(
            variant.name, tuple(variant.cells), sides,
            float(np.mean([cell.training_seconds for cell in cells])), float(np.mean([cell.steps for cell in cells])),
            max(cell.peak_memory_bytes for cell in cells),
        ))  # fmt: skip
    return found


def _scores(variant: Variant, side: str) -> dict[Seed, ScanScores]:
    return {seed: cell.validation if side == "validation" else cell.test for seed, cell in variant.cells.items()}


def _figure(scores: Mapping[Seed, ScanScores], resampling: Resampling) -> Figure:
    """Pooled over seeds: each scan's mean over the seeds that have it, then as in a run's own summary."""
    first = next(iter(scores.values()))
    units, values = _mean_over_seeds(list(scores.values()))
    patients = list(dict.fromkeys(patient for _, patient, _ in units))
    group = np.array([patients.index(patient) for _, patient, _ in units])
    sums, numbers = bootstrap.group_sums(values, group, len(patients))
    drawn = bootstrap.weights_of(bootstrap.draw_patients(len(patients), resampling.resamples, resampling.seed))
    by_class = bootstrap.resampled_means(sums, numbers, np.ones((1, len(patients))))
    means = mean_over_classes(bootstrap.resampled_means(sums, numbers, drawn))
    shown = int((numbers > 0).any(axis=1).sum())
    bounds = bootstrap.interval(means, resampling.confidence) if shown > 1 else None
    own = [_plain(mean_over_classes(_class_means(one.dice))[0]) for one in scores.values()]
    known = [mean for mean in own if mean is not None]
    return Figure(
        mean=_plain(mean_over_classes(by_class)[0]),
        interval=None if bounds is None else (bounds[0], bounds[1]),
        sd=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        by_class={name: _plain(value) for name, value in zip(first.classes, by_class[0], strict=True)},
        patients=len(patients),
        seeds=len(scores),
    )


def _difference(
    first: Mapping[Seed, ScanScores], other: Mapping[Seed, ScanScores], resampling: Resampling
) -> Difference | None:  # fmt: skip
    """`other` less `first`, over what both have; None where that is nothing, or where the classes are not the same."""
    pairs = {
        seed: pair for seed in other if seed in first and (pair := _pair(first[seed], other[seed])) is not None
    }  # fmt: skip
    return Difference(**vars(_figure(pairs, resampling))) if pairs else None


def _pair(first: ScanScores, other: ScanScores) -> ScanScores | None:
    if first.classes != other.classes:
        return None
    rows = {unit: number for number, unit in enumerate(other.units)}
    both = [(number, rows[unit]) for number, unit in enumerate(first.units) if unit in rows]
    if not both:
        return None
    ones, others = (np.array(numbers) for numbers in zip(*both, strict=True))
    units = tuple(first.units[number] for number in ones)
    return ScanScores(first.classes, units, other.dice[others] - first.dice[ones])


def _mean_over_seeds(scores: Sequence[ScanScores]) -> tuple[list[Unit], np.ndarray]:
    """Every scan of any seed, in the order of their appearance, with its mean (N, K) over the seeds that have it."""
    units = list(dict.fromkeys(unit for one in scores for unit in one.units))
    place = {unit: number for number, unit in enumerate(units)}
    group = np.array([place[unit] for one in scores for unit in one.units])
    return units, group_means(np.concatenate([one.dice for one in scores]), group, len(units))


def _class_means(values: np.ndarray) -> np.ndarray:
    """The mean of each column (1, K), NaN left out."""
    return group_means(values, np.zeros(len(values), dtype=int), 1)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
