"""``${NAME}`` and its default, and what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config.document import Document, KeyPath, Mark
from pipeline.config.variables import interpolate
from pipeline.errors import ConfigError

ENVIRONMENT = {"SET": "value", "EMPTY": "", "DOLLAR": "$import os", "INNER": "${SET}", "DATA_2": "/d"}


def filled(value: Any) -> tuple[Any, frozenset[KeyPath], list[ConfigError]]:
    document = Document({"key": value}, {("key",): Mark("a.yaml", 7)})
    faults: list[ConfigError] = []
    defaulted = interpolate(document, ENVIRONMENT, faults)
    return document.value["key"], defaulted, faults


@pytest.mark.parametrize(
    ("text", "wanted", "is_default"),
    [
        ("${SET}", "value", False),
        ("${SET:-other}", "value", False),
        ("${UNSET:-other}", "other", True),
        ("${EMPTY:-other}", "other", True),
        ("${UNSET:-}", "", True),
        ("${UNSET:-a/b c:d-e}", "a/b c:d-e", True),
        ("pre/${SET}/post", "pre/value/post", False),
        ("${SET}/${UNSET:-x}", "value/x", False),
        ("${UNSET:-y}/${UNSET:-x}", "y/x", True),
        ("${DATA_2}", "/d", False),
        ("${DOLLAR}", "$import os", False),  # text, and never run
        ("${INNER}", "${SET}", False),  # once, and not again
        ("no variable", "no variable", False),
        ("$SET", "$SET", False),
    ],
)
def test_texts(text: str, wanted: str, is_default: bool) -> None:
    assert filled(text) == (wanted, frozenset({("key",)} if is_default else set()), [])


def test_the_variables_of_each_value_are_noted() -> None:
    document = Document({"a": "${SET}/${UNSET:-x}${EMPTY:-y}", "b": ["plain", "${UNSET:-d}"], "c": "${UNSET}"})
    interpolate(document, ENVIRONMENT, [])
    assert document.variables == {
        ("a",): (("SET", True), ("UNSET", False), ("EMPTY", False)),
        ("b", 1): (("UNSET", False),),
    }


def test_whatever_is_no_text_stays() -> None:
    assert filled([1, None, True, 2.5]) == ([1, None, True, 2.5], frozenset(), [])


def test_texts_within_lists_and_mappings() -> None:
    value, defaulted, faults = filled({"a": ["${SET}", "${UNSET:-d}"], "b": {"c": "${UNSET:-e}"}})
    assert value == {"a": ["value", "d"], "b": {"c": "e"}}
    assert defaulted == {("key", "a", 1), ("key", "b", "c")}
    assert faults == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${UNSET}", "a.yaml:7: key: the environment has no UNSET. Set it, or write ${UNSET:-default}."),
        ("${EMPTY}", "the environment has no EMPTY"),
        ("${SET", "'${SET' is not ${NAME} or ${NAME:-default}"),
        ("${}", "is not ${NAME}"),
        ("${1A}", "is not ${NAME}"),
        ("${SET} ${not this}", "is not ${NAME}"),
        ("${SET:?message}", "is not ${NAME}"),
        ("${UNSET:-${SET}}", "is not ${NAME}"),
        ("${os.system('ls')}", "is not ${NAME}"),
        ("${S\u00c9T}", "is not ${NAME}"),
    ],
)
def test_what_cannot_be_filled_in(text: str, told: str) -> None:
    value, defaulted, faults = filled(text)
    assert value == text
    assert defaulted == frozenset()
    assert len(faults) == 1
    assert told in str(faults[0])


def test_all_of_them_are_told() -> None:
    assert len(filled(["${A}", "${B}", {"c": "${C"}])[2]) == 3
