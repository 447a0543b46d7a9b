"""Cases as the layouts find them, and everything that is missing or does not pair, told at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.layouts import HIPMRI_FOLDERS, find_cases, hipmri_is_missing
from pipeline.errors import DataError, Fault, Faults

DATA = {"layout": "folders", "root": ".", "classes": ["background", "a", "b"]}
PATIENT_OF = {"train": "004", "validation": "036", "test": "040"}


def touch(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def hipmri(root: Path, slices: Iterable[str] = ("0",), **extra: tuple[list[str], list[str]]) -> Path:
    """A HipMRI tree of empty files: one patient a split, with the slices, and extra images and labels by split."""
    for split, (images, labels) in HIPMRI_FOLDERS.items():
        numbers = PATIENT_OF[split]
        more_images, more_labels = extra.get(split, ([], []))
        touch(root / images, [*(f"case_{numbers}_week_2_slice_{n}.nii.gz" for n in slices), *more_images])
        touch(root / labels, [*(f"seg_{numbers}_week_2_slice_{n}.nii.gz" for n in slices), *more_labels])
    return root


@pytest.fixture
def hipmri_config(make_config: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    def make(**data: Any) -> Any:
        data = {"layout": "hipmri", "root": str(tmp_path / "root"), "patient": None, **data}
        return make_config(data=data, splits={"kind": "layout"})

    return make


def told(error: Fault) -> list[Fault]:
    return list(error.faults) if isinstance(error, Faults) else [error]


def test_hipmri_pairs_by_numbers_and_not_by_the_order_of_names(
    tmp_path: Path, hipmri_config: Callable[..., Any]
) -> None:
    # Sorted by name, slice 10 comes before slice 2; and the labels here have other zeros and suffixes than the images.
    hipmri(tmp_path / "root", ["0"])
    images, labels = (tmp_path / "root" / name for name in HIPMRI_FOLDERS["train"])
    touch(images, [f"case_004_week_2_slice_{n}.nii.gz" for n in (2, 10, 9)])
    touch(
        labels, ["seg_004_week_2_slice_2.nii.gz.nii.gz", "seg_4_week_02_slice_010.nii", "SEG_004_week_2_slice_9.nii.gz"]
    )

    cases = find_cases(hipmri_config())

    train = [case for case in cases if case.split == "train"]
    assert [case.slice for case in train] == [0, 2, 9, 10]
    assert [case.label.name for case in train if case.label][1:] == [
        "seg_004_week_2_slice_2.nii.gz.nii.gz",
        "SEG_004_week_2_slice_9.nii.gz",
        "seg_4_week_02_slice_010.nii",
    ]
    assert {(case.patient, case.scan, case.split) for case in cases} == {
        ("004", "case_004_week_2", "train"),
        ("036", "case_036_week_2", "validation"),
        ("040", "case_040_week_2", "test"),
    }
    assert train[3].id == "case_004_week_2_slice_10"
    assert train[3].image == images / "case_004_week_2_slice_10.nii.gz"


def test_hipmri_takes_slices_with_a_third_axis(
    tmp_path: Path, hipmri_config: Callable[..., Any], write_nifti: Callable[..., Path]
) -> None:
    from pipeline.data.inspection import inspect_cases

    for images, labels in HIPMRI_FOLDERS.values():
        for folder, kind in ((images, "case"), (labels, "seg")):
            number = 1 + list(HIPMRI_FOLDERS.values()).index((images, labels))
            array = np.full((6, 4, 1), number) + np.eye(6, 4)[..., None] if kind == "case" else np.zeros((6, 4, 1))
            dtype = np.float32 if kind == "case" else np.uint8
            write_nifti(tmp_path / "root" / folder / f"{kind}_00{number}_week_0_slice_0.nii.gz", array, dtype=dtype)
    config = hipmri_config()
    facts = inspect_cases(config, find_cases(config))
    assert [(fact.shape, fact.slices) for fact in facts] == [((6, 4), 1)] * 3


def test_no_hipmri_folder_at_all_says_where_to_get_the_data(tmp_path: Path, hipmri_config: Callable[..., Any]) -> None:
    (tmp_path / "root").mkdir()
    assert hipmri_is_missing(tmp_path / "root")
    with pytest.raises(DataError, match=r"(?s)10\.25919/45t8-p065.*HIPMRI_ROOT") as fault:
        find_cases(hipmri_config())
    assert fault.value.where == str(tmp_path / "root")
    for pair in HIPMRI_FOLDERS.values():
        assert all(name in fault.value.what for name in pair)


def test_every_missing_hipmri_folder_is_named(tmp_path: Path, hipmri_config: Callable[..., Any]) -> None:
    root = hipmri(tmp_path / "root")
    gone = ["keras_slices_test", "keras_slices_seg_validate"]
    for name in gone:
        for path in (root / name).iterdir():
            path.unlink()
        (root / name).rmdir()
    assert not hipmri_is_missing(root)
    with pytest.raises(Faults) as fault:
        find_cases(hipmri_config())
    assert sorted(one.where for one in told(fault.value)) == sorted(str(root / name) for name in gone)


def test_everything_wrong_with_hipmri_names_is_told_at_once(tmp_path: Path, hipmri_config: Callable[..., Any]) -> None:
    root = hipmri(
        tmp_path / "root",
        train=(["case_004_week_2_slice_7.nii.gz", "holiday.nii.gz"], ["case_004_week_2_slice_8.nii.gz"]),
        validation=([], ["seg_036_week_2_slice_9.nii.gz", "seg_036_week_2_slice_11.nii.gz"]),
        test=(["case_040_week_2_slice_00.nii.gz"], []),
    )
    with pytest.raises(Faults) as fault:
        find_cases(hipmri_config())
    found = {(Path(one.where).name, one.what) for one in told(fault.value)}
    train, seg_train = HIPMRI_FOLDERS["train"]
    assert found == {
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


def test_one_slice_in_two_splits_is_a_repeated_id(tmp_path: Path, hipmri_config: Callable[..., Any]) -> None:
    hipmri(tmp_path / "root", test=(["case_004_week_2_slice_0.nii.gz"], ["seg_004_week_2_slice_0.nii.gz"]))
    with pytest.raises(DataError, match="more than once: case_004_week_2_slice_0") as fault:
        find_cases(hipmri_config())
    assert "keras_slices_train" in fault.value.what
    assert "keras_slices_test" in fault.value.what


def test_hipmri_patients_may_be_told_apart_otherwise(tmp_path: Path, hipmri_config: Callable[..., Any]) -> None:
    hipmri(tmp_path / "root")
    cases = find_cases(hipmri_config(patient=r"(week_\d+)"))
    assert {case.patient for case in cases} == {"week_2"}


def test_empty_folders_are_no_dataset(tmp_path: Path, hipmri_config: Callable[..., Any]) -> None:
    hipmri(tmp_path / "root", [])
    with pytest.raises(DataError, match="no NIfTI file"):
        find_cases(hipmri_config())


def pairs(root: Path, names: Iterable[str]) -> None:
    touch(root / "images", names)
    touch(root / "labels", names)


def test_folders_pair_by_name_with_patients_scans_and_numbers(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    pairs(tmp_path, [f"p{p}_s{s}_slice{n}.nii.gz" for p in (1, 2) for s in (1, 2) for n in (2, 10, 9)])
    (tmp_path / "labels" / "p1_s1_slice2.nii.gz").rename(tmp_path / "labels" / "p1_s1_slice2.nii")

    cases = find_cases(make_config(data={**DATA, "patient": r"^(p\d)", "scan": r"_(s\d)_"}))

    assert [(case.patient, case.scan, case.slice) for case in cases] == [
        (patient, scan, number) for patient in ("p1", "p2") for scan in ("s1", "s2") for number in (2, 9, 10)
    ]
    assert cases[0].id == "p1_s1_slice2"
    assert cases[0].image == tmp_path / "images" / "p1_s1_slice2.nii.gz"
    assert cases[0].label == tmp_path / "labels" / "p1_s1_slice2.nii"


def test_the_number_of_a_slice_is_the_last_outside_of_its_scan(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    pairs(tmp_path, ["007_p1_scan3.nii.gz", "012_p1_scan3.nii.gz", "003_p1_scan3.nii.gz", "p1_scan4.nii.gz"])
    cases = find_cases(make_config(data={**DATA, "scan": r"(scan\d)", "patient": r"(p1)"}))
    assert [(case.scan, case.slice) for case in cases] == [("scan3", 1)] * 3 + [("scan4", 1)]
    cases = find_cases(make_config(data={**DATA, "scan": r"(p1_scan\d)", "patient": r"(p1)"}))
    assert [(case.scan, case.slice) for case in cases] == [
        ("p1_scan3", 3),
        ("p1_scan3", 7),
        ("p1_scan3", 12),
        ("p1_scan4", None),
    ]


def test_without_expressions_each_file_is_a_patient(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    pairs(tmp_path, ["a.nii.gz", "b é [1].nii"])
    cases = find_cases(make_config(data={**DATA, "patient": None}))
    assert [(case.id, case.patient, case.scan, case.slice, case.split) for case in cases] == [
        ("a", "a", "a", None, None),
        ("b é [1]", "b é [1]", "b é [1]", None, None),
    ]


def test_expressions_that_find_nothing_name_every_file(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    pairs(tmp_path, ["p1_s1.nii.gz", "q2_s1.nii.gz", "q3.nii.gz"])
    with pytest.raises(Faults) as fault:
        find_cases(make_config(data={**DATA, "patient": r"^(p\d)", "scan": r"_(s\d)"}))
    patient, scan = told(fault.value)
    assert "q2_s1, q3" in patient.what
    assert patient.where.endswith("data.patient")
    assert "finds nothing in q3" in scan.what
    assert scan.where.endswith("data.scan")


def test_missing_folders_name_the_key_that_names_them(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    with pytest.raises(Faults) as fault:
        find_cases(make_config(data={**DATA, "images": "scans", "labels": "masks"}))
    images, labels = told(fault.value)
    assert (images.where, labels.where) == (str(tmp_path / "scans"), str(tmp_path / "masks"))
    assert "tiny.yaml" in images.remedy
    assert "data.images" in images.remedy
    assert "--set data.labels=DIR" in labels.remedy


def test_unpaired_and_repeated_files_are_all_listed(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    touch(tmp_path / "images", ["p1.nii", "p1.nii.gz", "p2.nii.gz", "p3.nii.gz", "p4.nii.gz"])
    touch(tmp_path / "labels", ["p1.nii", "p2.nii.gz", "p5.nii.gz", "p5.nii"])
    with pytest.raises(Faults) as fault:
        find_cases(make_config())
    assert sorted(one.what for one in told(fault.value)) == [
        f"1 labels without an image in {tmp_path / 'images'}: p5.nii.gz",
        f"2 images without a label in {tmp_path / 'labels'}: p3.nii.gz, p4.nii.gz",
        "two files for one case: p1.nii.gz and p1.nii",
        "two files for one case: p5.nii.gz and p5.nii",
    ]


def test_one_folder_for_both_is_refused(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    pairs(tmp_path, ["p1.nii.gz"])
    (tmp_path / "again").symlink_to("images")
    with pytest.raises(DataError, match="same folder"):
        find_cases(make_config(data={**DATA, "labels": "again"}))


def test_empty_folders_say_what_to_check(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    pairs(tmp_path, [])
    with pytest.raises(DataError, match="no NIfTI file") as fault:
        find_cases(make_config())
    assert "data.images" in fault.value.remedy
