"""Draw patients into parts of given sizes, so that each class and then the cases are spread as evenly as can be."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

_ABSENT = 1e6  # what it costs to leave a part without a class that could be in all of them: more than any unevenness
_NOTHING = 1e-7  # changes below this are rounding
_MOST_SWEEPS = 100


@dataclass(frozen=True, eq=False)
class _Table:
    """What is spread: N patients with K classes, over P parts.

    Attributes
    ----------
    shown
        (N, K) 1 where a patient shows a class, else 0.
    cases
        (N,) cases of each.
    sizes
        (P,) patients of each part.
    """

    shown: np.ndarray
    cases: np.ndarray
    sizes: np.ndarray

    @property
    def wanted(self) -> np.ndarray:
        """(P, K + 1) what would be each part's share of the patients of each class, and of the cases."""
        totals = np.append(self.shown.sum(axis=0), self.cases.sum())
        return np.outer(self.sizes / self.sizes.sum(), totals)


def draw(
    shows: Mapping[str, frozenset[int]], cases: Mapping[str, int], sizes: Sequence[int], seed: int
) -> tuple[frozenset[str], ...]:
    """Draw patients into parts.

    Iterative stratification: the patients of the rarest class are dealt out first, each to the part that lacks most of
    that class; then those of the class that is rarest among the rest, and so on. Source: Sechidis, Tsoumakas and
    Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011. Unlike there, the parts' sizes are exact, and
    patients are swapped afterwards for as long as a swap of two makes it better: first, that a class with at least as
    many patients as there are parts is in all of them; second, that the sum of (found - wanted)^2 / wanted over
    classes and parts is small; third, the same sum for the number of cases.

    Parameters
    ----------
    shows
        The classes that each patient shows.
    cases
        How many cases each patient has; at least 1.
    sizes
        How many patients each part gets; each at least 1, and all of them together the number of patients.
    seed
        Breaks ties; the order of `shows` has no influence.

    Returns
    -------
    tuple of frozenset
        The patients of each part.

    Raises
    ------
    ValueError
        When the sizes do not fit.
    """
    if not sizes or min(sizes) < 1 or sum(sizes) != len(shows):
        raise ValueError(f"parts of {list(sizes)} from {len(shows)} patients")
    patients = sorted(shows)
    random.Random(seed).shuffle(patients)
    classes = sorted(frozenset().union(*shows.values()))
    shown = np.array([[index in shows[name] for index in classes] for name in patients], dtype=float)
    table = _Table(shown, np.array([cases[name] for name in patients], dtype=float), np.array(sizes))
    part = _dealt(table)
    for _ in range(_MOST_SWEEPS):
        # All pairs in each sweep: a list, for `any` of a generator would stop at the first swap.
        if not any([_swap(table, part, one, other) for one, other in combinations(range(len(sizes)), 2)]):
            break
    drawn = (np.flatnonzero(part == number) for number in range(len(sizes)))
    return tuple(frozenset(patients[index] for index in members) for members in drawn)


def _dealt(table: _Table) -> np.ndarray:
    """(N,) the part of each patient: the rarest class first, each patient to the part that lacks most of it."""
    lacking, room = table.wanted, table.sizes.copy()
    has = np.column_stack([table.shown, table.cases])
    part = np.full(len(has), -1)
    while (left := np.flatnonzero(part < 0)).size:
        counts = table.shown[left].sum(axis=0)
        rarest = int(np.where(counts > 0, counts, np.inf).argmin()) if counts.any() else None
        for patient in left if rarest is None else left[table.shown[left, rarest] > 0]:
            open_parts = np.flatnonzero(room)
            first = room if rarest is None else lacking[:, rarest]
            # The last key weighs most; of equals, the part that comes first.
            order = np.lexsort([-lacking[open_parts, -1], -room[open_parts], -first[open_parts].round(9)])
            chosen = open_parts[order[0]]
            part[patient] = chosen
            room[chosen] -= 1
            lacking[chosen] -= has[patient]
    return part


def _swap(table: _Table, part: np.ndarray, one: int, other: int) -> bool:
    """Swap the two patients of two parts that make most of a difference; False where none makes it better."""
    mine, theirs = np.flatnonzero(part == one), np.flatnonzero(part == other)
    classes, cases = _class_changes(table, part, one, other), _case_changes(table, part, one, other)
    best = classes.min()
    score = np.where(classes <= min(best, 0.0) + _NOTHING, cases, np.inf)
    place = np.unravel_index(score.argmin(), score.shape)
    if best >= -_NOTHING and score[place] >= -_NOTHING:
        return False
    part[mine[place[0]]], part[theirs[place[1]]] = other, one
    return True


def _class_changes(table: _Table, part: np.ndarray, one: int, other: int) -> np.ndarray:
    """(n, m) by how much the classes' unevenness changes when patients n of `one` and m of `other` are swapped."""
    mine, theirs = table.shown[part == one], table.shown[part == other]
    found, wanted = (mine.sum(axis=0), theirs.sum(axis=0)), table.wanted[[one, other], :-1]
    # (x + 1)^2 - x^2 = 2 x + 1 for the part that gains a patient of a class, 1 - 2 x for the one that loses it.
    tilt = 2 * ((found[0] - wanted[0]) / wanted[0] - (found[1] - wanted[1]) / wanted[1])
    both = 1 / wanted[0] + 1 / wanted[1]
    dear = _ABSENT * (table.shown.sum(axis=0) >= len(table.sizes))
    gained = both + tilt + dear * ((found[1] == 1).astype(float) - (found[0] == 0))
    lost = both - tilt + dear * ((found[0] == 1).astype(float) - (found[1] == 0))
    changes: np.ndarray = ((1 - mine) * gained) @ theirs.T + (mine * lost) @ (1 - theirs).T
    return changes


def _case_changes(table: _Table, part: np.ndarray, one: int, other: int) -> np.ndarray:
    """(n, m) by how much the cases' unevenness changes when patients n of `one` and m of `other` are swapped."""
    mine, theirs = table.cases[part == one], table.cases[part == other]
    wanted = table.wanted[[one, other], -1]
    gain = theirs[None, :] - mine[:, None]
    tilt = (mine.sum() - wanted[0]) / wanted[0] - (theirs.sum() - wanted[1]) / wanted[1]
    changes: np.ndarray = 2 * gain * tilt + gain**2 * (1 / wanted).sum()
    return changes
