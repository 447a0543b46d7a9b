"""A config's files as one document: the configs that it extends, under it, and its chains in files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config.document import Document, KeyPath
from pipeline.config.yaml_source import read_yaml
from pipeline.errors import ConfigError

_MAX_EXTENDS = 8


def load_layers(path: Path) -> Document:
    """Read a config, what it extends and the chains that it names.

    Raises
    ------
    ConfigError
        For a file that cannot be read, is missing, is no mapping, or extends itself.
    """
    return _load(path, ())


def _load(path: Path, chain: tuple[Path, ...]) -> Document:
    document = read_yaml(path)
    if not isinstance(document.value, dict):
        raise ConfigError("a config is a mapping of keys", where=str(document.mark(())))
    here = path.resolve()
    if here in chain or len(chain) >= _MAX_EXTENDS:
        names = " -> ".join(step.name for step in (*chain, path))
        raise ConfigError(f"'extends' runs in a circle or too deep: {names}", where=str(path))
    names_chain = expand_chain(document, path.parent)
    where = document.where(("extends",))
    base_name = document.value.pop("extends", None)
    document.marks.pop(("extends",), None)
    if base_name is None:
        return document
    if not isinstance(base_name, str):
        raise ConfigError(f"expected the path of another config, got {base_name!r:.60}", where=where)
    base_path = path.parent / base_name
    if not base_path.is_file():
        raise ConfigError(f"no such config: {base_path}", where=where, remedy="Give a path from this file's folder")
    base = _load(base_path, (*chain, here))
    if names_chain:
        base.value.pop("transforms", None)  # a chain's file is the whole chain: nothing of the old one stays in it
    return _merged(base, document)


def expand_chain(document: Document, folder: Path) -> bool:
    """Put the content of the file that ``transforms`` names in its place; whether it named one.

    Raises
    ------
    ConfigError
        When there is no such file, or it cannot be read.
    """
    name = document.value.get("transforms")
    if not isinstance(name, str):
        return False
    path = folder / name
    if not path.is_file():
        known = sorted(str(found.relative_to(folder)) for found in folder.glob("transforms/*.yaml"))
        remedy = f"Known here: {', '.join(known)}" if known else "Give a path from this file's folder"
        raise ConfigError(f"no such chain: {path}", where=document.where(("transforms",)), remedy=remedy)
    chain = read_yaml(path)
    document.value["transforms"] = chain.value
    document.forget(("transforms",))
    document.marks.update({("transforms", *key): mark for key, mark in chain.marks.items()})
    return True


def _merged(base: Document, over: Document) -> Document:
    """`over` on top of `base`: mappings key by key, but a changed ``_target_`` starts its mapping anew."""
    replaced: set[KeyPath] = set()

    def merge(low: Any, high: Any, path: KeyPath) -> Any:
        if isinstance(low, dict) and isinstance(high, dict) and _same_target(low, high):
            return low | {key: merge(low.get(key), value, (*path, key)) for key, value in high.items()}
        replaced.add(path)
        return high

    value = merge(base.value, over.value, ())
    kept = {path: mark for path, mark in base.marks.items() if not _within(path, replaced)}
    return Document(value, kept | over.marks)


def _within(path: KeyPath, parents: set[KeyPath]) -> bool:
    return any(path[:stop] in parents for stop in range(len(path) + 1))


def _same_target(low: dict[str, Any], high: dict[str, Any]) -> bool:
    return "_target_" not in high or high["_target_"] == low.get("_target_")
