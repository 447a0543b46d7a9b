"""Texts of a dataset: whatever they hold, they end in values or in a fault that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.layouts import text_files
from pipeline.data.layouts.text_files import read_json, read_text
from pipeline.errors import DataError


def test_utf_8_with_and_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + "größe\r\n".encode())
        assert read_text(path, "") == "größe\r\n"


def test_what_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(No such file or directory\)\. Write one\.$"):
        read_text(path, "Write one")
    with pytest.raises(DataError, match="Is a directory"):
        read_text(tmp_path, "")
    path.write_bytes("größe".encode("utf-16"))
    with pytest.raises(DataError, match=r"not UTF-8 text .* at byte 0"):
        read_text(path, "")
    monkeypatch.setattr(text_files, "MAX_BYTES", 9)
    path.write_bytes(b"123456789")
    assert read_text(path, "") == "123456789"
    path.write_bytes(b"1234567890")
    with pytest.raises(DataError, match="10 bytes is more than is read"):
        read_text(path, "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ('{"a": 1', "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("[1, 2]", "holds a list, expected an object"),
        ('"text"', "holds a str"),
        ("null", "holds a NoneType"),
    ],
)
def test_json_that_is_no_object(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(text)
    with pytest.raises(DataError) as fault:
        read_json(path, "Write one")
    assert told in fault.value.what
    assert (fault.value.where, fault.value.remedy) == (str(path), "Write one")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), JSON))
@settings(deadline=None, max_examples=50)
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]) -> None:
    path = tmp_path_factory.getbasetemp() / "round.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_json(path, "") == content
