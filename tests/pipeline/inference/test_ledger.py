"""What was predicted before is known again, whoever predicted it; what was cut off, or has changed, is not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.cases import Case
from pipeline.errors import Fault, RunError
from pipeline.inference.folder import Failed
from pipeline.inference.ledger import FOLDER, Ledger, Record, Sources, failure_record, sources_of, with_digests


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A case of two files."""
    paths = [tmp_path / name for name in ("a_0000.nii", "a_0001.nii")]
    for path in paths:
        path.write_bytes(b"content")
    return Case("a", paths[0], None, "p", "a", further=(paths[1],))


def open_closed(folder: Path, note: Callable[[Ledger], object] = lambda ledger: None, part: str = "0-of-1") -> Ledger:
    """A ledger after something was noted and it was opened again, closed."""
    first = Ledger(folder, part)
    note(first)
    first.close()
    again = Ledger(folder, "other")
    again.close()
    return again


def test_what_was_noted_is_known_again(case: Case, tmp_path: Path) -> None:
    sources = with_digests(case, sources_of(case))
    assert len(sources.digests) == len(sources.marks) == 2
    ledger = open_closed(tmp_path, lambda one: one.note(Record("a", "model", sources)))
    assert ledger.is_finished(case, "model", sources_of(case))
    assert not ledger.is_finished(case, "another", sources_of(case))
    assert not ledger.is_finished(Case("b", case.image, None, "p", "b"), "model", sources_of(case))
    assert not ledger.is_finished(case, "model", None)


@pytest.mark.parametrize("number", [0, 1])
def test_files_that_changed(case: Case, tmp_path: Path, number: int) -> None:
    sources = with_digests(case, sources_of(case))
    ledger = open_closed(tmp_path, lambda one: one.note(Record("a", "model", sources)))
    path = case.images[number]
    os.utime(path, ns=(1, 1))
    assert ledger.is_finished(case, "model", sources_of(case)), "a copy of the same content"
    path.write_bytes(b"changed")
    assert not ledger.is_finished(case, "model", sources_of(case))
    path.unlink()
    assert sources_of(case) is None


def test_files_that_changed_while_they_were_predicted(case: Case, tmp_path: Path) -> None:
    before = sources_of(case)
    case.image.write_bytes(b"something else")
    sources = with_digests(case, before)
    assert sources == Sources(())
    ledger = open_closed(tmp_path, lambda one: one.note(Record("a", "model", sources)))
    assert not ledger.is_finished(case, "model", sources_of(case))


def test_failures_are_kept_until_they_are_mended(case: Case, tmp_path: Path) -> None:
    failed = Failed("a", (Fault("damaged", where="f\udcff.nii", remedy="Copy"), Fault("twice")))
    ledger = open_closed(tmp_path, lambda one: one.note(failure_record(failed, "model")))
    (found,) = ledger.failures(["a", "b"], "model")
    assert [(one.what, one.where, one.remedy) for one in found.faults] == [
        ("damaged", "f\\udcff.nii", "Copy"), ("twice", "", ""),
    ]  # fmt: skip
    assert ledger.failures(["a"], "another") == []
    assert not ledger.is_finished(case, "model", sources_of(case))
    sources = with_digests(case, sources_of(case))
    ledger = open_closed(tmp_path, lambda one: one.note(Record("a", "model", sources)), part="1-of-2")
    assert ledger.failures(["a"], "model") == []


def test_a_failure_is_never_finished(case: Case, tmp_path: Path) -> None:
    failed = Record("a", "model", with_digests(case, sources_of(case)), (("bad", "", ""),))
    assert not open_closed(tmp_path, lambda one: one.note(failed)).is_finished(case, "model", sources_of(case))


def test_a_line_that_was_cut_off_spoils_no_other(case: Case, tmp_path: Path) -> None:
    sources = with_digests(case, sources_of(case))
    open_closed(tmp_path, lambda one: one.note(Record("a", "model", sources)))
    path = tmp_path / FOLDER / "0-of-1.jsonl"
    line = path.read_bytes()
    for length in range(len(line) - 1):
        path.write_bytes(line[:length])
        ledger = open_closed(tmp_path, lambda one: one.note(Record("b", "model", sources)))
        assert set(ledger.records) == {"b"}, length
    path.write_bytes(b'\xff\n[]\n{"case": 3}\n' + line)
    assert set(open_closed(tmp_path).records) == {"a"}


def test_the_latest_record_holds_whichever_file_it_is_in(tmp_path: Path) -> None:
    open_closed(tmp_path, lambda one: one.note(Record("a", "old", Sources(()))), part="9-of-10")
    ledger = open_closed(tmp_path, lambda one: one.note(Record("a", "new", Sources(()))), part="0-of-1")
    assert ledger.records["a"].model == "new"


def test_two_processes_do_not_share_a_part(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, "0-of-2")
    with pytest.raises(RunError, match="another process is predicting"):
        Ledger(tmp_path, "0-of-2")
    other = Ledger(tmp_path, "1-of-2")
    other.note(Record("b", "model", Sources(())))
    ledger.refresh()
    assert set(ledger.records) == {"b"}
    ledger.close()
    other.close()
    Ledger(tmp_path, "0-of-2").close()


def test_lines_are_plain_ascii(tmp_path: Path) -> None:
    open_closed(tmp_path, lambda one: one.note(Record("ä", "model", Sources(((3, 4),), ("d",)))))
    (line,) = (tmp_path / FOLDER / "0-of-1.jsonl").read_text("ascii").splitlines()
    assert json.loads(line)["sources"] == {"marks": [[3, 4]], "digests": ["d"]}


def test_rows_of_the_review_are_kept(tmp_path: Path) -> None:
    row = {"case": "a", "trust": 0.5, "weakest": None}
    ledger = open_closed(tmp_path, lambda one: one.note(Record("a", "model", Sources(()), (), row, "mark")))
    assert ledger.reviews(["a", "b"], "model", "mark") == [row]
    assert ledger.reviews(["a"], "another", "mark") == ledger.reviews([], "model", "mark") == []
    assert ledger.reviews(["a"], "model", "other") == [], "held against other ranges"


def test_lines_without_a_mark_are_of_an_earlier_version(tmp_path: Path) -> None:
    open_closed(tmp_path, lambda one: one.note(Record("a", "model", Sources(((3, 4),)), review={"case": "a"})))
    path = tmp_path / FOLDER / "0-of-1.jsonl"
    line = json.loads(path.read_text())
    del line["review_mark"]
    path.write_text(json.dumps(line) + "\n")
    ledger = open_closed(tmp_path, lambda one: None)
    assert ledger.records["a"].model == "model" and ledger.records["a"].review_mark == ""
