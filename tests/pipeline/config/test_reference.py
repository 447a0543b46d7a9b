"""What the page says of a type, a default and a key, each worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from pipeline.commands.check import main
from pipeline.config import reference
from pipeline.config.fields import Bool, Count, Float, Fraction, Int, Kind, PathText, Section, Text
from pipeline.config.reference import config_reference, keys_of, kind_of
from pipeline.config.schema import Settings


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Int, "whole number"),
        (Count, "whole number, 1 or more"),
        (Count | None, "whole number, 1 or more"),
        (Annotated[Count, Field(le=60)], "whole number, 1 to 60"),
        (Annotated[Int, Field(ge=0, lt=8)], "whole number, 0 to 7"),
        (Annotated[Int, Field(ge=100, le=100_000)], "whole number, 100 to 100000"),
        (Float, "number"),
        (Fraction, "number, 0 to below 1"),
        (Annotated[Float, Field(ge=0)], "number, 0 or more"),
        (Annotated[Float, Field(ge=0, le=1)], "number, 0 to 1"),
        (Annotated[Float, Field(gt=0)] | None, "number above 0"),
        (Annotated[Float, Field(gt=0.5, lt=1)], "number between 0.5 and 1"),
        (Bool, "true or false"),
        (Text, "text"),
        (PathText, "path"),
        (Annotated[Text, Kind("colour")] | None, "colour"),
        (Literal["a"], "`a`"),
        (Literal["a", "b"] | None, "`a` or `b`"),
        (Literal["a", "b", "c"], "`a`, `b` or `c`"),
        (Int | Literal["all"], "whole number or `all`"),
        (tuple[Text, ...], "list of texts"),
        (tuple[PathText, ...], "list of paths"),
        (tuple[Count, Count] | None, "list of 2 whole numbers, 1 or more"),
        (Annotated[tuple[Annotated[Float, Field(gt=0)], ...], Field(min_length=2, max_length=3)] | None,
         "list of 2 or 3 numbers above 0"),
        (Annotated[tuple[Text, ...], Field(min_length=2, max_length=255)], "list of 2 to 255 texts"),
        (dict[str, Any], "mapping"),
    ],
)  # fmt: skip
def test_a_type_in_words(annotation: Any, words: str) -> None:
    class Holder(Section):
        key: annotation

    info = Holder.model_fields["key"]
    assert kind_of(annotation) == words
    assert kind_of(info.annotation, info.metadata) == words, "as pydantic takes it apart"


class Inner(Section):
    """What a class may have."""

    large: Bool = False
    """Of the largest part
    alone."""
    bare: Count | None = None


class Outer(Section):
    """A section, with one that may be left out, one below names of the user's, and one that is always there."""

    kind_: Annotated[Literal["a", "b"], Field(alias="kind")]
    """Of `a` thing."""
    perhaps: Inner | None = None
    """May be there."""
    by_class: dict[Text, Inner] = Field(default={})
    """For each class."""
    always: Inner = Inner()
    """No row of its own."""
    sizes: tuple[Count, ...] = (1, 2)

    """No description: something stands between."""


def test_the_keys_of_a_section() -> None:
    assert [tuple(key) for key in keys_of(Outer, "o.")] == [
        ("o.kind", "none", "`a` or `b`", "Of `a` thing."),
        ("o.perhaps", "`null`", "mapping", "May be there."),
        ("o.perhaps.large", "`false`", "true or false", "Of the largest part alone."),
        ("o.perhaps.bare", "`null`", "whole number, 1 or more", ""),
        ("o.by_class", "`{}`", "mapping", "For each class."),
        ("o.by_class.CLASS.large", "`false`", "true or false", "Of the largest part alone."),
        ("o.by_class.CLASS.bare", "`null`", "whole number, 1 or more", ""),
        ("o.always.large", "`false`", "true or false", "Of the largest part alone."),
        ("o.always.bare", "`null`", "whole number, 1 or more", ""),
        ("o.sizes", "`[1, 2]`", "list of whole numbers, 1 or more", "No description: something stands between."),
    ]


def test_every_key_has_a_description_that_a_table_can_hold() -> None:
    for key in keys_of(Settings):
        assert re.fullmatch(r"[^|]+\.", key.meaning), key
        assert "|" not in key.kind + key.default, key


@pytest.mark.parametrize(
    ("place", "wrong"),
    [("evaluation report", "evaluation"), ("training", "training training"), ("splits", "splits folds")],
)
def test_a_template_places_every_section_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, wrong: str
) -> None:
    template = reference._TEMPLATE.read_text(encoding="utf-8")
    assert f"<!-- keys: {place} -->" in template
    path = tmp_path / "reference.md"
    path.write_text(template.replace(f"<!-- keys: {place} -->", f"<!-- keys: {wrong} -->"), encoding="utf-8")
    monkeypatch.setattr(reference, "_TEMPLATE", path)
    with pytest.raises(ValueError, match=r"reference\.md places"):
        config_reference()


def test_it_is_printed_without_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--config-reference"])
    assert end.value.code == 0
    assert capsys.readouterr().out == config_reference()
