"""YAML read as plain data, with the line of every key.

PyYAML's events are walked here rather than its constructors: nothing is built that the file could name, and each trap
of YAML 1.1 is either read as people mean it (`1e-4` is a number, `no` is a word) or refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 20_000

KeyPath = tuple[str | int, ...]

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)$")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?$")
_SPECIAL_FLOATS = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


class Mark(NamedTuple):
    """Where a value stands: a file and its line (from 1), or an argument such as ``--set``."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass
class Document:
    """Plain values, and the mark of every key path in them."""

    value: Any
    marks: dict[KeyPath, Mark] = field(default_factory=dict)

    def mark(self, path: KeyPath) -> Mark:
        """The mark of a key path, or of the nearest parent that has one."""
        for stop in range(len(path), -1, -1):
            if path[:stop] in self.marks:
                return self.marks[path[:stop]]
        return Mark("config")

    def where(self, path: KeyPath) -> str:
        """``file:line: key``, or the argument that the value came by."""
        mark = self.mark(path)
        return f"{mark}: {dotted(path)}" if path and mark.line is not None else str(mark)


def dotted(path: KeyPath) -> str:
    """A key path as people write it.

    >>> dotted(("transforms", "prepare", 2, "mode"))
    'transforms.prepare.2.mode'
    """
    return ".".join(str(part) for part in path)


def read_yaml(path: Path) -> Document:
    """Read one YAML file.

    Raises
    ------
    ConfigError
        When the file is missing, too large, not UTF-8, not YAML, or holds what a config may not: tags, anchors,
        aliases, repeated keys, ``$``, ``@`` or ``%`` expressions, too many or too deeply nested values.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the config ({error.strerror})", where=str(path), remedy="Give the path of a YAML file"
        ) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{len(raw)} bytes is more than a config may have ({MAX_BYTES})", where=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text ({error.reason} at byte {error.start})", where=str(path)) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str, *, lines: bool = True) -> Document:
    """Parse YAML text into a document; `source` is what errors name, `lines` whether they name a line too."""
    document = Document(None)
    events = _events(text, source)
    first = next(events, None)
    if first is None or isinstance(first, yaml.StreamEndEvent):
        raise ConfigError("empty", where=source, remedy="A config is a mapping of keys, see configs/hipmri.yaml")
    document.value = _Builder(events, document, source, lines).build(first, ())
    rest = next(events, None)
    if rest is not None and not isinstance(rest, yaml.StreamEndEvent):
        raise ConfigError("more than one YAML document", where=f"{source}:{rest.start_mark.line + 1}")
    return document


def _events(text: str, source: str) -> Iterator[Any]:
    depth = nodes = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            where = f"{source}:{event.start_mark.line + 1}"
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ConfigError(
                    f"an anchor or alias ({event.anchor!r}); repeated aliases can grow without bound",
                    where=where, remedy="Write the value out, or use 'extends'",
                )  # fmt: skip
            if getattr(event, "tag", None):
                raise ConfigError(
                    f"a YAML tag ({event.tag!r}); a config is plain data, never code",
                    where=where, remedy="Remove the tag",
                )  # fmt: skip
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            nodes += isinstance(event, yaml.NodeEvent)
            if depth > MAX_DEPTH:
                raise ConfigError(f"nested more than {MAX_DEPTH} deep", where=where)
            if nodes > MAX_NODES:
                raise ConfigError(f"more than {MAX_NODES} values", where=where)
            if not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)):
                yield event
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = source if mark is None else f"{source}:{mark.line + 1}"
        found = f"not YAML: {error.problem}"
        if "cannot start any token" in str(error.problem) and re.search(r"'[@%`]'", str(error.problem)):
            found += "; '@' and '%' references of MONAI bundles are code and are not read"
        remedy = "Indent with spaces" if "\\t" in str(error.problem) else "Check the indentation, brackets and quotes"
        raise ConfigError(found, where=where, remedy=remedy) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {error}", where=source) from error


class _Builder:
    """Builds values from events; the depth is bounded by `_events`, so that recursion is safe."""

    def __init__(self, events: Iterator[Any], document: Document, source: str, lines: bool) -> None:
        self.events, self.document, self.source, self.lines = events, document, source, lines

    def _mark(self, event: Any) -> Mark:
        return Mark(self.source, event.start_mark.line + 1 if self.lines else None)

    def build(self, event: Any, path: KeyPath) -> Any:
        self.document.marks.setdefault(path, self._mark(event))
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.build(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            mark = self._mark(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise ConfigError("a key that is a list or a mapping", where=str(mark), remedy="Keys are words")
            key = event.value
            if key in items:
                raise ConfigError(
                    f"the key {key!r} stands twice; the first is on line {self.document.marks[(*path, key)].line}",
                    where=str(mark), remedy="Keep one of them",
                )  # fmt: skip
            self.document.marks[(*path, key)] = mark
            items[key] = self.build(next(self.events), (*path, key))
        return items

    def _scalar(self, event: Any, path: KeyPath) -> Any:
        value = resolve_scalar(event.value) if event.style is None else event.value
        if isinstance(value, str) and is_expression(value):
            raise ConfigError(
                f"{value!r} looks like an expression of a MONAI bundle; a config is data and nothing in it is run",
                where=f"{self._mark(event)}: {dotted(path)}",
                remedy="Write the value itself; ${NAME} and ${NAME:-default} read the environment",
            )
        return value


def is_expression(text: str) -> bool:
    """Whether a string is MONAI bundle code: ``$expression``, ``@reference`` or ``%macro``; ``${NAME}`` is not.

    >>> [is_expression(text) for text in ("$import os", "@network", "%other.yaml#key", "${HOME}/data", "week_(0)$")]
    [True, True, True, False, False]
    """
    return text[:1] in ("@", "%") or (text[:1] == "$" and text[:2] != "${")


def resolve_scalar(text: str) -> Any:
    """A plain (unquoted) scalar as YAML 1.2's core schema reads it, decimal numbers only.

    >>> [resolve_scalar(text) for text in ("1e-4", "no", "12", "true", "~", "0x1f", "1.5.2")]
    [0.0001, 'no', 12, True, None, '0x1f', '1.5.2']
    """
    lowered = text.lower()
    if lowered in _WORDS and text in (lowered, lowered.capitalize(), lowered.upper()):
        return _WORDS[lowered]
    if lowered in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[lowered]
    if _INTEGER.match(text) and len(text) < 20:
        return int(text.replace("_", ""))
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    return text
