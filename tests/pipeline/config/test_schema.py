"""Defaults, budgets and what the schema makes of values."""

from __future__ import annotations

import pytest

from pipeline.config.schema import DataSettings, PhantomSettings, Settings, SplitSettings, parse_budget


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90s", (90.0, None)), ("90 s", (90.0, None)), (" 7min ", (420.0, None)), ("1.5h", (5400.0, None)),
        ("3000steps", (None, 3000)), ("0.4 steps", (None, 1)), ("2.6 steps", (None, 3)),
    ],
)  # fmt: skip
def test_budgets(text: str, wanted: tuple[float | None, int | None]) -> None:
    assert parse_budget(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "5", "min", "-5min", "5m", "0s", "0.0 h", "1e3s", "5min30s", "9" * 400 + "steps", "\u0663s"]
)
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError, match="a budget is a number above 0 and a unit"):
        parse_budget(text)


def test_defaults_are_valid_and_nothing_is_open_to_change() -> None:
    for section in (PhantomSettings(), SplitSettings(), DataSettings(layout="hipmri", classes=("a", "b"))):
        with pytest.raises(ValueError, match="frozen"):
            section.seed = 1  # type: ignore[misc, union-attr]
        with pytest.raises(ValueError, match="Extra inputs"):
            type(section).model_validate({"nothing": 1})


def test_names_that_may_be_used() -> None:
    for name in ("hipmri", "größe 2", "a.b", "a-b_c", "x" * 100):
        assert DataSettings(layout="hipmri", classes=(name, "other")).classes[0] == name


def test_every_section_has_a_docstring() -> None:
    sections = {info.annotation for info in Settings.model_fields.values() if isinstance(info.annotation, type)}
    assert all(section.__doc__ for section in sections)
