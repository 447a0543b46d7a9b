"""A network by its name in a config."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pipeline.config.targets import NETWORK_PREFIX
from pipeline.errors import ConfigError
from pipeline.networks.ensemble import Ensemble, member_count
from pipeline.networks.unet import UNet, pad_to_multiple
from transforms.plugins import PluginTarget, load_plugin_class

# By how much each network halves, where its parameters do not say: read from MONAI's sources.
_MULTIPLES = {"BasicUNet": 16, "HighResNet": 1, "VNet": 16}
_SEGRESNET_BLOCKS = (1, 2, 2, 4)


class AnySize(nn.Module):
    """A network that halves its input, made to take any size: padded at the edges before it, cropped after it.

    Parameters
    ----------
    network
        Logits of images whose sides divide by `multiple`.
    multiple
        What the sides must divide by.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (B, K, H, W) of images (B, C, H, W)."""
        height, width = image.shape[-2:]
        logits: torch.Tensor = self.network(pad_to_multiple(image, self.multiple))
        return logits[..., :height, :width]


def build_network(target: Mapping[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    """The network that a config names.

    Parameters
    ----------
    target
        ``{_target_: UNet, ...}`` or ``{_target_: monai.networks.nets.NAME, ...}``, checked against the allow-list; or
        a plugin's. ``members: M`` makes M of it, see `Ensemble`.
    in_channels, out_channels
        Known from the data.

    Returns
    -------
    nn.Module
        Takes (B, in_channels, H, W) of any H and W, gives logits (B, out_channels, H, W).

    Raises
    ------
    ConfigError, ChainError
        When the network refuses its parameters, with what it said, or gives another shape; when its plugin fails.
    """
    count = member_count(target.get("members", 1))
    members = [_build_one(target, in_channels, out_channels) for _ in range(count)]
    return members[0] if count == 1 else Ensemble(members)


def _build_one(target: Mapping[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    name = str(target["_target_"])
    parameters = {key: value for key, value in target.items() if key not in ("_target_", "members")}
    if name == "UNet":
        return UNet(in_channels, out_channels, **parameters)
    short = name.removeprefix(NETWORK_PREFIX)
    factory, given = _factory(target["_target_"], short), {"in_channels": in_channels, "out_channels": out_channels}
    if _takes_dimensions(target["_target_"]):
        given["spatial_dims"] = 2
    if short == "BasicUNet" and "features" in parameters:
        parameters["features"] = tuple(parameters["features"])
    try:
        network = factory(**given, **parameters)
    except Exception as error:  # whatever the library says of the user's parameters
        raise ConfigError(f"{name} refuses its parameters: {_first_line(error)}", where="network") from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{name} is no torch.nn.Module", where="network", remedy="Derive it from that")
    _drop_planes(network)
    return _checked(AnySize(network, _multiple(short, parameters)), name, in_channels, out_channels)


def _factory(target: str, short: str) -> Any:
    if isinstance(target, PluginTarget):
        return load_plugin_class(target.plugin)
    import monai.networks.nets as nets

    return getattr(nets, short)


def _takes_dimensions(target: str) -> bool:
    """Whether a network is told that it works in 2D: all of MONAI's are."""
    return not isinstance(target, PluginTarget) or "spatial_dims" in (target.plugin.signature.names or ())


def _drop_planes(network: nn.Module) -> None:
    """Let dropout drop channels: MONAI's VNet has Dropout3d in 2D as well, which drops whole slices of a batch."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout3d):
                setattr(module, name, nn.Dropout2d(child.p))


def _multiple(name: str, parameters: Mapping[str, Any]) -> int:
    """What the sides of a slice must divide by for one of MONAI's networks."""
    strides = parameters.get("strides")
    if strides is not None:
        return math.prod(max(stride) if isinstance(stride, (list, tuple)) else int(stride) for stride in strides)
    if name == "SegResNet":
        return int(2 ** (len(parameters.get("blocks_down", _SEGRESNET_BLOCKS)) - 1))
    return _MULTIPLES.get(name, 32)


def _checked(network: AnySize, name: str, in_channels: int, out_channels: int) -> AnySize:
    """The network, tried on one slice: not every fault of its parameters shows when it is made."""
    side = max(32, network.multiple)
    try:
        with torch.no_grad():
            logits = network.eval()(torch.zeros(1, in_channels, side, side))
    except Exception as error:  # as above
        what = f"{name} cannot take a {side} x {side} slice: {_first_line(error)}"
        raise ConfigError(what, where="network") from error
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != (1, out_channels, side, side):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ConfigError(f"{name} gives {shape}, not logits (1, {out_channels}, {side}, {side})", where="network")
    return network.train()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def parameter_count(network: nn.Module) -> int:
    """How many numbers the network learns."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
