"""The names that `_target_` may take for networks and losses, and the check of every `_target_` of a config."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pipeline.config.suggestions import suggestion
from pipeline.config.yaml_source import Document, KeyPath
from pipeline.errors import ConfigError
from transforms.catalog import (
    REFUSED_PARAMETERS,
    class_parameters,
    class_required,
    package_parameters,
    package_required,
    transform_names,
    transform_parameters,
    transform_required,
)

OWN_NETWORKS = {"UNet": Path(__file__).parents[1] / "networks" / "unet.py"}
# Each gives one tensor of logits in the image's own size. SwinUNETR and UNETR need einops, which is not required here.
MONAI_NETWORKS = frozenset("AttentionUnet BasicUNet DynUNet HighResNet SegResNet UNet VNet".split())
NETWORK_PREFIX = "monai.networks.nets."
MONAI_LOSSES = frozenset(
    "DiceCELoss DiceFocalLoss DiceLoss FocalLoss GeneralizedDiceFocalLoss GeneralizedDiceLoss TverskyLoss".split()
)
FILLED_IN = frozenset({"in_channels", "out_channels", "spatial_dims"})  # known from the data, so not the user's to say
_PREFIXES = {"transform": "monai.transforms.", "loss": "monai.losses.", "network": ""}


def network_names() -> frozenset[str]:
    """Every name that `network._target_` may take."""
    return frozenset(OWN_NETWORKS) | {NETWORK_PREFIX + name for name in MONAI_NETWORKS}


def short_name(name: str, kind: str) -> str:
    """A target's name without MONAI's module, where the kind (transform, network, loss) has but one.

    >>> short_name("monai.losses.DiceLoss", "loss"), short_name("monai.losses.Resized", "transform")
    ('DiceLoss', 'monai.losses.Resized')
    """
    return name.removeprefix(_PREFIXES[kind])


def check_targets(document: Document) -> Iterator[ConfigError]:
    """Every fault in the names and parameters of a config's transforms, network and loss; nothing is imported."""
    value = document.value if isinstance(document.value, dict) else {}
    chains = value.get("transforms")
    for chain in ("prepare", "augment"):
        entries = chains.get(chain) if isinstance(chains, dict) else None
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            yield from _check_one(document, ("transforms", chain, number), entry, transform_names(), "transform")
    if "network" in value:
        yield from _check_one(document, ("network",), value["network"], network_names(), "network")
    if "loss" in value:
        yield from _check_one(document, ("loss",), value["loss"], MONAI_LOSSES, "loss")


def _check_one(
    document: Document, path: KeyPath, entry: Any, names: Collection[str], kind: str
) -> Iterator[ConfigError]:
    if not isinstance(entry, dict) or not isinstance(entry.get("_target_"), str):
        yield ConfigError(
            f"a {kind} is a mapping with a '_target_', got {entry!r:.60}",
            where=document.where(path), remedy=f"Write {{_target_: {min(names)}, ...}}",
        )  # fmt: skip
        return
    name = short_name(entry["_target_"], kind)
    if name not in names:
        where = document.where((*path, "_target_"))
        yield ConfigError(f"unknown {kind} {entry['_target_']!r}", where=where, remedy=suggestion(name, names))
        return
    yield from _check_parameters(document, path, entry, name, kind)


def _check_parameters(
    document: Document, path: KeyPath, entry: dict[str, Any], name: str, kind: str
) -> Iterator[ConfigError]:
    known = target_parameters(name, kind)
    for key in entry:
        where = document.where((*path, key))
        if key == "_target_":
            continue
        if key in FILLED_IN and kind == "network":
            yield ConfigError(
                "filled in from the data (channels from the images, classes from data.classes)",
                where=where, remedy="Remove this key",
            )  # fmt: skip
        elif key in REFUSED_PARAMETERS.get(name, {}):
            yield ConfigError(f"not to be set: {REFUSED_PARAMETERS[name][key]}", where=where, remedy="Remove this key")
        elif known is not None and key not in known:
            yield ConfigError(f"{name} takes no {key!r}", where=where, remedy=suggestion(key, known - FILLED_IN))
    missing = sorted(target_required(name, kind) - entry.keys() - FILLED_IN - {"keys"})  # lint_chain tells of keys
    if missing:
        yield ConfigError(f"{name} needs {', '.join(map(repr, missing))}", where=document.where(path), remedy="Add it")


def target_parameters(name: str, kind: str) -> frozenset[str] | None:
    """The parameters that a named transform, network or loss takes; None when the source does not tell."""
    if kind == "transform":
        return transform_parameters(name)
    if kind == "loss":
        return package_parameters("monai", "losses", name)
    if name in OWN_NETWORKS:
        return class_parameters(OWN_NETWORKS[name], name)
    return package_parameters("monai", "networks/nets", name.removeprefix(NETWORK_PREFIX))


def target_required(name: str, kind: str) -> frozenset[str]:
    """Those of a target's parameters that have no default, as far as the source tells."""
    if kind == "transform":
        return transform_required(name)
    if kind == "loss":
        return package_required("monai", "losses", name)
    if name in OWN_NETWORKS:
        return class_required(OWN_NETWORKS[name], name)
    return package_required("monai", "networks/nets", name.removeprefix(NETWORK_PREFIX))
