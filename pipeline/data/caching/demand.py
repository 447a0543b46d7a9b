"""How much room prepared slices will take, before they are prepared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts

_WORKING = 20  # bytes a voxel that reading and preparing take at their peak, measured; its result included
_TRIED = 3  # sizes of which one case each is prepared
PlaneShape = tuple[int, int, int]  # channels, height, width of one prepared slice


def bank_bytes(facts: Iterable[CaseFacts], prepared_shape_of: Callable[[CaseFacts], PlaneShape]) -> int:
    """What prepared slices take: 4 bytes a pixel and channel, and 1 for its label.

    Parameters
    ----------
    facts
        Of the cases.
    prepared_shape_of
        Channels, height and width of a case's slices once prepared, such as `estimated_shapes` gives.
    """
    total = 0
    for fact in facts:
        channels, height, width = prepared_shape_of(fact)
        total += fact.slices * height * width * (4 * channels + 1)
    return total


def working_bytes(facts: Iterable[CaseFacts], prepared_shape_of: Callable[[CaseFacts], PlaneShape]) -> int:
    """About what a thread takes while it prepares the largest case; see `bank_bytes`."""
    largest = 0
    for fact in facts:
        channels, height, width = prepared_shape_of(fact)
        largest = max(largest, fact.slices * channels * max(height * width, math.prod(fact.plane)))
    return _WORKING * largest


def estimated_shapes(
    cases: Sequence[Case], facts: Mapping[str, CaseFacts], prepare: Callable[[Case], PlaneShape]
) -> Callable[[CaseFacts], PlaneShape]:
    """What slices will measure, from the most frequent sizes of files, of which one case each is prepared.

    Parameters
    ----------
    cases
        At least one.
    facts
        By case id.
    prepare
        Prepares a case; channels, height and width of its slices.

    Returns
    -------
    callable
        From a case's facts to (C, H, W). Where all that were tried came out alike, so will all others; otherwise a
        size that was not tried is scaled as the one that grew most.
    """
    counts = Counter(_size(facts[case.id]) for case in cases)
    tried: dict[object, PlaneShape] = {}
    growth = 0.0
    for size, _ in counts.most_common(_TRIED):
        case = next(case for case in cases if _size(facts[case.id]) == size)
        tried[size] = shape = prepare(case)
        growth = max(growth, math.prod(shape[1:]) / math.prod(facts[case.id].plane))
    common = next(iter(tried.values()))
    alike = len(tried) > 1 and len(set(tried.values())) == 1

    def shape_of(fact: CaseFacts) -> PlaneShape:
        if alike or _size(fact) in tried:
            return tried.get(_size(fact), common)
        height, width = fact.plane
        return common[0], math.ceil(height * math.sqrt(growth)), math.ceil(width * math.sqrt(growth))

    return shape_of


def _size(fact: CaseFacts) -> object:
    """What a prepared slice's size follows from, unless the chain looks at the voxels."""
    return fact.plane, fact.axis, tuple(round(value, 3) for value in fact.spacing_mm)
