"""Names of classes: compared by value and loosely, and answered with the line to write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.yaml_source import parse_yaml
from pipeline.data.layouts.class_names import by_value, checked_labels, class_faults
from pipeline.errors import DataError

SOURCE = Path("dataset.json")


def compare(config: Any, *names: str) -> Sequence[Any]:
    return class_faults(config, dict(enumerate(names)), SOURCE)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (["background", "left atrium"], ["Background", "left_atrium"]),
        (["background", "Groß"], ["back ground", "gross"]),
        (["background", "t-1 (core)"], ["background", "T1CORE"]),
    ],
)
def test_names_are_compared_loosely(config_of: Callable[..., Any], ours: list[str], theirs: list[str]) -> None:
    assert not compare(config_of("nnunet", classes=ours), *theirs)


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (["background", "b", "a"], "1 is 'b' there and 'a' here; 2 is 'a' there and 'b' here"),
        (["background", "a"], "2 is None there and 'b' here"),
        (["background", "a", "b", "c"], "3 is 'c' there and None here"),
        (["background", "a", "+"], "2 is '+' there and 'b' here"),
    ],
)
def test_a_difference_is_told_with_the_line_to_write(
    config_of: Callable[..., Any], theirs: list[str], told: str
) -> None:
    (fault,) = compare(config_of("nnunet"), *theirs)
    assert fault.what == f"not the classes of dataset.json: {told}"
    assert fault.where.endswith("data.classes")
    line = fault.remedy.removeprefix("Write data.classes: ")
    assert parse_yaml(line, "remedy").value == theirs


def test_very_many_differences_are_counted(config_of: Callable[..., Any]) -> None:
    (fault,) = compare(config_of("nnunet"), *[f"class {number}" for number in range(12)])
    assert fault.what.endswith("7 is 'class 7' there and None here; and 4 more")


@pytest.mark.parametrize(
    "name",
    ["a, b", "left: 1", "no", "1.5", "true", "#x", "a/b", "..x", "größe 2", "x" * 99, "- a", " a", "a]b", 'q"q'],
)
def test_the_line_can_be_written_as_it_stands(config_of: Callable[..., Any], name: str) -> None:
    (fault,) = compare(config_of("nnunet"), "background", name)
    written = parse_yaml(fault.remedy.removeprefix("Write data.classes: "), "remedy").value
    assert written == ["background", name.replace("..", "_").replace("/", "_").replace(" a", "_a", name[0] == " ")]
    assert not compare(config_of("nnunet", classes=written), "background", name)


def test_a_label_map_gives_names_of_its_own(config_of: Callable[..., Any]) -> None:
    config = config_of("nnunet", classes=["background", "hippocampus"], label_map={2: 1})
    assert not compare(config, "background", "anterior", "posterior")


def test_labels_are_ordered_by_value() -> None:
    assert list(checked_labels([(2, "b"), (0, "background"), (1, "a")], SOURCE).items()) == [
        (0, "background"), (1, "a"), (2, "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([(0, "background"), ("x", "a")], "not names of whole numbers: 'x': 'a'"),
        ([(0, "background"), (1.0, "a")], "1.0: 'a'"),
        ([(False, "background"), (True, "a")], "False: 'background', True: 'a'"),
        ([(0, "background"), (1, ["a"])], "1: ['a']"),
        ([(0, "background"), ({}, "a")], "{}: 'a'"),
        ([(0, "background"), (1, "+")], "1: '+'"),
        ([(0, "background"), (2, "a")], "has the values 0, 2;"),
        ([(1, "background"), (2, "a")], "has the values 1, 2;"),
        ([(0, "background"), (1, "a"), (1, "b")], "has the values 0, 1, 1;"),
        ([(0, "background")], "has the values 0;"),
        ([], "has the values none;"),
        ([(-1, "x"), (0, "background")], "has the values -1, 0;"),
    ],
)
def test_labels_that_are_none(pairs: list[tuple[Any, Any]], told: str) -> None:
    with pytest.raises(DataError) as fault:
        checked_labels(pairs, SOURCE)
    assert told in fault.value.what
    assert fault.value.remedy


@given(st.dictionaries(st.text() | st.integers(0, 999_999).map(str), st.text()))
def test_keys_are_numbers_where_they_are_written_so(names: dict[str, str]) -> None:
    values = by_value(names)
    assert {str(key): name for key, name in values.items()} == names
    assert all(isinstance(key, int) or not (key.isascii() and key.isdecimal() and key == str(int(key)) and len(key) < 7)
               for key in values)  # fmt: skip
