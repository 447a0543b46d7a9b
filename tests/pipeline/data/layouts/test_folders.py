"""Two folders: pairs by name, subfolders, links, and every way in which they may be wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.layouts import find_cases, scattered_patients
from pipeline.errors import Fault

Touch = Callable[[Path, Iterable[str]], None]


@pytest.fixture
def pairs(root: Path, touch: Touch) -> Callable[..., None]:
    """A function that makes images and labels of equal names."""

    def make(*names: str) -> None:
        touch(root / "images", names)
        touch(root / "labels", names)

    return make


def test_pairs_by_name_with_patients_scans_and_numbers(
    root: Path, pairs: Callable[..., None], config_of: Callable[..., Any]
) -> None:
    pairs(*[f"p{p}_s{s}_slice{n}.nii.gz" for p in (1, 2) for s in (1, 2) for n in (2, 10, 9)])
    (root / "labels" / "p1_s1_slice2.nii.gz").rename(root / "labels" / "p1_s1_slice2.nii")

    cases = find_cases(config_of("folders", patient=r"^(p\d)", scan=r"_(s\d)_"))

    assert [(case.patient, case.scan, case.slice) for case in cases] == [
        (patient, scan, number) for patient in ("p1", "p2") for scan in ("s1", "s2") for number in (2, 9, 10)
    ]
    assert cases[0].id == "p1_s1_slice2"
    assert cases[0].image == root / "images" / "p1_s1_slice2.nii.gz"
    assert cases[0].label == root / "labels" / "p1_s1_slice2.nii"


def test_subfolders_are_gone_through_and_stand_in_the_id(
    root: Path, pairs: Callable[..., None], config_of: Callable[..., Any]
) -> None:
    pairs("p_1/week 2/t2.nii.gz", "p_1/week 3/t2.nii.gz", "p_2/t2.nii.gz", "flat.nii", ".git/x.nii", "p_2/._t2.nii.gz")
    cases = find_cases(config_of("folders"))
    assert [(case.id, case.patient, case.scan) for case in cases] == [
        (name, name, name) for name in ("flat", "p_1_week 2_t2", "p_1_week 3_t2", "p_2_t2")
    ]
    assert cases[1].image == root / "images/p_1/week 2/t2.nii.gz"
    assert cases[1].label == root / "labels/p_1/week 2/t2.nii.gz"


def test_patients_and_scans_are_found_in_the_path(pairs: Callable[..., None], config_of: Callable[..., Any]) -> None:
    pairs("p_1/week_2/slice_7.nii.gz", "p_1/week_2/slice_10.nii.gz", "p_2/week_1/slice_1.nii.gz")
    cases = find_cases(config_of("folders", patient="^([^/]+)/", scan="^(.+)/"))
    assert [(case.patient, case.scan, case.slice) for case in cases] == [
        ("p_1", "p_1_week_2", 7),
        ("p_1", "p_1_week_2", 10),
        ("p_2", "p_2_week_1", 1),
    ]


APART, TOGETHER = "Mu\u0308ller", "M\u00fcller"


def test_names_of_two_unicode_forms_pair(
    root: Path, touch: Touch, config_of: Callable[..., Any], faults_in: Callable[..., list[Fault]]
) -> None:
    touch(root / "images" / APART, ["1.nii", "2.nii"])
    touch(root / "labels" / TOGETHER, ["1.nii", "2.nii"])
    first, second = find_cases(config_of("folders", patient="^([^/]+)/"))
    assert (first.id, first.patient, first.scan) == (f"{TOGETHER}_1", TOGETHER, f"{TOGETHER}_1")
    assert (second.image, second.label) == (root / f"images/{APART}/2.nii", root / f"labels/{TOGETHER}/2.nii")
    touch(root / "images" / TOGETHER, ["3.nii"])
    touch(root / "labels" / APART, ["3.nii"])
    found = find_cases(config_of("folders", patient="^([^/]+)/"))
    assert {case.patient for case in found} == {TOGETHER}, "one patient, in two folders"
    if not (root / "images" / TOGETHER / "1.nii").exists():
        touch(root / "images" / TOGETHER, ["1.nii"])
        (fault,) = faults_in("folders")
        assert fault.what == f"two files for one case: {TOGETHER}/1.nii and {APART}/1.nii"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["p01/a", "p01/b", "p01/c/d", "p02/a"], "images/p01 holds 3 files, which count as 3 patients; data.patient: "
         "'^([^/]+)/' would keep them together"),
        (["p02/a", "p02/b", "p01/a", "p01/b", "p03/a"], "images/p01 holds 2 files, which count as 2 patients, and 1 "
         "more subfolder holds several; data.patient: '^([^/]+)/' would keep them together"),
        (["p1/a", "p1/b", "p2/a", "p2/b", "p3/a", "p3/b"], "images/p1 holds 2 files, which count as 2 patients, and 2 "
         "more subfolders hold several; data.patient: '^([^/]+)/' would keep them together"),
        (["p1/a", "p1/b", "p2"], "images/p1 holds 2 files, which count as 2 patients; data.patient: '^([^/]+)' would "
         "keep them together"),
        (["p1/a", "p2/b", "p3"], None),
        (["all/a", "all/b", "all/c"], None),
        (["a", "b"], None),
    ],
)  # fmt: skip
def test_subfolders_that_look_like_patients(
    pairs: Callable[..., None], config_of: Callable[..., Any], names: list[str], told: str | None
) -> None:
    pairs(*[f"{name}.nii" for name in names])
    config = config_of("folders")
    assert scattered_patients(config, find_cases(config)) == ([] if told is None else [told])
    if told is not None:
        as_told = config_of("folders", patient=told.split("'")[1])
        assert {case.patient for case in find_cases(as_told)} == {name.split("/")[0] for name in names}
        assert scattered_patients(as_told, find_cases(as_told)) == []


def test_paths_that_make_one_id_are_told(pairs: Callable[..., None], faults_in: Callable[..., list[Fault]]) -> None:
    pairs("a_b/c.nii", "a/b_c.nii", "a/d.nii")
    (fault,) = faults_in("folders")
    assert "more than once: a_b_c (" in fault.what
    assert "images/a/b_c.nii" in fault.what
    assert "images/a_b/c.nii" in fault.what


def test_links_are_followed_but_not_in_circles(
    root: Path, pairs: Callable[..., None], touch: Touch, config_of: Callable[..., Any],
    faults_in: Callable[..., list[Fault]],
) -> None:  # fmt: skip
    pairs("p1/a.nii")
    touch(root / "elsewhere", ["b.nii"])
    for side in ("images", "labels"):
        (root / side / "p2").symlink_to(root / "elsewhere")
    assert [case.id for case in find_cases(config_of("folders"))] == ["p1_a", "p2_b"]
    (root / "images" / "p1" / "up").symlink_to("..")
    (root / "labels" / "self.nii").symlink_to("self.nii")
    (root / "labels" / "ping").symlink_to("pong")
    (root / "labels" / "pong").symlink_to("ping")
    faults = faults_in("folders")
    assert {fault.where for fault in faults} == {
        str(root / name) for name in ("images/p1/up", "labels/self.nii", "labels/ping", "labels/pong")
    }
    assert {fault.what for fault in faults} == {"a symbolic link that runs in a circle; it is not followed"}


def test_labels_within_the_folder_of_images(root: Path, touch: Touch, config_of: Callable[..., Any]) -> None:
    touch(root, ["a.nii", "b.nii"])
    touch(root / "masks", ["a.nii", "b.nii"])
    cases = find_cases(config_of("folders", images=".", labels="masks"))
    assert [(case.id, case.image.parent, case.label and case.label.parent) for case in cases] == [
        (name, root, root / "masks") for name in "ab"
    ]


def test_without_expressions_each_file_is_a_patient(pairs: Callable[..., None], config_of: Callable[..., Any]) -> None:
    pairs("a.nii.gz", "b é [1].nii")
    cases = find_cases(config_of("folders"))
    assert [(case.id, case.patient, case.scan, case.slice, case.split) for case in cases] == [
        ("a", "a", "a", None, None),
        ("b é [1]", "b é [1]", "b é [1]", None, None),
    ]


def test_a_root_that_is_not_there_names_its_key(root: Path, faults_in: Callable[..., list[Fault]]) -> None:
    (fault,) = faults_in("folders", root=str(root / "gone"))
    assert fault.where == str(root / "gone")
    assert "data.root" in fault.remedy


def test_missing_folders_name_the_key_that_names_them(root: Path, faults_in: Callable[..., list[Fault]]) -> None:
    images, labels = faults_in("folders", images="scans", labels="masks")
    assert (images.where, labels.where) == (str(root / "scans"), str(root / "masks"))
    assert "tiny.yaml" in images.remedy
    assert "data.images" in images.remedy
    assert "--set data.labels=DIR" in labels.remedy


def test_a_path_that_is_right_from_here_is_told(
    root: Path, touch: Touch, faults_in: Callable[..., list[Fault]], monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(root / "deep" / "images", ["a.nii"])
    monkeypatch.chdir(root / "deep")
    images, labels = faults_in("folders")
    assert f"from here it is {root / 'deep' / 'images'}" in images.remedy
    assert "from here" not in labels.remedy


def test_unpaired_and_repeated_files_are_all_listed(
    root: Path, touch: Touch, faults_in: Callable[..., list[Fault]]
) -> None:
    touch(root / "images", ["p1.nii", "p1.nii.gz", "p2.nii.gz", "p3.nii.gz", "x/p4.nii.gz"])
    touch(root / "labels", ["p1.nii", "p2.nii.gz", "p5.nii.gz", "p5.nii", "p4.nii.gz"])
    assert sorted(fault.what for fault in faults_in("folders")) == [
        f"2 images without a label in {root / 'labels'}: p3.nii.gz, x/p4.nii.gz",
        f"2 labels without an image in {root / 'images'}: p4.nii.gz, p5.nii.gz",
        "two files for one case: p1.nii.gz and p1.nii",
        "two files for one case: p5.nii.gz and p5.nii",
    ]


def test_one_folder_for_both_is_refused(
    root: Path, pairs: Callable[..., None], faults_in: Callable[..., list[Fault]]
) -> None:
    pairs("p1.nii.gz")
    (root / "again").symlink_to("images")
    (fault,) = faults_in("folders", labels="again")
    assert "same folder" in fault.what


def test_empty_folders_say_what_to_check(pairs: Callable[..., None], faults_in: Callable[..., list[Fault]]) -> None:
    pairs()
    (fault,) = faults_in("folders")
    assert fault.what == "no NIfTI file in it"
    assert "data.images" in fault.remedy
