"""The loss: the one that a config names, and what it is weighed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.config.losses import WEIGHTS_BY_FREQUENCY, weighted_classes
from pipeline.errors import ConfigError
from transforms.plugins import PluginTarget, load_plugin_class

__all__ = ["Objective", "build_loss", "check_loss", "frequency_weights"]


def build_loss(target: Mapping[str, Any], voxels: np.ndarray | None = None) -> nn.Module:
    """The loss that a config names: MONAI's or a plugin's, of logits (B, K, H, W) and class indices (B, 1, H, W).

    Parameters
    ----------
    target
        ``{_target_: NAME, ...}``. ``weight: inverse`` and ``weight: inverse_sqrt`` stand for `frequency_weights`.
    voxels
        (K,) of each class in the training cases; None where they are not known, and then no class is weighed.

    Raises
    ------
    ConfigError, ChainError
        When it refuses its parameters, with what it said; when its plugin fails.
    """
    name = str(target["_target_"]).removeprefix("monai.losses.")
    factory = _factory(target["_target_"], name)
    parameters = {key: value for key, value in target.items() if key != "_target_"}
    if not isinstance(target["_target_"], PluginTarget) and "weight" in parameters:
        parameters["weight"] = _weights(target, voxels)
    try:
        loss: nn.Module = factory(**parameters)
    except Exception as error:  # whatever the library says of the user's parameters
        raise ConfigError(f"{name} refuses its parameters: {error}", where="loss") from error
    if not isinstance(loss, nn.Module):
        raise ConfigError(f"{name} is no torch.nn.Module", where="loss", remedy="Derive it from that")
    return loss


def _weights(target: Mapping[str, Any], voxels: np.ndarray | None) -> Any:
    """The parameter `weight` of one of MONAI's losses, as it takes it."""
    given = target["weight"]
    if isinstance(given, str) and given in WEIGHTS_BY_FREQUENCY:
        if voxels is None:
            return None
        weighed = weighted_classes(target, len(voxels))
        given = frequency_weights(voxels[weighed.start :], WEIGHTS_BY_FREQUENCY[given])
    return torch.tensor(given, dtype=torch.float32) if isinstance(given, list) else given


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


class Objective(nn.Module):
    """A loss that takes the outputs of a network with deep supervision (Lee et al., AISTATS 2015) or members as well.

    Parameters
    ----------
    loss
        Of logits (B, K, H, W) and class indices (B, 1, H, W).

    Notes
    -----
    Each further resolution counts half as much as the one above it, and all together 1, as in nnU-Net (Isensee et al.,
    Nature Methods 18, 2021). Labels are reduced to it by taking the pixel at the middle of each block, where `nearest`
    puts it.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(
        self, outputs: torch.Tensor | Sequence[torch.Tensor] | Sequence[Sequence[torch.Tensor]], label: torch.Tensor
    ) -> torch.Tensor:
        """The loss, () float32.

        Parameters
        ----------
        outputs
            (B, K, H, W), or a list of it and of (B, K, ceil(H / 2), ceil(W / 2)) and so on; or a list of these lists,
            one a member of an `Ensemble`, whose losses are averaged: a step of Adam is as large as if it learnt alone.
        label
            (B, 1, H, W).
        """
        if isinstance(outputs, torch.Tensor):
            value: torch.Tensor = self.loss(outputs.float(), label)
            return value
        levels = [one for one in outputs if isinstance(one, torch.Tensor)]
        if len(levels) < len(outputs):
            return torch.stack([self(member, label) for member in outputs]).mean()
        weights = [0.5**level for level in range(len(levels))]
        parts = [
            weight * self.loss(logits.float(), _reduced(label, logits.shape[-2:], 2**level))
            for level, (weight, logits) in enumerate(zip(weights, levels, strict=True))
        ]
        return torch.stack(parts).sum() / sum(weights)


def _reduced(label: torch.Tensor, size: Sequence[int], factor: int) -> torch.Tensor:
    """Every `factor`-th pixel of (B, 1, H, W), from the middle of the first block; the last where there is none."""
    if factor == 1:
        return label
    rows, columns = (
        torch.arange(length, device=label.device).mul_(factor).add_(factor // 2).clamp_(max=side - 1)
        for length, side in zip(size, label.shape[-2:], strict=True)
    )
    return label.index_select(2, rows).index_select(3, columns)


def frequency_weights(voxels: np.ndarray, power: float) -> list[float]:
    """Weights that make up for how often the voxels of each class come; their mean over the classes that come is 1.

    Parameters
    ----------
    voxels
        (K,) how many voxels of each class the training cases have.
    power
        1 makes up for it altogether, 0.5 by its square root.

    Returns
    -------
    list of float
        Proportional to voxels ** -power; 0 for a class without any.

    Raises
    ------
    ConfigError
        When no class has any.
    """
    counts = np.asarray(voxels, dtype=np.float64)
    if not (counts > 0).any():
        raise ConfigError("the training cases show none of the classes that are to be weighed", where="loss.weight",
                          remedy="Give one number a class, or leave it out")  # fmt: skip
    weights = np.power(counts, -power, out=np.zeros(len(counts)), where=counts > 0)
    scaled: list[float] = (weights / weights[counts > 0].mean()).tolist()
    return scaled
