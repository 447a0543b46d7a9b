"""Tables: their columns, their rows, and what is wrong with either, line by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.load import Config
from pipeline.data.layouts import find_cases, table
from pipeline.errors import ConfigError, Fault

Touch = Callable[[Path, Iterable[str]], None]
FaultsIn = Callable[..., list[Fault]]
FILES = ("a.nii", "b.nii", "ma.nii", "mb.nii")


@pytest.fixture
def write(root: Path, touch: Touch) -> Callable[..., Path]:
    """A function that writes ``cases.csv``, beside some files."""

    def make(*lines: str, name: str = "cases.csv", encoding: str = "utf-8") -> Path:
        touch(root, FILES)
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("\n".join(lines) + "\n", encoding=encoding)
        return root / name

    return make


def test_every_column(root: Path, write: Callable[..., Path], config_of: Callable[..., Any]) -> None:
    write("ID,image,label,Patient,scan,slice,split,age", "x2,a.nii,ma.nii,p1,s1,10,Train,50",
          "x1,b.nii,mb.nii,p1,s1,9,VAL,50")  # fmt: skip
    first, second = find_cases(config_of("table", "layout"))
    assert (first.id, first.patient, first.scan, first.slice, first.split) == ("x1", "p1", "s1", 9, "validation")
    assert (second.id, second.slice, second.split) == ("x2", 10, "train")
    assert (second.image, second.label, second.channels) == (root / "a.nii", root / "ma.nii", 1)


def test_the_fewest_columns(write: Callable[..., Path], config_of: Callable[..., Any]) -> None:
    write("image,label,patient", "a.nii,ma.nii,007")
    (case,) = find_cases(config_of("table"))
    assert (case.id, case.patient, case.scan, case.slice, case.split) == ("a", "007", "a", None, None)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_marks_and_line_ends(
    root: Path, write: Callable[..., Path], touch: Touch, config_of: Callable[..., Any], separator: str, encoding: str,
    end: str,
) -> None:  # fmt: skip
    touch(root / "größe [1]", ["a,b;c.nii", "m.nii"])
    rows = [
        ["Image", " label ", "PATIENT", "notes" + ",;\t" * 4],
        ["größe [1]/a,b;c.nii", "größe [1]/m.nii", "p é", ""],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)
    (root / "cases.csv").write_bytes((end + text.getvalue() + end).encode(encoding))
    (case,) = find_cases(config_of("table"))
    assert case.image == root / "größe [1]" / "a,b;c.nii"
    assert (case.id, case.patient) == ("a,b;c", "p é")


def test_paths_start_at_the_table(
    root: Path, write: Callable[..., Path], touch: Touch, config_of: Callable[..., Any]
) -> None:
    touch(root / "tables" / "scans", ["c.nii"])
    write("image,label,patient", f"scans/c.nii,{root / 'ma.nii'},p", "../b.nii,../mb.nii,q", name="tables/my.csv")
    cases = find_cases(config_of("table", table="tables/my.csv"))
    assert [case.image.resolve() for case in cases] == [root / "tables/scans/c.nii", root / "b.nii"]
    assert cases[0].label == root / "ma.nii"
    assert len(find_cases(config_of("table", table=str(root / "tables/my.csv"), root="."))) == 2


def test_channels_are_in_the_order_of_their_columns(
    root: Path, write: Callable[..., Path], config_of: Callable[..., Any]
) -> None:
    write("patient,image_t2,label,image_t1", "p,b.nii,ma.nii,a.nii")
    (case,) = find_cases(config_of("table"))
    assert case.images == (root / "b.nii", root / "a.nii")
    assert (case.id, case.channels) == ("b", 2)


def test_expressions_go_before_columns(write: Callable[..., Path], config_of: Callable[..., Any]) -> None:
    write("id,image,label,patient,scan", "p1_s1,a.nii,ma.nii,,x", "p1_s2,b.nii,mb.nii,w,y")
    cases = find_cases(config_of("table", patient="^(p.)", scan="_(s.)"))
    assert [(case.patient, case.scan) for case in cases] == [("p1", "s1"), ("p1", "s2")]


def test_without_a_column_of_patients_an_expression_is_needed(
    write: Callable[..., Path], config_of: Callable[..., Any], faults_in: FaultsIn
) -> None:
    write("image,label", "a.nii,ma.nii")
    (fault,) = faults_in("table")
    assert "no column 'patient'; there are image, label" in fault.what
    assert "data.patient" in fault.remedy
    assert [case.patient for case in find_cases(config_of("table", patient="(.)"))] == ["a"]


def test_rows_without_a_side_are_left_out_of_the_split(
    write: Callable[..., Path], config_of: Callable[..., Any], faults_in: FaultsIn
) -> None:
    write("image,label,patient,split", "a.nii,ma.nii,p,test", "b.nii,mb.nii,q,")
    assert [case.split for case in find_cases(config_of("table", "layout"))] == ["test", None]
    path = write("image,label,patient", "a.nii,ma.nii,p")
    (fault,) = faults_in("table", kind="layout")
    assert isinstance(fault, ConfigError)
    assert f"{path} has no column 'split'" in fault.what
    assert fault.where.endswith("splits")


def test_everything_wrong_with_rows_is_told_with_their_lines(write: Callable[..., Path], faults_in: FaultsIn) -> None:
    path = write(
        "id,image,label,patient,scan,slice,split",
        "c1,a.nii,,p,s,1,train",
        "c2,,mb.nii,p,s,2,train",
        "",
        '"c\n3",gone.nii,ma.nii,,s,-1,tset',
        "c4,b.nii,b.nii,p,s,1.0,val,too,many",
        "c5,b.nii,mb.nii,p,s,3",
        "c6,a.nii,.",
    )
    assert [(fault.where, fault.what) for fault in faults_in("table")] == [
        (f"{path}:3", "rows without an image: line 3"),
        (f"{path}:2", "rows without a label: line 2"),
        (f"{path}:5", "rows without a patient: line 5, line 9"),
        (f"{path}:7", "rows with more values than columns: line 7"),
        (f"{path}:5", "files that are not there: line 5: gone.nii, line 9: ."),
        (f"{path}:2", "images that stand in several rows: line 2: a.nii, line 7: b.nii, line 8: b.nii, line 9: a.nii"),
        (f"{path}:3", "labels that stand in several rows: line 3: mb.nii, line 8: mb.nii"),
        (f"{path}:7", "images that are their own label: line 7: b.nii"),
        (f"{path}:5", "slices that are no whole number from 0: line 5: -1, line 7: 1.0"),
        (f"{path}:5", "splits of no known name: line 5: tset"),
    ]
    assert all(fault.remedy for fault in faults_in("table"))


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("a.nii,ma.nii", "b.nii,ma.nii", "labels that stand in several rows: line 2: ma.nii, line 3: ma.nii"),
        ("a.nii,ma.nii", "b.nii,./ma.nii", "labels that stand in several rows: line 2: ma.nii, line 3: ./ma.nii"),
        ("a.nii,deep/m.nii", "b.nii,again/m.nii",
         "labels that stand in several rows: line 2: deep/m.nii, line 3: again/m.nii"),
        ("a.nii,ma.nii", "deep/../a.nii,mb.nii",
         "images that stand in several rows: line 2: a.nii, line 3: deep/../a.nii"),
        ("a.nii,./a.nii", "b.nii,mb.nii", "images that are their own label: line 2: ./a.nii"),
    ],
)  # fmt: skip
def test_a_file_has_one_row_under_whatever_name(
    root: Path, write: Callable[..., Path], touch: Touch, faults_in: FaultsIn, first: str, second: str, told: str
) -> None:
    touch(root / "deep", ["m.nii"])
    (root / "again").symlink_to("deep")
    write("id,image,label,patient", f"x,{first},p", f"y,{second},q")
    assert [fault.what for fault in faults_in("table")] == [told]


def test_masks_that_a_store_keeps_once_are_masks_of_their_own(
    root: Path, write: Callable[..., Path], config_of: Callable[..., Any]
) -> None:
    # git-annex links files of one content, such as all blank masks, to one object.
    write("image,label,patient", "a.nii,ma.nii,p", "b.nii,mb.nii,q")
    (root / "ma.nii").rename(root / "object")
    (root / "mb.nii").unlink()
    for name in ("ma.nii", "mb.nii"):
        (root / name).symlink_to("object")
    assert len(find_cases(config_of("table"))) == 2


def test_very_many_faults_of_a_kind_are_counted(write: Callable[..., Path], faults_in: FaultsIn) -> None:
    write("image,label,patient", *[f"a{n}.nii,ma.nii,p" for n in range(103)])
    missing, labels = faults_in("table")
    assert missing.what.endswith("line 101: a99.nii and 3 more")
    assert labels.what.startswith("labels that stand in several rows: line 2: ma.nii, line 3: ma.nii, ")
    assert labels.what.endswith("line 101: ma.nii and 3 more")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("lable,image,patient", ["no column 'label'", "'lable'"]),
        ("image,label,patinet", ["no column 'patient'", "'patinet'"]),
        ("img,mask,patient", ["no column 'image'"]),
        ("image,label,patient,image", ["columns that stand twice: image"]),
        ("image,image_t1,label,patient", ["a column 'image' beside image_t1"]),
        ("image,label,patient,slice", ["a column 'slice' but none 'scan'"]),
        ("image,label,patient,scans", ["a column 'scans'", "'scan'"]),
        ("image,label,patient,scan,slices", ["a column 'slices'", "'slice'"]),
        ("image,label,patient,spilt", ["a column 'spilt'", "'split'"]),
    ],
)
def test_wrong_columns(write: Callable[..., Path], faults_in: FaultsIn, header: str, told: list[str]) -> None:
    path = write(header, "a.nii,ma.nii,p,1")
    assert faults_in("table")
    fault = faults_in("table")[0]
    assert fault.where == f"{path}:1"
    for text in told:
        assert text in f"{fault.what} {fault.remedy}"


def test_several_wrong_columns_are_told_together(write: Callable[..., Path], faults_in: FaultsIn) -> None:
    write("imge,lable,slice", "a.nii,ma.nii,1")
    assert [fault.what.split(";")[0] for fault in faults_in("table", kind="layout")][:4] == [
        "no column 'image'", "no column 'label'", "no column 'patient'",
        "a column 'slice' but none 'scan': slices are numbered within their scan",
    ]  # fmt: skip


@pytest.mark.parametrize("column", ["age", "site", "scanner", "side", "sex", "uid", "images", ""])
def test_other_columns_are_passed_over(write: Callable[..., Path], config_of: Callable[..., Any], column: str) -> None:
    write(f"image,label,patient,{column}", "a.nii,ma.nii,p,x")
    assert len(find_cases(config_of("table"))) == 1


def test_ids_that_stand_twice_and_ids_that_are_no_names(
    root: Path, write: Callable[..., Path], touch: Touch, faults_in: FaultsIn
) -> None:
    touch(root, ["p1/t1.nii", "p2/t1.nii"])
    path = write("image,label,patient", "p1/t1.nii,ma.nii,p1", "p2/t1.nii,mb.nii,p2")
    (fault,) = faults_in("table")
    assert fault.where == str(path)
    assert "more than once: t1 (" in fault.what
    assert "column 'id'" in fault.remedy
    write("id,image,label,patient", "../x,a.nii,ma.nii,p1", "ok,b.nii,mb.nii,p2")
    (fault,) = faults_in("table")
    assert "no file names: '../x'" in fault.what


def test_a_table_that_is_not_there(root: Path, faults_in: FaultsIn) -> None:
    (fault,) = faults_in("table", table="my.csv")
    assert fault.where == str(root / "my.csv")
    assert "data.table" in fault.remedy


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([""], "no column 'image'; there are none"),
        (["image,label,patient"], "no NIfTI file in it"),
        (["image,label,patient", '"a.nii,ma.nii,p'], "not a CSV file"),
        (["image,label,patient", "a.nii,ma.nii,p", 'b.nii,"m"b.nii,q'], "not a CSV file"),
        (["image,label,patient", "x" * 200_000], "not a CSV file"),
        (["image,label,patient", "a\0.nii,ma.nii,p"], "files that are not there: line 2: "),
    ],
)
def test_tables_that_are_none(write: Callable[..., Path], faults_in: FaultsIn, lines: list[str], told: str) -> None:
    path = write(*lines)
    assert told in faults_in("table")[0].what
    assert faults_in("table")[0].where.startswith(str(path))


def test_the_line_of_a_damaged_row(write: Callable[..., Path], faults_in: FaultsIn) -> None:
    path = write("image,label,patient", "a.nii,ma.nii,p", 'b.nii,"m"b.nii,q')
    assert [fault.where for fault in faults_in("table")] == [f"{path}:3"]


def test_bytes_that_are_no_text(root: Path, write: Callable[..., Path], faults_in: FaultsIn) -> None:
    write("image,label,patient", "größe.nii,ma.nii,p", encoding="latin-1")
    (fault,) = faults_in("table")
    assert "not UTF-8" in fault.what


CELLS = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(
    st.lists(st.tuples(CELLS, CELLS), max_size=6, unique_by=lambda pair: pair[0]), st.sampled_from(",;\t"), st.randoms()
)
@settings(deadline=None, max_examples=50)
def test_any_ids_and_patients_come_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], separator: str, random: Any
) -> None:
    root = tmp_path_factory.getbasetemp() / "any_table"
    root.mkdir(exist_ok=True)
    rows = []
    for number, (name, patient) in enumerate(pairs):
        (root / f"{number}.nii").touch()
        (root / f"m{number}.nii").touch()
        rows.append({"id": name, "image": f"{number}.nii", "label": f"m{number}.nii", "patient": patient})
    columns = ["id", "image", "label", "patient"]
    random.shuffle(columns)
    with (root / "t.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    data = SimpleNamespace(table="t.csv", patient=None, scan=None)
    config = SimpleNamespace(settings=SimpleNamespace(data=data, splits=SimpleNamespace(kind="holdout")),
                             where=lambda *path: ".".join(path))  # fmt: skip
    faults: list[Fault] = []
    cases = table.find(cast(Config, config), root, faults)
    assert faults == []
    assert [(case.id, case.patient, case.image.name) for case in cases] == [
        (name, patient, f"{number}.nii") for number, (name, patient) in enumerate(pairs)
    ]
