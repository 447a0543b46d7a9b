"""YAML as plain data: each trap of YAML 1.1 and of MONAI's bundles, the line of every key, and any text at all."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.document import Document, dotted
from pipeline.config.resolved import yaml_text
from pipeline.config.yaml_source import (
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    is_expression,
    parse_yaml,
    read_yaml,
    resolve_scalar,
)
from pipeline.errors import ConfigError


def refusal(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "a.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 0.0001), ("1E5", 1e5), ("2.0e-3", 0.002), (".5", 0.5), ("-.5", -0.5), ("1.", 1.0), ("+1.5", 1.5),
        ("0", 0), ("-0", 0), ("12", 12), ("-7", -7), ("+7", 7), ("9" * 25, int("9" * 25)),
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("N", "N"),
        ("true", True), ("True", True), ("FALSE", False), ("tRue", "tRue"),
        ("null", None), ("~", None), ("NULL", None), ("None", "None"),
        ("007", "007"), ("0o17", "0o17"), ("0x1f", "0x1f"), ("012.5", "012.5"), ("1_000", "1_000"),
        ("2024_01", "2024_01"),
        ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("1.2.3", "1.2.3"), ("1e", "1e"), ("e5", "e5"), (".", "."),
        ("1\u0663", "1\u0663"), ("9" * 400, "9" * 400), ("nan", "nan"), ("inf", "inf"),
        (".inf", math.inf), ("-.INF", -math.inf),
    ],
)  # fmt: skip
def test_plain_scalars_are_read_as_people_mean_them(text: str, value: Any) -> None:
    for found in (resolve_scalar(text), parse_yaml(f"key: {text}\n", "a.yaml").value["key"]):
        assert found == value
        assert type(found) is type(value)


def test_not_a_number_is_one() -> None:
    assert math.isnan(resolve_scalar(".nan"))


@pytest.mark.parametrize("text", ["'1e-4'", '"no"', "'007'", '"true"', "'~'", '""'])
def test_what_is_quoted_is_text(text: str) -> None:
    assert parse_yaml(f"key: {text}", "a").value["key"] == text[1:-1]


def test_block_text_is_text() -> None:
    assert parse_yaml("key: |\n  12\n", "a").value["key"] == "12\n"


def test_keys_are_texts_as_they_stand() -> None:
    assert parse_yaml("{1: a, 007: b, no: c, null: d, true: e, ~: f}", "a").value == {
        "1": "a", "007": "b", "no": "c", "null": "d", "true": "e", "~": "f",
    }  # fmt: skip
    assert parse_yaml("<<: {a: 1}", "a").value == {"<<": {"a": 1}}, "nothing is merged"


def test_lines_of_keys_and_entries() -> None:
    document = parse_yaml("a: 1\n\nb:\n  c: [1,\n    2]\n  d:\n    - x\n    - {e: 5,\n       f: 6}\n", "a.yaml")
    lines = {dotted(path): mark.line for path, mark in document.marks.items()}
    assert lines == {
        "": 1, "a": 1, "b": 3, "b.c": 4, "b.c.0": 4, "b.c.1": 5, "b.d": 6, "b.d.0": 7, "b.d.1": 8, "b.d.1.e": 8,
        "b.d.1.f": 9,
    }  # fmt: skip
    assert document.where(("b", "d", 1, "f")) == "a.yaml:9: b.d.1.f"
    assert document.where(("b", "d", 1, "nothing", "here")) == "a.yaml:8: b.d.1.nothing.here"
    assert document.where(("nothing",)) == "a.yaml:1: nothing"
    assert document.where(()) == "a.yaml:1"


def test_marks_without_lines() -> None:
    document = parse_yaml("[a, {b: 1}]", "--set key", lines=False)
    assert document.where((1, "b")) == "--set key"
    assert Document(None).where(("a",)) == "config"
    with pytest.raises(ConfigError) as caught:
        parse_yaml("[a, b", "--set key", lines=False)
    assert caught.value.where == "--set key"
    with pytest.raises(ConfigError, match=r"^--set key: the key 'a' stands twice\. "):
        parse_yaml("{a: 1, a: 2}", "--set key", lines=False)


@pytest.mark.parametrize(
    ("text", "told", "line"),
    [
        ("a: 1\nb: !!python/object/apply:os.system [ls]", "a YAML tag", 2),
        ("a: !!str 5", "a YAML tag", 1),
        ("a: !include other.yaml", "a YAML tag", 1),
        ("a: &x 1\nb: *x", "an anchor or alias", 1),
        ("a: *nowhere", "an anchor or alias", 1),
        ("a: 1\nb: 2\na: 3", "the key 'a' stands twice; the first is on line 1", 3),
        ("a: {b: 1, b: 1}", "the key 'b' stands twice", 1),
        ("a: 1\nb: $import os", "looks like an expression", 2),
        ("a: '$import os'", "looks like an expression", 1),
        ('a:\n  - "@network"', "looks like an expression", 2),
        ("a: '%other.yaml#key'", "looks like an expression", 1),
        ("a: @network", "'@' and '%' references", 1),
        ("a: %macro", "'@' and '%' references", 1),
        ("? [a, b]\n: 1", "a key that is a list or a mapping", 1),
        ("a: 1\n---\nb: 2", "more than one YAML document", 3),
        ("a: [1, 2", "not YAML", 1),
        ("a:\n\t- 1", "not YAML", 2),
        ("a: 'x\n", "not YAML", 2),
        ("a: b: c", "not YAML", 1),
        ("", "empty", None),
        ("# only a comment\n", "empty", None),
        ("a: \"\\ud800\"", "a character that no text has", 1),
        ("\"\\ud800\": 1", "a character that no text has", 1),
        ("a: \"b\\0c\"", "a character that no text has", 1),
        ("a: \"\\UFFFFFFFF\"", "not YAML", None),
        ("a: \"\\U00110000\"", "not YAML", None),
        ("a: \x07", "not YAML", None),
        ("%YAML 2.0\n---\na: 1", "not YAML", 1),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", "not YAML", None),
    ],
)  # fmt: skip
def test_what_no_config_holds(text: str, told: str, line: int | None) -> None:
    fault = refusal(text)
    assert told in fault.what
    place, _, rest = fault.where.partition(":")
    assert place == "a.yaml"
    assert not rest if line is None else rest.split(":")[0] == str(line)


def test_a_tab_is_told_to_be_a_tab() -> None:
    assert refusal("a:\n\t- 1").remedy == "Indent with spaces"


@pytest.mark.parametrize("text", ["${HOME}/data", "week_(0)$", "50%", "me@home", "a $b", "$"[:0]])
def test_what_only_looks_like_code(text: str) -> None:
    assert not is_expression(text)
    assert parse_yaml(f"key: '{text}'", "a").value == {"key": text}


def test_nested_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "an anchor" in refusal("\n".join(lines)).what


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "[{b: "])
def test_depth_is_bounded(opening: str) -> None:
    assert f"more than {MAX_DEPTH} deep" in refusal(opening * 3_000).what


def test_the_number_of_values_is_bounded() -> None:
    assert f"more than {MAX_NODES} values" in refusal("- a\n" * (MAX_NODES + 1)).what
    assert len(parse_yaml("- a\n" * (MAX_NODES - 1), "a").value) == MAX_NODES - 1


def test_the_size_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match=f"{MAX_BYTES + 1} bytes is more than"):
        read_yaml(path)
    path.write_text('a: "' + "b" * (MAX_BYTES - 5) + '"')
    assert len(read_yaml(path).value["a"]) == MAX_BYTES - 5


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as caught:
        read_yaml(tmp_path / "none.yaml")
    assert caught.value.where == str(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_yaml(tmp_path / "latin.yaml")
    (tmp_path / "utf16.yaml").write_bytes("name: x".encode("utf-16"))
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        read_yaml(tmp_path / "utf16.yaml")
    (tmp_path / "bom.yaml").write_bytes("name: größe".encode("utf-8-sig"))
    assert read_yaml(tmp_path / "bom.yaml").value == {"name": "größe"}


def test_windows_line_ends() -> None:
    document = parse_yaml("a: 1\r\nb: x\r\n", "a.yaml")
    assert document.value == {"a": 1, "b": "x"}
    assert document.marks[("b",)].line == 2


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False),
    words.filter(lambda text: not is_expression(text)),
    st.sampled_from("1e-4|no|007|1_000|0x1f|~|null|true|1.|.5e3|1e5|| x|.inf|-".split("|")),
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12
)


@settings(max_examples=200, deadline=None)
@given(values)
def test_what_is_written_is_read_back_as_it_was(value: Any) -> None:
    found = parse_yaml(yaml_text({"key": value}), "a").value
    assert found == {"key": value}
    assert repr(found) == repr({"key": value})  # 1, 1.0 and True are equal, and not the same


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.from_regex("[a-z]{3,9}", fullmatch=True),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex("[a-z]{3,9}", fullmatch=True), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=80, deadline=None)
@given(plain, st.booleans())
def test_plain_values_that_pyyaml_writes(value: Any, flow: bool) -> None:
    assert parse_yaml(yaml.safe_dump({"key": value}, default_flow_style=flow), "a").value == {"key": value}


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet="ab:-[]{}#&*!|>'\"%@$?,~ \n\t0\\", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = parse_yaml(text, "a.yaml")
    except ConfigError as fault:
        assert fault.where.startswith("a.yaml")
        str(fault).encode()
        return
    assert () in document.marks


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.yaml"
    path.write_bytes(content)
    with contextlib.suppress(ConfigError):
        read_yaml(path)
