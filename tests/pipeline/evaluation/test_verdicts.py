"""What a comparison says in words, for each way it can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.comparison import compare
from pipeline.evaluation.matching import match
from pipeline.evaluation.verdicts import Verdict, left_out, verdict

Make = Callable[..., Any]


@pytest.fixture
def judge(draw_masks: Make, store: Make) -> Callable[..., Verdict]:
    def run(patients: int, errors: tuple[float, float]) -> Verdict:
        first, other = (store(name, draw_masks(seed, patients=patients, errors=share))
                        for seed, (name, share) in enumerate(zip("ab", errors, strict=True)))  # fmt: skip
        found = compare([match(first, other)])
        return verdict(found, found.pairs[0])

    return run


def test_better_and_worse(judge: Callable[..., Verdict]) -> None:
    found = judge(9, (0.4, 0.02))
    assert found.state == "better"
    assert found.headline.startswith("b is better than a: mean foreground Dice 0.9")
    assert found.headline.endswith("; p = 0.004, 9 patients.")
    assert "By class, Dice is better for bone, rectum." in found.sentences
    assert judge(9, (0.02, 0.4)).headline.startswith("b is worse than a: ")


def test_too_few_patients_are_said_to_be_too_few(judge: Callable[..., Verdict]) -> None:
    found = judge(4, (0.4, 0.02))
    assert found.state == "few"
    assert found.headline == "With 4 patients no difference between b and a can be shown."
    assert (
        found.sentences[0]
        == "Even if all went the same way, p would be 0.125, above 0.05: it takes at least 6 patients."
    )
    assert found.sentences[1].startswith("In these 4 patients: mean foreground Dice 0.9")
    assert "No class by itself can show a difference: for 2 tests it takes at least 7 patients." in found.sentences
    assert "Intervals over 4 patients are rough, and tend to come out too narrow." in found.sentences


def test_each_pair_is_judged_by_the_patients_that_it_shares(draw_masks: Make, store: Make) -> None:
    """20 patients of another pair do not let five tell: none of their p is below 2 / 2^5, corrected or not."""
    first, many = (store(name, draw_masks(seed, patients=20)) for seed, name in enumerate("ab"))
    found = compare([match(first, other) for other in (many, store("c", draw_masks(2, patients=5)))])
    told, of_five = (verdict(found, pair) for pair in found.pairs)
    assert told.state == "none" and not any("can show" in sentence for sentence in told.sentences)
    assert of_five.state == "few"
    assert of_five.headline == "With 5 patients no difference between c and a can be shown."
    assert of_five.sentences[0] == (
        "Even if all went the same way, p would be 0.0625 after Holm's correction of 2 tests, above 0.05: it takes at "
        "least 6 patients."
    )
    # Bone of five and rectum of four beside 20 and 19: 2 x 0.0625 at best. Bone of seven: 2 x 2 / 2^7 = 0.03.
    assert "No class by itself can show a difference: for 4 tests it takes at least 7 patients." in of_five.sentences


def test_a_class_that_few_patients_show_is_named(draw_masks: Make, store: Make) -> None:
    def without_rectum(seed: int, errors: float) -> Any:
        """Masks of nine patients, three of whom have the class."""
        return {
            key: (np.where(int(key[0][1:]) > 3, reference % 2, reference), prediction)
            for key, (reference, prediction) in draw_masks(seed, patients=9, errors=errors).items()
        }

    for errors, told in ((0.02, "By class, Dice is better for bone."), (0.4, "No class by itself shows a difference")):
        found = compare([match(store("a", without_rectum(1, 0.4)), store("b", without_rectum(2, errors)))])
        sentences = verdict(found, found.pairs[0]).sentences
        assert any(sentence.startswith(told) for sentence in sentences)
        assert (
            "Too few patients show rectum (3) for a difference to be shown: for 2 tests it takes at least 6 patients."
            in sentences
        )


def test_one_patient_has_no_interval(judge: Callable[..., Verdict]) -> None:
    found = judge(1, (0.4, 0.02))
    assert found.headline == "With 1 patient no difference between b and a can be shown."
    assert "interval" not in found.sentences[1]


def test_no_difference_is_not_said_to_be_equality(judge: Callable[..., Verdict]) -> None:
    found = judge(12, (0.2, 0.2))
    assert found.state == "none"
    assert found.headline.startswith("No difference between b and a is shown: mean foreground Dice 0.8")
    assert found.sentences[0].startswith("That does not say that they are equal")
    assert found.sentences[1] == "No class by itself shows a difference in Dice."


def test_the_same_masks_are_the_same(draw_masks: Make, store: Make) -> None:
    first = store("a", draw_masks(1, patients=7))
    found = compare([match(first, replace(first, name="b"))])
    assert verdict(found, found.pairs[0]).headline == "b and a have the same Dice in all of 7 patients."


def test_nothing_to_compare(store: Make) -> None:
    empty = np.zeros((2, 3), dtype=int)
    first = store("a", {("p", "s", "c"): (empty, empty)})
    found = compare([match(first, replace(first, name="b"))])
    assert verdict(found, found.pairs[0]).state == "empty"


def test_what_the_mean_and_the_ranks_say_differently_is_said(draw_masks: Make, store: Make) -> None:
    first = store("a", draw_masks(1, patients=9, errors=0.4))
    other = store("b", draw_masks(2, patients=9, errors=0.02))
    found = compare([match(first, other)])
    mean, *classes = found.pairs[0].rows["dice"]
    pair = replace(found.pairs[0], rows={"dice": [replace(mean, difference=-0.1), *classes]})
    told = verdict(found, pair)
    assert told.state == "unclear"
    assert told.headline == "b and a differ, but not in one direction (p = 0.004, 9 patients)."


def test_a_hint_is_called_a_hint(draw_masks: Make, store: Make) -> None:
    first, other = store("a", draw_masks(1, patients=12)), store("b", draw_masks(2, patients=12))
    found = compare([match(first, other)])
    mean, *classes = found.pairs[0].rows["dice"]
    for interval, word in (((0.001, 0.02), "hint"), ((-0.02, -0.001), "hint"), ((-0.01, 0.01), "equal")):
        rows = [replace(mean, interval=interval, p_holm=0.2), *classes]
        assert word in verdict(found, replace(found.pairs[0], rows={"dice": rows})).sentences[0]


def test_cases_that_are_left_out_are_named(draw_masks: Make, store: Make) -> None:
    first, other = store("a", draw_masks(1)), store("b", draw_masks(2), distances=False)
    pair = compare([match(first, other.of(range(3, 18)))]).pairs[0]
    assert left_out(pair) == [
        "3 cases only in a, left out: p0_w0_0, p0_w0_1, p1_w0_0.",
        "Distances are left out: b measured none.",
    ]
