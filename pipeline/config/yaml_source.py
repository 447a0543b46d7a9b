"""YAML read as plain data, with the line of every key.

PyYAML's events are walked here rather than its constructors: nothing is built that the file could name, and each trap
of YAML 1.1 is either read as people mean it (`1e-4` is a number, `no` is a word) or refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.config.document import Document, KeyPath, Mark, dotted
from pipeline.config.suggestions import nearest
from pipeline.errors import ConfigError

MAX_BYTES = 250_000  # what is read in well under a second
MAX_DEPTH = 32
MAX_NODES = 10_000

# A leading zero and an underscore make a name of a number: '007' and '2024_01' are texts.
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,299})", re.ASCII)
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*|(?=[eE]))|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
_UNPRINTABLE = re.compile("[\x00\ud800-\udfff]")  # no file has them in its name, and no terminal shows them
_SPECIAL_FLOATS = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


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
        folder = path.parent if path.parent.is_dir() else Path("configs")
        known = sorted(str(found) for found in folder.glob("*.yaml"))
        match = nearest(str(folder / path.name), known)
        remedy = f"The nearest known one is {match}" if match else "Give the path of a YAML file"
        raise ConfigError(f"cannot read the config ({error.strerror})", where=str(path), remedy=remedy) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{len(raw)} bytes is more than a config may have ({MAX_BYTES})", where=str(path))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8 text ({error.reason} at byte {error.start})", where=str(path)) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str, *, lines: bool = True) -> Document:
    """Parse YAML text into a document; `source` is what errors name, `lines` whether they name a line too.

    Raises
    ------
    ConfigError
        As `read_yaml`.
    """
    document, place = Document(None), _Place(source, lines)
    events = _events(text, place)
    first = next(events, None)
    if first is None or isinstance(first, yaml.StreamEndEvent):
        raise ConfigError("empty", where=source, remedy="A config is a mapping of keys, see configs/hipmri.yaml")
    document.value = _Builder(events, document, place).build(first, ())
    rest = next(events, None)
    if rest is not None and not isinstance(rest, yaml.StreamEndEvent):
        raise ConfigError("more than one YAML document", where=str(place.of(rest)))
    return document


class _Place(NamedTuple):
    """What a text is called in errors, and whether its lines are named."""

    source: str
    lines: bool

    def of(self, event: Any) -> Mark:
        return self.at(event.start_mark)

    def at(self, mark: Any) -> Mark:
        return Mark(self.source, mark.line + 1 if self.lines and mark is not None else None)


def _events(text: str, place: _Place) -> Iterator[Any]:
    """The events of a text that a config may hold; PyYAML's errors become ours."""
    depth = nodes = 0
    event: Any
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            nodes += isinstance(event, yaml.NodeEvent)
            _refuse_code(event, place)
            if depth > MAX_DEPTH:
                raise ConfigError(f"nested more than {MAX_DEPTH} deep", where=str(place.of(event)))
            if nodes > MAX_NODES:
                raise ConfigError(f"more than {MAX_NODES} values", where=str(place.of(event)))
            if not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)):
                yield event
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, place) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # ValueError: an escape that is no character
        raise ConfigError(f"not YAML: {str(error).splitlines()[0]}", where=place.source) from error


def _refuse_code(event: Any, place: _Place) -> None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise ConfigError(
            f"an anchor or alias ({event.anchor!r}); repeated aliases can grow without bound",
            where=str(place.of(event)), remedy="Write the value out, or use 'extends'",
        )  # fmt: skip
    if getattr(event, "tag", None):
        raise ConfigError(
            f"a YAML tag ({event.tag!r}); a config is plain data, never code",
            where=str(place.of(event)), remedy="Remove the tag",
        )  # fmt: skip


def _syntax_error(error: yaml.MarkedYAMLError, place: _Place) -> ConfigError:
    found = f"not YAML: {error.problem}"
    if "cannot start any token" in str(error.problem) and re.search(r"'[@%`]'", str(error.problem)):
        found += "; '@' and '%' references of MONAI bundles are code and are not read"
    remedy = "Indent with spaces" if "\\t" in str(error.problem) else "Check the indentation, brackets and quotes"
    return ConfigError(found, where=str(place.at(error.problem_mark or error.context_mark)), remedy=remedy)


class _Builder:
    """Builds values from events; the depth is bounded by `_events`, so that recursion is safe."""

    def __init__(self, events: Iterator[Any], document: Document, place: _Place) -> None:
        self.events, self.document, self.place = events, document, place

    def build(self, event: Any, path: KeyPath) -> Any:
        self.document.marks.setdefault(path, self.place.of(event))
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
            mark = self.place.of(event)
            if not isinstance(event, yaml.ScalarEvent):
                raise ConfigError("a key that is a list or a mapping", where=str(mark), remedy="Keys are words")
            key = _printable(event.value, mark)
            if key in items:
                first = self.document.marks[(*path, key)].line
                raise ConfigError(
                    f"the key {key!r} stands twice" + (f"; the first is on line {first}" if first else ""),
                    where=str(mark), remedy="Keep one of them",
                )  # fmt: skip
            self.document.marks[(*path, key)] = mark
            items[key] = self.build(next(self.events), (*path, key))
        return items

    def _scalar(self, event: Any, path: KeyPath) -> Any:
        mark = self.place.of(event)
        text = _printable(event.value, mark)
        value = resolve_scalar(text) if event.style is None else text
        if isinstance(value, str) and is_expression(value):
            raise ConfigError(
                f"{value!r} looks like an expression of a MONAI bundle; a config is data and nothing in it is run",
                where=f"{mark}: {dotted(path)}" if path else str(mark),
                remedy="Write the value itself; ${NAME} and ${NAME:-default} read the environment",
            )
        return value


def _printable(text: str, mark: Mark) -> str:
    if _UNPRINTABLE.search(text):
        raise ConfigError(f"{text!r:.60} holds a character that no text has", where=str(mark), remedy="Remove it")
    return text


def is_expression(text: str) -> bool:
    """Whether a string is MONAI bundle code: ``$expression``, ``@reference`` or ``%macro``; ``${NAME}`` is not.

    >>> [is_expression(text) for text in ("$import os", "@network", "%other.yaml#key", "${HOME}/data", "week_(0)$")]
    [True, True, True, False, False]
    """
    return text[:1] in ("@", "%") or (text[:1] == "$" and text[:2] != "${")


def resolve_scalar(text: str) -> Any:
    """A plain (unquoted) scalar as YAML 1.2's core schema reads it, decimal numbers without leading zeros only.

    >>> [resolve_scalar(text) for text in ("1e-4", "no", "12", "true", "~", "0x1f", "1.5.2", "007", "1_000")]
    [0.0001, 'no', 12, True, None, '0x1f', '1.5.2', '007', '1_000']
    """
    lowered = text.lower()
    if lowered in _WORDS and text in (lowered, lowered.capitalize(), lowered.upper()):
        return _WORDS[lowered]
    if lowered in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[lowered]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
