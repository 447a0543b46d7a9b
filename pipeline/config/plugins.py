"""The Python files that a config lists under ``plugins``: which names they give, and to what they are bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.config.document import Document, KeyPath
from transforms.faults import ChainError
from transforms.plugins import PluginClass, plugin_classes, plugin_target

_TAKEN = frozenset({"monai", "pipeline", "transforms", "torch"})  # a name that begins so would pass for theirs


@dataclass(frozen=True)
class Plugins:
    """What a config's plugins give.

    Attributes
    ----------
    classes
        By the name that ``_target_`` may take, such as ``mine.Blurd``.
    unread
        The names of plugins that could not be read: what they give is not known.
    """

    classes: Mapping[str, PluginClass] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()

    def home(self, target: str) -> str | None:
        """The plugin that a target's name begins with, if it is one of these."""
        stem = target.partition(".")[0]
        known = {name.partition(".")[0] for name in self.classes} | self.unread
        return stem if stem in known and "." in target else None


def bind_plugins(document: Document, root: Path, faults: list[Any]) -> Plugins:
    """Read what the plugins of a document define, and let each ``_target_`` that names one of them know it.

    Parameters
    ----------
    document
        Its targets become `transforms.plugins.PluginTarget`, in place.
    root
        Where relative paths start from.
    faults
        What is wrong with the plugins is added here.
    """
    listed = document.value.get("plugins") if isinstance(document.value, dict) else None
    classes: dict[str, PluginClass] = {}
    unread: set[str] = set()
    stems: set[str] = set()
    for number, text in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(text, str) or not text:
            continue  # told by the schema
        stem, path = Path(text).stem, ("plugins", number)
        try:
            _check_stem(stem, stems)
            found = plugin_classes(plugin_file(text, root))
        except ChainError as error:
            faults.append(document.fault(path, error.what, error.remedy))
            unread.add(stem)
            continue
        stems.add(stem)
        classes |= {f"{stem}.{name}": plugin for name, plugin in found.items()}
    for _, entry in targets_of(document):
        if isinstance(entry, dict) and isinstance(name := entry.get("_target_"), str) and name in classes:
            entry["_target_"] = plugin_target(name, classes[name])
    return Plugins(classes, frozenset(unread - stems))


def _check_stem(stem: str, known: set[str]) -> None:
    if not stem.isidentifier():
        raise ChainError(f"{stem!r} cannot begin a name", remedy="Name the file by letters, digits and underscores")
    if stem in _TAKEN:
        raise ChainError(f"the name {stem!r} is taken", remedy="Rename the file")
    if stem in known:
        raise ChainError(f"two plugins are named {stem!r}", remedy="Rename one of the files")


def plugin_file(text: str, root: Path) -> Path:
    """The file that an entry of ``plugins`` names, as an absolute path; a relative one starts at `root`.

    Raises
    ------
    ChainError
        When the path leads nowhere, such as into the home folder of a user that does not exist.
    """
    try:
        return (root / Path(text).expanduser()).resolve()
    except (RuntimeError, OSError) as error:  # no such home folder; a circle of links
        raise ChainError(f"cannot be found: {text} ({error})", remedy="Give a path") from error


def targets_of(document: Document) -> Iterator[tuple[KeyPath, Any]]:
    """Every place of a document where a ``_target_`` is expected, with what stands there."""
    value = document.value if isinstance(document.value, dict) else {}
    chains = value.get("transforms")
    for chain in ("prepare", "augment"):
        entries = chains.get(chain) if isinstance(chains, dict) else None
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            yield ("transforms", chain, number), entry
    for key in ("network", "loss"):
        if key in value:
            yield (key,), value[key]
