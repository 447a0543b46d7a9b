"""Draw patients into parts of given sizes, so that each class and then the cases are spread as evenly as can be."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import lgamma, log

import numpy as np

_ABSENT = 1e6  # what it costs to leave a part without a class that could be in all of them: more than any unevenness
_NOTHING = 1e-7  # changes below this are rounding
_MOST_SWEEPS = 100
_MOST_DRAWS = 40_000  # up to here, every draw is tried: 12 patients in three equal parts, 40 with one and two apart
_MOST_STARTS = 16
_WORK = 3_000_000  # patients^2 x classes of all searches together: a tenth of a second or so
_MANY_PAIRS = 20_000  # from here on, of patients who are alike in all that counts one is looked at


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

    @cached_property
    def has(self) -> np.ndarray:
        """(N, K + 1) the classes and the cases of each patient."""
        return np.column_stack([self.shown, self.cases])

    @cached_property
    def wanted(self) -> np.ndarray:
        """(P, K + 1) what would be each part's share of the patients of each class, and of the cases."""
        return np.outer(self.sizes / self.sizes.sum(), self.has.sum(axis=0))

    @cached_property
    def enough(self) -> np.ndarray:
        """(K,) whether a class has patients enough for all parts."""
        found: np.ndarray = self.shown.sum(axis=0) >= len(self.sizes)
        return found

    @cached_property
    def kinds(self) -> np.ndarray:
        """(N,) equal for patients who are alike: they show the same classes, in as many cases."""
        return np.unique(self.has, axis=0, return_inverse=True)[1].reshape(-1)

    @property
    def draws(self) -> float:
        """The natural logarithm of how many draws there are."""
        return lgamma(len(self.cases) + 1) - sum(lgamma(size + 1) for size in self.sizes.tolist())

    def badness(self, parts: np.ndarray) -> np.ndarray:
        """(M, 3) of M draws (M, N): absences, unevenness of the classes and of the cases; the first counts most."""
        total = np.zeros((len(parts), 3))
        for number, wanted in enumerate(self.wanted):
            found = (parts == number) @ self.has
            uneven = (found - wanted) ** 2 / wanted
            total[:, 0] += ((found[:, :-1] == 0) & self.enough).sum(axis=1)
            total[:, 1] += uneven[:, :-1].sum(axis=1)
            total[:, 2] += uneven[:, -1]
        return total.round(6)


def draw(
    shows: Mapping[str, frozenset[int]], cases: Mapping[str, int], sizes: Sequence[int], seed: int
) -> tuple[frozenset[str], ...]:
    """Draw patients into parts.

    Iterative stratification: the patients of the rarest class are dealt out first, each to the part that lacks most of
    that class; then those of the class that is rarest among the rest, and so on. Source: Sechidis, Tsoumakas and
    Vlahavas, "On the Stratification of Multi-Label Data", ECML PKDD 2011. Unlike there, the parts' sizes are exact, and
    patients are swapped afterwards for as long as a swap of two makes it better: first, that a class with at least as
    many patients as there are parts is in all of them; second, that the sum of (found - wanted)^2 / wanted over
    classes and parts is small; third, the same sum for the number of cases. Swaps end in a draw that no swap betters,
    which need not be the best: the search starts several times. Where there are few draws, all of them are compared.

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
    patients, shuffler = sorted(shows), random.Random(seed)
    shuffler.shuffle(patients)
    classes = sorted(frozenset().union(*shows.values()))
    shown = np.array([[index in shows[name] for index in classes] for name in patients], dtype=float)
    table = _Table(shown, np.array([cases[name] for name in patients], dtype=float), np.array(sizes))
    part = _best(table, _every_draw(table)) if table.draws < log(_MOST_DRAWS) else _searched(table, shuffler)
    drawn = (np.flatnonzero(part == number) for number in range(len(sizes)))
    return tuple(frozenset(patients[index] for index in members) for members in drawn)


def _best(table: _Table, parts: np.ndarray) -> np.ndarray:
    """(N,) the first of the best draws of (M, N)."""
    order = np.lexsort(table.badness(parts).T[::-1])
    best: np.ndarray = parts[order[0]]
    return best


def _every_draw(table: _Table) -> np.ndarray:
    """(M, N) the part of each patient, in every way that the sizes allow."""
    parts, room = np.empty((1, 0), dtype=np.intp), table.sizes[None]
    for _ in table.cases:
        row, chosen = np.nonzero(room)
        parts, room = np.column_stack([parts[row], chosen]), room[row]
        room[np.arange(len(row)), chosen] -= 1
    return parts


def _searched(table: _Table, shuffler: random.Random) -> np.ndarray:
    """(N,) the best of several searches: more of them for few patients, and where a class is absent from a part."""
    count, classes = table.shown.shape
    starts = min(_MOST_STARTS, 1 + _WORK // (count**2 * (classes + 1)))
    best = _improved(table, _dealt(table))[None]
    for number in range(1, 2 * starts + 2):
        if number >= starts and not table.badness(best)[0, 0]:
            break
        order = np.array(shuffler.sample(range(count), count))
        start = np.empty(count, dtype=np.intp)
        if number % 2:
            start[order] = np.repeat(np.arange(len(table.sizes)), table.sizes)
        else:
            start[order] = _dealt(_Table(table.shown[order], table.cases[order], table.sizes))
        best = _best(table, np.stack([best[0], _improved(table, start)]))[None]
    return best[0]


def _dealt(table: _Table) -> np.ndarray:
    """(N,) the part of each patient: the rarest class first, each patient to the part that lacks most of it."""
    lacking, room = table.wanted.copy(), table.sizes.copy()
    part = np.full(len(table.cases), -1)
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
            lacking[chosen] -= table.has[patient]
    return part


def _improved(table: _Table, part: np.ndarray) -> np.ndarray:
    """(N,) the parts after swaps, until none makes it better."""
    count = len(table.sizes)
    members = [np.flatnonzero(part == number) for number in range(count)]
    waiting = np.triu(np.ones((count, count), dtype=bool), 1)  # pairs of which one changed since they were looked at
    for _ in range(_MOST_SWEEPS):
        for one, other in np.argwhere(waiting).tolist():
            waiting[one, other] = False
            if _swap(table, members, one, other):
                for changed in (one, other):
                    waiting[changed, changed + 1 :] = waiting[:changed, changed] = True
        if not waiting.any():
            break
    better = np.empty_like(part)
    for number, patients in enumerate(members):
        better[patients] = number
    return better


def _swap(table: _Table, members: list[np.ndarray], one: int, other: int) -> bool:
    """Swap the two patients of two parts that make most of a difference; False where none makes it better."""
    places = _places(table, members[one], members[other])
    mine, theirs = (table.has[members[part][place]] for part, place in zip((one, other), places, strict=True))
    found = np.stack([table.has[members[part]].sum(axis=0) for part in (one, other)])
    wanted = table.wanted[[one, other]]
    classes = _class_changes(table, mine[:, :-1], theirs[:, :-1], found[:, :-1], wanted[:, :-1])
    best = classes.min()
    if best > _NOTHING:
        return False
    rows, columns = np.nonzero(classes <= best + _NOTHING)
    cases = _case_changes(mine[rows, -1], theirs[columns, -1], found[:, -1], wanted[:, -1])
    chosen = cases.argmin()
    if best >= -_NOTHING and cases[chosen] >= -_NOTHING:
        return False
    first, second = places[0][rows[chosen]], places[1][columns[chosen]]
    members[one][first], members[other][second] = members[other][second], members[one][first]
    return True


def _places(table: _Table, mine: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in two parts those stand whose swap is looked at: all, or one of each kind where there are many."""
    if len(mine) * len(theirs) <= _MANY_PAIRS:
        return np.arange(len(mine)), np.arange(len(theirs))
    first, second = (np.unique(table.kinds[patients], return_index=True)[1] for patients in (mine, theirs))
    return first, second


def _class_changes(
    table: _Table, mine: np.ndarray, theirs: np.ndarray, found: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """(n, m) by how much the classes' unevenness changes when patients n and m, (n, K) and (m, K), are swapped.

    Of the two parts, `found` and `wanted` are (2, K).
    """
    # (x + 1)^2 - x^2 = 2 x + 1 for the part that gains a patient of a class, 1 - 2 x for the one that loses it.
    tilt = 2 * ((found[0] - wanted[0]) / wanted[0] - (found[1] - wanted[1]) / wanted[1])
    both = 1 / wanted[0] + 1 / wanted[1]
    dear = _ABSENT * table.enough
    gained = both + tilt + dear * ((found[1] == 1).astype(float) - (found[0] == 0))
    lost = both - tilt + dear * ((found[0] == 1).astype(float) - (found[1] == 0))
    changes: np.ndarray = ((1 - mine) * gained) @ theirs.T + (mine * lost) @ (1 - theirs).T
    return changes


def _case_changes(mine: np.ndarray, theirs: np.ndarray, found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(n,) by how much the cases' unevenness changes when patients with (n,) cases each are swapped."""
    gain = theirs - mine
    tilt = (found[0] - wanted[0]) / wanted[0] - (found[1] - wanted[1]) / wanted[1]
    changes: np.ndarray = 2 * gain * tilt + gain**2 * (1 / wanted).sum()
    return changes
