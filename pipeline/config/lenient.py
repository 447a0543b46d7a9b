"""A config with faults, as far as it can be used: what is wrong is told and left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.document import Document, KeyFault, KeyPath, dotted
from pipeline.config.load import Config, Source, made, read_source
from pipeline.config.plugins import Plugins
from pipeline.config.schema import DataSettings
from pipeline.config.validation import examine, known_keys
from pipeline.errors import ConfigError, Fault

# Of the keys under `data`, those that have no say in which files are read and what is made of them. With a default in
# the place of any other, files would be found at fault that are right.
_OF_NO_SAY = frozenset({"cache", "cache_folder", "context", "fold", "stand_in"})


@dataclass(frozen=True)
class LenientConfig:
    """What could be made of a config.

    Attributes
    ----------
    config
        The config without what is wrong in it; None where that leaves none, or none to judge the data by.
    faults
        Everything that `load_config` would raise, in its order.
    left_out
        The keys that `config` does without: an unknown one is dropped, a wrong value gives way to its default, and a
        transform with a fault is not made.
    """

    config: Config | None
    faults: tuple[Fault, ...]
    left_out: tuple[str, ...]


def load_leniently(
    path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> LenientConfig:
    """Load a config; its faults are returned, and never raised.

    Parameters
    ----------
    path, overrides, environment
        As for `pipeline.config.load.load_config`.
    """
    try:
        source = read_source(path, overrides, environment)
    except Fault as fault:
        return LenientConfig(None, (fault,), ())
    settings, faults = examine(source.document, source.faults, source.plugins)
    if settings is not None and not faults:
        return LenientConfig(made(source, settings), (), ())
    config, left_out = _without_faults(source, faults)
    return LenientConfig(config, tuple(faults), left_out)


def _without_faults(source: Source, faults: Sequence[ConfigError]) -> tuple[Config | None, tuple[str, ...]]:
    """Take out what is at fault, and then what that puts at fault, until nothing is or nothing can be taken out."""
    pruned = _Pruned(source.document, [f"--set {key}" for key in source.refused])
    plugins = Plugins(source.plugins.classes)  # a name of a plugin that could not be read is at fault from now on
    while True:
        paths = {_removable(fault.path) for fault in faults if isinstance(fault, KeyFault)}
        if not all(pruned.remove(path) for path in sorted(paths, key=_from_the_end)):
            return None, ()
        settings, faults = examine(pruned.document, (), plugins)
        if settings is not None and not faults:
            return made(source, settings), tuple(pruned.left_out)


class _Pruned:
    """A document that gets smaller, and what was taken out of it, by the names that the config knows it by."""

    def __init__(self, document: Document, left_out: list[str]) -> None:
        self.document, self.left_out = document, left_out
        self._numbers: dict[KeyPath, list[int]] = {}  # of the entries that are left in a list, as it was written
        self._drawn = False

    def remove(self, path: KeyPath) -> bool:
        """Take out what stands at `path`; whether that could be done."""
        if path == ("splits",) and not self.document.holds(path) and not self._drawn:
            # The data give no split of their own: one is drawn, so that all else can be looked at.
            self._drawn = True
            self.document.value["splits"] = {"kind": "holdout"}
            self.left_out = [key for key in self.left_out if key != "splits"] + ["splits (kind: holdout in its place)"]
            return True
        if not path or not self.document.holds(path) or _decides_what_is_read(path):
            return False
        self.left_out.append(self._name(path))
        self.document.remove(path)
        return True

    def _name(self, path: KeyPath) -> str:
        *parents, last = path
        container = self.document.value
        for part in parents:
            container = container[part]
        if not isinstance(last, int):
            return dotted(path)
        number = self._numbers.setdefault(tuple(parents), list(range(len(container)))).pop(last)
        entry = container[last]
        target = f" ({entry.get('_target_')})" if isinstance(entry, dict) else ""
        return dotted((*parents, number)) + target


def _removable(path: KeyPath) -> KeyPath:
    """The smallest part of a config around `path` that it can do without."""
    if path[:1] == ("plugins",) or path[:2] in (("transforms", "prepare"), ("transforms", "augment")):
        stop = next((place for place, part in enumerate(path) if isinstance(part, int)), len(path) - 1)
        return path[: stop + 1]  # an entry of the list
    stop = next((place for place, part in enumerate(path) if isinstance(part, int)), len(path))
    return path[:stop]


def _from_the_end(path: KeyPath) -> tuple[tuple[bool, int, str], ...]:
    """Sorts later entries of a list before earlier ones, and what is inside before what is around it."""
    return (*((False, -part, "") if isinstance(part, int) else (False, 0, part) for part in path), (True, 0, ""))


def _decides_what_is_read(path: KeyPath) -> bool:
    known = known_keys(DataSettings).keys() - _OF_NO_SAY
    return path == ("data",) or (path[:1] == ("data",) and path[1] in known)
