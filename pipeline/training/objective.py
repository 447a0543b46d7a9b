"""The loss and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from pipeline.errors import ConfigError
from transforms.plugins import PluginTarget, load_plugin_class


def build_loss(target: Mapping[str, Any]) -> nn.Module:
    """The loss that a config names: MONAI's or a plugin's, of logits (B, K, H, W) and class indices (B, 1, H, W).

    Raises
    ------
    ConfigError, ChainError
        When it refuses its parameters, with what it said; when its plugin fails.
    """
    name = str(target["_target_"]).removeprefix("monai.losses.")
    factory = _factory(target["_target_"], name)
    parameters = {key: value for key, value in target.items() if key != "_target_"}
    if not isinstance(target["_target_"], PluginTarget) and isinstance(parameters.get("weight"), list):
        parameters["weight"] = torch.tensor(parameters["weight"], dtype=torch.float32)
    try:
        loss: nn.Module = factory(**parameters)
    except Exception as error:  # whatever the library says of the user's parameters
        raise ConfigError(f"{name} refuses its parameters: {error}", where="loss") from error
    if not isinstance(loss, nn.Module):
        raise ConfigError(f"{name} is no torch.nn.Module", where="loss", remedy="Derive it from that")
    return loss


def _factory(target: str, name: str) -> Any:
    if isinstance(target, PluginTarget):
        return load_plugin_class(target.plugin)
    import monai.losses

    return getattr(monai.losses, name)


def check_loss(loss: nn.Module, classes: int, device: torch.device) -> None:
    """Try a loss on a few pixels: weights of a wrong length, say, show only when it is used.

    Raises
    ------
    ConfigError
        When it refuses logits of `classes` classes, or gives more than one number.
    """
    logits = torch.zeros(2, classes, 4, 4, device=device)
    labels = (torch.arange(32, device=device) % classes).to(torch.uint8).view(2, 1, 4, 4)
    try:
        with torch.no_grad():
            value = loss(logits, labels)
    except Exception as error:  # whatever the library says of the user's parameters
        what = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ConfigError(f"cannot be used with {classes} classes: {what}", where="loss") from error
    if value.numel() != 1:
        raise ConfigError(f"gives {value.numel()} numbers a batch, not one", where="loss",
                          remedy="Set reduction: mean")  # fmt: skip


def rate_factor(progress: float, schedule: str, warmup: float) -> float:
    """The share of the peak learning rate at a point of the training.

    Parameters
    ----------
    progress
        From 0 (start) to 1 (end).
    schedule
        ``cosine``: half a cosine down to 0; ``polynomial``: (1 - t) ** 0.9; ``constant``.
    warmup
        Share of the training during which the rate rises in a line from a hundredth.

    Returns
    -------
    float
        From 0 to 1.
    """
    if progress < warmup:
        return 0.01 + 0.99 * progress / warmup
    rest = min(1.0, (progress - warmup) / (1 - warmup))
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    return 1.0 if schedule == "constant" else float((1 - rest) ** 0.9)
