"""Which cases two evaluations share, and what keeps them from being compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.errors import DataError, Faults
from pipeline.evaluation.matching import match

Make = Callable[..., Any]


def test_cases_are_paired_by_name_in_any_order(draw_masks: Make, store: Make) -> None:
    first = store("a", draw_masks(1))
    other = store("b", draw_masks(2))
    turned = other.of(list(range(len(other.cases)))[::-1])
    found = match(first, turned)
    assert found.first.cases == found.other.cases == first.cases
    assert (found.other.true == other.true).all()
    assert (found.only_first, found.only_other) == ((), ())


def test_what_only_one_has_is_left_out_and_named(draw_masks: Make, store: Make) -> None:
    first = store("a", draw_masks(1))
    other = store("b", draw_masks(2))
    found = match(first.of(range(1, 18)), other.of(range(10)))
    assert found.first.cases == first.cases[1:10]
    assert found.only_first == first.cases[10:]
    assert found.only_other == (first.cases[0],)
    assert (found.other.predicted == other.predicted[1:10]).all()


@pytest.mark.parametrize(("mine", "theirs", "refused"), [
    (range(18), range(4), False),  # all of the smaller one
    (range(10), range(5, 15), False),  # half of it
    (range(10), range(6, 16), True),  # four of ten
    (range(9), range(9, 18), True),
])  # fmt: skip
def test_too_few_shared_cases_are_refused(draw_masks: Make, store: Make, mine: range, theirs: range, refused: bool) -> None:  # noqa: E501 # fmt: skip
    first, other = store("a", draw_masks(1)).of(mine), store("b", draw_masks(2)).of(theirs)
    if not refused:
        match(first, other)
        return
    shared = len(set(mine) & set(theirs))
    with pytest.raises(DataError, match=rf"^.*b: {'only 4 cases are' if shared else 'no case is'} in both"):
        match(first, other)


def test_other_labels_are_refused_with_the_cases(draw_masks: Make, store: Make) -> None:
    masks = draw_masks(2)
    changed = {key: (np.where(key[2] == "p2_w1_0", 1, one), two) for key, (one, two) in masks.items()}
    first, other = store("a", draw_masks(1)), store("b", changed)
    with pytest.raises(DataError) as caught:
        match(first, other)
    background = int((masks["p2", "w1", "p2_w1_0"][0] == 0).sum())
    assert f"labels of 1 of 18 shared cases differ: p2_w1_0, background: {background} voxels in a and 0 in b" in str(
        caught.value
    )


def test_other_patients_scans_and_classes_are_told_together(draw_masks: Make, store: Make) -> None:
    moved = {("p9" if patient == "p1" else patient, "w" if case == "p0_w0_0" else scan, case): value
             for (patient, scan, case), value in draw_masks(2).items()}  # fmt: skip
    first, other = store("a", draw_masks(1)), store("b", moved, classes=("background", "bone", "colon"))
    with pytest.raises(Faults) as caught:
        match(first, other)
    told = [str(fault) for fault in caught.value.faults]
    assert len(told) == 3
    assert "background, bone, rectum in a, background, bone, colon in b" in told[0]
    assert "the patient of 4 cases differs: p1_w0_0 is of 'p1' in a and of 'p9' in b" in told[1]
    assert "the scan of 1 cases differs: p0_w0_0 is of 'w0' in a and of 'w' in b" in told[2]
