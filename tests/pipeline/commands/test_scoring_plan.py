"""What the arguments of bin/evaluate mean."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.commands.scoring_plan import Plan, plan_from
from pipeline.errors import ConfigError, DataError, Fault, Faults


def plan(**given: Any) -> Plan:
    names = ("run", "config", "classes", "dataset_json", "label_map", "prediction_map", "tolerance", "case", "patient",
             "scan")  # fmt: skip
    return plan_from(argparse.Namespace(**{**dict.fromkeys(names), "ignore_affine": False, **given}))


def test_nothing_given() -> None:
    found = plan()
    assert (found.classes, found.rules.classes, found.rules.tolerance) == (None, None, 2.0)
    assert found.rules.knows_spacing


def test_classes_by_name() -> None:
    found = plan(classes="background, left lung,tumour", tolerance=0.0, patient="^(.)")
    assert found.classes == ("background", "left lung", "tumour")
    assert (found.rules.classes, found.rules.tolerance, found.naming.patient) == (3, 0.0, "^(.)")


def test_maps() -> None:
    found = plan(label_map="4=3, 5=0", prediction_map="1=2").rules
    assert found.labels.label_map == ((4, 3), (5, 0))
    assert found.predictions.label_map == ((1, 2),)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"classes": "a,,b"}, "--classes"),
        ({"classes": "a,b,a"}, "--classes"),
        ({"classes": "a"}, "--classes"),
        ({"classes": "a,b..c"}, "--classes.*'b..c'"),
        ({"classes": "a,b/c"}, "--classes.*'b/c'"),
        ({"classes": ",".join(map(str, range(256)))}, "--classes.*256 classes, expected 2 to 255"),
        ({"label_map": "4:3"}, "--label-map"),
        ({"label_map": "4=3,4=2"}, "--label-map"),
        ({"prediction_map": "-1=3"}, "--prediction-map"),
        ({"tolerance": -1.0}, "--tolerance"),
        ({"tolerance": float("nan")}, "--tolerance"),
        ({"tolerance": float("inf")}, "--tolerance"),
        ({"patient": "p1"}, "--patient"),
        ({"scan": "(p"}, "not a regular expression"),
    ],
)
def test_what_is_wrong(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(**given)


def test_all_faults_at_once() -> None:
    with pytest.raises(Faults) as caught:
        plan(classes="a", tolerance=-1.0, patient="x", scan="y")
    assert len(caught.value.faults) == 4


@pytest.mark.parametrize(
    "labels", [{"background": 0, "bone": 1, "rectum": 2}, {"0": "background", "2": "rectum", "1": "bone"}]
)
def test_a_dataset_json_of_either_form(tmp_path: Path, labels: dict[str, Any]) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": labels}))
    assert plan(dataset_json=path).classes == ("background", "bone", "rectum")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no 'labels'"),
        ({"labels": {"background": 0, "whole": [1, 2], "ignore": 3}}, "ignored: ignore, whole"),
        ({"labels": {"background": 0, "bone": 2}}, "without a gap"),
        ({"labels": {"background": 0, "bone": "x"}}, "not names of whole numbers"),
        ({"labels": {"0": "background", "1": "organ", "2": "organ"}}, "named twice: 'organ'"),
        ({"labels": {"background": 0, "../bone": 1}}, "no file name: '../bone'"),
        ({"labels": {"background": 0, "a/b": 1}}, "no file name: 'a/b'"),
        ({"labels": {"background": 0, "x" * 101: 1}}, "100 bytes at most"),
        ({"labels": {"background": 0, "x\ud800": 1}}, "no file name"),
        ({"labels": {f"c{value}": value for value in range(256)}}, "256 classes, expected 2 to 255"),
    ],
)
def test_a_dataset_json_that_names_no_classes(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=words) as caught:
        plan(dataset_json=path)
    assert str(path) in str(caught.value)


def test_a_dataset_json_of_as_many_classes_as_there_may_be(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"labels": {f"{'x' * 97}{value:03}": value for value in range(255)}}))
    found = plan(dataset_json=path).classes
    assert found is not None and len(found) == 255


def test_a_dataset_json_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="cannot be read"):
        plan(dataset_json=tmp_path / "dataset.json")


def test_a_config_gives_its_rules(make_config: Callable[..., Any]) -> None:
    config = make_config(
        data={"label_map": {4: 2}, "scan": "_(s.)", "affine_tolerance": 0.5, "max_voxels": 1000},
        evaluation={"tolerance_mm": 1.5, "resamples": 300, "confidence": 0.9}, seed=7,
    )  # fmt: skip
    found = plan(config=config.path)
    assert found.classes == ("background", "a", "b")
    assert found.rules.labels.label_map == ((4, 2),)
    assert found.rules.predictions.label_map == ()
    assert found.rules.predictions.max_voxels == 1000
    assert (found.rules.tolerance, found.rules.affine_tolerance, found.rules.knows_spacing) == (1.5, 0.5, True)
    assert (found.naming.patient, found.naming.scan, found.naming.hipmri) == (r"^(p\d+)", "_(s.)", False)
    assert (found.resamples, found.confidence, found.seed) == (300, 0.9, 7)
    own = plan(config=config.path, tolerance=3.0, label_map="1=2", patient="(x)", ignore_affine=True)
    assert (own.rules.tolerance, own.rules.labels.label_map, own.naming.patient) == (3.0, ((1, 2),), "(x)")
    assert own.rules.labels.ignore_affine
    assert own.rules.predictions.ignore_affine
    assert not own.rules.knows_spacing


def test_what_a_run_predicts_is_not_its_dataset(
    tmp_path: Path, make_config: Callable[..., Any], write_nifti: Callable[..., Path]
) -> None:
    for side in ("images", "labels"):
        write_nifti(tmp_path / side / "p1/a.nii.gz", np.zeros((2, 2), np.uint8))
    config = make_config(data={"images": "images", "labels": "labels", "patient": "^([^/_]+)"}).path
    assert plan(config=config).naming.identity("p1_a") == ("p1_a", "p1", "p1_a")
    of_run = plan(config=config, run=[tmp_path / "run"]).naming
    assert (of_run.known, of_run.unknown) == ({}, "")


def test_hipmri_names_say_all(make_config: Callable[..., Any]) -> None:
    found = plan(config=make_config(data={"layout": "hipmri", "patient": None}).path)
    assert found.naming.hipmri
    assert not found.rules.knows_spacing
