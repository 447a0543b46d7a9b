"""Splits: whole patients on one side each, whoever drew them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.data.cases import Case
from pipeline.data.splits import Split, split_cases
from pipeline.errors import ConfigError, DataError, Faults


def case(name: str, patient: str, split: Any = None) -> Case:
    return Case(name, Path(f"{name}.nii"), Path(f"{name}_seg.nii"), patient, name, split=split)


def many(patients: int, each: int = 2) -> list[Case]:
    return [case(f"p{p}_{n}", f"p{p}") for p in range(patients) for n in range(each)]


def patients_of(cases: tuple[Case, ...]) -> set[str]:
    return {case.patient for case in cases}


@pytest.fixture
def write_folds(tmp_path: Path) -> Callable[[Any], dict[str, Any]]:
    """Writes a splits file; gives the config's section for it."""

    def write(folds: Any) -> dict[str, Any]:
        text = folds if isinstance(folds, str) else json.dumps(folds)
        (tmp_path / "splits_final.json").write_text(text, encoding="utf-8")
        return {"kind": "file", "file": "splits_final.json", "validation": 0.25}

    return write


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(st.integers(0, 12), min_size=3, max_size=40),
    validation=st.floats(0.01, 0.6),
    test=st.floats(0.01, 0.6),
    seed=st.integers(0, 5),
)
def test_holdout_keeps_patients_whole(
    make_config: Callable[..., Any], owners: list[int], validation: float, test: float, seed: int
) -> None:
    assume(validation + test < 0.89 and len(set(owners)) >= 3)
    cases = [case(f"c{number}", f"p{owner}") for number, owner in enumerate(owners)]
    config = make_config(seed=seed, splits={"kind": "holdout", "validation": validation, "test": test})

    split = split_cases(config, cases)

    sides = [patients_of(side) for side in split.sides().values()]
    assert all(sides)
    assert sum(len(side) for side in sides) == len(set(owners)), "no patient on two sides, none lost"
    assert sorted(one.id for side in split.sides().values() for one in side) == sorted(one.id for one in cases)
    assert not split.leaks
    assert not split.unused
    turned = split_cases(config, cases[::-1])
    assert [patients_of(side) for side in turned.sides().values()] == sides, "the order of the cases is nothing"


def test_holdout_takes_its_shares_by_the_seed(make_config: Callable[..., Any]) -> None:
    splits = {"kind": "holdout", "validation": 0.1, "test": 0.2}
    drawn = [split_cases(make_config(seed=seed, splits=splits), many(20)) for seed in (0, 0, 1, 2)]
    assert [len(patients_of(side)) for side in drawn[0].sides().values()] == [14, 2, 4]
    assert drawn[0] == drawn[1]
    assert len({frozenset(patients_of(one.test)) for one in drawn}) == 3


@pytest.mark.parametrize("patients", [1, 2])
def test_two_patients_are_too_few(make_config: Callable[..., Any], patients: int) -> None:
    with pytest.raises(DataError, match=f"{patients} patients are too few"):
        split_cases(make_config(), many(patients, each=9))


def test_three_patients_go_one_to_each_side(make_config: Callable[..., Any]) -> None:
    split = split_cases(make_config(splits={"kind": "holdout", "validation": 0.3, "test": 0.5}), many(3))
    assert [len(patients_of(side)) for side in split.sides().values()] == [1, 1, 1]


def test_holdout_without_a_test_share_is_refused(make_config: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="no patient would be tested") as fault:
        split_cases(make_config(splits={"kind": "holdout", "test": 0.0}), many(5))
    assert fault.value.where.endswith("splits.test")


def hipmri(make_config: Callable[..., Any], **splits: Any) -> Any:
    return make_config(data={"layout": "hipmri", "patient": None}, splits={"kind": "layout", **splits})


def test_a_given_split_is_taken_as_it_is(make_config: Callable[..., Any]) -> None:
    sides = ["train", "validation", "test", "train", None]
    cases = [case(f"c{number}", f"p{number}", side) for number, side in enumerate(sides)]
    split = split_cases(hipmri(make_config), cases)
    assert split == Split((cases[0], cases[3]), (cases[1],), (cases[2],), unused=(cases[4],))


def test_every_empty_side_is_told(make_config: Callable[..., Any]) -> None:
    with pytest.raises(Faults) as fault:
        split_cases(hipmri(make_config), [case("a", "p", "train")])
    assert [one.what for one in fault.value.faults] == [
        "the split has no validation case",
        "the split has no test case",
    ]


def test_a_patient_on_two_sides_is_refused_or_told(make_config: Callable[..., Any]) -> None:
    cases = [
        case("a", "p1", "train"),
        case("b", "p2", "train"),
        case("c", "p1", "validation"),
        case("d", "p1", "test"),
        case("e", "p3", "test"),
    ]
    with pytest.raises(Faults) as fault:
        split_cases(hipmri(make_config), cases)
    crossings = ["train and validation", "train and test", "validation and test"]
    assert [one.what for one in fault.value.faults] == [f"patients on both sides, {pair}: p1" for pair in crossings]
    assert "splits.allow_leakage" in fault.value.faults[0].remedy

    split = split_cases(hipmri(make_config, allow_leakage=True), cases)
    assert split.leaks == tuple(f"patients on both sides, {pair}: p1" for pair in crossings)
    assert split.train == tuple(cases[:2])


def test_the_folds_val_is_tested_and_its_train_gives_the_validation(
    make_config: Callable[..., Any], write_folds: Callable[..., Any]
) -> None:
    cases = many(10)
    val = [one.id for one in cases if one.patient in ("p3", "p4")]
    train = [one.id for one in cases if one.patient in ("p0", "p1", "p2", "p5", "p6", "p7", "p8", "p9")]
    section = write_folds([{"train": ["p0_0"], "val": []}, {"train": train[:-1], "val": val}])
    drawn = set()
    for seed in range(8):
        split = split_cases(make_config(data={"fold": 1}, splits=section, seed=seed), cases)
        assert [one.id for one in split.test] == val
        assert sorted(one.id for one in (*split.train, *split.validation)) == sorted(train[:-1])
        assert len(patients_of(split.validation)) == 2, "a quarter of eight"
        assert not patients_of(split.validation) & patients_of(split.train)
        assert [one.id for one in split.unused] == ["p9_1"]
        drawn.add(frozenset(patients_of(split.validation)))
    assert len(drawn) > 1, "the seed draws them"


def test_a_fold_that_crosses_patients_is_refused(
    make_config: Callable[..., Any], write_folds: Callable[..., Any]
) -> None:
    section = write_folds([{"train": ["p0_0", "p1_0", "p2_0"], "val": ["p0_1"]}])
    with pytest.raises(DataError, match=r"patients on both sides, .* and test: p0"):
        split_cases(make_config(splits=section), many(3))


def test_one_training_patient_cannot_learn_and_choose(
    make_config: Callable[..., Any], write_folds: Callable[..., Any]
) -> None:
    section = write_folds([{"train": ["p0_0", "p0_1"], "val": ["p1_1"]}])
    with pytest.raises(DataError, match="1 training patients are too few"):
        split_cases(make_config(splits=section), many(3))


def test_unknown_and_repeated_ids_are_listed(make_config: Callable[..., Any], write_folds: Callable[..., Any]) -> None:
    section = write_folds([{"train": ["p0_0", "p1_0", "x", "p0_0"], "val": ["y", "p2_0"]}])
    with pytest.raises(Faults) as fault:
        split_cases(make_config(splits=section), many(3))
    assert [one.what for one in fault.value.faults] == [
        "names cases that the data lack: x, y",
        "names cases more than once in a fold: p0_0",
    ]
    assert fault.value.faults[0].where.endswith("splits_final.json")


def test_a_fold_beyond_the_last_is_refused(make_config: Callable[..., Any], write_folds: Callable[..., Any]) -> None:
    section = write_folds([{"train": ["p0_0", "p1_0"], "val": ["p2_0"]}] * 2)
    split_cases(make_config(data={"fold": 1}, splits=section), many(3))
    with pytest.raises(ConfigError, match="fold 2 of 2"):
        split_cases(make_config(data={"fold": 2}, splits=section), many(3))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", "[1]", '[{"train": ["a"]}]', '[{"train": "a", "val": []}]', '[{"train": [1], "val": []}]',
     '[{"train": [], "val": [], "test": 1}]', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_splits_file_is_refused(
    make_config: Callable[..., Any], write_folds: Callable[..., Any], text: str
) -> None:
    config = make_config(splits=write_folds(text))
    with pytest.raises(DataError, match=r"not JSON|not a list of folds"):
        split_cases(config, many(3))


def test_a_missing_splits_file_is_named(make_config: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the splits file") as fault:
        split_cases(make_config(splits={"kind": "file", "file": "gone.json"}), many(3))
    assert fault.value.where == str(tmp_path / "gone.json")


def test_a_split_survives_its_own_json(make_config: Callable[..., Any], write_folds: Callable[..., Any]) -> None:
    cases = many(10)
    split = split_cases(make_config(seed=3), cases[:-1])
    folds = split.as_json()
    # nnU-Net's splits_final.json: a list of folds, each with lists of case ids under train and val.
    assert isinstance(folds, list)
    assert {side: len(names) for side, names in folds[0].items()} == {
        "train": len(split.train),
        "val": len(split.validation),
        "test": len(split.test),
    }
    again = split_cases(make_config(seed=4, splits=write_folds(folds)), cases)
    assert again == Split(split.train, split.validation, split.test, unused=(cases[-1],))


def test_an_empty_test_list_is_nnunets_form(make_config: Callable[..., Any], write_folds: Callable[..., Any]) -> None:
    section = write_folds([{"train": ["p0_0", "p1_0"], "val": ["p2_0"], "test": []}])
    split = split_cases(make_config(splits=section), many(3))
    assert [one.id for one in split.test] == ["p2_0"]
    assert len(split.validation) == len(split.train) == 1
