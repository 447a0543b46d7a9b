"""A training step reads nothing back from the device: each such reading would make every step wait for a GPU.

There need be no GPU to see it. What the batch and the weights lead to is followed from tensor to tensor; numbers that
are drawn on the host are not among them, and may be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pipeline.config.load import load_config
from pipeline.networks.build import build_network
from pipeline.training.objective import build_loss
from pipeline.training.step import LossRecord, OptimizerStep

CONFIGS = Path(__file__).parents[2] / "configs"
CPU = torch.device("cpu")
# Operations whose result, or its size, the host needs to go on.
_READ_BACK = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim"}
_COPIES = ("cpu", "numpy", "tolist")


class Waits(TorchDispatchMode):
    """Follows tensors of the device, by their storage, and notes what would be read back of them."""

    def __init__(self, device: list[torch.Tensor]) -> None:
        super().__init__()
        self.found: list[str] = []
        self._held: dict[int, torch.Tensor] = {}  # held, so that no other tensor takes their place in memory
        for tensor in device:
            self._follow(tensor)

    def _follow(self, tensor: torch.Tensor) -> None:
        self._held.setdefault(tensor.untyped_storage()._cdata, tensor)

    def is_of_device(self, value: object) -> bool:
        return isinstance(value, torch.Tensor) and value.untyped_storage()._cdata in self._held

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        of_device = any(self.is_of_device(leaf) for leaf in tree_leaves((args, kwargs)))
        name = func.overloadpacket.__name__
        by_mask = name == "index" and any(
            leaf.dtype in (torch.bool, torch.uint8) for leaf in tree_leaves(args[1]) if isinstance(leaf, torch.Tensor)
        )
        if of_device and (name in _READ_BACK or by_mask):
            self.found.append(name)
        result = func(*args, **(kwargs or {}))
        if of_device:
            for leaf in tree_leaves(result):
                if isinstance(leaf, torch.Tensor):
                    self._follow(leaf)
        return result


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, device: list[torch.Tensor]) -> Iterator[Waits]:
    """Note every reading of what these tensors lead to."""
    waits = Waits(device)
    with monkeypatch.context() as patch:
        for name in _COPIES:
            original = getattr(torch.Tensor, name)

            def noted(self: torch.Tensor, *args: Any, name: str = name, original: Any = original, **more: Any) -> Any:
                if waits.is_of_device(self):
                    waits.found.append(name)
                return original(self, *args, **more)

            patch.setattr(torch.Tensor, name, noted)
        with waits:
            yield waits


def on_device(step: OptimizerStep, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """What would lie on a GPU before a step."""
    networks = [step.network, *([step.average.module] if step.average else [])]
    return [*batch.values(), *(value for network in networks for value in network.state_dict(keep_vars=True).values())]


def made(config: str, overrides: tuple[str, ...] = (), loss: nn.Module | None = None) -> tuple[OptimizerStep, Any]:
    """A step of a shipped config, and a batch for it."""
    overrides = ("network.channels=[4, 8, 16]", "training.precision=float32", *overrides)
    settings = load_config(CONFIGS / config, overrides, {"HIPPOCAMPUS": "none"}).settings
    channels, classes = 2 * settings.data.context + 1, len(settings.data.classes)
    network = build_network(settings.network, channels, classes)
    step = OptimizerStep(settings, network, loss or build_loss(settings.loss), CPU, pytest.fail)
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.randn(4, channels, 32, 32, generator=generator),
        "label": torch.randint(0, classes, (4, 1, 32, 32), dtype=torch.uint8, generator=generator),
    }
    step(batch, 0, 1e-3)  # the first step makes what the others find
    return step, batch


@pytest.mark.parametrize("config", ["hipmri.yaml", "hippocampus.yaml", "phantom.yaml"])
@pytest.mark.parametrize("clip", [(), ("training.clip_norm=1.0",)], ids=["unclipped", "clipped"])
def test_a_step_of_a_shipped_config_reads_nothing_back(
    config: str, clip: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    step, batch = made(config, clip)
    with watched(monkeypatch, on_device(step, batch)) as waits:
        for seed in range(1, 6):
            step(batch, seed, 1e-3)
    assert waits.found == []


def test_strong_augmentation_reads_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    step, batch = made("hipmri.yaml", ("transforms=transforms/strong.yaml",))
    with watched(monkeypatch, on_device(step, batch)) as waits:
        for seed in range(1, 9):
            step(batch, seed, 1e-3)
    assert waits.found == []


@pytest.mark.parametrize("read", [
    lambda logits: float(logits.detach().mean()),
    lambda logits: logits.sum().item(),
    lambda logits: bool((logits > 0).any()),
    lambda logits: logits.detach().cpu(),
    lambda logits: logits.detach().numpy(),
    lambda logits: logits[logits > 0],
    lambda logits: torch.nonzero(logits),
], ids=["float", "item", "bool", "cpu", "numpy", "mask", "nonzero"])  # fmt: skip
def test_a_loss_that_reads_back_is_seen(read: Callable[[torch.Tensor], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Reading(nn.Module):
        def forward(self, logits: torch.Tensor, label: torch.Tensor) -> Any:
            read(logits)
            return nn.functional.cross_entropy(logits, label[:, 0].long())

    step, batch = made("hipmri.yaml", loss=Reading())
    with watched(monkeypatch, on_device(step, batch)) as waits:
        step(batch, 1, 1e-3)
    assert waits.found


def test_losses_are_read_back_once_in_25_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = [torch.tensor(float(number)) for number in range(100)]
    record = LossRecord(torch.device("cuda"))
    with watched(monkeypatch, losses) as waits:
        for number, loss in enumerate(losses):
            record.add(loss, np.array([number]))
    assert waits.found.count("cpu") == 4
    assert len(waits.found) <= 8  # .cpu() and .numpy() of each
