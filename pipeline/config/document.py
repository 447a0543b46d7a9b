"""A config as plain values, with the place of every key, and what is known of where each value comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.errors import ConfigError

KeyPath = tuple[str | int, ...]


class Mark(NamedTuple):
    """Where a value stands: a file and its line (from 1), or an argument such as ``--set``."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class KeyFault(ConfigError):
    """A fault of a config's key, which knows the path of it."""

    def __init__(self, what: str, *, where: str = "", remedy: str = "", path: KeyPath = ()) -> None:
        super().__init__(what, where=where, remedy=remedy)
        self.path = path


class Variable(NamedTuple):
    """A ``${NAME}`` of a value, and whether the environment gave it: else its default spoke."""

    name: str
    chosen: bool


@dataclass
class Document:
    """Plain values, the mark of every key path in them, and the variables that were filled into them."""

    value: Any
    marks: dict[KeyPath, Mark] = field(default_factory=dict)
    variables: dict[KeyPath, tuple[Variable, ...]] = field(default_factory=dict)

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

    def fault(self, path: KeyPath, what: str, remedy: str = "") -> KeyFault:
        """A fault of the key at `path`."""
        return KeyFault(what, where=self.where(path), remedy=remedy, path=path)

    def holds(self, path: KeyPath) -> bool:
        """Whether something stands at `path`."""
        value = self.value
        for part in path:
            if isinstance(value, dict) and str(part) in value:
                value = value[str(part)]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return False
        return True

    def remove(self, path: KeyPath) -> None:
        """Take out what stands at `path`; the marks of the entries that come after it in a list move up."""
        *parents, last = path
        container = self.value
        for part in parents:
            container = container[part]
        del container[last]
        self.forget(path)
        if isinstance(last, int):
            depth = len(parents)
            self.marks = {_moved_up(known, path, depth): mark for known, mark in self.marks.items()}

    def forget(self, path: KeyPath) -> None:
        """Drop the marks of a key path and of all below it."""
        for known in [known for known in self.marks if known[: len(path)] == path]:
            del self.marks[known]


def _moved_up(known: KeyPath, gone: KeyPath, depth: int) -> KeyPath:
    """The path `known` after the entry `gone` of a list, `depth` deep, was taken out."""
    place = known[depth] if len(known) > depth and known[:depth] == gone[:depth] else None
    if not isinstance(place, int) or place < int(gone[depth]):
        return known
    return (*known[:depth], place - 1, *known[depth + 1 :])


def dotted(path: KeyPath) -> str:
    """A key path as people write it.

    >>> dotted(("transforms", "prepare", 2, "mode"))
    'transforms.prepare.2.mode'
    """
    return ".".join(str(part) for part in path)
