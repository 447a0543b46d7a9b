"""Whether ``data.classes`` says what a dataset.json says of the values in the masks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pipeline.config.load import Config
from pipeline.config.safe_names import UNSAFE_NAME
from pipeline.config.yaml_source import resolve_scalar
from pipeline.errors import ConfigError, DataError

_SHOWN = 8


def class_faults(config: Config, labels: Mapping[int, str], source: Path) -> list[ConfigError]:
    """Compare ``data.classes`` with a dataset's own names; letter case, spaces and punctuation do not count.

    Where ``data.label_map`` gives the values a new meaning, the names are the config's own, and nothing is compared.

    Parameters
    ----------
    config
        Of the dataset.
    labels
        Name of each value, 0 to K - 1.
    source
        The file that names them.
    """
    data = config.settings.data
    named = [labels[value] for value in range(len(labels))]
    differing = [
        f"{value} is {theirs!r:.60} there and {ours!r:.60} here"
        for value, (theirs, ours) in enumerate(zip_longest(named, data.classes))
        if theirs is None or ours is None or _loose(theirs) != _loose(ours)
    ]
    if data.label_map or not differing:
        return []
    shown = "; ".join(differing[:_SHOWN]) + (f"; and {len(differing) - _SHOWN} more" if differing[_SHOWN:] else "")
    return [ConfigError(f"not the classes of {source}: {shown}", where=config.where("data", "classes"),
                        remedy=f"Write data.classes: {_as_yaml(named)}")]  # fmt: skip


def by_value(names: Mapping[str, Any]) -> dict[Any, Any]:
    """A mapping of JSON with its keys as whole numbers, where they are: ``{"0": "background"}``.

    >>> by_value({"0": "background", "x": "organ"})
    {0: 'background', 'x': 'organ'}
    """
    return {int(key) if re.fullmatch("0|[1-9][0-9]{0,5}", key) else key: name for key, name in names.items()}


def checked_labels(pairs: list[tuple[Any, Any]], source: Path) -> dict[int, str]:
    """Names of classes by their value, where the values are 0 to K - 1 and every name is a text.

    Parameters
    ----------
    pairs
        (value, name) as they were read.
    source
        The file that names them.

    Raises
    ------
    DataError
        When they are anything else.
    """
    odd = [f"{value!r:.40}: {name!r:.40}" for value, name in pairs if not _is_class(value, name)]
    if odd:
        raise DataError(f"'labels' are not names of whole numbers: {', '.join(odd[:_SHOWN])}", where=str(source),
                        remedy="Each class has a number, from 0, and a name")  # fmt: skip
    values = sorted(value for value, _ in pairs)
    if len(values) < 2 or values != list(range(len(values))):
        found = ", ".join(str(value) for value in values) or "none"
        raise DataError(f"'labels' has the values {found}; expected 0 (background), 1, 2 ... each once, without a gap",
                        where=str(source), remedy="Number the classes from 0 on")  # fmt: skip
    return {value: str(name) for value, name in sorted(pairs)}


def _is_class(value: Any, name: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and isinstance(name, str) and bool(_loose(name))


def _loose(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _as_yaml(names: list[str]) -> str:
    """A list as a config takes it: names become parts of file names, so what no file name holds becomes ``_``."""
    safe = [UNSAFE_NAME.sub("_", name.replace("..", "_")) for name in names]
    return f"[{', '.join(name if _is_plain(name) else json.dumps(name, ensure_ascii=False) for name in safe)}]"


def _is_plain(name: str) -> bool:
    """Whether a text needs no quotes in a list of YAML; in JSON's quotes it is YAML in any case."""
    return bool(re.fullmatch(r"[^\W_][\w -]*", name)) and isinstance(resolve_scalar(name), str)
