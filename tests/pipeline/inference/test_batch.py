"""Broken cases among others: every case has exactly one outcome, and no fault costs another its mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.cases import Case, reading_order, scan_key
from pipeline.errors import DataError, Fault, Faults, ImageFileError
from pipeline.inference.batch import apart, predict_each
from pipeline.inference.finishing import Prediction
from pipeline.inference.folder import Failed

MASK = np.zeros((1, 1), np.uint8)
Predict = Callable[[Sequence[Case]], Iterator[Prediction]]


def predict_but(bad: dict[str, Exception], ahead: int = 0, seen: list[list[str]] | None = None) -> Predict:
    """Predicts scan by scan; a bad case raises `ahead` scans before its turn, as one that is read ahead may."""

    def predict(cases: Sequence[Case]) -> Iterator[Prediction]:
        scans = [list(members) for _, members in groupby(sorted(cases, key=reading_order), key=scan_key)]
        for number, members in enumerate(scans):
            for case in (case for scan in scans[number : number + ahead + 1] for case in scan):
                if case.id in bad:
                    raise bad[case.id]
            if seen is not None:
                seen.append([case.id for case in members])
            yield from (Prediction(case, MASK, -1) for case in members)

    return predict


def cases_of(*scans: int) -> list[Case]:
    return [
        Case(f"{scan}_{number}", Path(f"{scan}_{number}.nii"), None, "p", str(scan), number)
        for scan, size in enumerate(scans)
        for number in range(size)
    ]


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=6).flatmap(
        lambda sizes: st.tuples(
            st.just(sizes), st.sets(st.sampled_from([case.id for case in cases_of(*sizes)])), st.integers(0, 2)
        )
    )
)
def test_every_case_has_its_outcome(drawn: tuple[list[int], set[str], int]) -> None:
    sizes, bad, ahead = drawn
    cases = cases_of(*sizes)
    faults: dict[str, Exception] = {name: ImageFileError("bad", where=f"{name}.nii") for name in bad}
    outcomes = list(predict_each(predict_but(faults, ahead), cases[::-1]))
    failed = {one.case: one.faults for one in outcomes if isinstance(one, Failed)}
    assert failed == {name: (fault,) for name, fault in faults.items()}
    assert Counter(one.case.id for one in outcomes if isinstance(one, Prediction)) == Counter(
        case.id for case in cases if case.id not in bad
    )


def test_slices_beside_a_broken_one_are_predicted_together() -> None:
    seen: list[list[str]] = []
    bad: dict[str, Exception] = {"1_1": ImageFileError("bad", where="f")}
    list(predict_each(predict_but(bad, seen=seen), cases_of(1, 3, 1)))
    assert ["1_0", "1_2"] in seen
    assert seen[-1] == ["2_0"]


def test_a_fault_of_the_scan_as_a_whole() -> None:
    def predict(cases: Sequence[Case]) -> Iterator[Prediction]:
        if len(cases) > 1:
            raise DataError("two slices have the number 1", where="data.context")
        yield from (Prediction(case, MASK, -1) for case in cases)

    outcomes = list(predict_each(predict, [*cases_of(2), Case("v", Path("v"), None, "q", "v")]))
    assert [one.case if isinstance(one, Failed) else one.case.id for one in outcomes] == ["0_0", "0_1", "v"]
    assert isinstance(outcomes[0], Failed)
    assert "number 1" in str(outcomes[0].faults[0])
    assert isinstance(outcomes[2], Prediction)


def test_several_faults_and_their_place() -> None:
    bad: dict[str, Exception] = {"0_0": Faults([Fault("a"), Fault("b", where="x")]), "1_0": MemoryError()}
    outcomes = list(predict_each(predict_but(bad), cases_of(1, 1, 1)))
    first, second, last = outcomes
    assert isinstance(first, Failed) and isinstance(second, Failed) and isinstance(last, Prediction)
    assert [(one.what, one.where) for one in first.faults] == [("a", "0_0.nii"), ("b", "x")]
    assert second.faults[0].what == "does not fit into memory"
    assert second.faults[0].where == "1_0.nii"


def test_a_defect_is_no_fault_of_a_file() -> None:
    with pytest.raises(ZeroDivisionError):
        list(predict_each(predict_but({"1_0": ZeroDivisionError()}), cases_of(1, 1)))
    assert list(predict_each(predict_but({}), [])) == []


def test_cases_apart_keep_their_order_and_are_each_a_scan() -> None:
    cases = cases_of(2, 11, 1)
    found = apart(cases)
    assert [case.image for case in found] == [case.image for case in cases]
    assert sorted(found, key=reading_order) == found
    assert len({scan_key(case) for case in found}) == len(cases)
