"""Load a config: extends, chains in files, --set, the environment; then validate the whole."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.schema import Settings
from pipeline.config.validation import validate
from pipeline.config.yaml_source import (
    Document,
    KeyPath,
    Mark,
    dotted,
    is_expression,
    parse_yaml,
    read_yaml,
    resolve_scalar,
)
from pipeline.errors import ConfigError

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_MAX_EXTENDS = 8


@dataclass(frozen=True)
class Config:
    """A validated config with what is known of where it came from.

    Attributes
    ----------
    settings
        The validated values.
    path
        The file that was named.
    project_root
        The folder that relative paths start from: the one that holds ``configs/``, else the config's own.
    resolved
        Plain values with everything filled in: running them again repeats the run.
    document
        The values with the place that each was written at.
    defaulted
        The key paths whose value is the default of a ``${NAME:-default}``: nobody chose it.
    """

    settings: Settings
    path: Path
    project_root: Path
    resolved: dict[str, Any]
    document: Document
    defaulted: frozenset[KeyPath]

    def locate(self, text: str) -> Path:
        """A path of the config as an absolute one."""
        return self.project_root / Path(text).expanduser()

    def where(self, *path: str | int) -> str:
        """``file:line: key``, for messages."""
        return self.document.where(path)


def load_config(
    path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Config:
    """Load and validate a config.

    Parameters
    ----------
    path
        A YAML file.
    overrides
        Each ``key.path=value``, as given to ``--set``; they come last.
    environment
        What ``${NAME}`` reads; the process's own when not given.

    Raises
    ------
    ConfigError, Faults
        With every problem found.
    """
    document = _load_file(path, ())
    for override in overrides:
        _apply_override(document, override)
    defaulted = _interpolate(document, os.environ if environment is None else environment)
    settings = validate(document)
    return Config(settings, path, project_root(path), document.value, document, frozenset(defaulted))


def project_root(path: Path) -> Path:
    """The nearest folder above a file that holds a ``configs/``; where there is none, the file's own folder."""
    folder = path.resolve().parent
    for parent in (folder, *folder.parents):
        if (parent / "configs").is_dir():
            return parent
    return folder


def _load_file(path: Path, chain: tuple[Path, ...]) -> Document:
    if path.resolve() in chain or len(chain) >= _MAX_EXTENDS:
        names = " -> ".join(str(step.name) for step in (*chain, path))
        raise ConfigError(f"'extends' runs in a circle or too deep: {names}", where=str(path))
    document = read_yaml(path)
    if not isinstance(document.value, dict):
        raise ConfigError("a config is a mapping of keys", where=str(document.mark(())))
    _expand_chain_file(document, path)
    base_name = document.value.pop("extends", None)
    if base_name is None:
        return document
    where = document.where(('extends',))
    if not isinstance(base_name, str):
        raise ConfigError(f"expected the path of another config, got {base_name!r:.60}", where=where)
    base_path = path.parent / base_name
    if not base_path.is_file():
        raise ConfigError(f"no such config: {base_path}", where=where, remedy="Give a path from this file's folder")
    base = _load_file(base_path, (*chain, path.resolve()))
    return _merged(base, document)


def _expand_chain_file(document: Document, path: Path) -> None:
    name = document.value.get("transforms")
    if not isinstance(name, str):
        return
    chain_path = path.parent / name
    where = document.where(('transforms',))
    if not chain_path.is_file():
        known = sorted(str(found.relative_to(path.parent)) for found in path.parent.glob("transforms/*.yaml"))
        remedy = f"Known here: {', '.join(known)}" if known else "Give a path from this file's folder"
        raise ConfigError(f"no such chain: {chain_path}", where=where, remedy=remedy)
    chain = read_yaml(chain_path)
    document.value["transforms"] = chain.value
    document.marks.update({("transforms", *key): mark for key, mark in chain.marks.items()})


def _merged(base: Document, over: Document) -> Document:
    """`over` on top of `base`: mappings key by key, but a changed ``_target_`` starts its mapping anew."""
    marks = dict(base.marks)

    def merge(low: Any, high: Any, path: KeyPath) -> Any:
        if isinstance(low, dict) and isinstance(high, dict) and _same_target(low, high):
            result = dict(low)
            for key, value in high.items():
                result[key] = merge(low.get(key), value, (*path, key))
            return result
        for known in [known for known in marks if known[: len(path)] == path]:
            del marks[known]
        return high

    value = merge(base.value, over.value, ())
    return Document(value, marks | over.marks)


def _same_target(low: dict[str, Any], high: dict[str, Any]) -> bool:
    return "_target_" not in high or high["_target_"] == low.get("_target_")


def _apply_override(document: Document, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"got {override!r}, expected key=value", where="--set", remedy="Such as training.epochs=5")
    source = f"--set {key}"
    path = [int(part) if part.isdigit() else part for part in key.strip().split(".")]
    if text[:1] in tuple("[{\"'"):
        value = parse_yaml(text, source, lines=False).value
    elif is_expression(text):
        raise ConfigError(f"{text!r} looks like an expression; nothing in a config is run", where=source)
    else:
        value = resolve_scalar(text)
    if key.strip() == "transforms" and isinstance(value, str):
        found = Document({"transforms": value}, {("transforms",): Mark(source)})
        _expand_chain_file(found, Path(document.mark(()).source))
        document.value["transforms"] = found.value["transforms"]
        document.marks.update(found.marks)
        return
    _assign(document.value, path, value, source)
    for known in [known for known in document.marks if known[: len(path)] == tuple(path)]:
        del document.marks[known]
    document.marks[tuple(path)] = Mark(source)


def _assign(container: Any, path: Sequence[str | int], value: Any, source: str) -> None:
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        if isinstance(container, list):
            if not isinstance(part, int) or part >= len(container):
                reached = dotted(tuple(path[:depth]))
                raise ConfigError(
                    f"{part!r} is no entry of {reached!r}", where=source,
                    remedy=f"Its {len(container)} entries are numbered from 0",
                )  # fmt: skip
        elif isinstance(container, dict):
            part = str(part)
            if not last and not isinstance(container.get(part), (dict, list)):
                container[part] = {}
        else:
            raise ConfigError(f"{dotted(tuple(path[:depth]))!r} holds no keys", where=source)
        if last:
            container[part] = value
        else:
            container = container[part]


def _interpolate(document: Document, environment: Mapping[str, str]) -> set[KeyPath]:
    """Fill in every ``${NAME}`` and ``${NAME:-default}``; the paths where only the default spoke are returned."""
    defaulted: set[KeyPath] = set()

    def fill(text: str, path: KeyPath) -> str:
        def one(found: re.Match[str]) -> str:
            name, default = found[1], found[2]
            if environment.get(name):
                return environment[name]
            if default is None:
                raise ConfigError(
                    f"the environment has no {name}", where=document.where(path),
                    remedy=f"Set it, or write ${{{name}:-default}}",
                )  # fmt: skip
            defaulted.add(path)
            return default

        filled = _VARIABLE.sub(one, text)
        if "${" in text and not _VARIABLE.search(text):
            raise ConfigError(f"{text!r} is not ${{NAME}} or ${{NAME:-default}}",
                              where=document.where(path))  # fmt: skip
        return filled

    def walk(value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, number)) for number, item in enumerate(value)]
        return fill(value, path) if isinstance(value, str) and "${" in value else value

    document.value = walk(document.value, ())
    return defaulted
