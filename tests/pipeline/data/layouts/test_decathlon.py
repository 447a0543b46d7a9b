"""The Decathlon's tasks: what dataset.json lists, and files that are not as it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.layouts import find_cases
from pipeline.errors import Fault

Touch = Callable[[Path, Iterable[str]], None]
FaultsIn = Callable[..., list[Fault]]


def description(*names: str, **changes: Any) -> dict[str, Any]:
    """A dataset.json that lists cases; a key changed to None is left out."""
    pairs = [{"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"} for name in names]
    whole = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a", "2": "b"}, "training": pairs,
             "test": ["./imagesTs/z.nii.gz"], **changes}  # fmt: skip
    return {key: value for key, value in whole.items() if value is not None}


@pytest.fixture
def task(root: Path, touch: Touch, write_json: Callable[..., Path]) -> Callable[..., Path]:
    """A function that makes a task with files and its dataset.json, whose path it gives back."""

    def make(*names: str, **changes: Any) -> Path:
        for side in ("imagesTr", "labelsTr"):
            touch(root / side, [f"{name}.nii.gz" for name in names])
        return write_json(description(*names, **changes))

    return make


def test_a_task(root: Path, task: Callable[..., Path], config_of: Callable[..., Any]) -> None:
    task("x_002", "x_001 [é]")
    cases = find_cases(config_of("decathlon"))
    assert [(case.id, case.patient, case.scan, case.slice, case.split, case.channels) for case in cases] == [
        (name, name, name, None, None, 1) for name in ("x_001 [é]", "x_002")
    ]
    assert cases[1].image == root / "imagesTr" / "x_002.nii.gz"
    assert cases[1].label == root / "labelsTr" / "x_002.nii.gz"


def test_several_modalities_are_in_one_file(task: Callable[..., Path], config_of: Callable[..., Any]) -> None:
    task("x", modality={"1": "ADC", "0": "T2"})
    (case,) = find_cases(config_of("decathlon"))
    assert (case.channels_in_file, case.channels, case.further) == (2, 2, ())


def test_pairs_are_those_that_are_listed(
    root: Path, touch: Touch, write_json: Callable[..., Path], config_of: Callable[..., Any]
) -> None:
    touch(root, ["one.nii", "two.nii", "deep/masks/a.nii", "b.nii", "unlisted.nii"])
    pairs = [{"image": "one.nii", "label": "b.nii"}, {"image": "two.nii", "label": "deep/masks/a.nii"}]
    write_json(description(training=pairs))
    assert [(case.id, case.label) for case in find_cases(config_of("decathlon"))] == [
        ("one", root / "b.nii"), ("two", root / "deep/masks/a.nii"),
    ]  # fmt: skip


def test_the_validation_cases_of_a_list_are_cases(task: Callable[..., Path], config_of: Callable[..., Any]) -> None:
    whole = description("x", "y")["training"]
    task("x", "y", training=whole[:1], validation=whole[1:])
    assert [(case.id, case.split) for case in find_cases(config_of("decathlon"))] == [("x", None), ("y", None)]


def test_the_hidden_files_of_macos_are_passed_over(task: Callable[..., Path], config_of: Callable[..., Any]) -> None:
    hidden = {"image": "./imagesTr/._x.nii.gz", "label": "./labelsTr/._x.nii.gz"}
    task("x", training=[hidden, *description("x")["training"]])
    assert [case.id for case in find_cases(config_of("decathlon"))] == ["x"]


def test_everything_wrong_with_the_files_is_told_at_once(
    root: Path, task: Callable[..., Path], touch: Touch, faults_in: FaultsIn
) -> None:
    task("a", "b", "c", "d")
    (root / "labelsTr" / "a.nii.gz").unlink()
    touch(root.parent, ["secret.nii"])
    more = [
        {"image": "imagesTr/b.nii.gz", "label": "./labelsTr/c.nii.gz"},
        {"image": "../secret.nii", "label": str(root / "labelsTr/d.nii.gz")},
        {"image": "imagesTr/../../secret.nii", "label": "imagesTr"},
    ]
    task("b", "c", "d", training=[*description("a", "b", "c")["training"], *more],
         labels={"0": "background", "1": "b", "2": "a"})  # fmt: skip
    classes, outside, repeated, missing = faults_in("decathlon")
    assert classes.remedy == "Write data.classes: [background, b, a]"
    assert outside.what == (
        f"lists files outside of its own folder: ../secret.nii, {root / 'labelsTr/d.nii.gz'}, imagesTr/../../secret.nii"
    )
    assert repeated.what == "lists files more than once: imagesTr/b.nii.gz, labelsTr/c.nii.gz"
    assert missing.what == "lists 2 files that are not there: ./labelsTr/a.nii.gz, imagesTr"


def test_an_image_that_is_its_own_label(task: Callable[..., Path], faults_in: FaultsIn) -> None:
    task("a", training=[{"image": "imagesTr/a.nii.gz", "label": "imagesTr/a.nii.gz"}])
    (fault,) = faults_in("decathlon")
    assert fault.what == "lists files more than once: imagesTr/a.nii.gz"


def test_a_file_is_listed_once_under_whatever_name(root: Path, task: Callable[..., Path], faults_in: FaultsIn) -> None:
    (root / "again").symlink_to("labelsTr")
    for label in ("labelsTr/a.nii.gz", "./labelsTr/a.nii.gz", "labelsTr/./a.nii.gz"):
        task("a", "b", training=[*description("a")["training"], {"image": "imagesTr/b.nii.gz", "label": label}])
        (fault,) = faults_in("decathlon")
        assert fault.what == "lists files more than once: labelsTr/a.nii.gz"
    pair = {"image": "imagesTr/b.nii.gz", "label": "again/a.nii.gz"}
    task("a", "b", training=[*description("a")["training"], pair])
    (fault,) = faults_in("decathlon")
    assert fault.what == "lists files more than once: labelsTr/a.nii.gz as again/a.nii.gz"


def test_images_of_one_name_in_two_folders(
    root: Path, touch: Touch, write_json: Callable[..., Path], faults_in: FaultsIn
) -> None:
    touch(root, ["p1/t1.nii", "p1/m.nii", "p2/t1.nii", "p2/m.nii"])
    write_json(description(training=[{"image": f"{p}/t1.nii", "label": f"{p}/m.nii"} for p in ("p1", "p2")]))
    (fault,) = faults_in("decathlon")
    assert "more than once: t1 (" in fault.what


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"modality": None, "labels": None}, "lacks modality, labels"),
        ({"training": None}, "lacks training"),
        ({"training": None, "channel_names": {"0": "MRI"}}, "a dataset.json of nnU-Net"),
        ({"modality": "MRI"}, "'modality' is 'MRI'"),
        ({"modality": {}}, "'modality' is {}"),
        ({"modality": {"0": "T1", "2": "T2"}}, "'modality' is {'0': 'T1', '2': 'T2'}"),
        ({"labels": ["background", "a"]}, "'labels' is ['background', 'a']"),
        ({"labels": {"0": "background", "01": "a"}}, "not names of whole numbers: '01': 'a'"),
        ({"labels": {"0": "background", "2": "a"}}, "the values 0, 2;"),
        ({"labels": {"background": "0", "a": "1"}}, "not names of whole numbers: 'background': '0'"),
        ({"training": {}}, "'training' is no list"),
        ({"validation": 5}, "'validation' is no list"),
        (
            {"training": ["x", {"image": "a"}, {"image": "a", "label": 5}, {"image": "", "label": "b"}, 7]},
            "5 entries of 'training' do not name one image and one label (counted from 0: 0, 1, 2, 3, 4)",
        ),
        ({"training": [5] * 30}, "30 entries"),
        ({"training": []}, "no NIfTI file in it"),
        ({"training": [{"image": "a\0b", "label": "x" * 5000}]}, "lists 2 files that are not there"),
    ],
)
def test_a_description_that_is_not_read(
    root: Path, task: Callable[..., Path], faults_in: FaultsIn, changes: dict[str, Any], told: str
) -> None:
    task("x", **changes)
    (fault,) = faults_in("decathlon")
    assert told in fault.what
    assert fault.where in (str(root / "dataset.json"), str(root))
    assert fault.remedy


def test_several_wrong_keys_are_told_together(task: Callable[..., Path], faults_in: FaultsIn) -> None:
    task("x", modality=5, labels=5, training=5)
    assert len(faults_in("decathlon")) == 3


def test_no_description(root: Path, faults_in: FaultsIn) -> None:
    (fault,) = faults_in("decathlon")
    assert fault.where == str(root / "dataset.json")
    assert '"training": [' in fault.remedy


def test_files_of_nnunets_first_version_are_recognised(
    root: Path, touch: Touch, write_json: Callable[..., Path], faults_in: FaultsIn, config_of: Callable[..., Any]
) -> None:
    touch(root / "imagesTr", ["x_0000.nii.gz"])
    touch(root / "labelsTr", ["x.nii.gz"])
    path = write_json(description("x"))
    (fault,) = faults_in("decathlon")
    assert "data.layout: nnunet" in fault.remedy
    path.write_text(fault.remedy.split("write ", 1)[1])  # as the remedy says
    assert [case.id for case in find_cases(config_of("nnunet"))] == ["x"]
