"""Which prediction belongs to which label."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.errors import DataError, Faults
from pipeline.evaluation.pairing import Identity, MaskPair, Naming, Pairs, find_pairs, hipmri_slices


def folders(tmp_path: Path, predictions: Sequence[str], labels: Sequence[str]) -> tuple[Path, Path]:
    for folder, names in (("P", predictions), ("L", labels)):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    return tmp_path / "P", tmp_path / "L"


def found(pairs: Pairs) -> list[tuple[str, str | None, str]]:
    return [
        (pair.identity.case, None if pair.prediction is None else pair.prediction.name, pair.label.name)
        for pair in pairs.pairs
    ]


def test_by_stem_whatever_the_suffix_and_the_order(tmp_path: Path) -> None:
    made = folders(tmp_path, ["b.nii", "a.nii.gz", ".c.nii", "notes.txt"], ["a.nii.gz.nii.gz", "b.nii.gz"])
    assert found(find_pairs(*made, Naming())) == [
        ("a", "a.nii.gz", "a.nii.gz.nii.gz"), ("b", "b.nii", "b.nii.gz"),
    ]  # fmt: skip


def test_what_has_no_partner(tmp_path: Path) -> None:
    made = folders(tmp_path, ["a.nii", "x.nii"], ["a.nii", "b.nii", "c.nii"])
    with pytest.raises(DataError, match=r"2 of 3 labels have no prediction .*b.nii, c.nii.*--missing count"):
        find_pairs(*made, Naming())
    pairs = find_pairs(*made, Naming(), count_missing=True)
    assert found(pairs) == [("a", "a.nii", "a.nii"), ("b", None, "b.nii"), ("c", None, "c.nii")]
    assert [pair.identity.case for pair in pairs.missing] == ["b", "c"]
    assert [path.name for path in pairs.unlabelled] == ["x.nii"]


def test_nothing_in_common_hints_at_the_expression(tmp_path: Path) -> None:
    made = folders(tmp_path, ["pred_1.nii"], ["seg_1.nii"])
    with pytest.raises(DataError, match="--case takes an expression"):
        find_pairs(*made, Naming())
    assert found(find_pairs(*made, Naming(case=r"_(\d+)$"))) == [("1", "pred_1.nii", "seg_1.nii")]


def test_all_faults_at_once(tmp_path: Path) -> None:
    made = folders(tmp_path, ["a1.nii", "a1.nii.gz", "z.nii"], ["a1.nii", "b2.nii", "y.nii"])
    with pytest.raises(Faults) as caught:
        find_pairs(*made, Naming(patient=r"(\d)"))
    told = [str(fault) for fault in caught.value.faults]
    assert len(told) == 3
    assert "names that are not understood: z.nii" in told[0]
    assert "two files for one case: a1.nii and a1.nii.gz" in told[1]
    assert "2 of 3 labels have no prediction" in told[2]


def test_folders_that_cannot_be_scored(tmp_path: Path) -> None:
    predictions, labels = folders(tmp_path, ["a.nii"], [])
    with pytest.raises(DataError, match="no NIfTI file in it"):
        find_pairs(predictions, labels, Naming())
    with pytest.raises(DataError, match="no NIfTI file in it"):
        find_pairs(labels, predictions, Naming(), count_missing=True)
    with pytest.raises(Faults, match=r"--predictions.*\n.*--labels"):
        find_pairs(tmp_path / "none", tmp_path / "nowhere", Naming())
    (tmp_path / "link").symlink_to(predictions)
    with pytest.raises(DataError, match="held against itself"):
        find_pairs(tmp_path / "link", predictions, Naming())


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems refuse such names")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    made = folders(tmp_path, ["a.nii"], ["a.nii"])
    (made[0] / os.fsdecode(b"b\xff.nii")).touch()
    with pytest.raises(DataError, match="not understood") as caught:
        find_pairs(*made, Naming())
    str(caught.value).encode()


def test_the_predictions_name_says_whose_it_is(tmp_path: Path) -> None:
    made = folders(tmp_path, ["p1_7.nii"], ["seg_7.nii"])
    (pair,) = find_pairs(*made, Naming(case=r"_(\d+)$", patient=r"^([^_]+)_")).pairs
    assert pair.identity == Identity("7", "p1", "7")


def test_a_label_need_not_say_whose_it_is(tmp_path: Path) -> None:
    made = folders(tmp_path, ["p1_w2_7.nii", "p2_w1_8.nii"], ["7.nii", "seg_8.nii", "p3_w1_9.nii"])
    naming = Naming(case=r"(\d+)$", patient=r"^(p\d)_", scan=r"_(w\d)_")
    pairs = find_pairs(*made, naming, count_missing=True).pairs
    assert [pair.identity for pair in pairs] == [("7", "p1", "w2"), ("8", "p2", "w1"), ("9", "p3", "w1")]
    made[0].joinpath("p1_w2_7.nii").unlink()  # now nothing says whose 7 is
    with pytest.raises(DataError, match=r"names that are not understood: 7\.nii") as caught:
        find_pairs(*made, naming, count_missing=True)
    assert str(made[1]) in str(caught.value)


KNOWN = {"caf\u00e9_1": Identity("caf\u00e9_1", "P", "S")}


@pytest.mark.parametrize(
    ("naming", "name", "identity"),
    [
        (Naming(patient="^(.)", known=KNOWN), "caf\u00e9_1", ("caf\u00e9_1", "P", "S")),
        (Naming(patient="^(.)", known=KNOWN), "cafe\u0301_1", ("caf\u00e9_1", "P", "S")),  # the same, decomposed
        (Naming(case="^m_(.*)", known=KNOWN), "m_caf\u00e9_1", ("caf\u00e9_1", "P", "S")),
        (Naming(case="(.)$", known=KNOWN), "caf\u00e9_1", ("1", "P", "S")),
        (Naming(case="^m_(.*)", known=KNOWN), "caf\u00e9_1", None),
        (Naming(patient="^(.)", known=KNOWN), "x_1", ("x_1", "x", "x_1")),
        (Naming(patient="^(.)", known=KNOWN, unknown="do this"), "x_1", None),
    ],
)
def test_what_is_known_comes_first(naming: Naming, name: str, identity: tuple[str, str, str] | None) -> None:
    assert naming.identity(name) == identity


def test_what_to_do_about_unknown_names(tmp_path: Path) -> None:
    made = folders(tmp_path, ["a.nii", "b.nii"], ["a.nii", "b.nii"])
    with pytest.raises(DataError, match=r"not understood: b\.nii\. do this") as caught:
        find_pairs(*made, Naming(known={"a": Identity("a", "P", "S")}, unknown="do this"))
    assert str(made[0]) in str(caught.value)


@pytest.mark.parametrize(
    ("predictions", "labels", "expected"),
    [
        (["case_040_week_2_slice_17"], ["seg_040_week_2_slice_17"], True),
        (["case_040_week_2"], ["seg_040_week_2_slice_17"], False),
        (["case_040_week_2_slice_17"], ["Case_040_Week2_SEMANTIC_LFOV"], False),
        (["case_040_week_2_slice_17", "a"], ["seg_040_week_2_slice_17", "a"], False),
        ([None], ["seg_040_week_2_slice_17"], True),
        ([], [], False),
    ],
)
def test_the_slices_of_hipmri(predictions: list[str | None], labels: list[str], expected: bool) -> None:
    names = zip(predictions, labels, strict=True)
    pairs = [MaskPair(Identity("c", "p", "s"), Path(f"P/{one}.nii.gz") if one else None, Path(f"L/{other}.nii.gz"))
             for one, other in names]  # fmt: skip
    assert hipmri_slices(Pairs(tuple(pairs), ())) is expected


@pytest.mark.parametrize(
    ("naming", "name", "identity"),
    [
        (Naming(), "x_1", ("x_1", "x_1", "x_1")),
        (Naming(patient=r"^(p\d)"), "p1_s2_3", ("p1_s2_3", "p1", "p1_s2_3")),
        (Naming(scan=r"_(s\d)"), "p1_s2_3", ("p1_s2_3", "s2", "s2")),
        (Naming(patient=r"^(p\d)", scan=r"_(s\d)"), "p1_s2_3", ("p1_s2_3", "p1", "s2")),
        (Naming(patient=r"^(p\d)"), "q1", None),
        (Naming(patient=r"^(p\d)?"), "q1", None),
        (Naming(hipmri=True), "case_040_week_2_slice_17", ("case_040_week_2_slice_17", "040", "case_040_week_2")),
        (Naming(hipmri=True), "seg_40_week_2_slice_017", ("case_040_week_2_slice_17", "040", "case_040_week_2")),
        (Naming(hipmri=True), "Case_004_Week0_SEMANTIC_LFOV", ("case_004_week_0", "004", "case_004_week_0")),
        (Naming(hipmri=True), "case_004_week_0", ("case_004_week_0", "004", "case_004_week_0")),
        (Naming(hipmri=True), "brain_1", None),
        (Naming(hipmri=True, scan=r"slice_(\d)"), "seg_40_week_2_slice_17", ("case_040_week_2_slice_17", "040", "1")),
    ],
)
def test_what_a_name_says(naming: Naming, name: str, identity: tuple[str, str, str] | None) -> None:
    assert naming.identity(name) == (None if identity is None else Identity(*identity))


def test_hipmri_labels_pair_with_a_runs_predictions(tmp_path: Path) -> None:
    made = folders(tmp_path, ["case_040_week_2_slice_17.nii.gz"], ["seg_040_week_2_slice_17.nii.gz.nii.gz"])
    assert len(find_pairs(*made, Naming(hipmri=True)).pairs) == 1
