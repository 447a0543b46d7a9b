"""Which slices lie next to which: those of a volume, or the files of a scan in the order of their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.data.cases import Case, check_neighbours, reading_order, scan_key
from pipeline.errors import DataError


def scan_numbers(cases: Sequence[Case]) -> np.ndarray:
    """(M,) the number of each case's scan, in the order in which scans first appear."""
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(scan_key(case), len(numbers)) for case in cases], dtype=np.int64)


def neighbour_rows(
    cases: Sequence[Case], case: np.ndarray, group: np.ndarray, row: np.ndarray, context: int
) -> np.ndarray:
    """The rows of each slice and of its neighbours of the same size, the ends of a volume or scan repeated.

    Parameters
    ----------
    cases
        M cases.
    case, group, row
        (N,) of each slice: the index of its case, the stack of its size, and its place in that stack.
    context
        Neighbours on each side.

    Returns
    -------
    (N, 2 * context + 1) array
        Rows in the slice's own stack.

    Raises
    ------
    DataError
        With `context` above 0, when no slice has a neighbour or the order of 2D slices is not known.
    """
    sizes = np.bincount(case, minlength=len(cases))
    volume = np.where(sizes[case] > 1, case, -1)  # of a slice that is a file of its own: -1
    scan = scan_numbers(cases)[case]
    if context:
        check_neighbours([cases[number] for number in case[volume < 0]])
        _check_context(cases, scan, volume)
    rank = np.empty(len(cases), dtype=np.int64)
    rank[sorted(range(len(cases)), key=lambda number: reading_order(cases[number]))] = np.arange(len(cases))
    order = np.lexsort((np.arange(len(case)), rank[case], group, volume, scan))
    keys = np.stack([scan, volume, group])[:, order]
    begins = np.flatnonzero(np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0)]))[: len(case)]
    lengths = np.diff(np.append(begins, len(case)))
    first = np.repeat(begins, lengths)[:, None]
    places = np.arange(len(case))[:, None] + np.arange(-context, context + 1)
    places = np.clip(places, first, first + np.repeat(lengths, lengths)[:, None] - 1)
    neighbours = np.empty_like(places)
    neighbours[order] = row[order][places]
    return neighbours


def _check_context(cases: Sequence[Case], scan: np.ndarray, volume: np.ndarray) -> None:
    if len(np.unique(scan)) == len(scan) and not (volume >= 0).any():
        raise DataError(
            f"every scan is a single slice (such as {cases[0].image}), so no slice has neighbours",
            where="data.context", remedy="Say with data.scan which slices are of one scan, or set data.context: 0",
        )  # fmt: skip
