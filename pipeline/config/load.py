"""Load a config: its files, --set, the environment and its plugins; then validate the whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.document import Document, KeyPath
from pipeline.config.layers import load_layers
from pipeline.config.overrides import apply_override
from pipeline.config.plugins import Plugins, bind_plugins
from pipeline.config.schema import Settings
from pipeline.config.validation import validate
from pipeline.config.variables import interpolate
from pipeline.errors import ConfigError


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
        Plain values, with what it extends, ``--set`` and the environment filled in.
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
        """A path of the config as an absolute one.

        Raises
        ------
        ConfigError
            When it begins with the home folder of a user that does not exist.
        """
        try:
            return self.project_root / Path(text).expanduser()
        except RuntimeError as error:
            raise ConfigError(f"no such home folder: {text}", where=str(self.path)) from error

    def where(self, *path: str | int) -> str:
        """``file:line: key``, for messages."""
        return self.document.where(path)


def load_config(path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Config:
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
    source = read_source(path, overrides, environment)
    return made(source, validate(source.document, source.faults, source.plugins))


@dataclass(frozen=True)
class Source:
    """A config before it is validated.

    Attributes
    ----------
    path
        The file that was named.
    document
        Everything that was written, with ``--set``, variables and plugins filled in where they are right.
    plugins
        What its plugins give.
    defaulted
        As in `Config`.
    faults
        What is wrong so far.
    refused
        The keys of the ``--set`` arguments that are among the faults.
    """

    path: Path
    document: Document
    plugins: Plugins
    defaulted: frozenset[KeyPath]
    faults: tuple[ConfigError, ...]
    refused: tuple[str, ...]


def read_source(path: Path, overrides: Sequence[str], environment: Mapping[str, str] | None) -> Source:
    """Read a config's files, and fill in all that comes from elsewhere.

    Raises
    ------
    ConfigError
        When a file cannot be read at all; what else is wrong is among the `Source`'s faults.
    """
    document = load_layers(path)
    faults: list[ConfigError] = []
    refused = []
    for override in overrides:
        try:
            apply_override(document, override, path.parent)
        except ConfigError as fault:  # told with the others
            faults.append(fault)
            refused.append(override.partition("=")[0].strip())
    defaulted = interpolate(document, os.environ if environment is None else environment, faults)
    plugins = bind_plugins(document, project_root(path), faults)
    return Source(path, document, plugins, defaulted, tuple(faults), tuple(refused))


def made(source: Source, settings: Settings) -> Config:
    """The config of what was read and validated."""
    document = source.document
    return Config(settings, source.path, project_root(source.path), document.value, document, source.defaulted)


def project_root(path: Path) -> Path:
    """The nearest folder above a file that holds a ``configs/``; where there is none, the file's own folder."""
    folder = path.resolve().parent
    for parent in (folder, *folder.parents):
        if (parent / "configs").is_dir():
            return parent
    return folder
