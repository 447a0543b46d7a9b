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
from pipeline.data.splitting import splits
from pipeline.data.splitting.splits import Split, fold_count, is_given, split_cases, split_folds
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
    with pytest.raises(DataError, match=r"patients? (is|are) too few: training, validation and test") as fault:
        split_cases(make_config(), many(patients, each=9))
    assert fault.value.what.startswith(f"{patients} patient")


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


@pytest.mark.parametrize(
    ("sides", "told"),
    [
        ([None, None, None], "the hipmri layout gives no split here"),
        (["train", "train", None], "the hipmri layout gives no test case here"),
        (["train", "validation", "validation"], "the hipmri layout gives no test case here"),
    ],
)
def test_a_layout_that_tests_nobody_says_what_to_do(
    make_config: Callable[..., Any], sides: list[Any], told: str
) -> None:
    with pytest.raises(DataError, match=told) as fault:
        split_cases(hipmri(make_config), [case(f"c{n}", f"p{n}", side) for n, side in enumerate(sides)])
    assert all(kind in fault.value.remedy for kind in ("holdout", "folds", "file"))


def test_every_empty_side_is_told(make_config: Callable[..., Any], write_folds: Callable[..., Any]) -> None:
    section = write_folds([{"train": [], "val": [], "test": ["p0_0"]}])
    with pytest.raises(Faults) as fault:
        split_cases(make_config(splits=section), many(2))
    told = ["the split has no train case", "the split has no validation case"]
    assert [one.what for one in fault.value.faults] == told
    with pytest.raises(Faults, match="no train case"):
        split_cases(hipmri(make_config), [case("a", "p", "test")])


def test_a_layout_without_validation_has_it_drawn_from_training(make_config: Callable[..., Any]) -> None:
    cases = [case(f"p{p}_{n}", f"p{p}", "train" if p < 8 else "test") for p in range(10) for n in range(2)]
    shows = {one.id: frozenset({0, 1} if one.patient in ("p0", "p1") else {0}) for one in cases}
    drawn = set()
    for seed in range(6):
        split = split_cases(make_config(seed=seed, data={"layout": "hipmri", "patient": None},
                                        splits={"kind": "layout", "validation": 0.25}), cases, shows)  # fmt: skip
        assert patients_of(split.test) == {"p8", "p9"}
        assert len(patients_of(split.validation)) == 2
        assert len(patients_of(split.train)) == 6
        assert len({"p0", "p1"} & patients_of(split.validation)) == 1, "of two who show the class, one chooses"
        drawn.add(frozenset(patients_of(split.validation)))
    assert len(drawn) > 1, "the seed draws them"
    with pytest.raises(ConfigError, match="nothing would choose the checkpoint") as fault:
        split_cases(hipmri(make_config, validation=0.0), cases)
    assert fault.value.where.endswith("splits.validation")


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


def test_a_list_of_another_unicode_form_names_the_same_cases(
    make_config: Callable[..., Any], write_folds: Callable[..., Any]
) -> None:
    cases = [case(f"M\u00fcller_{number}", f"p{number}") for number in range(3)]
    names = [f"Mu\u0308ller_{number}" for number in range(3)]
    split = split_cases(make_config(splits=write_folds([{"train": names[:2], "val": names[2:]}])), cases)
    assert split.test == (cases[2],) and not split.unused


def test_what_folds_have_in_common_is_drawn_or_read_once(
    make_config: Callable[..., Any], write_folds: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(name: str) -> None:
        whole = getattr(splits, name)

        def call(*values: Any) -> Any:
            calls.append(name)
            return whole(*values)

        monkeypatch.setattr(splits, name, call)

    counted("draw")
    counted("read_folds")
    drawn = split_folds(folds_of(make_config, 5), many(10))
    assert len(drawn) == 5 and calls == ["draw"] * 6, "once for all, and once for who chooses in each"
    calls.clear()
    section = write_folds([{"train": ["p0_0", "p1_0"], "val": [f"p{fold}_0"]} for fold in range(2, 9)])
    assert len(split_folds(in_file(make_config, section), many(10))) == 7
    assert calls.count("read_folds") == 2, "for their number, and for what they list"


def test_an_empty_test_list_is_nnunets_form(make_config: Callable[..., Any], write_folds: Callable[..., Any]) -> None:
    section = write_folds([{"train": ["p0_0", "p1_0"], "val": ["p2_0"], "test": []}])
    split = split_cases(make_config(splits=section), many(3))
    assert [one.id for one in split.test] == ["p2_0"]
    assert len(split.validation) == len(split.train) == 1


# ---------------------------------------------------------------- folds


def folds_of(make_config: Callable[..., Any], count: int, seed: int = 0, fold: Any = "all", **splits: Any) -> Any:
    return make_config(seed=seed, data={"fold": fold}, splits={"kind": "folds", "folds": count, **splits})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    owners=st.lists(st.integers(0, 12), min_size=3, max_size=40),
    shown=st.lists(st.sets(st.integers(0, 2)), min_size=13, max_size=13),
    count=st.integers(2, 5),
    seed=st.integers(0, 3),
)
def test_each_patient_is_tested_in_one_fold(
    make_config: Callable[..., Any], owners: list[int], shown: list[set[int]], count: int, seed: int
) -> None:
    assume(len(set(owners)) >= (4 if count == 2 else count))
    cases = [case(f"c{number}", f"p{owner}") for number, owner in enumerate(owners)]
    shows = {one.id: frozenset({0} | shown[int(one.patient[1:])]) for one in cases}
    config = folds_of(make_config, count, seed)

    folds = split_folds(config, cases, shows)

    everyone = {one.patient for one in cases}
    tested = [patients_of(fold.test) for fold in folds]
    assert len(folds) == count == fold_count(config)
    assert sorted(name for patients in tested for name in patients) == sorted(everyone), "each once"
    assert max(map(len, tested)) - min(map(len, tested)) <= 1
    for fold, patients in zip(folds, tested, strict=True):
        sides = [patients_of(side) for side in fold.sides().values()]
        assert all(sides) and not fold.leaks and not fold.unused
        assert sum(map(len, sides)) == len(set.union(*sides)) == len(everyone), "nobody on two sides, nobody lost"
        assert sorted(one.id for side in fold.sides().values() for one in side) == sorted(one.id for one in cases)
        rest = len(everyone) - len(patients)
        assert len(sides[1]) == min(rest - 1, max(1, round(0.2 * rest))), "splits.validation of the others"
    for index in (1, 2):  # two classes can always be spread; of three, each pair may be in each other's way
        carriers = {one.patient for one in cases if index in shows[one.id]}
        if len(carriers) >= count:
            assert all(carriers & patients for patients in tested)
    turned = split_folds(config, cases[::-1], dict(reversed(shows.items())))
    assert [{side: patients_of(members) for side, members in one.sides().items()} for one in turned] == [
        {side: patients_of(members) for side, members in one.sides().items()} for one in folds
    ], "the order of the cases is nothing"
    assert [split_cases(config, cases, shows, number) for number in range(count)] == list(folds)


def test_a_fold_is_chosen_by_number(make_config: Callable[..., Any]) -> None:
    cases = many(9)
    whole = split_folds(folds_of(make_config, 3), cases)
    assert split_cases(folds_of(make_config, 3, fold=2), cases) == whole[2]
    assert split_folds(folds_of(make_config, 3, fold=2), cases) == (whole[2],)
    assert split_cases(folds_of(make_config, 3), cases) == whole[0], "the first, where all are meant"
    assert split_cases(folds_of(make_config, 3, fold=2), cases, fold=1) == whole[1]
    assert split_folds(folds_of(make_config, 3, seed=1), cases) != whole
    with pytest.raises(ConfigError, match="fold 3 of 3"):
        split_cases(folds_of(make_config, 3, fold=3), cases)


@pytest.mark.parametrize(("patients", "count"), [(3, 2), (2, 3), (4, 5)])
def test_too_few_patients_for_the_folds(make_config: Callable[..., Any], patients: int, count: int) -> None:
    with pytest.raises(DataError, match=f"{patients} patients are too few: {count} folds") as fault:
        split_folds(folds_of(make_config, count), many(patients))
    split_folds(folds_of(make_config, count), many(patients + 1))
    assert "data.patient" in fault.value.remedy


def in_file(make_config: Callable[..., Any], section: dict[str, Any], **splits: Any) -> Any:
    return make_config(data={"fold": "all"}, splits={**section, **splits})


def test_all_folds_of_a_file(make_config: Callable[..., Any], write_folds: Callable[..., Any]) -> None:
    ids = [one.id for one in many(6, each=1)]
    section = write_folds([{"train": ids[2:5], "val": ids[:2]}, {"train": [*ids[:2], *ids[4:]], "val": ids[2:4]}])
    config = in_file(make_config, section)
    folds = split_folds(config, many(6, each=1))
    assert fold_count(config) == 2
    assert [[one.id for one in fold.test] for fold in folds] == [ids[:2], ids[2:4]]
    assert [[one.id for one in fold.unused] for fold in folds] == [[ids[5]], []]
    assert not is_given(config), "what one fold leaves out, another may use"
    assert is_given(make_config(splits=section))
    # What this project writes is read back as it was.
    again = in_file(make_config, write_folds([one for fold in folds for one in fold.as_json()]))
    assert split_folds(again, many(6, each=1)) == folds


def test_what_two_folds_test_is_refused(make_config: Callable[..., Any], write_folds: Callable[..., Any]) -> None:
    twice = write_folds([{"train": ["p0_0", "p1_0"], "val": ["p2_0", "p3_0"]},
                         {"train": ["p0_0", "p1_0"], "val": ["p3_0"]}])  # fmt: skip
    for leaks in (False, True):
        with pytest.raises(DataError, match="cases that more than one fold tests: p3_0"):
            split_folds(in_file(make_config, twice, allow_leakage=leaks), many(4))
    patients = write_folds([{"train": ["p0_0", "p1_0"], "val": ["p2_0", "p3_0"]},
                            {"train": ["p0_0", "p1_0"], "val": ["p3_1"]}])  # fmt: skip
    with pytest.raises(DataError, match="patients that more than one fold tests: p3") as fault:
        split_folds(in_file(make_config, patients), many(4))
    assert "choose one fold" in fault.value.remedy
    assert len(split_folds(in_file(make_config, patients, allow_leakage=True), many(4))) == 2
    split_cases(make_config(data={"fold": 1}, splits=twice), many(4))  # one fold alone is no trouble


def test_faults_of_all_folds_are_told_together(
    make_config: Callable[..., Any], write_folds: Callable[..., Any]
) -> None:
    section = write_folds([{"train": ["p0_0", "x"], "val": ["p2_0"]}, {"train": ["y"], "val": ["p3_0"]}])
    with pytest.raises(Faults) as fault:
        split_folds(in_file(make_config, section), many(4))
    told = ["names cases that the data lack: x", "names cases that the data lack: y"]
    assert [one.what for one in fault.value.faults] == told
