"""An entry of a chain as the config writes it: its name and its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.catalog import OWN_TRANSFORMS
from transforms.plugins import PluginTarget

KEYS = ("image", "label")

Entry = Mapping[str, Any]


def target_name(entry: Entry) -> str:
    """The short name of an entry's transform: ``monai.transforms.Resized`` and ``Resized`` are the same.

    A plugin's is given as it is, with the class that it knows.
    """
    name = entry.get("_target_", "")
    return name if isinstance(name, PluginTarget) else str(name).removeprefix("monai.transforms.")


def entry_keys(entry: Entry) -> tuple[str, ...]:
    """The sample keys that an entry works on; none where ``keys`` is neither a word nor a list."""
    keys = entry.get("keys", ())
    if isinstance(keys, str):
        return (keys,)
    return tuple(str(key) for key in keys) if isinstance(keys, (list, tuple)) else ()


def is_batch_transform(entry: Entry) -> bool:
    """Whether an entry works on a whole batch on the device, rather than on one sample."""
    return OWN_TRANSFORMS.get(target_name(entry), "").startswith("batch")
