"""What a run takes: the arithmetic by hand, and the batch that the pace is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.commands.checks.forecast import (
    Pace,
    Workload,
    duration,
    forecast,
    forecast_lines,
    measure_pace,
    trial_batch,
)

WORK = Workload(
    train=100, validation=20, test=40, cases=30, read_seconds=3.0, prepare_seconds=0.2, cache_bytes=5_000_000, threads=2
)
PACE = Pace(train_seconds=0.01, forward_seconds=0.002, host_bytes=700_000_000, device_bytes=0)


def test_epochs_by_hand(make_config: Callable[..., Any]) -> None:
    settings = make_config(training={"epochs": 10, "validate_every": 2, "batch_size": 4}).settings

    found = forecast(settings, WORK, PACE)

    # prepare: 30 x 0.2 / 2; train: 10 x 100 x 0.01; validate: 10 / 2 x 20 x 0.002; predict: 40 x 0.002
    expected = {"read": 3.0, "prepare": 3.0, "train": 10.0, "validate": 0.2, "predict": 0.08}
    assert found.seconds == pytest.approx(expected)
    assert found.total_seconds == pytest.approx(16.28)
    assert found.epochs == 10
    assert found.memory_bytes == 705_000_000 and found.cache_bytes == 5_000_000


@pytest.mark.parametrize(
    ("budget", "epochs", "train", "validate"),
    [
        ("5.2s", 5, 5.0, 0.2),  # an epoch takes 1 s and 0.04 s: five of them
        ("1h", 10, 10.0, 0.4),  # the epochs end it
        ("75 steps", 3, 3.0, 0.12),  # 25 steps an epoch
        ("9999 steps", 10, 10.0, 0.4),
    ],
)
def test_a_budget(make_config: Callable[..., Any], budget: str, epochs: int, train: float, validate: float) -> None:
    settings = make_config(training={"epochs": 10, "batch_size": 4, "budget": budget}).settings
    found = forecast(settings, WORK, PACE)
    assert found.epochs == epochs
    assert found.seconds["train"] == pytest.approx(train) and found.seconds["validate"] == pytest.approx(validate)


def test_each_fold_takes_as_long_but_files_are_read_once(make_config: Callable[..., Any]) -> None:
    settings = make_config(training={"epochs": 10}).settings
    one, three = (forecast(settings, replace(WORK, folds=folds), PACE) for folds in (1, 3))
    assert three.seconds["read"] == one.seconds["read"]
    for name in ("prepare", "train", "validate", "predict"):
        assert three.seconds[name] == pytest.approx(3 * one.seconds[name])
    assert three.memory_bytes == one.memory_bytes, "one fold after the other"


@pytest.mark.parametrize("cache", ["disk", "none"])
def test_only_ram_holds_the_slices_in_memory(make_config: Callable[..., Any], cache: str) -> None:
    settings = make_config(data={"cache": cache}).settings
    assert forecast(settings, WORK, PACE).memory_bytes == PACE.host_bytes


def test_lines_and_values(make_config: Callable[..., Any]) -> None:
    settings = make_config(training={"epochs": 10}).settings
    found = forecast(settings, WORK, replace(PACE, device_bytes=2_500_000_000))
    lines = forecast_lines(found, free_bytes=8_000_000_000)
    assert lines[0].split(maxsplit=1) == ["read", "3.0 s"]
    assert lines[-2] == "memory about 705 MB, 5 MB of it prepared slices, 8.0 GB are free"
    assert lines[-1] == "memory of the GPU about 2.5 GB"
    assert found.values()["seconds"]["train"] == 10.0 and found.values()["memory_bytes"] == 705_000_000


def test_the_trial_has_the_form_of_a_training_batch() -> None:
    image = torch.arange(3 * 2 * 4 * 5, dtype=torch.float64).reshape(3, 2, 4, 5)
    label = torch.arange(3)[:, None, None].expand(3, 4, 5)
    batch = trial_batch({"image": image, "label": label}, count=5, context=1)
    assert batch["image"].shape == (5, 6, 4, 5) and batch["image"].dtype == torch.float32
    assert batch["label"].shape == (5, 1, 4, 5) and batch["label"].dtype == torch.uint8
    assert batch["label"][:, 0, 0, 0].tolist() == [0, 1, 2, 0, 1]
    torch.testing.assert_close(batch["image"][4, 2:4], image[1].float(), rtol=0, atol=0)


def test_the_pace_is_of_a_training_step(make_config: Callable[..., Any]) -> None:
    class Counting(nn.Module):
        """Counts how often it is asked to learn and to predict."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(1, 3, 1)
            self.learnt = self.predicted = 0

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.learnt += self.training
            self.predicted += not self.training
            logits: torch.Tensor = self.head(image)
            return logits

    network = Counting()
    before = network.head.weight.detach().clone()
    batch = {"image": torch.randn(2, 1, 8, 8), "label": torch.randint(0, 3, (2, 1, 8, 8)).to(torch.uint8)}
    pace = measure_pace(make_config().settings, network, batch, torch.device("cpu"))
    assert network.learnt == 4 and network.predicted == 3
    assert not torch.equal(network.head.weight, before), "the optimizer's step is a part of it"
    assert pace.train_seconds > 0 and pace.forward_seconds > 0 and pace.host_bytes > 1e7 and pace.device_bytes == 0
    assert pace.augment_shares == {"augment_share": 0}, "this config has no augmentation"


def test_words() -> None:
    assert [duration(value) for value in (0.04, 9.99, 59.6, 3599, 3661)] == [
        "0.0 s", "10.0 s", "1 min 0 s", "59 min 59 s", "1 h 1 min",
    ]  # fmt: skip
