"""docs/config.md, written from the schema: each key's default, type with its range, and the text below it.

The prose around the tables is in reference.md beside this module. A line ``<!-- keys: evaluation report -->`` there
becomes the table of these sections' keys; every section stands in one of them.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from pipeline.config.fields import Kind, Section
from pipeline.config.resolved import flow_text
from pipeline.config.schema import Settings

__all__ = ["Key", "config_reference", "keys_of", "kind_of"]

_TEMPLATE = Path(__file__).with_name("reference.md")
_NOTE = "<!-- Written by `bin/check --config-reference` from pipeline/config/: change it there. -->\n\n"
_PLACE = re.compile(r"^<!-- keys: ([a-z ]+) -->$", re.MULTILINE)
_HEAD = "| key | default | type | meaning |\n|---|---|---|---|"
_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", dict: "mapping"}


class Key(NamedTuple):
    """A key that a config may write."""

    name: str  # in full, such as training.epochs; CLASS stands for a name of the user's
    default: str  # as YAML; "none" where the key must be given
    kind: str
    meaning: str


def config_reference() -> str:
    """The page: the template with its tables filled in.

    >>> "| `training.epochs` | `50` | whole number, 1 or more |" in config_reference()
    True
    """
    keys = list(keys_of(Settings))
    template = _TEMPLATE.read_text(encoding="utf-8")
    placed = [name for names in _PLACE.findall(template) for name in names.split()]
    if sorted(placed) != sorted(Settings.model_fields):
        raise ValueError(f"{_TEMPLATE.name} places {sorted(placed)}; the schema has {sorted(Settings.model_fields)}")

    def table(found: re.Match[str]) -> str:
        sections = found[1].split()
        rows = [key for section in sections for key in keys if key.name.split(".")[0] == section]
        return "\n".join([_HEAD, *(f"| `{one.name}` | {one.default} | {one.kind} | {one.meaning} |" for one in rows)])

    return _NOTE + _PLACE.sub(table, template)


def keys_of(section: type[Section], path: str = "") -> Iterator[Key]:
    """The keys of a section and of those in it; a section has a row of its own where it may be left out."""
    meanings = _meanings(section)
    for name, info in section.model_fields.items():
        key = f"{path}{info.alias or name}"
        inner = next(_sections_in(info.annotation), None)
        by_class = any(get_origin(one) is dict for one in _annotations_in(info.annotation))  # below a user's own names
        if inner is None or info.default is None or by_class:
            yield Key(key, _default(info), kind_of(info.annotation, info.metadata), meanings[name])
        if inner is not None:
            yield from keys_of(inner, f"{key}.CLASS." if by_class else f"{key}.")


def kind_of(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in words, with its range; that it may be null is told by the default.

    >>> kind_of(Annotated[float, FieldInfo(ge=0, lt=1)]), kind_of(Literal["a", "b", "c"] | None)
    ('number, 0 to below 1', '`a`, `b` or `c`')
    """
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return kind_of(inner, [*metadata, *more])
    facts = [fact for one in metadata for fact in (one.metadata if isinstance(one, FieldInfo) else [one])]
    for fact in facts:
        if isinstance(fact, Kind):
            return fact.words
    if get_origin(annotation) in (Union, UnionType):
        return _or([kind_of(one, facts) for one in get_args(annotation) if one is not type(None)])
    if get_origin(annotation) is Literal:
        return _or([f"`{choice}`" for choice in get_args(annotation)])
    bounds = {
        name: bound
        for fact in facts
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length")
        if (bound := getattr(fact, name, None)) is not None
    }
    if get_origin(annotation) is tuple:
        return _list(get_args(annotation), bounds)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return _WORDS[dict]
    return _WORDS[get_origin(annotation) or annotation] + _range(bounds, whole=annotation is int)


def _list(entries: tuple[Any, ...], bounds: dict[str, Any]) -> str:
    """A list in words: list of 2 or 3 numbers above 0."""
    low, high = bounds.get("min_length", 0), bounds.get("max_length")
    if entries[-1] is not Ellipsis:
        low = high = len(entries)
    some = "" if high is None else f"{low} " if low == high else f"{low} {'or' if high == low + 1 else 'to'} {high} "
    words = re.sub(r"^(whole number|number|text|path)", r"\1s", kind_of(entries[0]))
    return f"list of {some}{words}"


def _range(bounds: dict[str, Any], *, whole: bool) -> str:
    low, above, high, below = (bounds.get(name) for name in ("ge", "gt", "le", "lt"))
    if whole and below is not None:
        high, below = below - 1, None
    if above is not None:
        return f" above {above:g}" if below is None else f" between {above:g} and {below:g}"
    if low is None:
        return ""
    if high is None and below is None:
        return f", {low:g} or more"
    return f", {low:g} to {high}" if below is None else f", {low:g} to below {below:g}"


def _or(words: list[str]) -> str:
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} or {last}" if first else last


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "none"
    return f"`{flow_text(list(info.default) if isinstance(info.default, tuple) else info.default)}`"


def _annotations_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _annotations_in(inner)


def _sections_in(annotation: Any) -> Iterator[type[Section]]:
    for one in _annotations_in(annotation):
        if isinstance(one, type) and get_origin(one) is None and issubclass(one, Section):
            yield one


def _meanings(section: type[Section]) -> dict[str, str]:
    """The text below each field of a section, on one line; empty where there is none.

    Read from the source here, and not by pydantic (`use_attribute_docstrings`), which would do so at every start.
    """
    body = _classes_of(inspect.getfile(section))[section.__name__].body
    texts = dict.fromkeys(section.model_fields, "")
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                texts[field.target.id] = " ".join(text.value.split())
    return texts


@functools.cache
def _classes_of(file: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
