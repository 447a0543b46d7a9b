"""What a network costs and how it learns, measured; for two networks side by side, in turn, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.networks.build import build_network, parameter_count

Batch = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Measurement:
    """Of one network.

    Attributes
    ----------
    name
        As in a config.
    parameters
        How many numbers it learns.
    multiply_adds
        Of one forward pass, for one slice.
    output_shape
        Of one batch.
    forward_per_second, train_per_second
        Slices a second: a forward pass without gradients, and a whole training step; medians.
    losses
        Of each batch, before its step, in the order that they were learnt.
    """

    name: str
    parameters: int
    multiply_adds: int
    output_shape: tuple[int, ...]
    forward_per_second: float
    train_per_second: float
    losses: tuple[float, ...]

    def final_loss(self, last: int = 5) -> float:
        """Mean loss of the last batches."""
        return statistics.fmean(self.losses[-last:])


def multiply_adds(network: nn.Module, image: torch.Tensor) -> int:
    """Multiplications with addition of one forward pass over ``image[:1]``, as PyTorch counts them."""
    was_training = network.training
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image[:1])
    network.train(was_training)
    return int(counter.get_total_flops()) // 2


class _Racer:
    """One network of a comparison, with its optimizer and what was measured of it."""

    def __init__(self, target: Mapping[str, Any], first: Batch, classes: int, learning_rate: float) -> None:
        self.name = str(target["_target_"])
        network = build_network(target, int(first["image"].shape[1]), classes)
        self.network = network.to(first["image"].device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=learning_rate, fused=True)
        self.losses: list[float] = []
        self.train_seconds: list[float] = []
        self.forward_seconds: list[float] = []

    def learn(self, batch: Batch, loss: nn.Module) -> None:
        """One training step and one forward pass, timed, on one batch."""
        count = len(batch["image"])
        began = time.perf_counter()
        self.losses.append(_step(self.network.train(), self.optimizer, loss, batch))
        self.train_seconds.append((time.perf_counter() - began) / count)
        self.forward_seconds.append(_forward_seconds(self.network, batch) / count)

    def measured(self, image: torch.Tensor) -> Measurement:
        """What was found, with the shape that the network gives for `image`."""
        with torch.no_grad():
            shape = tuple(self.network.eval()(image).shape)
        return Measurement(
            self.name, parameter_count(self.network), multiply_adds(self.network, image), shape,
            1 / statistics.median(self.forward_seconds), 1 / statistics.median(self.train_seconds), tuple(self.losses),
        )  # fmt: skip


def compare(
    targets: Sequence[Mapping[str, Any]], batches: Sequence[Batch], classes: int,
    loss: nn.Module, *, learning_rate: float, seed: int = 0, done: Callable[[], None] = lambda: None,
) -> list[Measurement]:  # fmt: skip
    """Train several networks on the same batches, taking turns, and measure each.

    Parameters
    ----------
    targets
        Each the ``network`` section of a config.
    batches
        ``image`` (B, C, H, W) float32 and ``label`` (B, 1, H, W), on the device that is measured.
    classes
        How many classes there are.
    loss
        Of logits and labels.
    learning_rate
        Of AdamW, for all.
    seed
        Of the first weights.
    done
        Called after each step of each network.

    Raises
    ------
    ConfigError
        When a network cannot be built.
    """
    racers = []
    for target in targets:
        torch.manual_seed(seed)
        racers.append(_Racer(target, batches[0], classes, learning_rate))
    for batch in batches:
        for racer in racers:
            racer.learn(batch, loss)
            done()
    return [racer.measured(batches[0]["image"]) for racer in racers]


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, loss: nn.Module, batch: Batch) -> float:
    image = batch["image"].contiguous(memory_format=torch.channels_last)
    value = loss(network(image), batch["label"])
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    optimizer.step()
    return float(value.detach())  # waits for the device, so that the time is the step's


def _forward_seconds(network: nn.Module, batch: Batch) -> float:
    network.eval()
    image = batch["image"].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        began = time.perf_counter()
        float(network(image)[0, 0, 0, 0])  # waits for the device
        return time.perf_counter() - began


def counterpart(target: Mapping[str, Any], other: str) -> dict[str, Any]:
    """`other` with parameters that make it comparable to a config's network: the same widths, strides of 2.

    Parameters
    ----------
    target
        The config's network.
    other
        ``UNet`` or ``monai.networks.nets.NAME``.
    """
    widths = list(target.get("channels", (32, 64, 128, 256, 512)))
    halvings = [2] * (len(widths) - 1)
    parameters: dict[str, dict[str, Any]] = {
        "UNet": {"channels": widths},
        "monai.networks.nets.UNet": {"channels": widths, "strides": halvings, "num_res_units": 2, "norm": "batch"},
        "monai.networks.nets.AttentionUnet": {"channels": widths, "strides": halvings},
        "monai.networks.nets.BasicUNet": {"features": [*_levels(widths, 5), widths[0]]},
        "monai.networks.nets.DynUNet": {
            "filters": widths, "kernel_size": [3] * len(widths), "strides": [1, *halvings],
            "upsample_kernel_size": halvings, "norm_name": "batch",
        },
        "monai.networks.nets.SegResNet": {"init_filters": max(8, widths[0])},
    }  # fmt: skip
    return {"_target_": other, **parameters.get(other, {})}


def _levels(widths: Sequence[int], count: int) -> list[int]:
    """Widths of exactly `count` levels, doubled on where a network has fewer."""
    longer = list(widths)
    while len(longer) < count:
        longer.append(2 * longer[-1])
    return longer[:count]
