"""A folder of images as cases: channels, patients, scans and the numbers of slices, by their names alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.cases import Case, scan_key
from pipeline.errors import ConfigError, DataError
from pipeline.inference.folder import Images, find_images, shard_of
from pipeline.inference.trained import Model, find_model

Maker = Callable[..., Path]


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a folder of empty files."""

    def make(*names: str) -> Path:
        folder = tmp_path / "images"
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        return folder

    return make


@pytest.fixture
def model(make_run: Maker) -> Callable[..., Model]:
    return lambda **more: find_model([make_run(**more)])


def named(found: Images) -> list[tuple[str, str, str, int | None]]:
    return [(case.id, case.patient, case.scan, case.slice) for case in found.cases]


def test_a_file_is_a_case(images: Callable[..., Path], model: Callable[..., Model]) -> None:
    folder = images("p1_b.nii.gz", "p1_a.nii", "other.NII.GZ", ".hidden.nii.gz", "notes.txt", "x_0001.nii.gz")
    found = find_images(folder, model())
    assert named(found) == [
        ("other", "other", "other", None), ("p1_a", "p1", "p1_a", None), ("p1_b", "p1", "p1_b", None),
        ("x_0001", "x_0001", "x_0001", None),
    ]  # fmt: skip
    assert found.failed == ()
    assert found.lone == {"other", "p1_a", "p1_b", "x_0001"}
    assert found.cases[1].image == folder / "p1_a.nii"
    assert all(case.label is None and case.channels == 1 for case in found.cases)


def test_slices_of_a_scan(images: Callable[..., Path], model: Callable[..., Model]) -> None:
    folder = images("p1_w3_s10.nii.gz", "p1_w3_s9.nii.gz", "p2_w3_s1.nii.gz", "p1.nii.gz")
    found = find_images(folder, model(data={"scan": r"_(w\d+)"}))
    assert named(found) == [
        ("p1", "p1", "p1", None), ("p1_w3_s9", "p1", "w3", 9), ("p1_w3_s10", "p1", "w3", 10),
        ("p2_w3_s1", "p2", "w3", 1),
    ]  # fmt: skip
    assert found.lone == {"p1"}, "what finds nothing in a name is no fault of a run's expression"


def test_expressions_that_are_given(images: Callable[..., Path], model: Callable[..., Model]) -> None:
    folder = images("a7_x_3.nii.gz", "a7_x_12.nii.gz")
    one = model(data={"patient": None})
    assert named(find_images(folder, one, scan="_(x)_")) == [("a7_x_3", "x", "x", 3), ("a7_x_12", "x", "x", 12)]
    assert named(find_images(folder, one, patient="(a7)", scan="_(x)_"))[0] == ("a7_x_3", "a7", "x", 3)
    for pattern, words in (("_(y)_", "finds nothing in 2 names, such as a7_x_12"), ("x", "has no group"), ("(", "not")):
        with pytest.raises(ConfigError, match=words) as fault:
            find_images(folder, one, scan=pattern)
        assert fault.value.where == "--scan"


def test_names_of_hipmri(images: Callable[..., Path], model: Callable[..., Model]) -> None:
    folder = images("case_040_week_2_slice_10.nii.gz.nii.gz", "case_040_week_2_slice_9.nii.gz", "Case_7_Week0.nii.gz")
    found = find_images(folder, model(data={"layout": "hipmri", "patient": None}, splits={"kind": "layout"}))
    assert named(found) == [
        ("Case_7_Week0", "007", "case_007_week_0", None),
        ("case_040_week_2_slice_9", "040", "case_040_week_2", 9),
        ("case_040_week_2_slice_10", "040", "case_040_week_2", 10),
    ]
    assert found.lone == {"Case_7_Week0"}


def test_channels_are_files_by_number(images: Callable[..., Path], model: Callable[..., Model]) -> None:
    folder = images(
        "a_0001.nii.gz", "a_0000.nii.gz", "b_0000.nii.gz", "c.nii.gz", "d_0000.nii.gz", "d_0001.nii.gz",
        "d_0002.nii.gz", "e_0000.nii", "e_0000.nii.gz", "e_0001.nii",
    )  # fmt: skip
    found = find_images(folder, model(channels=2))
    (case,) = found.cases
    assert (case.id, [path.name for path in case.images]) == ("a", ["a_0000.nii.gz", "a_0001.nii.gz"])
    told = {one.case: one.faults[0].what for one in found.failed}
    assert told.keys() == {"b", "c", "d", "e"}
    assert "has the channels 0000; the run's images have 2" in told["b"]
    assert "no channel" in told["c"]
    assert "0000, 0001, 0002" in told["d"]
    assert "several files for one image" in told["e"]


def test_nnunets_names_where_there_is_one_channel(images: Callable[..., Path], model: Callable[..., Model]) -> None:
    found = find_images(images("a_0000.nii.gz"), model(data={"layout": "nnunet"}))
    assert [case.id for case in found.cases] == ["a"]


def test_channels_in_one_file(images: Callable[..., Path], model: Callable[..., Model]) -> None:
    found = find_images(images("a.nii.gz"), model(channels=3, channels_in_file=3))
    assert [(case.id, case.channels_in_file, case.channels) for case in found.cases] == [("a", 3, 3)]


def test_files_that_cannot_both_be_predicted(images: Callable[..., Path], model: Callable[..., Model]) -> None:
    folder = images("a.nii", "a.nii.gz", "b.nii.gz", "..c.nii.gz", "d..e.nii.gz")
    (folder / os.fsdecode(b"f\xff.nii.gz")).touch()
    found = find_images(folder, model())
    assert [case.id for case in found.cases] == ["b"]
    told = {one.case: one.faults[0].what for one in found.failed}
    assert "several files for one image: a.nii, a.nii.gz" in told["a"]
    assert all("no file names" in told[name] for name in told if name != "a")
    assert len(told) == 3


def test_a_folder_without_images(images: Callable[..., Path], model: Callable[..., Model], tmp_path: Path) -> None:
    one = model()
    with pytest.raises(DataError, match="no such folder"):
        find_images(tmp_path / "none", one)
    folder = images("notes.txt")
    with pytest.raises(DataError, match="no NIfTI file in it\\. "):
        find_images(folder, one)
    (folder / "sub").mkdir()
    with pytest.raises(DataError, match="subfolders are not gone through"):
        find_images(folder, one)


@given(
    st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("abc"), st.integers(0, 4)), unique=True, max_size=20),
    st.integers(1, 5),
)
def test_shards_share_the_scans(slices: list[tuple[str, str, int]], count: int) -> None:
    cases = [Case(f"{p}{scan}{number}", Path("x"), None, p, scan, number) for p, scan, number in slices]
    shards = [shard_of(cases, index, count) for index in range(count)]
    assert sorted(case.id for shard in shards for case in shard) == sorted(case.id for case in cases)
    scans = [{scan_key(case) for case in shard} for shard in shards]
    assert sum(map(len, scans)) == len(set().union(*scans)), "no scan is in two"
    assert max(map(len, scans)) - min(map(len, scans)) <= 1
