"""HipMRI's two forms: pairs by numbers, the split that comes with them, and every way in which they may be wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.load import Config
from pipeline.data.layouts import (
    HIPMRI_FOLDERS,
    HIPMRI_VOLUMES,
    find_cases,
    hipmri,
    hipmri_has_volumes,
    hipmri_is_missing,
    hipmri_missing_message,
)
from pipeline.errors import ConfigError, DataError, Fault

Touch = Callable[[Path, Iterable[str]], None]
PATIENT_OF = {"train": "004", "validation": "036", "test": "040"}
MRS, LABELS = HIPMRI_VOLUMES


@pytest.fixture
def slices(root: Path, touch: Touch) -> Callable[..., Path]:
    """A function that makes the six folders: one patient a split, and extra images and labels by split."""

    def make(numbers: Iterable[str] = ("0",), **extra: tuple[list[str], list[str]]) -> Path:
        for split, (images, labels) in HIPMRI_FOLDERS.items():
            patient = PATIENT_OF[split]
            more_images, more_labels = extra.get(split, ([], []))
            touch(root / images, [*(f"case_{patient}_week_2_slice_{n}.nii.gz" for n in numbers), *more_images])
            touch(root / labels, [*(f"seg_{patient}_week_2_slice_{n}.nii.gz" for n in numbers), *more_labels])
        return root

    return make


@pytest.fixture
def volumes(root: Path, touch: Touch) -> Callable[..., Path]:
    """A function that makes the two folders, with one scan of each patient."""

    def make(*patients: int) -> Path:
        touch(root / MRS, [f"Case_{patient:03d}_Week0_LFOV.nii.gz" for patient in patients])
        touch(root / LABELS, [f"Case_{patient:03d}_Week0_SEMANTIC_LFOV.nii.gz" for patient in patients])
        return root

    return make


def test_slices_pair_by_numbers_and_not_by_the_order_of_names(
    slices: Callable[..., Path], touch: Touch, config_of: Callable[..., Any]
) -> None:
    # Sorted by name, slice 10 comes before slice 2; and the labels here have other zeros and suffixes than the images.
    images, labels = (slices() / name for name in HIPMRI_FOLDERS["train"])
    touch(images, [f"case_004_week_2_slice_{n}.nii.gz" for n in (2, 10, 9)])
    touch(
        labels, ["seg_004_week_2_slice_2.nii.gz.nii.gz", "seg_4_week_02_slice_010.nii", "SEG_004_week_2_slice_9.NII.GZ"]
    )

    cases = find_cases(config_of("hipmri", "layout"))

    train = [case for case in cases if case.split == "train"]
    assert [case.slice for case in train] == [0, 2, 9, 10]
    assert [case.label.name for case in train if case.label][1:] == [
        "seg_004_week_2_slice_2.nii.gz.nii.gz",
        "SEG_004_week_2_slice_9.NII.GZ",
        "seg_4_week_02_slice_010.nii",
    ]
    assert {(case.patient, case.scan, case.split) for case in cases} == {
        ("004", "case_004_week_2", "train"),
        ("036", "case_036_week_2", "validation"),
        ("040", "case_040_week_2", "test"),
    }
    assert train[3].id == "case_004_week_2_slice_10"
    assert train[3].image == images / "case_004_week_2_slice_10.nii.gz"
    assert {(case.channels, case.further) for case in cases} == {(1, ())}


def test_slices_may_have_a_third_axis(
    root: Path, config_of: Callable[..., Any], write_nifti: Callable[..., Path]
) -> None:
    from pipeline.data.inspection import inspect_cases

    for number, (images, labels) in enumerate(HIPMRI_FOLDERS.values(), 1):
        image = np.full((6, 4, 1), number) + np.eye(6, 4)[..., None]
        write_nifti(root / images / f"case_00{number}_week_0_slice_0.nii.gz", image, dtype=np.float32)
        write_nifti(root / labels / f"seg_00{number}_week_0_slice_0.nii.gz", np.zeros((6, 4, 1)), dtype=np.uint8)
    config = config_of("hipmri", "layout")
    facts = inspect_cases(config, find_cases(config))
    assert [(fact.shape, fact.slices) for fact in facts] == [((6, 4), 1)] * 3


def test_no_data_at_all_says_where_to_get_them(root: Path, faults_in: Callable[..., list[Fault]]) -> None:
    assert hipmri_is_missing(root)
    assert hipmri_is_missing(root / "not there")
    (fault,) = faults_in("hipmri", kind="layout")
    assert str(fault) == str(hipmri_missing_message(root))
    assert fault.where == str(root)
    for name in (*(name for pair in HIPMRI_FOLDERS.values() for name in pair), *HIPMRI_VOLUMES, "10.25919/45t8-p065",
                 "HIPMRI_ROOT"):  # fmt: skip
        assert name in fault.what


def test_every_missing_folder_of_slices_is_named(
    slices: Callable[..., Path], faults_in: Callable[..., list[Fault]]
) -> None:
    root = slices([])
    gone = ["keras_slices_seg_validate", "keras_slices_test"]
    for name in gone:
        (root / name).rmdir()
    assert not hipmri_is_missing(root)
    faults = faults_in("hipmri", kind="layout")
    assert [fault.where for fault in faults] == [str(root / name) for name in gone]


def test_everything_wrong_with_the_names_of_slices_is_told_at_once(
    slices: Callable[..., Path], faults_in: Callable[..., list[Fault]]
) -> None:
    root = slices(
        train=(["case_004_week_2_slice_7.nii.gz", "holiday.nii.gz"], ["case_004_week_2_slice_8.nii.gz"]),
        validation=([], ["seg_036_week_2_slice_9.nii.gz", "seg_036_week_2_slice_11.nii.gz"]),
        test=(["case_040_week_2_slice_00.nii.gz"], []),
    )
    train, seg_train = HIPMRI_FOLDERS["train"]
    assert {(Path(fault.where).name, fault.what) for fault in faults_in("hipmri", kind="layout")} == {
        (train, "names that are not case_NNN_week_N_slice_N.nii.gz: holiday.nii.gz"),
        (seg_train, "names that are not seg_NNN_week_N_slice_N.nii.gz: case_004_week_2_slice_8.nii.gz"),
        (train, f"1 images without a label in {root / seg_train}: case_004_week_2_slice_7.nii.gz"),
        (
            "keras_slices_seg_validate",
            f"2 labels without an image in {root / 'keras_slices_validate'}: "
            "seg_036_week_2_slice_11.nii.gz, seg_036_week_2_slice_9.nii.gz",
        ),
        (
            "keras_slices_test",
            "two files for one slice: case_040_week_2_slice_00.nii.gz and case_040_week_2_slice_0.nii.gz",
        ),
    }


def test_one_slice_in_two_splits_is_a_repeated_id(
    slices: Callable[..., Path], faults_in: Callable[..., list[Fault]]
) -> None:
    slices(test=(["case_004_week_2_slice_0.nii.gz"], ["seg_004_week_2_slice_0.nii.gz"]))
    (fault,) = faults_in("hipmri", kind="layout")
    for text in ("more than once: case_004_week_2_slice_0", "keras_slices_train", "keras_slices_test"):
        assert text in fault.what


@pytest.mark.parametrize("form", ["slices", "volumes"])
def test_patients_may_be_told_apart_otherwise(
    form: str, config_of: Callable[..., Any], request: pytest.FixtureRequest
) -> None:
    make = request.getfixturevalue(form)
    make() if form == "slices" else make(4, 36)
    assert {case.patient for case in find_cases(config_of("hipmri", patient="(week)"))} == {"week"}


def test_empty_folders_are_no_dataset(slices: Callable[..., Path], config_of: Callable[..., Any]) -> None:
    slices([])
    with pytest.raises(DataError, match="no NIfTI file"):
        find_cases(config_of("hipmri", "layout"))


def test_volumes_pair_by_numbers_and_have_the_split_of_the_slices(
    root: Path, touch: Touch, config_of: Callable[..., Any]
) -> None:
    touch(root / MRS, ["Case_004_Week0_LFOV.nii.gz", "case_035_week10_lfov.NII.gz.nii.gz", "Case_035_Week9_LFOV.nii"])
    touch(root / LABELS, ["Case_4_Week00_SEMANTIC_LFOV.nii.gz", "Case_035_Week9_SEMANTIC_LFOV.nii.gz",
                          "CASE_035_Week10_Semantic_LFOV.nii.gz"])  # fmt: skip
    touch(root / MRS, ["Case_038_Week1_LFOV.nii.gz", "Case_042_Week1_LFOV.nii.gz", "._Case_042_Week1_LFOV.nii.gz"])
    touch(root / LABELS, [f"Case_{patient}_Week1_SEMANTIC_LFOV.nii.gz" for patient in ("038", "042")])

    cases = find_cases(config_of("hipmri", "layout"))

    assert hipmri_has_volumes(root)
    assert not hipmri_is_missing(root)
    found = [(case.id, case.patient, case.split, case.image.name, case.label and case.label.name) for case in cases]
    assert found == [
        ("case_004_week_0", "004", "train", "Case_004_Week0_LFOV.nii.gz", "Case_4_Week00_SEMANTIC_LFOV.nii.gz"),
        ("case_035_week_10", "035", "train", "case_035_week10_lfov.NII.gz.nii.gz",
         "CASE_035_Week10_Semantic_LFOV.nii.gz"),
        ("case_035_week_9", "035", "train", "Case_035_Week9_LFOV.nii", "Case_035_Week9_SEMANTIC_LFOV.nii.gz"),
        ("case_038_week_1", "038", "validation", "Case_038_Week1_LFOV.nii.gz", "Case_038_Week1_SEMANTIC_LFOV.nii.gz"),
        ("case_042_week_1", "042", "test", "Case_042_Week1_LFOV.nii.gz", "Case_042_Week1_SEMANTIC_LFOV.nii.gz"),
    ]  # fmt: skip
    assert all(case.scan == case.id and case.slice is None for case in cases)


def test_every_patient_of_the_study_is_on_the_side_of_its_slices(
    volumes: Callable[..., Path], config_of: Callable[..., Any]
) -> None:
    # 31, 4 and 3 patients, as in the six folders: 004 to 033 and 035; 036 to 039; 040 to 042.
    volumes(*range(4, 34), *range(35, 43))
    sides: dict[str | None, list[str]] = {}
    for case in find_cases(config_of("hipmri", "layout")):
        sides.setdefault(case.split, []).append(case.patient)
    assert {side: len(patients) for side, patients in sides.items()} == {"train": 31, "validation": 4, "test": 3}
    assert sides["train"][-2:] == ["033", "035"]
    assert sides["validation"] == ["036", "037", "038", "039"]
    assert sides["test"] == ["040", "041", "042"]


def test_patients_outside_of_the_study_need_a_split_of_their_own(
    volumes: Callable[..., Path], config_of: Callable[..., Any], faults_in: Callable[..., list[Fault]]
) -> None:
    volumes(4, 34, 36, 40, 43)
    (fault,) = faults_in("hipmri", kind="layout")
    assert isinstance(fault, ConfigError)
    assert "034, 043" in fault.what
    assert "004," not in fault.what
    assert fault.where.endswith("splits")
    assert "'holdout' or 'folds'" in fault.remedy
    splits = {case.patient: case.split for case in find_cases(config_of("hipmri", "holdout"))}
    assert splits == {"004": "train", "034": None, "036": "validation", "040": "test", "043": None}


def test_both_forms_under_one_root_are_refused(
    slices: Callable[..., Path], volumes: Callable[..., Path], faults_in: Callable[..., list[Fault]]
) -> None:
    slices()
    volumes(4)
    (fault,) = faults_in("hipmri", kind="layout")
    for name in ("keras_slices_train", MRS, LABELS):
        assert name in fault.what


def test_everything_wrong_with_volumes_is_told_at_once(
    root: Path, touch: Touch, faults_in: Callable[..., list[Fault]]
) -> None:
    touch(root / MRS, ["Case_004_Week0_LFOV.nii.gz", "Case_4_Week0_LFOV.nii", "Case_005_Week0.nii.gz"])
    touch(root / LABELS, ["Case_006_Week1_SEMANTIC_LFOV.nii.gz", "Case_004_Week0_LFOV.nii.gz"])
    assert {(Path(fault.where).name, fault.what) for fault in faults_in("hipmri", kind="layout")} == {
        (MRS, "names that are not Case_NNN_WeekN_LFOV.nii.gz: Case_005_Week0.nii.gz"),
        (MRS, "two files for one scan: Case_4_Week0_LFOV.nii and Case_004_Week0_LFOV.nii.gz"),
        (MRS, f"1 images without a label in {root / LABELS}: Case_4_Week0_LFOV.nii"),
        (LABELS, "names that are not Case_NNN_WeekN_SEMANTIC_LFOV.nii.gz: Case_004_Week0_LFOV.nii.gz"),
        (LABELS, f"1 labels without an image in {root / MRS}: Case_006_Week1_SEMANTIC_LFOV.nii.gz"),
    }


def test_folders_of_volumes_in_another_letter_case_or_missing(
    root: Path, touch: Touch, config_of: Callable[..., Any], faults_in: Callable[..., list[Fault]]
) -> None:
    touch(root / "semantic_mrs_anon", ["Case_004_Week0_LFOV.nii.gz"])
    assert hipmri_has_volumes(root)
    (fault,) = faults_in("hipmri")
    assert fault.where == str(root / LABELS)
    touch(root / LABELS, ["Case_004_Week0_SEMANTIC_LFOV.nii.gz"])
    assert [case.image.parent.name for case in find_cases(config_of("hipmri"))] == ["semantic_mrs_anon"]
    if (root / "SEMANTIC_MRS_ANON").exists():
        pytest.skip("letter case does not count in this file system")
    (root / "SEMANTIC_MRS_ANON").mkdir()
    (fault,) = faults_in("hipmri")
    assert "SEMANTIC_MRS_ANON, semantic_mrs_anon" in fault.what


@given(st.sets(st.tuples(st.integers(0, 999), st.integers(0, 99)), min_size=1, max_size=12), st.randoms())
@settings(deadline=None, max_examples=25)
def test_volumes_pair_by_numbers_however_these_are_written(scans: set[tuple[int, int]], random: Any) -> None:
    config = SimpleNamespace(settings=SimpleNamespace(splits=SimpleNamespace(kind="holdout")))

    def written(number: int) -> str:
        return "0" * random.randrange(4) + str(number)

    with tempfile.TemporaryDirectory() as folder:
        for name, form in ((MRS, "Case_{}_Week{}_LFOV.nii"), (LABELS, "Case_{}_Week{}_SEMANTIC_LFOV.nii.gz")):
            (Path(folder) / name).mkdir()
            for patient, week in scans:
                text = f"{patient} {week}"
                (Path(folder) / name / form.format(written(patient), written(week))).write_text(text)
        cases = hipmri.find(cast(Config, config), Path(folder), [])
        assert {(int(case.patient), int(case.id.rsplit("_", 1)[1])) for case in cases} == scans
        for case in cases:
            assert case.label is not None
            assert case.image.read_text() == case.label.read_text()
            assert case.image.read_text() == f"{int(case.patient)} {int(case.scan.rsplit('_', 1)[1])}"
