"""The names that `_target_` may take for networks and losses, and the check of every `_target_` of a config."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.config.suggestions import suggestion
from pipeline.config.yaml_source import Document, KeyPath, dotted
from pipeline.errors import ConfigError
from transforms.catalog import (
    REFUSED_PARAMETERS,
    class_parameters,
    package_parameters,
    transform_names,
    transform_parameters,
)

OWN_NETWORKS = {"UNet": Path(__file__).parents[1] / "networks" / "unet.py"}
MONAI_NETWORKS = frozenset(
    "AttentionUnet BasicUNet DynUNet HighResNet SegResNet SwinUNETR UNETR UNet VNet".split()
)  # each gives one tensor of logits in the image's own size
NETWORK_PREFIX = "monai.networks.nets."
MONAI_LOSSES = frozenset(
    "DiceCELoss DiceFocalLoss DiceLoss FocalLoss GeneralizedDiceFocalLoss GeneralizedDiceLoss TverskyLoss".split()
)
FILLED_IN = frozenset({"in_channels", "out_channels", "spatial_dims"})  # known from the data, so not the user's to say


def network_names() -> frozenset[str]:
    """Every name that `network._target_` may take."""
    return frozenset(OWN_NETWORKS) | {NETWORK_PREFIX + name for name in MONAI_NETWORKS}


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
    document: Document, path: KeyPath, entry: Any, names: Iterable[str], kind: str
) -> Iterator[ConfigError]:
    where = document.where(path)
    if not isinstance(entry, dict) or not isinstance(entry.get("_target_"), str):
        yield ConfigError(
            f"a {kind} is a mapping with a '_target_', got {entry!r:.60}",
            where=where, remedy=f"Write {{_target_: {next(iter(sorted(names)))}, ...}}",
        )  # fmt: skip
        return
    name = entry["_target_"]
    short = name.removeprefix("monai.transforms.").removeprefix("monai.losses.")
    if name not in names and short not in names:
        target = (*path, "_target_")
        yield ConfigError(
            f"unknown {kind} {name!r}",
            where=document.where(target), remedy=suggestion(name, names),
        )  # fmt: skip
        return
    yield from _check_parameters(document, path, entry, short, kind)


def _check_parameters(
    document: Document, path: KeyPath, entry: dict[str, Any], name: str, kind: str
) -> Iterator[ConfigError]:
    known = target_parameters(name, kind)
    for key in entry.keys() - {"_target_"}:
        where = document.where((*path, key))
        if key in FILLED_IN and kind == "network":
            yield ConfigError(
                "filled in from the data (channels from the images, classes from data.classes)",
                where=where, remedy="Remove this key",
            )  # fmt: skip
        elif key in REFUSED_PARAMETERS.get(name, {}):
            yield ConfigError(f"not to be set: {REFUSED_PARAMETERS[name][key]}", where=where, remedy="Remove this key")
        elif known is not None and key not in known:
            yield ConfigError(f"{name} takes no {key!r}", where=where, remedy=suggestion(key, known - FILLED_IN))


def target_parameters(name: str, kind: str) -> frozenset[str] | None:
    """The parameters that a named transform, network or loss takes; None when the source does not tell."""
    if kind == "transform":
        return transform_parameters(name)
    if kind == "loss":
        return package_parameters("monai", "losses", name)
    if name in OWN_NETWORKS:
        return class_parameters(OWN_NETWORKS[name], name)
    return package_parameters("monai", "networks/nets", name.removeprefix(NETWORK_PREFIX))
