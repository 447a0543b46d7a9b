"""Names of files and cases, and what orders slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.cases import (
    check_neighbours,
    listing,
    mixed_channels,
    nifti_files,
    reading_order,
    scan_key,
    stem,
    unfit_names,
)
from pipeline.errors import DataError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii", "a"),
        ("a.nii.gz", "a"),
        ("a.nii.gz.nii.gz", "a"),
        ("a.nii.nii.gz", "a"),
        ("a.NII.gz.Nii", "a"),
        ("a.gz", "a.gz"),
        ("a.nii.b.nii", "a.nii.b"),
        ("Müller [1] é.nii.gz", "Müller [1] é"),
    ],
)
def test_stem(name: str, expected: str) -> None:
    assert stem(name) == expected


def test_nifti_files_are_sorted_and_the_hidden_ones_left(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.nii", "._a.nii", ".DS_Store", "c.txt", "d.nii.gz.part", "e.NII.GZ"):
        (tmp_path / name).touch()
    assert [path.name for path in nifti_files(tmp_path)] == ["a.nii", "b.nii.gz", "e.NII.GZ"]


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read") as fault:
        nifti_files(tmp_path / "gone")
    assert fault.value.where == str(tmp_path / "gone")


def test_listing_counts_what_it_leaves_out() -> None:
    assert listing(["b", "a"]) == "a, b"
    text = listing(range(103))
    assert text.endswith(" and 3 more")
    assert text.count(",") == 99


def test_slices_are_ordered_by_number_within_patient_and_scan(make_case: Callable[..., Any]) -> None:
    cases = [
        make_case("x", "p2", "s1", 1),
        make_case("c", "p1", "s1", 10),
        make_case("b", "p1", "s1", 9),
        make_case("a", "p1", "s2", 0),
        make_case("d", "p1", "s1", 2),
    ]
    assert [case.id for case in sorted(cases, key=reading_order)] == ["d", "b", "c", "a", "x"]
    assert scan_key(cases[0]) == ("p2", "s1") != scan_key(cases[1])


def test_repeated_ids_are_told_with_their_files(make_case: Callable[..., Any]) -> None:
    cases = [make_case("a", image=Path("x/a.nii")), make_case("b"), make_case("a", image=Path("y/a.nii.gz"))]
    (fault,) = unfit_names(cases, "root")
    assert fault.where == "root"
    assert "a (x/a.nii, y/a.nii.gz)" in fault.what
    assert "b" not in fault.what.removeprefix("case ids that stand more than once")
    assert unfit_names(cases[:2], "root") == []
    assert unfit_names(cases, "root", "Add ids")[0].remedy == "Add ids"


@pytest.mark.parametrize("name", ["a\\b", "a..b", "a\nb", "..", "", "a/b", "\udcff", "é" * 100 + "x"])
def test_ids_that_are_no_file_names_are_refused(make_case: Callable[..., Any], name: str) -> None:
    good = [make_case("a b [1] é"), make_case("é" * 100)]  # 200 bytes
    (fault,) = unfit_names([make_case(name), *good], "root")
    assert fault.what == f"case ids that are no file names: {name!r:.60}"
    assert unfit_names(good, "root") == []


def test_images_of_one_dataset_have_one_number_of_channels(make_case: Callable[..., Any]) -> None:
    two = [make_case(name, further=(Path("t2.nii"),)) for name in ("b", "a", "d", "e")]
    assert mixed_channels([*two, make_case("c", channels_in_file=2)], "root") == []
    (fault,) = mixed_channels([*two, make_case("c")], "root")
    assert fault.what == "images differ in their number of channels: 1 in 1 (c); 2 in 4 (a, b, d)"
    assert fault.where == "root"


def test_slices_of_one_scan_need_numbers_of_their_own(make_case: Callable[..., Any]) -> None:
    good = [make_case("a", scan="s", number=1), make_case("b", scan="s", number=2), make_case("c", "p2", "s", 1)]
    check_neighbours(good)
    with pytest.raises(DataError, match=r"the number 2.*images/b.*images/d"):
        check_neighbours([*good, make_case("d", scan="s", number=2)])
    with pytest.raises(DataError, match="no number"):
        check_neighbours([make_case("a", scan="s"), make_case("b", scan="s")])
    check_neighbours([make_case("a"), make_case("b")])
