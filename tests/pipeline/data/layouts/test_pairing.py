"""Images and labels that pair, and those that do not."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.layouts.pairing import composed, is_file, real_path, unpaired


def test_files_are_told_from_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    names = ("a", str(tmp_path / "a"), ".", "b", "a\0", "x" * 5000, "a/b")
    assert [is_file(tmp_path, name) for name in names] == [True, True, False, False, False, False, False]


def test_a_file_under_several_names(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "y").symlink_to("x")
    (tmp_path / "x/a").touch()
    (tmp_path / "x/b").symlink_to("a")
    names = ("x/a", "./x/a", "x/../x//a", "y/a", str(tmp_path / "x/a"))
    assert {real_path(tmp_path, name) for name in names} == {str(tmp_path / "x/a")}
    assert real_path(tmp_path, "y/b") == str(tmp_path / "x/b"), "a link to a file is a file of its own"
    assert real_path(tmp_path, "a\0") == f"{tmp_path}/a\0", "no file has that name"
    (tmp_path / "loop").symlink_to("loop")
    assert real_path(tmp_path, "loop") == f"{tmp_path}/loop"


def test_accents_are_put_together() -> None:
    # e, then the combining acute accent U+0301, is U+00E9; a Hangul syllable of three letters is one character.
    assert composed("cafe\u0301") == composed("caf\u00e9") == "caf\u00e9"
    assert composed("\u1112\u1161\u11ab") == "\ud55c"
    assert composed("x\udcff") == "x\udcff", "bytes that are no UTF-8 are told elsewhere"


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_all_that_do_not_pair_are_named(images: set[int], labels: set[int]) -> None:
    folders = Path("images"), Path("labels")
    faults = unpaired(
        {n: folders[0] / f"i{n:02d}" for n in images}, {n: folders[1] / f"l{n:02d}" for n in labels}, *folders
    )
    named = {name.strip() for fault in faults for name in fault.what.split(": ")[1].split(",")}
    assert named == {f"i{n:02d}" for n in images - labels} | {f"l{n:02d}" for n in labels - images}
    assert len(faults) == bool(images - labels) + bool(labels - images)
