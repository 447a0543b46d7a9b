"""Training: the loop with augmentation against the bare step; our UNet against MONAI's of the same widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.turns import table, take_turns
from pipeline.data.caching.slices import SliceBank
from pipeline.data.cases import Case
from pipeline.data.phantom.writing import scan_volume
from pipeline.networks.build import build_network
from pipeline.training.device import choose_device, describe, tune_cpu
from pipeline.training.objective import build_loss
from transforms.augment import AugmentChain

_BATCH = 16
_WIDTHS = [16, 32, 64, 128]
_AUGMENT = [
    {"_target_": "RandAffineBatchd", "prob": 0.8, "rotate_degrees": 10, "scale": [0.9, 1.1], "translate": 0.05},
    {"_target_": "RandIntensityBatchd", "prob": 0.5, "brightness": 0.1, "contrast": [0.85, 1.15], "noise": 0.05},
]


def run(rounds: int) -> str:
    """Measure; returns the table."""
    tune_cpu(None)
    torch.manual_seed(0)
    device = choose_device("auto")
    image, mask, _ = scan_volume(4, 0, 0)
    image = (image - image.mean()) / image.std()
    sample = {"image": torch.from_numpy(image).permute(2, 0, 1), "label": torch.from_numpy(mask).permute(2, 0, 1)}
    bank = SliceBank([Case("phantom", Path(), None, "4", "4")], [sample], 6).to(device)
    indices = np.linspace(0, len(bank) - 1, _BATCH).astype(int)
    batch = bank.batch(indices)
    loss = build_loss({"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True}).to(device)
    augment = AugmentChain(_AUGMENT)
    ours = _stepper({"_target_": "UNet", "channels": _WIDTHS}, device, loss)
    strides = [2] * (len(_WIDTHS) - 1)
    monai = {"_target_": "monai.networks.nets.UNet", "channels": _WIDTHS, "strides": strides, "num_res_units": 2}
    peer = _stepper(monai, device, loss)
    ways = {
        "our UNet, bare step": lambda: ours(batch),
        "our UNet, batch and augmentation": lambda: ours(augment(bank.batch(indices), 1)),
        "MONAI UNet, 2 residual units, bare": lambda: peer(batch),
    }
    title = f"train: slices of 256 x 128, batch {_BATCH}, widths {_WIDTHS}, {describe(device)}"
    return table(title, take_turns(ways, rounds, _BATCH), "slices", next(iter(ways)))


def _stepper(
    target: Mapping[str, Any], device: torch.device, loss: torch.nn.Module
) -> Callable[[Mapping[str, torch.Tensor]], float]:
    network = build_network(target, 1, 6)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)

    def step(batch: Mapping[str, torch.Tensor]) -> float:
        value = loss(network(batch["image"].contiguous(memory_format=torch.channels_last)), batch["label"])
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        return float(value.detach())

    return step
