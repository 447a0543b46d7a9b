"""Training: steps as the loop makes them, against the bare step; and our UNet against MONAI's of the same widths.

A step of the loop picks its batch from the resident slices, augments it, trains the network in the precision that the
device is quick in, and updates the moving average. The bare step does what no training can leave out: the network, the
loss, its gradient and the optimizer, on tensors that are there already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.turns import table, take_turns
from pipeline.config.load import load_config
from pipeline.data.caching.slices import SliceBank, epoch_batches
from pipeline.data.cases import Case
from pipeline.data.phantom.writing import scan_volume
from pipeline.networks.build import build_network
from pipeline.training.device import choose_device, describe, tune_cpu
from pipeline.training.objective import Objective, build_loss
from pipeline.training.precision import Precision, choose_precision
from pipeline.training.step import LossRecord, OptimizerStep

_BATCH = 16
_STEPS = 4  # a round
_CONFIGS = Path(__file__).resolve().parents[1] / "configs"
_KINDS = {"hipmri.yaml": (256, 128), "hippocampus.yaml": (40, 56)}  # and the size of a slice


def run(rounds: int) -> str:
    """Measure; returns the tables."""
    tune_cpu(None)
    device = choose_device("auto")
    return "\n".join(_table(name, shape, rounds, device) for name, shape in _KINDS.items())


def _table(name: str, shape: tuple[int, int], rounds: int, device: torch.device) -> str:
    settings = load_config(_CONFIGS / name, (), {}).settings
    bank = _bank(shape, len(settings.data.classes), settings.data.context).to(device)
    batches = epoch_batches(bank, _BATCH, seed=0)[:_STEPS]
    there = [bank.batch(indices) for indices in batches]
    precision = choose_precision(settings.training.precision, device)
    channels = 2 * settings.data.context + 1
    widths = list(settings.network["channels"])
    monai = {"_target_": "monai.networks.nets.UNet", "channels": widths, "strides": [2] * (len(widths) - 1),
             "num_res_units": 2}  # fmt: skip

    def made(target: Mapping[str, Any]) -> nn.Module:
        torch.manual_seed(0)
        network = build_network(target, channels, bank.classes)
        return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    loss = build_loss(settings.loss).to(device)
    step = OptimizerStep(settings, made(settings.network), loss, device, print)
    record = LossRecord(device)

    def as_the_loop() -> None:
        for number, indices in enumerate(batches):
            record.add(step(bank.batch(indices), number, 1e-3), indices)
        record.look()

    ways = {
        "the loop: batch, augmentation, average": as_the_loop,
        "the bare step": _bare(made(settings.network), loss, there, precision),
        "the bare step in float32": _bare(made(settings.network), loss, there, choose_precision("float32", device)),
        "MONAI UNet, 2 residual units, bare": _bare(made(monai), loss, there, precision),
    }
    title = f"train: {name}, slices of {shape[0]} x {shape[1]}, batch {_BATCH}, {precision.name}, {describe(device)}"
    slices = sum(len(indices) for indices in batches)
    return table(title, take_turns(ways, rounds, slices), "slices", next(iter(ways)))


def _bank(shape: tuple[int, int], classes: int, context: int) -> SliceBank:
    """Slices of a phantom, cut or repeated to a size."""
    image, mask, _ = scan_volume(4, 0, 0)
    image = (image - image.mean()) / image.std()
    rows, columns = (np.arange(side) % have for side, have in zip(shape, image.shape, strict=False))
    image, mask = image[np.ix_(rows, columns)], np.minimum(mask[np.ix_(rows, columns)], classes - 1)
    sample = {"image": torch.from_numpy(image).permute(2, 0, 1), "label": torch.from_numpy(mask).permute(2, 0, 1)}
    count = -(-_BATCH * _STEPS // image.shape[2])
    cases = [Case(f"phantom {number}", Path(), None, str(number), str(number)) for number in range(count)]
    return SliceBank(cases, [sample] * count, classes, context)


def _bare(
    network: nn.Module, loss: nn.Module, batches: list[dict[str, torch.Tensor]], precision: Precision
) -> Callable[[], None]:
    optimizer, objective = torch.optim.AdamW(network.parameters(), fused=True), Objective(loss)
    inputs = [(batch["image"].contiguous(memory_format=torch.channels_last), batch["label"]) for batch in batches]

    def steps() -> None:
        for image, label in inputs:
            with precision():
                logits = network(image)
            value = objective(logits, label)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            optimizer.step()
        float(value.detach())  # waits for the device

    return steps
