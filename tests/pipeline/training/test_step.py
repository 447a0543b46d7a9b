"""One step against the same step written out; losses that wait until they are looked at."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.networks.unet import UNet
from pipeline.training.objective import build_loss
from pipeline.training.step import LossRecord, NotFinite, OptimizerStep

CPU = torch.device("cpu")


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "image": torch.randn(4, 1, 16, 16, generator=generator),
        "label": torch.randint(0, 3, (4, 1, 16, 16), dtype=torch.uint8, generator=generator),
    }


@pytest.fixture
def make_step(make_config: Callable[..., Any]) -> Callable[..., OptimizerStep]:
    def make(network: nn.Module | None = None, **training: Any) -> OptimizerStep:
        settings = make_config(training={"precision": "float32", **training}).settings
        torch.manual_seed(0)
        network = network or UNet(1, 3, channels=[4, 8])
        return OptimizerStep(settings, network, build_loss(settings.loss), CPU, pytest.fail)

    return make


def test_a_step_is_the_one_that_is_written_out(make_step: Callable[..., OptimizerStep]) -> None:
    step = make_step(ema=0.5, clip_norm=0.1, weight_decay=0.02)
    plain = copy.deepcopy(step.network)
    average = copy.deepcopy(plain)
    optimizer = torch.optim.AdamW(plain.parameters(), lr=1.0, weight_decay=0.02)
    loss = build_loss({"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True})
    for number, rate in enumerate((0.01, 0.002)):
        value = step(batch(), seed=number, rate=rate)
        expected = loss(plain(batch()["image"]), batch()["label"])
        optimizer.zero_grad()
        expected.backward()
        nn.utils.clip_grad_norm_(plain.parameters(), 0.1)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        # The average begins as the first weights, and then keeps 2/11 of itself.
        share = 1.0 if number == 0 else 1 - 2 / 11
        for kept, now in zip(average.parameters(), plain.parameters(), strict=True):
            kept.data.lerp_(now.data, share)
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        assert not value.requires_grad
        assert step.rate == rate
    for found, wanted in zip(step.network.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)
    for found, wanted in zip(step.kept.parameters(), average.parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_without_an_average_the_network_itself_is_kept(make_step: Callable[..., OptimizerStep]) -> None:
    step = make_step(ema=0.0)
    assert step.kept is step.network
    assert step.state()["average"] is None


def test_deep_supervision_reaches_every_resolution(make_step: Callable[..., OptimizerStep]) -> None:
    network = UNet(1, 3, channels=[4, 8, 8], deep_supervision=2)
    step = make_step(network)
    names = [name for name in network.state_dict() if "lower_heads" in name]
    before = {name: network.state_dict()[name].clone() for name in names}
    step(batch(), seed=0, rate=0.01)
    assert len(names) == 4
    assert not any(torch.equal(network.state_dict()[name], before[name]) for name in names)


def test_bfloat16_learns_as_float32_does(make_step: Callable[..., OptimizerStep]) -> None:
    losses = {}
    for name in ("float32", "bfloat16"):
        step = make_step(precision=name)
        assert step.precision.name == name
        losses[name] = [step(batch(), seed=n, rate=0.01).item() for n in range(8)]
        assert all(parameter.dtype == torch.float32 for parameter in step.network.parameters())
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=0.05)
    assert losses["float32"][-1] < losses["float32"][0] - 0.1


def test_losses_on_the_cpu_are_looked_at_at_once() -> None:
    record = LossRecord(CPU)
    assert record.add(torch.tensor(0.5), np.array([1])) == [0.5]
    assert record.look() == []


def test_losses_on_a_gpu_wait_until_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    record = LossRecord(torch.device("cuda"))
    found = [record.add(torch.tensor(float(number)), np.array([number])) for number in range(60)]
    assert [len(values) for values in found] == [25 * ((number + 1) % 25 == 0) for number in range(60)]
    assert [*chain(*found), *record.look()] == [float(number) for number in range(60)]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_first_loss_that_is_not_finite_is_named(bad: float) -> None:
    record = LossRecord(torch.device("cuda"))
    for number, value in enumerate((0.5, 0.4, bad, math.nan, 0.3)):
        record.add(torch.tensor(value), np.array([number, 10 * number]))
    with pytest.raises(NotFinite) as fault:
        record.look()
    assert str(fault.value.loss) == str(bad)
    assert fault.value.indices.tolist() == [2, 20]
    assert fault.value.ago == 2
    assert record.look() == []
