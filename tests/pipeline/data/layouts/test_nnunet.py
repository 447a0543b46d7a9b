"""nnU-Net's raw datasets: what dataset.json says, what the folders hold, and where the two differ."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.load import Config
from pipeline.data.layouts import find_cases, nnunet
from pipeline.errors import ConfigError, Fault

Touch = Callable[[Path, Iterable[str]], None]
Make = Callable[..., None]
FaultsIn = Callable[..., list[Fault]]


def description(**changes: Any) -> dict[str, Any]:
    """A dataset.json for two cases of one channel; a key changed to None is left out."""
    whole = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b": 2}, "numTraining": 2,
             "file_ending": ".nii.gz", **changes}  # fmt: skip
    return {key: value for key, value in whole.items() if value is not None}


@pytest.fixture
def dataset(root: Path, touch: Touch, write_json: Callable[..., Path]) -> Make:
    """A function that makes a dataset: cases of training and test by name, with so many channels."""

    def make(
        train: Iterable[str] = ("x_001", "x_002"), test: Iterable[str] = (), channels: int = 1, **more: Any
    ) -> None:
        for side, names in (("Tr", train), ("Ts", test)):
            if names:
                touch(root / f"images{side}", [f"{name}_{n:04d}.nii.gz" for name in names for n in range(channels)])
                touch(root / f"labels{side}", [f"{name}.nii.gz" for name in names])
        if channels > 1:
            more = {"channel_names": {str(n): f"T{n}" for n in range(channels)}, **more}
        write_json(description(**more))

    return make


def test_one_channel(root: Path, dataset: Make, config_of: Callable[..., Any]) -> None:
    dataset(["b [1] é", "a_0000"])
    cases = find_cases(config_of("nnunet"))
    assert [(case.id, case.patient, case.scan, case.slice, case.split, case.channels) for case in cases] == [
        (name, name, name, None, None, 1) for name in ("a_0000", "b [1] é")
    ]
    assert cases[0].images == (root / "imagesTr" / "a_0000_0000.nii.gz",)
    assert cases[0].label == root / "labelsTr" / "a_0000.nii.gz"


def test_channels_are_in_their_order(root: Path, dataset: Make, config_of: Callable[..., Any]) -> None:
    dataset(["a", "b"], channels=11)
    cases = find_cases(config_of("nnunet"))
    assert [case.id for case in cases] == ["a", "b"]
    assert cases[1].images == tuple(root / "imagesTr" / f"b_{n:04d}.nii.gz" for n in range(11))
    assert (cases[1].channels, cases[1].channels_in_file) == (11, 1)


APART, TOGETHER = "Mu\u0308ller", "M\u00fcller"


@pytest.mark.parametrize(("image", "label"), [(APART, TOGETHER), (TOGETHER, APART)])
def test_names_of_two_unicode_forms_pair(
    root: Path, dataset: Make, touch: Touch, config_of: Callable[..., Any], image: str, label: str
) -> None:
    dataset([], numTraining=1)
    touch(root / "imagesTr", [f"{image}_0000.nii.gz"])
    touch(root / "labelsTr", [f"{label}.nii.gz"])
    (case,) = find_cases(config_of("nnunet"))
    assert (case.id, case.patient) == (TOGETHER, TOGETHER)
    assert (case.image.name, case.label and case.label.name) == (f"{image}_0000.nii.gz", f"{label}.nii.gz")


def test_two_files_of_two_unicode_forms(root: Path, dataset: Make, touch: Touch, faults_in: FaultsIn) -> None:
    dataset([APART], numTraining=1)
    if (root / "imagesTr" / f"{TOGETHER}_0000.nii.gz").exists():
        pytest.skip("this file system knows one form")
    touch(root / "imagesTr", [f"{TOGETHER}_0000.nii.gz"])
    (fault,) = faults_in("nnunet")
    assert fault.what == (
        "file names that differ in their Unicode form alone: 'Mu\\u0308ller_0000.nii.gz' and 'M\\xfcller_0000.nii.gz'"
    )


def test_patients_by_expression(dataset: Make, config_of: Callable[..., Any]) -> None:
    dataset(["p1_s1", "p1_s2"])
    assert [case.patient for case in find_cases(config_of("nnunet", patient=r"^(p\d)"))] == ["p1", "p1"]


def test_labelled_test_cases_are_the_split(dataset: Make, config_of: Callable[..., Any]) -> None:
    dataset(test=["y_1"])
    splits = {case.id: case.split for case in find_cases(config_of("nnunet", "layout"))}
    assert splits == {"x_001": "train", "x_002": "train", "y_1": "test"}


def test_test_images_without_labels_are_no_cases(
    root: Path, dataset: Make, touch: Touch, config_of: Callable[..., Any], faults_in: FaultsIn
) -> None:
    dataset()
    touch(root / "imagesTs", ["y_1_0000.nii.gz"])
    assert len(find_cases(config_of("nnunet"))) == 2
    touch(root / "labelsTs", [".gitkeep"])
    assert [(case.id, case.split) for case in find_cases(config_of("nnunet"))] == [("x_001", None), ("x_002", None)]
    (fault,) = faults_in("nnunet", kind="layout")
    assert isinstance(fault, ConfigError)
    assert fault.where.endswith("splits")
    assert "splits_final.json" in fault.remedy
    touch(root / "labelsTs", ["y_2.nii.gz"])
    assert sorted(fault.what for fault in faults_in("nnunet", kind="layout")) == [
        f"1 images without a label in {root / 'labelsTs'}: y_1_0000.nii.gz",
        f"1 labels without an image in {root / 'imagesTs'}: y_2.nii.gz",
    ]


def test_one_name_in_training_and_test(dataset: Make, faults_in: FaultsIn) -> None:
    dataset(test=["x_001"])
    (fault,) = faults_in("nnunet")
    assert "more than once: x_001 (" in fault.what


def test_everything_wrong_with_the_files_is_told_at_once(
    root: Path, dataset: Make, touch: Touch, faults_in: FaultsIn
) -> None:
    dataset(["a", "b"], channels=2, numTraining=5)
    (root / "imagesTr" / "a_0001.nii.gz").unlink()
    touch(root / "imagesTr", ["b_0002.nii.gz", "c_0001.nii.gz", "c.nii.gz", "d_000.nii.gz", "e_0000.nii"])
    touch(root / "labelsTr", ["f.nii.gz", "g.nii"])
    assert sorted((Path(fault.where).name, fault.what) for fault in faults_in("nnunet")) == [
        ("dataset.json", "'numTraining' is 5, but there are 4 cases in imagesTr and labelsTr"),
        ("imagesTr", f"1 images without a label in {root / 'labelsTr'}: c_0001.nii.gz"),
        ("imagesTr", "2 files of channels are missing: a_0001.nii.gz, c_0000.nii.gz"),
        ("imagesTr", "files of channels that dataset.json does not name (2 in 'channel_names'): b_0002.nii.gz"),
        ("imagesTr", "files that do not end in .nii.gz, as dataset.json has it: e_0000.nii"),
        ("imagesTr", "names without a channel: c.nii.gz, d_000.nii.gz"),
        ("labelsTr", f"1 labels without an image in {root / 'imagesTr'}: f.nii.gz"),
        ("labelsTr", "files that do not end in .nii.gz, as dataset.json has it: g.nii"),
    ]


def test_missing_folders_are_told_with_wrong_classes(
    root: Path, write_json: Callable[..., Path], faults_in: FaultsIn
) -> None:
    write_json(description(labels={"background": 0, "b": 1, "a": 2}, numTraining=0))
    classes, images, labels = faults_in("nnunet")
    assert classes.remedy == "Write data.classes: [background, b, a]"
    assert (images.where, labels.where) == (str(root / "imagesTr"), str(root / "labelsTr"))


def test_files_that_end_in_nii(
    root: Path, touch: Touch, write_json: Callable[..., Path], config_of: Callable[..., Any]
) -> None:
    touch(root / "imagesTr", ["a_0000.nii"])
    touch(root / "labelsTr", ["a.nii"])
    write_json(description(file_ending=".nii", numTraining=1))
    assert [case.id for case in find_cases(config_of("nnunet"))] == ["a"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"file_ending": ".png"}, "'file_ending' is '.png'"),
        ({"file_ending": 5}, "'file_ending' is 5"),
        ({"channel_names": {}}, "'channel_names' is {}"),
        ({"channel_names": ["MRI"]}, "'channel_names' is ['MRI']"),
        ({"channel_names": {"1": "MRI"}}, "'channel_names' is {'1': 'MRI'}"),
        ({"labels": ["background", "a"]}, "'labels' is ['background', 'a']"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": [2]}}, "made of regions: core, whole"),
        ({"labels": {"background": 0, "a": 1, "ignore": 2}}, "an 'ignore' label"),
        ({"labels": {"background": 0, "a": "1"}}, "not names of whole numbers: '1': 'a'"),
        ({"labels": {"background": 0, "a": {}}}, "not names of whole numbers: {}: 'a'"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "the values 0, 1, 1;"),
        ({"labels": {"background": 0, "b": 2}}, "the values 0, 2;"),
        ({"numTraining": 3}, "'numTraining' is 3, but there are 2"),
        ({"numTraining": "2"}, "'numTraining' is '2'"),
        ({"numTraining": None}, "lacks numTraining"),
        ({"labels": None, "file_ending": None}, "lacks labels, file_ending"),
        ({"dataset": {"a": {"images": ["x"], "label": "y"}}}, "'dataset' lists files of its own"),
    ],
)
def test_a_description_that_is_not_read(
    root: Path, dataset: Make, faults_in: FaultsIn, changes: dict[str, Any], told: str
) -> None:
    dataset(**changes)
    (fault,) = faults_in("nnunet")
    assert told in fault.what
    assert fault.where == str(root / "dataset.json")
    assert fault.remedy


def test_several_wrong_keys_are_told_together(dataset: Make, faults_in: FaultsIn) -> None:
    dataset(channel_names=[], file_ending=".mha", labels={"background": 0, "r": [1, 2], "ignore": 1})
    assert len(faults_in("nnunet")) == 4


def test_no_description_says_what_to_write(root: Path, faults_in: FaultsIn) -> None:
    (fault,) = faults_in("nnunet")
    assert fault.where == str(root / "dataset.json")
    written = json.loads(fault.remedy.removeprefix("Write one, such as "))
    assert set(written) == set(description())


@pytest.mark.parametrize("text", ["", "[]", "{" * 9, "[" * 100_000, '{"labels": NaN'])
def test_a_damaged_description(write_json: Callable[..., Path], faults_in: FaultsIn, text: str) -> None:
    path = write_json(text)
    (fault,) = faults_in("nnunet")
    assert fault.where == str(path)


VERSION_1 = {
    "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "a", "2": "b"}, "numTraining": 2,
    "training": [{"image": f"./imagesTr/x_00{n}.nii.gz", "label": f"./labelsTr/x_00{n}.nii.gz"} for n in (1, 2)],
}  # fmt: skip


def test_the_first_version_is_told_apart(
    root: Path, dataset: Make, touch: Touch, write_json: Callable[..., Path], config_of: Callable[..., Any],
    faults_in: FaultsIn,
) -> None:  # fmt: skip
    dataset()
    path = write_json(VERSION_1)
    (fault,) = faults_in("nnunet")
    assert "first version" in fault.what
    assert "data.layout: decathlon" in fault.remedy
    path.write_text(fault.remedy.split("write ", 1)[1], encoding="utf-8")  # as the remedy says
    assert len(find_cases(config_of("nnunet"))) == 2
    write_json(VERSION_1)
    touch(root / "imagesTr", ["x_001.nii.gz"])
    (fault,) = faults_in("nnunet")
    assert fault.remedy == "Set data.layout: decathlon"


@pytest.mark.parametrize("content", [{"modality": 5}, {"modality": {}, "training": 5, "labels": []},
                                     {"modality": {}, "training": [5, {"image": 5}], "labels": {"0": []}}])  # fmt: skip
def test_a_first_version_that_is_damaged(write_json: Callable[..., Path], faults_in: FaultsIn, content: Any) -> None:
    write_json(content)
    (fault,) = faults_in("nnunet")
    assert "first version" in fault.what


NAMES = st.text("ab_01. é", min_size=1, max_size=6).filter(lambda name: name == name.strip() and name[0] != ".")


@given(st.sets(NAMES, min_size=1, max_size=8), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_any_names_pair(names: set[str], channels: int) -> None:
    data = SimpleNamespace(classes=("background", "a", "b"), label_map=None)
    config = SimpleNamespace(settings=SimpleNamespace(data=data, splits=SimpleNamespace(kind="holdout")))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "imagesTr").mkdir()
        (root / "labelsTr").mkdir()
        for name in names:
            (root / "labelsTr" / f"{name}.nii.gz").write_text(name)
            for channel in range(channels):
                (root / "imagesTr" / f"{name}_{channel:04d}.nii.gz").write_text(f"{name} {channel}")
        channel_names = {str(channel): "x" for channel in range(channels)}
        text = json.dumps(description(numTraining=len(names), channel_names=channel_names))
        (root / "dataset.json").write_text(text)
        cases = nnunet.find(cast(Config, config), root, [])
        assert {case.id for case in cases} == names
        for case in cases:
            assert [path.read_text() for path in case.images] == [f"{case.id} {n}" for n in range(channels)]
            assert case.label is not None
            assert case.label.read_text() == case.id
