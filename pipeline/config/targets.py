"""The names that `_target_` may take for networks and losses, and the check of every `_target_` of a config."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.document import Document, KeyFault, KeyPath
from pipeline.config.plugins import Plugins, targets_of
from pipeline.config.suggestions import suggestion
from transforms.catalog import (
    REFUSED_PARAMETERS,
    Signature,
    class_signature,
    package_signature,
    transform_names,
    transform_signature,
)
from transforms.plugins import PluginTarget

OWN_NETWORKS = {"UNet": Path(__file__).parents[1] / "networks" / "unet.py"}
# Each gives one tensor of logits in the image's own size. SwinUNETR and UNETR need einops, which is not required here.
MONAI_NETWORKS = frozenset("AttentionUnet BasicUNet DynUNet HighResNet SegResNet UNet VNet".split())
NETWORK_PREFIX = "monai.networks.nets."
MONAI_LOSSES = frozenset(
    "DiceCELoss DiceFocalLoss DiceLoss FocalLoss GeneralizedDiceFocalLoss GeneralizedDiceLoss TverskyLoss".split()
)
FILLED_IN = frozenset({"in_channels", "out_channels", "spatial_dims"})  # known from the data, so not the user's to say
_GIVEN = frozenset({"in_channels", "out_channels"})  # what every network is given; spatial_dims where it takes that
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


def check_targets(document: Document, plugins: Plugins | None = None) -> Iterator[KeyFault]:
    """Every fault in the names and parameters of a config's transforms, network and loss; nothing is imported.

    Parameters
    ----------
    document
        The config, its targets bound to the plugins.
    plugins
        What the plugins give.
    """
    plugins = plugins or Plugins()
    names = {"transform": transform_names(), "network": network_names(), "loss": MONAI_LOSSES}
    for path, entry in targets_of(document):
        kind = "transform" if path[0] == "transforms" else str(path[0])
        yield from _check_one(document, path, entry, kind, names[kind], plugins)


def _check_one(
    document: Document, path: KeyPath, entry: Any, kind: str, names: frozenset[str], plugins: Plugins
) -> Iterator[KeyFault]:
    if not isinstance(entry, dict) or not isinstance(entry.get("_target_"), str):
        what = f"a {kind} is a mapping with a '_target_', got {entry!r:.60}"
        yield document.fault(path, what, f"Write {{_target_: {min(names)}, ...}}")
        return
    target = entry["_target_"]
    name = target if isinstance(target, PluginTarget) else short_name(target, kind)
    if isinstance(name, PluginTarget) or name in names:
        yield from _check_parameters(document, path, entry, name, kind)
        return
    plugin = plugins.home(target)
    if plugin in plugins.unread:
        return  # what it gives is not known; that it could not be read is told elsewhere
    of_plugin = frozenset(known for known in plugins.classes if known.startswith(f"{plugin}."))
    remedy = suggestion(name, of_plugin) if plugin else suggestion(name, names | plugins.classes.keys())
    yield document.fault((*path, "_target_"), f"unknown {kind} {target!r}", remedy)


def _check_parameters(
    document: Document, path: KeyPath, entry: dict[str, Any], name: str, kind: str
) -> Iterator[KeyFault]:
    known, required = target_signature(name, kind)
    refused = REFUSED_PARAMETERS.get(name, {})
    for key in entry:
        if key == "_target_":
            continue
        if key in FILLED_IN and kind == "network":
            what = "filled in from the data (channels from the images, classes from data.classes)"
            yield document.fault((*path, key), what, "Remove this key")
        elif key in refused:
            yield document.fault((*path, key), f"not to be set: {refused[key]}", "Remove this key")
        elif kind == "network" and key == "members":
            continue  # of any network: see pipeline.networks.ensemble
        elif known is not None and key not in known:
            yield document.fault((*path, key), f"{name} takes no {key!r}", suggestion(key, known - FILLED_IN))
    if kind == "network" and known is not None and _GIVEN - known:
        what = f"{name} takes no {' and no '.join(map(repr, sorted(_GIVEN - known)))}, which are given to a network"
        yield document.fault(path, what, "Let its constructor take them")
    missing = sorted(required - entry.keys() - FILLED_IN - {"keys"})  # lint_chain tells of keys
    if missing:
        yield document.fault(path, f"{name} needs {', '.join(map(repr, missing))}", "Add it")


def target_signature(name: str, kind: str) -> Signature:
    """What a named transform, network or loss takes, as far as the source tells."""
    if isinstance(name, PluginTarget):
        return name.plugin.signature
    if kind == "transform":
        return transform_signature(name)
    if kind == "loss":
        return package_signature("monai", "losses", name)
    if name in OWN_NETWORKS:
        return class_signature(OWN_NETWORKS[name], name)
    return package_signature("monai", "networks/nets", name.removeprefix(NETWORK_PREFIX))
