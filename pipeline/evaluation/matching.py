"""Two evaluations of the same cases, side by side: who lacks what, and whether the labels were the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError, Fault, raise_all
from pipeline.evaluation.stored import Stored

__all__ = ["Matched", "match"]

_LEAST_SHARE = 0.5  # of the smaller evaluation's cases that must be in the other one
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Matched:
    """The cases that two evaluations share, in one order.

    Attributes
    ----------
    first, other
        Of the shared cases alone; same cases, scans, patients, classes and reference voxels.
    only_first, only_other
        Cases that the other one lacks, which are left out.
    """

    first: Stored
    other: Stored
    only_first: tuple[str, ...]
    only_other: tuple[str, ...]


def match(first: Stored, other: Stored) -> Matched:
    """Pair the cases of two evaluations by their names.

    A case that is in one of them only is left out. Where less than half of the smaller evaluation is shared, they are
    of different test sets, and a comparison of what happens to be in both would be one of chance.

    Raises
    ------
    DataError, Faults
        For different classes, too few shared cases, and shared cases whose scan, patient or label differs: all of it.
    """
    places = {case: index for index, case in enumerate(other.cases)}
    shared = [(index, places[case]) for index, case in enumerate(first.cases) if case in places]
    known = set(first.cases)
    only_first = tuple(case for case in first.cases if case not in places)
    only_other = tuple(case for case in other.cases if case not in known)
    faults: list[Fault] = [*_class_faults(first, other), *_extent_faults(first, other, len(shared))]
    one, two = first.of([index for index, _ in shared]), other.of([index for _, index in shared])
    if shared:
        faults += _name_faults(one, two)
        if not any(_class_faults(first, other)):
            faults += _label_faults(one, two)
    raise_all(faults)
    return Matched(one, two, only_first, only_other)


def _class_faults(first: Stored, other: Stored) -> Iterator[DataError]:
    if first.classes != other.classes:
        yield DataError(
            f"the classes differ: {_listed(first.classes)} in {first.name}, {_listed(other.classes)} in {other.name}",
            where=str(other.source.folder), remedy="Score both with the same classes: bin/evaluate --classes, --config",
        )  # fmt: skip


def _extent_faults(first: Stored, other: Stored, shared: int) -> Iterator[DataError]:
    smaller = min(len(first.cases), len(other.cases))
    if shared < _LEAST_SHARE * smaller:
        what = "no case is" if not shared else f"only {shared} {'case is' if shared == 1 else 'cases are'}"
        yield DataError(
            f"{what} in both: {len(first.cases)} in {first.name} ({_listed(first.cases, 2)}), {len(other.cases)} in "
            f"{other.name} ({_listed(other.cases, 2)})", where=str(other.source.folder),
            remedy="Compare evaluations of the same test cases, with the same names; half of the smaller one at least",
        )  # fmt: skip


def _name_faults(one: Stored, two: Stored) -> Iterator[DataError]:
    """A fault where the cases were gathered to other scans or patients: figures per patient could not be paired."""
    for what, mine, theirs in (("patient", one.patients, two.patients), ("scan", one.scans, two.scans)):
        wrong = [index for index, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b]
        if wrong:
            shown = "; ".join(
                f"{one.cases[index]} is of {mine[index]!r:.40} in {one.name} and of {theirs[index]!r:.40} in {two.name}"
                for index in wrong[:_SHOWN]
            )
            more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            yield DataError(
                f"the {what} of {len(wrong)} cases differs: {shown}{more}", where=str(two.source.folder),
                remedy=f"Score both with the same expression: bin/evaluate --{what}, or --config",
            )  # fmt: skip


def _label_faults(one: Stored, two: Stored) -> Iterator[DataError]:
    """A fault where the reference has other voxels: the two were scored against different labels."""
    differs = one.reference != two.reference
    wrong = np.flatnonzero(differs.any(axis=1))
    if len(wrong):
        shown = "; ".join(_label_text(one, two, int(index), differs[index]) for index in wrong[:_SHOWN])
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        yield DataError(
            f"the labels of {len(wrong)} of {len(one.cases)} shared cases differ: {shown}{more}",
            where=str(two.source.folder),
            remedy="Score both against the same labels, with the same --label-map, on the same grid",
        )  # fmt: skip


def _label_text(one: Stored, two: Stored, index: int, differs: np.ndarray) -> str:
    place = int(np.flatnonzero(differs)[0])
    return (
        f"{one.cases[index]}, {one.classes[place]}: {one.reference[index, place]} voxels in {one.name} and "
        f"{two.reference[index, place]} in {two.name}"
    )


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(f"{name:.60}" for name in names[:most])
    return shown if len(names) <= most else f"{shown} …"
