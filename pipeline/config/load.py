"""Load a config: its files, --set and the environment; then validate the whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.layers import load_layers
from pipeline.config.overrides import apply_override
from pipeline.config.schema import Settings
from pipeline.config.validation import validate
from pipeline.config.variables import interpolate
from pipeline.config.yaml_source import Document, KeyPath
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
    document = load_layers(path)
    faults: list[ConfigError] = []
    for override in overrides:
        try:
            apply_override(document, override, path.parent)
        except ConfigError as fault:  # told with the others
            faults.append(fault)
    defaulted = interpolate(document, os.environ if environment is None else environment, faults)
    settings = validate(document, faults)
    return Config(settings, path, project_root(path), document.value, document, defaulted)


def project_root(path: Path) -> Path:
    """The nearest folder above a file that holds a ``configs/``; where there is none, the file's own folder."""
    folder = path.resolve().parent
    for parent in (folder, *folder.parents):
        if (parent / "configs").is_dir():
            return parent
    return folder
