"""``--set KEY=VALUE``: one value of a loaded config, written on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.config.document import Document, KeyPath, Mark, dotted
from pipeline.config.layers import expand_chain
from pipeline.config.yaml_source import is_expression, parse_yaml, resolve_scalar
from pipeline.errors import ConfigError


def apply_override(document: Document, override: str, folder: Path) -> None:
    """Set one value.

    Parameters
    ----------
    document
        Changed in place.
    override
        ``key.path=value``; a number in the path counts the entries of a list from 0, and the value is read as in YAML.
    folder
        Where the path of a chain's file starts from.

    Raises
    ------
    ConfigError
        When it is not of that form, or there is no such place.
    """
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"got {override!r}, expected key=value", where="--set", remedy="Such as training.epochs=5")
    source = f"--set {key.strip()}"
    value = _value(text.strip(), source)
    if key.strip() == "transforms" and isinstance(value, str):
        named = Document({"transforms": value}, {("transforms",): Mark(source)})
        expand_chain(named, folder)
        document.value["transforms"] = named.value["transforms"]
        document.forget(("transforms",))
        document.marks.update(named.marks)
        return
    path = _assign(document.value, key.strip().split("."), value, source)
    document.forget(path)
    for stop in range(1, len(path)):
        document.marks.setdefault(path[:stop], Mark(source))  # of a section that had not been written before
    document.marks[path] = Mark(source)


def _value(text: str, source: str) -> Any:
    if text[:1] in ("[", "{", '"', "'"):
        return parse_yaml(text, source, lines=False).value
    if is_expression(text):
        raise ConfigError(f"{text!r} looks like an expression; nothing in a config is run", where=source)
    return resolve_scalar(text)


def _assign(container: Any, parts: Sequence[str], value: Any, source: str) -> KeyPath:
    """Put a value in its place; its key path is returned, with whole numbers where it goes through lists."""
    path: list[str | int] = []
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        place: str | int = part
        if isinstance(container, list):
            place = _index(part, container, dotted(tuple(path)), source)
        elif not isinstance(container, dict):
            raise ConfigError(f"{dotted(tuple(path))!r} holds no keys", where=source)
        elif not last and container.get(part) is None:
            container[part] = {}
        path.append(place)
        if last:
            container[place] = value
        else:
            container = container[place]
    return tuple(path)


def _index(part: str, entries: list[Any], reached: str, source: str) -> int:
    if not (part.isascii() and part.isdecimal() and len(part) < 6 and int(part) < len(entries)):
        raise ConfigError(
            f"{part!r} is no entry of {reached!r}", where=source,
            remedy=f"Its {len(entries)} entries are numbered from 0",
        )  # fmt: skip
    return int(part)
