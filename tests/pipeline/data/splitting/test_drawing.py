"""Draws: sizes are exact, classes are spread evenly, and the seed decides ties only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise, permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.data.splitting.drawing import _dealt, _Table, draw

Parts = Sequence[frozenset[str]]
Shows = Mapping[str, frozenset[int]]


def absent(parts: Parts, shows: Shows) -> int:
    """How often a part lacks a class that has patients enough for all parts."""
    classes = frozenset().union(*shows.values())
    enough = [one for one in classes if sum(one in shown for shown in shows.values()) >= len(parts)]
    return sum(not any(one in shows[name] for name in part) for one in enough for part in parts)


def unevenness(parts: Parts, weights: Mapping[str, float]) -> float:
    """The sum of (found - wanted)^2 / wanted of what patients weigh, by the definition."""
    total, count = sum(weights.values()), sum(map(len, parts))
    wanted = [total * len(part) / count for part in parts]
    found = [sum(weights[name] for name in part) for part in parts]
    return sum((one - other) ** 2 / other for one, other in zip(found, wanted, strict=True)) if total else 0.0


def badness(parts: Parts, shows: Shows, cases: Mapping[str, int]) -> tuple[int, float, float]:
    classes = frozenset().union(*shows.values())
    of_classes = sum(unevenness(parts, {name: one in shows[name] for name in shows}) for one in classes)
    return absent(parts, shows), round(of_classes, 6), round(unevenness(parts, cases), 6)


def swapped(parts: Parts, one: str, other: str) -> Parts:
    turned = {one: other, other: one}
    return [frozenset(turned.get(name, name) for name in part) for part in parts]


@st.composite
def populations(draw_: st.DrawFn, most: int = 12, classes: int = 4) -> tuple[dict[str, frozenset[int]], dict[str, int]]:
    count = draw_(st.integers(2, most))
    shown = draw_(st.lists(st.frozensets(st.integers(1, classes)), min_size=count, max_size=count))
    cases = draw_(st.lists(st.integers(1, 9), min_size=count, max_size=count))
    names = [f"p{number}" for number in range(count)]
    return dict(zip(names, shown, strict=True)), dict(zip(names, cases, strict=True))


def sizes_for(count: int, parts: int) -> list[int]:
    return [count // parts + (one < count % parts) for one in range(parts)]


@settings(max_examples=150, deadline=None)
@given(populations(), st.integers(1, 4), st.integers(0, 5))
def test_sizes_are_exact_and_no_swap_makes_it_better(
    population: tuple[dict[str, frozenset[int]], dict[str, int]], number: int, seed: int
) -> None:
    shows, cases = population
    assume(number <= len(shows))
    sizes = sizes_for(len(shows), number)
    parts = draw(shows, cases, sizes, seed)
    assert [len(part) for part in parts] == sizes
    assert sorted(name for part in parts for name in part) == sorted(shows)
    best = badness(parts, shows, cases)
    for part, other in combinations(parts, 2):
        for one in part:
            assert all(badness(swapped(parts, one, two), shows, cases) >= best for two in other)
    turned = dict(reversed(shows.items())), dict(reversed(cases.items()))
    assert draw(*turned, sizes, seed) == parts, "the order of the patients is nothing"


@settings(max_examples=60, deadline=None)
@given(populations(most=7, classes=2), st.sampled_from([2, 3]), st.integers(0, 3))
def test_two_classes_are_spread_as_well_as_any_draw_could(
    population: tuple[dict[str, frozenset[int]], dict[str, int]], number: int, seed: int
) -> None:
    shows, cases = population
    assume(number <= len(shows))
    sizes = sizes_for(len(shows), number)
    ends = [0, *(sum(sizes[: one + 1]) for one in range(number))]
    best = min(
        badness([frozenset(order[start:end]) for start, end in pairwise(ends)], shows, cases)[:2]
        for order in permutations(shows)
    )
    assert badness(draw(shows, cases, sizes, seed), shows, cases)[0] == best[0] == 0
    assert badness(draw(shows, cases, sizes, seed), shows, cases)[1] <= 2 * best[1] + 1, "no gross unevenness"


def test_by_hand() -> None:
    # Class 1 in a and b, class 2 in all but f; two parts of three: one of a and b in each.
    shows = {name: frozenset({1, 2} if name in "ab" else {2} if name != "f" else set()) for name in "abcdef"}
    for seed in range(20):
        first, second = draw(shows, dict.fromkeys(shows, 1), [3, 3], seed)
        assert len(first & {"a", "b"}) == len(second & {"a", "b"}) == 1


def test_cases_are_spread_among_patients_who_are_alike() -> None:
    cases = {"a": 10, "b": 10, "c": 1, "d": 1}
    for seed in range(20):
        parts = draw(dict.fromkeys(cases, frozenset({1})), cases, [2, 2], seed)
        assert [sum(cases[name] for name in part) for part in parts] == [11, 11]


def test_classes_come_before_cases() -> None:
    # Evenly many cases would put both patients with class 1 into one part.
    shows = {"a": frozenset({1}), "b": frozenset({1}), "c": frozenset(), "d": frozenset()}
    for seed in range(20):
        parts = draw(shows, {"a": 1, "b": 9, "c": 4, "d": 6}, [2, 2], seed)
        assert [len(part & {"a", "b"}) for part in parts] == [1, 1]
        # 1 + 9 | 4 + 6 would be even, but that is one class in one part; of the others, 1 + 6 | 9 + 4 is the best.
        assert {frozenset({"a", "d"}), frozenset({"b", "c"})} == set(parts)


def test_a_rare_class_goes_where_most_are_wanted() -> None:
    shows = {f"p{number}": frozenset({1}) if number == 0 else frozenset() for number in range(10)}
    for seed in range(10):
        parts = draw(shows, dict.fromkeys(shows, 1), [1, 2, 7], seed)
        assert "p0" in parts[2], "its one patient trains"


def test_the_seed_draws() -> None:
    shows: dict[str, frozenset[int]] = {f"p{number}": frozenset() for number in range(10)}
    drawn = [draw(shows, dict.fromkeys(shows, 1), [3, 7], seed)[0] for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 2


@pytest.mark.parametrize("sizes", [[], [0, 3], [2, 2], [4, -1]])
def test_sizes_that_do_not_fit_are_refused(sizes: list[int]) -> None:
    shows: dict[str, frozenset[int]] = {name: frozenset() for name in "abc"}
    with pytest.raises(ValueError, match="from 3 patients"):
        draw(shows, dict.fromkeys(shows, 1), sizes, 0)


def test_the_first_deal_gives_each_patient_to_the_part_that_lacks_most_of_the_rarest_class() -> None:
    # Class 2 is the rarest, and c shows it: of the 0.25 and 0.75 that parts of 1 and 3 want, the second lacks more.
    # Class 1, of a and b: the second part wants 1.5 of it and gets a; both then lack 0.5, and have one place each.
    shown = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=float)
    table = _Table(shown, np.ones(4), np.array([1, 3]))
    assert _dealt(table).tolist() == [1, 0, 1, 1]
    # Of alike parts the first gets the first; the second then lacks more, of the class and at last of cases.
    table = _Table(np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([9.0, 1.0, 1.0, 1.0]), np.array([2, 2]))
    assert _dealt(table).tolist() == [0, 1, 1, 0]
