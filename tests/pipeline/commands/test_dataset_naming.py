"""Whose masks are, by the dataset of a config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.commands.dataset_naming import with_dataset
from pipeline.evaluation.pairing import Naming

Config = Callable[..., Any]
FLAT = ("p01_week1", "p01_week2", "p02_week1")
OF_FOLDERS = {"images": "images", "labels": "labels"}


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """Images and labels in folders of patients; empty files, since none is read."""
    for name in ("p01/week1", "p01/week2", "p02/week1"):
        for side in ("images", "labels"):
            path = tmp_path / side / f"{name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path


def named(make_config: Config, data: dict[str, Any], **given: str) -> Naming:
    """With what `plan_from` makes of a config and of the command line."""
    config = make_config(data=data)
    settings = config.settings.data
    own = Naming(patient=settings.patient, scan=settings.scan, hipmri=settings.layout == "hipmri")
    found = with_dataset(own, config, given)
    return Naming(**{**vars(found), **given})


def told(naming: Naming) -> list[tuple[str, str, str] | None]:
    return [naming.identity(name) for name in FLAT]


@pytest.mark.parametrize(
    ("patient", "scan", "given", "expected"),
    [
        ("^([^/]+)/", None, {}, [("p01", "p01_week1"), ("p01", "p01_week2"), ("p02", "p02_week1")]),
        ("^([^/]+)", "/(week.)", {}, [("p01", "week1"), ("p01", "week2"), ("p02", "week1")]),
        (None, "/(week.)", {}, [("week1", "week1"), ("week2", "week2"), ("week1", "week1")]),
        ("^([^/]+)/", "/(week.)", {"patient": "(.)_"}, [("1", "week1"), ("1", "week2"), ("2", "week1")]),
        ("^([^/]+)/", None, {"scan": "^(..)"}, [("p01", "p0"), ("p01", "p0"), ("p02", "p0")]),
        (None, "/(week.)", {"scan": "^(...)"}, [("p01", "p01"), ("p01", "p01"), ("p02", "p02")]),
    ],
)
def test_folders(
    nested: Path, make_config: Config, patient: str | None, scan: str | None, given: dict[str, str],
    expected: list[tuple[str, str]],
) -> None:  # fmt: skip
    naming = named(make_config, {**OF_FOLDERS, "patient": patient, "scan": scan}, **given)
    assert told(naming) == [(name, *of) for name, of in zip(FLAT, expected, strict=True)]


def test_an_expression_that_finds_nothing_is_not_passed_over(nested: Path, make_config: Config) -> None:
    naming = named(make_config, {**OF_FOLDERS, "patient": "^([^/]+)/"}, patient="(p02)")
    assert told(naming) == [None, None, ("p02_week1", "p02", "p02_week1")]


def test_a_table_says_it_in_columns(nested: Path, make_config: Config) -> None:
    lines = [f"images/{name[:3]}/{name[4:]}.nii.gz,labels/{name[:3]}/{name[4:]}.nii.gz,{name},{of},{scan}"
             for name, of, scan in zip(FLAT, ("ann", "bob", "ann"), ("s1", "s2", "s3"), strict=True)]  # fmt: skip
    (nested / "cases.csv").write_text("\n".join(["image,label,id,patient,scan", *lines]) + "\n")
    naming = named(make_config, {"layout": "table", "table": "cases.csv", "patient": None})
    assert told(naming) == [
        ("p01_week1", "ann", "s1"), ("p01_week2", "bob", "s2"), ("p02_week1", "ann", "s3"),
    ]  # fmt: skip
    assert naming.identity("new") == ("new", "new", "new")


def test_faulty_cases_keep_the_others_known(nested: Path, make_config: Config) -> None:
    (nested / "labels/p01/week2.nii.gz").unlink()
    naming = named(make_config, {**OF_FOLDERS, "patient": "^([^/]+)/"})
    assert [one is None for one in told(naming)] == [False, True, False]
    assert "not of the config's dataset" in naming.unknown


@pytest.mark.parametrize("patient", ["^([^/]+)/", "^([^/]+)"])
def test_where_the_dataset_is_not_there(make_config: Config, patient: str) -> None:
    naming = named(make_config, {**OF_FOLDERS, "patient": patient})
    assert told(naming) == [None] * 3  # not each a patient of its own, as the second would find
    assert "data.patient of the config" in naming.unknown
    assert "no such folder" in naming.unknown
    assert "--patient REGEX" in naming.unknown
    by_name = named(make_config, {**OF_FOLDERS, "patient": patient}, patient="^(...)")
    assert by_name.unknown == ""
    assert told(by_name)[1] == ("p01_week2", "p01", "p01_week2")


def test_expressions_that_speak_of_names_are_tried_on_names(make_config: Config) -> None:
    naming = named(make_config, {**OF_FOLDERS, "patient": r"^(p\d+)"})
    assert told(naming)[0] == ("p01_week1", "p01", "p01_week1")
    assert naming.unknown == ""


@pytest.mark.parametrize("data", [{"layout": "hipmri", "patient": None}, {"layout": "nnunet"}, {"patient": None}])
def test_nothing_is_looked_for_where_names_say_all(
    make_config: Config, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any]
) -> None:
    monkeypatch.setattr("pipeline.commands.dataset_naming.look_for_cases", None)
    assert named(make_config, data).known == {}
