"""A config written out in full, so that running it again repeats the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline.config.load import Config, load_config
from pipeline.config.schema import Settings
from pipeline.config.yaml_source import parse_yaml, resolve_scalar
from pipeline.errors import ConfigError, Fault

_ENDLESS = 1_000_000  # columns: more than a config may have bytes
_LINE_ENDS = frozenset("\r\n\x85\u2028\u2029")


class _Writer(yaml.SafeDumper):
    """Quotes every text that `resolve_scalar` would take for something else: PyYAML writes '1e-4' without."""


def _text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(resolve_scalar(text), str) else "'"
    if _LINE_ENDS & set(text):
        style = '"'  # in any other form they would be folded into a space
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _text)


def resolved_text(config: Config) -> str:
    """YAML with every value that was in force, defaults included; paths of data, a disk cache and plugins are absolute.

    A stand-in is left out: it would be the choice of another machine.
    """
    values = plain_values(config.settings)
    values["data"]["root"] = str(config.locate(config.settings.data.root).resolve())
    if config.settings.data.cache == "disk":
        values["data"]["cache_folder"] = str(config.locate(config.settings.data.cache_folder).resolve())
    values["data"]["stand_in"] = None
    values["plugins"] = [str(config.locate(plugin).resolve()) for plugin in config.settings.plugins]
    return yaml_text(values)


def plain_values(settings: Settings) -> dict[str, Any]:
    """Settings as mappings, lists, texts, numbers and None; unlike in JSON, infinity and NaN stay what they are."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, str) else value  # a plugin's name is a text that knows its class

    values: dict[str, Any] = plain(settings.model_dump(mode="python", by_alias=True))
    return values


def yaml_text(values: Any) -> str:
    """Plain values as YAML that `pipeline.config.yaml_source` reads back as they are."""
    text: str = yaml.dump(
        values, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None
    )
    return text


def flow_text(value: Any) -> str:
    """One value as YAML on one line, however long; it may stand after a key, or as an entry of a list.

    >>> flow_text({"_target_": "Resized", "mode": ["bilinear", "1e-4"], "size": None})
    "{_target_: Resized, mode: [bilinear, '1e-4'], size: null}"
    """
    text: str = yaml.dump([value], Dumper=_Writer, sort_keys=False, allow_unicode=True, width=_ENDLESS,
                          default_flow_style=True)  # fmt: skip
    return text.strip()[1:-1]


def changed_keys(stored: Path, text: str) -> list[str]:
    """The keys in which a run's own ``config.yaml`` is not the resolved config of today, see `differing_keys`.

    Keys that have come since the run was started count with their defaults, which are what it was started with.

    Raises
    ------
    ConfigError
        When this version cannot load it any more.
    """
    if stored.read_bytes() == text.encode("utf-8"):
        return []
    try:
        before = load_config(stored, environment={})  # it was written out in full: nothing is left to fill in
    except Fault as fault:
        first, *others = getattr(fault, "faults", (fault,))
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigError(
            f"this version cannot load the config that the run was started with: {first.what}{more}",
            where=first.where or str(stored), remedy="Go on with the version that it was started with, or start anew",
        ) from fault  # fmt: skip
    return differing_keys(resolved_text(before), text)


def differing_keys(one: str, other: str) -> list[str]:
    """The keys in which two resolved configs differ, such as ``training.epochs``; their order says nothing."""

    def flat(value: Any, path: str) -> dict[str, str]:
        if not isinstance(value, dict) or not value:
            return {path: flow_text(value)}  # as text: 1 is not true, and NaN is NaN
        return {
            key: leaf for name, item in value.items() for key, leaf in flat(item, f"{path}.{name}".strip(".")).items()
        }

    first, second = (flat(parse_yaml(text, "config.yaml").value, "") for text in (one, other))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))
