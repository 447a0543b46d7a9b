"""A config as it is in force, each value with the place that it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.config.document import KeyPath, Mark
from pipeline.config.load import Config
from pipeline.config.resolved import flow_text, plain_values

_LONGEST_FLOW = 88  # a longer list is written an entry a line, so that each entry shows its source
_FURTHEST_COLUMN = 72  # of the sources: where a line is longer, its source comes right after it
_CHAINS = (("transforms", "prepare"), ("transforms", "augment"))  # one transform a line, however long


class _Line(NamedTuple):
    text: str
    source: str = ""


def printed_text(config: Config) -> str:
    """YAML with every value in force, and as a comment where it comes from.

    That is ``file:line``, ``--set``, ``environment NAME``, ``default of ${NAME}`` or ``default``. Read as a config in
    the same folder, it gives the same settings; a stand-in is not looked for.
    """
    values = plain_values(config.settings)
    lines = list(_mapping(config, values, ()))
    column = max((len(line.text) for line in lines if line.source and len(line.text) <= _FURTHEST_COLUMN), default=0)
    told = [f"{line.text:<{column}}  # {line.source}" if line.source else line.text for line in lines]
    head = f"# {_printable(_shown(config, str(config.path)))}: every value in force, and where it comes from"
    return "\n".join([head, *told]) + "\n"


def _mapping(config: Config, values: dict[str, Any], path: KeyPath) -> Iterator[_Line]:
    for key, value in values.items():
        place = (*path, key)
        start = f"{'  ' * len(path)}{flow_text(key)}:"
        if isinstance(value, dict) and value:
            yield _Line(start)
            yield from _mapping(config, value, place)
            continue
        line = f"{start} {flow_text(value)}"
        if isinstance(value, list) and value and (place in _CHAINS or len(line) > _LONGEST_FLOW):
            yield _Line(start)
            for number, entry in enumerate(value):
                text = f"{'  ' * len(place)}- {flow_text(entry)}"
                yield _Line(text, _source(config, (*place, number)))
        else:
            yield _Line(line, _source(config, place))


def _source(config: Config, path: KeyPath) -> str:
    """Where the value at `path` comes from; of a list or a mapping, also where parts of it come from elsewhere."""
    document = config.document
    if not document.holds(path):
        return "default"
    own = document.mark(path)
    inside = [place for place in document.marks if len(place) > len(path) and place[: len(path)] == path]
    sources = {own.source: _place(config, own)}
    for place in inside:
        sources.setdefault(document.marks[place].source, _place(config, document.marks[place]))
    told = list(dict.fromkeys(sources.values()))
    variables = [variable for place, found in document.variables.items() if place[: len(path)] == path
                 for variable in found]  # fmt: skip
    if variables:
        names = [f"environment {one.name}" if one.chosen else f"default of ${{{one.name}}}" for one in variables]
        told = [f"{', '.join(dict.fromkeys(names))} ({', '.join(told)})"]
    return _printable(", ".join(told))


def _place(config: Config, mark: Mark) -> str:
    if mark.line is None:
        return mark.source.partition(" ")[0]  # of an argument: the key stands on the line
    return f"{_shown(config, mark.source)}:{mark.line}"


def _shown(config: Config, source: str) -> str:
    """A file's path from the project's root, or as it is when it lies outside."""
    path = Path(source).resolve()
    return str(path.relative_to(config.project_root)) if path.is_relative_to(config.project_root) else source


def _printable(text: str) -> str:
    """A file may have a line end in its name, a comment not."""
    return "".join(character if character.isprintable() else "?" for character in text)
