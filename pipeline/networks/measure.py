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
        After each of the batches, in the order that they were learnt.
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
    """
    channels = int(batches[0]["image"].shape[1])
    device = batches[0]["image"].device
    networks, optimizers = [], []
    for target in targets:
        torch.manual_seed(seed)
        network = build_network(target, channels, classes)
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks.append(network)
        optimizers.append(torch.optim.AdamW(network.parameters(), lr=learning_rate, fused=True))
    losses: list[list[float]] = [[] for _ in targets]
    train_seconds: list[list[float]] = [[] for _ in targets]
    forward_seconds: list[list[float]] = [[] for _ in targets]
    for batch in batches:
        for number, network in enumerate(networks):
            began = time.perf_counter()
            losses[number].append(_step(network.train(), optimizers[number], loss, batch))
            train_seconds[number].append((time.perf_counter() - began) / len(batch["image"]))
            forward_seconds[number].append(_forward_seconds(network, batch) / len(batch["image"]))
            done()
    results = []
    for number, network in enumerate(networks):
        image = batches[0]["image"]
        with torch.no_grad():
            shape = tuple(network.eval()(image).shape)
        results.append(
            Measurement(
                str(targets[number]["_target_"]), parameter_count(network), multiply_adds(network, image), shape,
                1 / statistics.median(forward_seconds[number]), 1 / statistics.median(train_seconds[number]),
                tuple(losses[number]),
            )
        )  # fmt: skip
    return results


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
    short = other.rsplit(".", 1)[-1]
    if other == "UNet" and "channels" in target:
        return {"_target_": "UNet", "channels": widths}
    if other != "UNet" and short in ("UNet", "AttentionUnet"):
        extra = {"num_res_units": 2, "norm": "batch"} if short == "UNet" else {}
        return {"_target_": other, "channels": widths, "strides": [2] * (len(widths) - 1), **extra}
    if short == "SegResNet":
        return {"_target_": other, "init_filters": max(8, widths[0])}
    return {"_target_": other}
