"""What is told of a divided dataset: few patients, unseen classes, every fold's leaks at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.commands.dataset import Dataset
from pipeline.commands.intake import Intake, divide, fingerprint
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.errors import ConfigError, DataError

Make = Callable[..., Any]


def facts_of(cases: Sequence[Case], shows: dict[str, tuple[int, ...]] | None = None) -> dict[str, CaseFacts]:
    """Facts as reading would give them: three classes, all shown unless `shows` says which."""
    found = {}
    for number, case in enumerate(cases):
        voxels = np.zeros(3, dtype=int)
        voxels[list((shows or {}).get(case.id, (0, 1, 2)))] = 5
        digest, thumbnail = number.to_bytes(16), np.full((8, 8), number, dtype=np.float32)
        found[case.id] = CaseFacts(
            case.id, (4, 4, 3), (1.0, 1.0, 1.0), "RAS", 2, 3, 0.0, 1.0, 0.5, voxels, voxels, voxels, digest,
            digest, thumbnail,
        )  # fmt: skip
    return found


@pytest.fixture
def divided(make_config: Make, make_case: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Intake]:
    """Divides so many patients by a config; what near copies are is another module's matter."""
    monkeypatch.setattr("pipeline.commands.intake.repeated_images", lambda config, split, facts: [])

    def make(patients: int, shows: Any = None, sides: Any = None, **sections: Any) -> Intake:
        cases = tuple(make_case(f"p{number}", f"p{number}") for number in range(patients))
        if sides:
            cases = tuple(replace(case, split=side) for case, side in zip(cases, sides, strict=True))
        config = make_config(**sections)
        return divide(Dataset(config, "tiny", cases, (), False), facts_of(cases, shows))

    return make


@pytest.mark.parametrize(
    ("patients", "told"),
    [
        (3, ["the network learns from 1 patient only", "the checkpoint is chosen on 1 patient only",
             "only 1 patient is tested: no interval can be given"]),
        (10, ["the checkpoint is chosen on 2 patients only", "only 2 patients are tested: intervals say little"]),
        (15, []),
    ],
)  # fmt: skip
def test_sides_of_few_patients_are_told(divided: Callable[..., Intake], patients: int, told: list[str]) -> None:
    assert sorted(divided(patients).warnings) == sorted(told)


def test_what_faulty_files_hide_is_no_fault_of_the_split(
    make_config: Make, make_case: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.commands.intake.repeated_images", lambda config, split, facts: [])
    sides = ["train"] * 6 + ["validation"] * 2 + ["test"] * 2
    cases = tuple(replace(make_case(f"p{number}", f"p{number}"), split=side) for number, side in enumerate(sides))
    dataset = Dataset(make_config(data={"layout": "hipmri"}, splits={"kind": "layout"}), "tiny", cases, (), False)
    facts = facts_of(cases, {"p6": (0,), "p7": (0,)})
    with pytest.raises(DataError, match="validation patients show no class"):
        divide(dataset, facts)
    del facts["p6"]
    assert "no validation case shows a, b" in divide(dataset, facts).warnings


def test_the_fingerprint_changes_with_any_image_label_or_name(make_case: Make) -> None:
    facts = facts_of([make_case(f"p{number}") for number in range(3)])
    first = fingerprint(facts)
    assert fingerprint(dict(reversed(facts.items()))) == first
    assert fingerprint({**facts, "p1": replace(facts["p1"], mean=9.0)}) == first
    others = [
        {**facts, "p1": replace(facts["p1"], digest=b"x")},
        {**facts, "p1": replace(facts["p1"], label_digest=b"x")},
    ]
    others += [{name: fact for name, fact in facts.items() if name != "p1"}, {**facts, "p9": facts["p1"]}]
    others.append({**facts, "p1": facts["p2"], "p2": facts["p1"]})
    assert len({first, *map(fingerprint, others)}) == 6


FOLDS = {"kind": "folds", "folds": 3, "validation": 0.4, "test": 0.2}


def test_all_folds_at_once(divided: Callable[..., Intake]) -> None:
    whole = divided(12, data={"fold": "all"}, splits=FOLDS)
    assert len(whole.folds) == 3 and whole.parts == whole.folds
    assert [fold.settings.data.fold for fold in whole.folds] == [0, 1, 2]
    assert whole.settings.data.fold == "all"
    assert sorted(case.id for case in whole.tested) == sorted(f"p{number}" for number in range(12))
    assert whole.split == whole.folds[0].split
    assert whole.split_json() == [one for fold in whole.folds for one in fold.split.as_json()]
    assert whole.warnings == () and whole.unused == ()
    alone = divided(12, data={"fold": 1}, splits=FOLDS)
    assert alone.folds == () and alone.parts == (alone,)
    assert alone.split == whole.folds[1].split and alone.tested == alone.split.test
    assert alone.fingerprint == whole.fingerprint


def test_a_warning_of_every_fold_is_told_once_and_of_some_with_their_numbers(
    divided: Callable[..., Intake],
) -> None:
    # Class 2 in two patients: one fold tests neither, and in no fold do both sides besides have one.
    shows = {f"p{number}": (0, 1) for number in range(2, 9)}
    whole = divided(9, shows, data={"fold": "all"}, splits={**FOLDS, "validation": 0.3})
    assert whole.warnings.count("the checkpoint is chosen on 2 patients only") == 1
    lacking = [
        number for number, fold in enumerate(whole.folds) if not {"p0", "p1"} & {case.id for case in fold.split.test}
    ]
    assert len(lacking) == 1
    assert f"fold {lacking[0]}: no test case shows b" in whole.warnings
    assert "2 patients are tested" not in " ".join(whole.warnings), "nine are, the folds together"


def test_few_patients_in_all_folds_together(divided: Callable[..., Intake]) -> None:
    whole = divided(4, data={"fold": "all"}, splits={**FOLDS, "folds": 2})
    assert not [one for one in whole.warnings if "tested" in one], "four"


def test_faults_of_every_fold_are_told_once(divided: Callable[..., Intake], monkeypatch: pytest.MonkeyPatch) -> None:
    def leaks(config: Any, split: Any, facts: Any) -> list[str]:
        raise DataError("the same image twice", where="here")

    monkeypatch.setattr("pipeline.commands.intake.repeated_images", leaks)
    with pytest.raises(DataError, match="the same image twice"):
        divided(12, data={"fold": "all"}, splits=FOLDS)


def test_the_case_to_show_may_be_tested_in_any_fold(divided: Callable[..., Intake]) -> None:
    for number in range(12):
        divided(12, data={"fold": "all"}, splits=FOLDS, report={"case": f"p{number}"})
    with pytest.raises(ConfigError, match="no test case"):
        divided(12, data={"fold": "all"}, splits=FOLDS, report={"case": "p99"})
    alone = divided(12, data={"fold": 0}, splits=FOLDS)
    with pytest.raises(ConfigError, match="no test case"):
        divided(12, data={"fold": 0}, splits=FOLDS, report={"case": alone.split.train[0].id})


def test_a_layouts_test_cases_that_are_split_anew_are_told(divided: Callable[..., Intake]) -> None:
    sides = ["train"] * 12 + ["test"] * 3
    data = {"layout": "nnunet"}
    told = "the 3 cases that the layout puts on its test side are split like all others"
    assert [one for one in divided(15, sides=sides, data=data).warnings if told in one]
    given = divided(15, sides=sides, data=data, splits={"kind": "layout"})
    assert not [one for one in given.warnings if told in one]


@pytest.mark.parametrize(
    ("flat", "scan", "told"),
    [
        (True, None, "each of the 12 slices of 6 patients counts as a scan of its own"),
        (False, None, ""),  # a volume is a scan
        (True, "pooled", ""),
        (False, "pooled", "6 volumes share a scan with another one"),
    ],
)
def test_what_counts_as_a_scan_is_told(
    make_config: Make, make_case: Make, monkeypatch: pytest.MonkeyPatch, flat: bool, scan: str | None, told: str
) -> None:
    monkeypatch.setattr("pipeline.commands.intake.repeated_images", lambda config, split, facts: [])
    names = [f"p{number}_{part}" for number in range(6) for part in range(2)]
    cases = tuple(make_case(name, name[:2], name[:2] if scan else name) for name in names)
    facts = {name: replace(fact, slices=1 if flat else 3) for name, fact in facts_of(cases).items()}
    warnings = divide(Dataset(make_config(), "tiny", cases, (), False), facts).warnings
    found = [one for one in warnings if "scan" in one]
    assert (len(found) == 1 and told in found[0]) if told else found == []


def test_both_doubts_are_among_the_warnings(
    make_config: Make, make_case: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.commands.intake.repeated_images", lambda config, split, facts: [])
    config = make_config(data={"patient": None})
    files = [f"q{number // 2}/{number}.nii" for number in range(12)]
    cases = tuple(
        make_case(name.replace("/", "_"), name, image=tmp_path / "images" / name, label=tmp_path / "labels" / name)
        for name in files
    )
    facts = facts_of(cases)
    for name in list(facts)[:2]:
        facts[name] = replace(facts[name], voxels=np.array([1, 99, 99]), label_digest=b"same")
    warnings = divide(Dataset(config, "tiny", cases, (), False), facts).warnings
    assert f"two patients have the same mask: {tmp_path}/labels/q0/0.nii and {tmp_path}/labels/q0/1.nii" in warnings
    assert [one for one in warnings if one.startswith("images/q0 holds 2 files, which count as 2 patients, and 5 more")]


def test_a_file_that_leaves_cases_out_of_every_fold(divided: Callable[..., Intake], tmp_path: Path) -> None:
    import json

    folds = [{"train": ["p0", "p1", "p4"], "val": ["p2"]}, {"train": ["p0", "p2", "p3"], "val": ["p1"]}]
    (tmp_path / "folds.json").write_text(json.dumps(folds))
    splits = {"kind": "file", "file": "folds.json"}
    whole = divided(6, data={"fold": "all"}, splits=splits)
    assert [case.id for case in whole.unused] == ["p5"]
    assert [case.id for case in whole.tested] == ["p2", "p1"]
    assert "only 2 patients are tested: intervals say little" in whole.warnings
