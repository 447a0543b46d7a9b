"""What a dataset holds that is not wrong, and that a reader of the results should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.data.cases import Case, listing
from pipeline.data.facts import CaseFacts
from pipeline.data.splitting.splits import Split

_LEAST_MASK = 50  # voxels of a mask from which on it is told that another patient's is equal: a few are so by chance
_MOST_TOLD = 10


def cautions(split: Split, facts: Mapping[str, CaseFacts]) -> list[str]:
    """Sentences without a full stop: voxels that were replaced, images that are constant, what two patients share.

    Parameters
    ----------
    split
        Of the cases; an image that stands on two of its sides is a leak, and told as one.
    facts
        By case id.
    """
    cases = [case for members in split.sides().values() for case in members if case.id in facts]
    return [*_zeroed(cases, facts), *_constant(cases, facts), *_equal_images(split, facts), *_equal_masks(cases, facts)]


def _zeroed(cases: Sequence[Case], facts: Mapping[str, CaseFacts]) -> list[str]:
    return _first([
        f"{facts[case.id].zeroed} voxels of {case.id} were NaN or infinite, and are read as 0"
        for case in cases if facts[case.id].zeroed
    ], "cases had voxels that are read as 0")  # fmt: skip


def _constant(cases: Sequence[Case], facts: Mapping[str, CaseFacts]) -> list[str]:
    """Images of one value show nothing; slices at the ends of a scan may be so, but then they have no mask."""
    found = []
    for case in cases:
        fact = facts[case.id]
        if fact.low == fact.high and (not fact.flat or fact.voxels[1:].any()):
            found.append(case.id)
    return [f"images that hold one value alone: {listing(found)}"] if found else []


def _equal_images(split: Split, facts: Mapping[str, CaseFacts]) -> list[str]:
    """The same image as two patients' on one side: it counts twice."""
    told = []
    for side, cases in split.sides().items():
        first: dict[bytes, Case] = {}
        for case in cases:
            fact = facts.get(case.id)
            if fact is None or fact.low == fact.high:
                continue
            other = first.setdefault(fact.digest, case)
            if other.patient != case.patient:
                told.append(f"two patients have the same image, both in {side}: {other.image} and {case.image}")
    return _first(told, "images are equal to another patient's")


def _equal_masks(cases: Sequence[Case], facts: Mapping[str, CaseFacts]) -> list[str]:
    """Masks that two patients have in common: one was perhaps exported under a wrong name."""
    first: dict[bytes, dict[str, Case]] = {}  # of each mask, the first case of each patient
    told = []
    for case in cases:
        if facts[case.id].voxels[1:].sum() < _LEAST_MASK:
            continue
        owners = first.setdefault(facts[case.id].label_digest, {})
        other = next((one for patient, one in owners.items() if patient != case.patient), None)
        owners.setdefault(case.patient, case)
        if other is not None and other.label != case.label:  # one file for both is a fault of the table
            told.append(f"two patients have the same mask: {other.label} and {case.label}")
    return _first(told, "masks are equal to another patient's")


def _first(told: Sequence[str], what: str) -> list[str]:
    """As many as are told; the others are counted."""
    more = len(told) - _MOST_TOLD
    return [*told[:_MOST_TOLD], *([f"{more} more {what}"] if more > 0 else [])]
