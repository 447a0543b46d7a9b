"""Evaluations of the same cases compared, each with the first: paired differences over patients.

A figure is that of a scan (slices pooled for Dice, the mean over its cases for distances), averaged over a patient's
scans, as at the level "patient" of an evaluation; patients are what is paired, drawn anew and tested. The foreground
mean of a patient is the mean over the classes that his or her reference shows.

Each metric is tested by Wilcoxon's signed ranks, twice: the foreground mean, corrected by Holm over the compared
evaluations; and the classes, corrected over all classes of all compared evaluations. Metrics are not corrected for each
other: Dice is the headline.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from pipeline.evaluation import bootstrap, overlap
from pipeline.evaluation.differences import FOREGROUND, METRICS, Counts, Family, Regression, Row
from pipeline.evaluation.matching import Matched
from pipeline.evaluation.means import group_means, mean_over_classes
from pipeline.evaluation.signed_ranks import holm, leaning, rounded, signed_rank_p
from pipeline.evaluation.stored import Stored

__all__ = ["Comparison", "Pair", "compare", "patient_figures"]

_MOST_REGRESSIONS, _LEAST_FALL = 10, 0.001  # of Dice
_Key = TypeVar("_Key")


@dataclass(frozen=True, eq=False)
class Pair:
    """One evaluation compared with the first.

    Attributes
    ----------
    matched
        The two, on the cases that they share.
    rows
        By metric, those that both have: the mean over the classes first, then each class but the background.
    counts
        One a class but the background.
    regressions
        The largest falls of a case's Dice, the largest first; of 0.001 at least, and ten at most.
    notes
        What was left out, in sentences.
    """

    matched: Matched
    rows: Mapping[str, Sequence[Row]]
    counts: Sequence[Counts]
    regressions: Sequence[Regression]
    notes: Sequence[str]

    @property
    def name(self) -> str:
        """Of the compared evaluation."""
        return self.matched.other.name


@dataclass(frozen=True, eq=False)
class Comparison:
    """One or more evaluations compared with the first.

    Attributes
    ----------
    first
        The name of the first.
    pairs
        One a compared evaluation.
    means, classes
        The families of tests, by metric.
    confidence, resamples, seed
        Of the intervals, as in the first evaluation. A difference is shown where p is at most 1 - confidence.
    """

    first: str
    pairs: Sequence[Pair]
    means: Mapping[str, Family]
    classes: Mapping[str, Family]
    confidence: float
    resamples: int
    seed: int

    @property
    def alpha(self) -> float:
        """The most that p may be for a difference to be shown."""
        return round(1 - self.confidence, 12)


def compare(matched: Sequence[Matched]) -> Comparison:
    """Compare evaluations, each with the same first one.

    Parameters
    ----------
    matched
        At least one; the intervals are bootstrapped as in the first evaluation.
    """
    first = matched[0].first
    pairs = [_pair(one, first.confidence, first.resamples, first.seed) for one in matched]
    means, classes = {}, {}
    for metric in METRICS:
        means[metric], pairs = _corrected(pairs, metric, of_classes=False)
        classes[metric], pairs = _corrected(pairs, metric, of_classes=True)
    return Comparison(first.name, pairs, means, classes, first.confidence, first.resamples, first.seed)


def _pair(matched: Matched, confidence: float, resamples: int, seed: int) -> Pair:
    metrics, notes = _comparable(matched)
    figures = [patient_figures(one, other) for one, other in (_both(matched), _both(matched)[::-1])]
    drawn = bootstrap.draw_patients(len(set(matched.first.patients)), resamples, seed)
    weights = bootstrap.weights_of(drawn)
    rows = {
        metric: _rows(metric, figures[0][metric], figures[1][metric], matched.first.classes, weights, confidence)
        for metric in metrics
    }
    counts = [_counts(matched, place) for place in range(1, len(matched.first.classes))]
    return Pair(matched, rows, counts, _regressions(matched, "hd95" in metrics), notes)


def _both(matched: Matched) -> tuple[Stored, Stored]:
    return matched.first, matched.other


def _comparable(matched: Matched) -> tuple[list[str], list[str]]:
    """The metrics that both have in the same unit, and sentences on those that are left out."""
    one, two = _both(matched)
    lacking = [stored.name for stored in (one, two) if stored.unit is None]
    if lacking:
        return ["dice"], [f"Distances are left out: {' and '.join(lacking)} measured none."]
    if one.unit != two.unit:
        return ["dice"], [f"Distances are left out: {one.name} has them in {one.unit}, {two.name} in {two.unit}."]
    notes = []
    shown = (one.reference > 0) & (np.arange(len(one.classes)) > 0)
    single = shown & (np.isnan(one.hd95) != np.isnan(two.hd95))
    if single.any():
        notes.append(
            f"Distances of {int(single.any(axis=1).sum())} cases were measured in one evaluation only: left out."
        )
    if one.tolerance != two.tolerance:
        notes.append(
            f"Surface Dice is left out: its tolerance is {one.tolerance:g} in {one.name}, {two.tolerance:g} in "
            f"{two.name}."
        )
        return ["dice", "hd95"], notes
    return list(METRICS), notes


def patient_figures(one: Stored, other: Stored) -> dict[str, np.ndarray]:
    """Each of `METRICS` of one evaluation, per patient and class, where the other evaluation has it too.

    Parameters
    ----------
    one, other
        Of the same cases in the same order.

    Returns
    -------
    dict
        float64, shape (patients, K), NaN where there is none; the patients in the order of their first case.
    """
    keys, scan = _groups(list(zip(one.patients, one.scans, strict=True)))
    patient = _groups([name for name, _ in keys])[1]
    tallies = np.zeros((len(keys), 3, one.reference.shape[1]), dtype=np.int64)
    np.add.at(tallies, scan, np.stack([one.true, one.reference, one.predicted], axis=1))
    figures = {"dice": overlap.dice(overlap.Tallies.of(tallies))}
    for name in ("hd95", "surface_dice"):
        own, theirs = getattr(one, name), getattr(other, name)
        figures[name] = group_means(np.where(np.isnan(theirs), np.nan, own), scan, len(keys))
    return {name: group_means(values, patient, int(patient.max()) + 1) for name, values in figures.items()}


def _groups(keys: Sequence[_Key]) -> tuple[list[_Key], np.ndarray]:
    """Find the distinct keys, in the order of their first appearance, and the index of each key among them."""
    index = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return list(index), np.array([index[key] for key in keys])


def _rows(
    metric: str, first: np.ndarray, other: np.ndarray, classes: Sequence[str], weights: np.ndarray, confidence: float
) -> list[Row]:
    """The mean over the classes, then each class; figures of P patients and K classes, not corrected yet."""
    one, two = (mean_over_classes(side[:, 1:]) for side in (first, other))
    columns = [(name, place, first[:, place], other[:, place]) for place, name in enumerate(classes) if place]
    return [
        _row(metric, FOREGROUND, None, (one, two), weights, confidence),
        *(_row(metric, name, place, (a, b), weights, confidence) for name, place, a, b in columns),
    ]


def _row(
    metric: str, name: str, place: int | None, sides: tuple[np.ndarray, np.ndarray], weights: np.ndarray,
    confidence: float,
) -> Row:  # fmt: skip
    first, other = sides
    differences = other - first
    known = ~np.isnan(differences)
    better = rounded(differences) * METRICS[metric]
    interval = None
    if known.sum() > 1:
        sums = np.where(known, differences, 0.0)[:, np.newaxis]
        resampled = bootstrap.resampled_means(sums, known[:, np.newaxis].astype(np.float64), weights)
        found = bootstrap.interval(resampled[:, 0], confidence)
        interval = None if found is None else (found[0], found[1])
    return Row(
        metric=metric, name=name, place=place, n_patients=int(known.sum()), first=_mean(first[known]),
        other=_mean(other[known]), difference=_mean(differences[known]), interval=interval,
        p=signed_rank_p(differences), p_holm=None, leaning=leaning(differences * METRICS[metric]),
        wins=int((better > 0).sum()), losses=int((better < 0).sum()), ties=int((better == 0).sum()),
    )  # fmt: skip


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _corrected(pairs: Sequence[Pair], metric: str, *, of_classes: bool) -> tuple[Family, list[Pair]]:
    """Correct a family of tests over all pairs; gives the family, and the pairs with its p."""
    places = [
        (number, index)
        for number, pair in enumerate(pairs)
        for index, row in enumerate(pair.rows.get(metric, ()))
        if (row.place is not None) is of_classes
    ]
    family = [pairs[number].rows[metric][index] for number, index in places]
    corrected = [dict(pair.rows) for pair in pairs]
    for (number, index), row, p in zip(places, family, holm([row.p for row in family]), strict=True):
        rows = list(corrected[number][metric])
        rows[index] = replace(row, p_holm=p)
        corrected[number][metric] = rows
    found = Family(tuple(row.n_patients for row in family if row.p is not None))
    return found, [replace(pair, rows=rows) for pair, rows in zip(pairs, corrected, strict=True)]


def _counts(matched: Matched, place: int) -> Counts:
    one, two = _both(matched)
    found = [
        (int(((stored.reference[:, place] > 0) & (stored.predicted[:, place] == 0)).sum()),
         int(((stored.reference[:, place] == 0) & (stored.predicted[:, place] > 0)).sum()))
        for stored in (one, two)
    ]  # fmt: skip
    (missed, spurious), (missed_other, spurious_other) = found
    return Counts(one.classes[place], (missed, missed_other), (spurious, spurious_other))


def _regressions(matched: Matched, measured: bool) -> list[Regression]:
    """The largest falls of Dice over all cases and classes but the background."""
    one, two = _both(matched)
    dice = [overlap.dice(overlap.Tallies(stored.true, stored.reference, stored.predicted)) for stored in (one, two)]
    fall = np.where(np.isnan(dice[0]), 0.0, dice[1] - dice[0])
    fall[:, 0] = 0.0
    order = np.argsort(fall, axis=None, kind="stable")[:_MOST_REGRESSIONS]
    found = []
    for index, place in zip(*np.unravel_index(order, fall.shape), strict=True):
        if fall[index, place] <= -_LEAST_FALL:
            far = (float(one.hd95[index, place]), float(two.hd95[index, place]))
            found.append(Regression(
                one.cases[index], one.classes[place], int(place), float(dice[0][index, place]),
                float(dice[1][index, place]), float(fall[index, place]),
                far if measured and not any(map(math.isnan, far)) else None, int(one.reference[index, place]),
            ))  # fmt: skip
    return found
