"""Post-processing that is chosen: drawings, gains worked out by hand, and a margin that noise does not pass."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema import PostprocessRule
from pipeline.inference.choosing import (
    CANDIDATES,
    MARGIN,
    Choice,
    choice_text,
    choices_from_plain,
    choices_plain,
    choose_postprocess,
    rules_of,
    voted,
)
from pipeline.inference.postprocess import postprocess

NAMES = ["background", "one", "two", "three"]
LARGEST, FILLED = PostprocessRule(largest=True), PostprocessRule(fill_holes=True)
BOTH = PostprocessRule(largest=True, fill_holes=True)


def drawn(text: str) -> np.ndarray:
    return np.array([[int(sign) if sign != "." else 0 for sign in line] for line in text.split()], dtype=np.uint8)


REFERENCE = drawn("""
    111....
    111..2.
    111....
    .2...2.
""")
STRAY = REFERENCE.copy()
STRAY[3, 4] = 1  # class 1 gains by its largest part alone; class 2 lies in several, and loses
HOLED = REFERENCE.copy()
HOLED[1, 1] = 0
WORST = STRAY.copy()
WORST[1, 1] = 0


@pytest.mark.parametrize(
    ("prediction", "rule", "figures"),
    [
        (STRAY, LARGEST, [18 / 19, 1, 18 / 19, 1]),
        (HOLED, FILLED, [16 / 17, 16 / 17, 1, 1]),
        (WORST, BOTH, [16 / 18, 16 / 17, 18 / 19, 1]),
    ],
)
def test_a_rule_is_chosen_where_it_helps(prediction: np.ndarray, rule: PostprocessRule, figures: list[float]) -> None:
    chosen = choose_postprocess([(scan, prediction, REFERENCE) for scan in "abc"], NAMES)
    assert rules_of(chosen) == {"one": rule}
    assert list(chosen) == NAMES[1:]
    assert list(chosen["one"].dice.values()) == pytest.approx(figures)
    assert chosen["two"].dice["none"] == 1 and chosen["two"].dice["largest"] == pytest.approx(2 / 4)
    assert chosen["three"] == Choice("none", 0, {})


def test_nothing_is_chosen_where_nothing_helps_or_is_known() -> None:
    assert rules_of(choose_postprocess([(scan, REFERENCE, REFERENCE) for scan in "abc"], NAMES)) == {}
    assert rules_of(choose_postprocess([], NAMES)) == {}
    # A scan whose reference lacks a class has no say in it.
    assert rules_of(choose_postprocess([(scan, STRAY, np.zeros_like(STRAY)) for scan in "abc"], NAMES)) == {}


@pytest.mark.parametrize(("helped", "of", "chosen"), [(1, 1, 0), (1, 2, 0), (1, 9, 0), (2, 2, 1), (2, 3, 1), (2, 9, 1)])
def test_one_scan_alone_chooses_nothing(helped: int, of: int, chosen: int) -> None:
    # Of n scans k gain g: the mean is gk / n, its error g sqrt(k (n - k) / (n - 1)) / n: equal for k = 1, then less.
    pairs = [(scan, STRAY if scan < helped else REFERENCE, REFERENCE) for scan in range(of)]
    assert len(rules_of(choose_postprocess(pairs, NAMES))) == chosen


@pytest.mark.parametrize(("stray", "chosen"), [(1, 0), (9, 1)])
def test_a_gain_has_to_pass_the_margin(stray: int, chosen: int) -> None:
    reference = np.zeros((60, 60), dtype=np.uint8)
    reference[:50, :40] = 1
    prediction = reference.copy()
    prediction[55, 2 : 2 + stray] = 1  # the gain is stray / (4000 + stray): 0.00025, 0.0022
    assert (stray / (4000 + stray) > MARGIN) == bool(chosen)
    found = choose_postprocess([(scan, prediction, reference) for scan in "ab"], NAMES)
    assert len(rules_of(found)) == chosen


def test_slices_of_a_scan_are_pooled_before_scans_are_compared() -> None:
    whole, bare, stray = drawn("11111111"), drawn("11......"), drawn("11.....1")
    one = choose_postprocess([("a", whole, whole), ("a", stray, bare)], NAMES[:2])
    assert one["one"].scans == 1
    assert one["one"].dice["none"] == pytest.approx(2 * 10 / 21) and one["one"].dice["largest"] == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_figures_are_the_mean_dice_of_what_post_processing_gives(seed: int, scans: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(scan, *rng.integers(0, 3, (2, 3, 6, 5)).astype(np.uint8)) for scan in range(scans)]
    found = choose_postprocess(pairs, NAMES[:3])
    for index, name in ((1, "one"), (2, "two")):
        for candidate, rule in CANDIDATES.items():
            dice = []
            for _, prediction, reference in pairs:
                a, b = postprocess(prediction, {index: rule}) == index, reference == index
                dice.append(2 * (a & b).sum() / (a.sum() + b.sum()))
            assert found[name].dice[candidate] == pytest.approx(np.mean(dice))


def of(*candidates: str) -> dict[str, Choice]:
    return {name: Choice(one, 3, {}) for name, one in zip(NAMES[1:], candidates, strict=False)}


def test_more_than_half_of_the_members_decide_on_each_part_of_a_rule() -> None:
    both = "largest, fill_holes"
    assert voted([of("largest", "none")]) == {"one": LARGEST}
    assert voted([of("largest", both), of("none", "fill_holes")]) == {"two": FILLED}, "half is not enough"
    assert voted([of(both), of("largest"), of("fill_holes")]) == {"one": BOTH}
    assert voted([of(both), of("largest"), of("none")]) == {"one": LARGEST}


def test_plain_values_come_back() -> None:
    chosen = choose_postprocess([(scan, STRAY, REFERENCE) for scan in "ab"], NAMES)
    assert choices_from_plain(json.loads(json.dumps(choices_plain(chosen))), NAMES) == chosen
    odd: list[Any] = [{}, {"one": {}}, {**choices_plain(chosen), "two": {"chosen": "all", "scans": 1, "dice": {}}}, []]
    for values in odd:
        with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
            choices_from_plain(values, NAMES)


def test_words() -> None:
    chosen = choose_postprocess([(scan, STRAY, REFERENCE) for scan in "ab"], NAMES)
    assert choice_text("one", chosen["one"]) == (
        "one: largest (mean Dice of 2 validation scans: none 0.9474, largest 1.0000, fill_holes 0.9474, "
        "largest, fill_holes 1.0000)"
    )
    assert choice_text("three", chosen["three"]) == "three: none (no validation scan shows it)"
    assert "one scan is too few" in choice_text("one", choose_postprocess([("a", STRAY, REFERENCE)], NAMES)["one"])
