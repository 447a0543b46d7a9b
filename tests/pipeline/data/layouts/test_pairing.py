"""Images and labels that pair, and those that do not."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.layouts.pairing import is_file, unpaired


def test_files_are_told_from_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    names = ("a", str(tmp_path / "a"), ".", "b", "a\0", "x" * 5000, "a/b")
    assert [is_file(tmp_path, name) for name in names] == [True, True, False, False, False, False, False]


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_all_that_do_not_pair_are_named(images: set[int], labels: set[int]) -> None:
    folders = Path("images"), Path("labels")
    faults = unpaired(
        {n: folders[0] / f"i{n:02d}" for n in images}, {n: folders[1] / f"l{n:02d}" for n in labels}, *folders
    )
    named = {name.strip() for fault in faults for name in fault.what.split(": ")[1].split(",")}
    assert named == {f"i{n:02d}" for n in images - labels} | {f"l{n:02d}" for n in labels - images}
    assert len(faults) == bool(images - labels) + bool(labels - images)
