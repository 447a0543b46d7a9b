"""Dice of a scan, against counting voxel by voxel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.caching.slices import SliceBank
from pipeline.errors import RunError
from pipeline.networks.apply import Window
from pipeline.training.objective import build_loss
from pipeline.training.validation import ScanDice, ValidationResult

LOSS = {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True}


class Echo(nn.Module):
    """Logits that choose the class that the (middle channel of the) image names."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        named = image[:, image.shape[1] // 2].long()
        return 9.0 * nn.functional.one_hot(named, self.classes).permute(0, 3, 1, 2).float()


def bank_of(cases: Any, predicted: list[np.ndarray], labels: list[np.ndarray], classes: int, **more: Any) -> SliceBank:
    samples = [
        {"image": torch.from_numpy(image).float(), "label": torch.from_numpy(label)}
        for image, label in zip(predicted, labels, strict=True)
    ]
    return SliceBank(cases, samples, classes, **more)


def settings(batch_size: int = 2, roi: tuple[int, int] | None = None) -> Window:
    return Window(roi, 0.5, "gaussian", batch_size)


def brute_force(scans: list[list[tuple[np.ndarray, np.ndarray]]], classes: int) -> list[float]:
    """Mean over the scans that show a class of 2 |A and B| / (|A| + |B|), all slices of a scan pooled."""
    found = []
    for index in range(1, classes):
        scores = []
        for pairs in scans:
            hits = reference = predicted = 0
            for prediction, label in pairs:
                for p, r in zip(prediction.flat, label.flat, strict=True):
                    hits += p == index and r == index
                    predicted += p == index
                    reference += r == index
            if reference:
                scores.append(2 * hits / (predicted + reference))
        found.append(sum(scores) / len(scores) if scores else math.nan)
    return found


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
@pytest.mark.parametrize("context", [0, 1])
def test_scan_dice_by_brute_force(make_case: Callable[..., Any], batch_size: int, context: int) -> None:
    rng = np.random.default_rng(0)
    # Two patients with scans of one name; a volume; one scan of two sizes.
    cases = [
        *[make_case(f"a{n}", "p1", "week", n) for n in range(5)],
        *[make_case(f"b{n}", "p2", "week", n) for n in range(3)],
        make_case("v", "p3", "v"),
    ]
    shapes = [(1, 6, 5)] * 3 + [(1, 6, 7)] * 2 + [(1, 6, 5)] * 3 + [(4, 6, 5)]
    predicted = [rng.integers(0, 4, shape) for shape in shapes]
    labels = [rng.integers(0, 4, shape) for shape in shapes]
    for number in range(5):  # the first scan has no class 2, but false positives of it
        labels[number][labels[number] == 2] = 0
    for label in labels:  # no scan has class 3
        label[label == 3] = 1
    bank = bank_of(cases, predicted, labels, 4, context=context)

    result = ScanDice(bank, build_loss(LOSS), settings(batch_size))(Echo(4))

    pairs = list(zip(predicted, labels, strict=True))
    expected = brute_force([pairs[:5], pairs[5:8], pairs[8:]], 4)
    assert math.isnan(expected[2])
    assert result.dice == pytest.approx(expected, nan_ok=True)
    assert result.mean == pytest.approx((expected[0] + expected[1]) / 2)
    assert result.loss > 0


def test_dice_by_hand(make_case: Callable[..., Any]) -> None:
    #   reference    prediction     class 1: 1 hit, 2 + 2 pixels  -> 2/4     class 2: missed -> 0
    #   1 1 0        0 1 1
    #   2 0 0        0 0 0
    label, prediction = np.array([[[1, 1, 0], [2, 0, 0]]]), np.array([[[0, 1, 1], [0, 0, 0]]])
    result = ScanDice(bank_of([make_case("a")], [prediction], [label], 3), build_loss(LOSS), settings())(Echo(3))
    assert result.dice.tolist() == [0.5, 0.0]
    assert result.mean == 0.25


def test_a_perfect_prediction_scores_one_and_absent_classes_nothing(make_case: Callable[..., Any]) -> None:
    label = np.array([[[0, 1], [1, 0]]])
    result = ScanDice(bank_of([make_case("a")], [label], [label], 4), build_loss(LOSS), settings())(Echo(4))
    assert result.dice[0] == 1
    assert np.isnan(result.dice[1:]).all()
    assert result.mean == 1


def test_false_positives_on_an_empty_reference_do_not_count(make_case: Callable[..., Any]) -> None:
    empty, label = np.zeros((1, 2, 2), dtype=int), np.array([[[1, 1], [0, 0]]])
    cases = [make_case("a", "p1"), make_case("b", "p2")]
    result = ScanDice(bank_of(cases, [label, label], [empty, label], 2), build_loss(LOSS), settings())(Echo(2))
    assert result.dice.tolist() == [1.0]


def test_nothing_shown_is_a_mean_of_zero() -> None:
    assert ValidationResult(0.5, np.array([math.nan, math.nan])).mean == 0.0


def test_the_loss_is_that_of_the_batches(make_case: Callable[..., Any]) -> None:
    rng = np.random.default_rng(1)
    cases = [make_case(f"a{n}", "p1", "s", n) for n in range(5)] + [make_case("b", "p2", "s", 0)]
    images, labels = ([rng.integers(0, 3, (1, 4, 4)) for _ in cases] for _ in range(2))
    bank = bank_of(cases, images, labels, 3)
    loss, network = build_loss({**LOSS, "batch": True}), Echo(3)  # a batch's loss is not the mean of its slices'
    result = ScanDice(bank, loss, settings(batch_size=2))(network)

    def of(*indices: int) -> float:
        batch = bank.batch(np.array(indices))
        value: float = loss(network(batch["image"]), batch["label"]).item()
        return value * len(indices)

    # Five slices in three batches, each spread over the scan: 0 3, 1 4, 2.
    first = (of(0, 3) + of(1, 4) + of(2)) / 5
    assert result.loss == pytest.approx((first + of(5)) / 2)


def test_the_network_is_left_in_evaluation_mode(make_case: Callable[..., Any], make_bank: Callable[..., Any]) -> None:
    bank = make_bank([make_case("a")], (2, 8, 8))
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ScanDice(bank, build_loss(LOSS), settings())(network.train())
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_too_little_memory_says_what_to_lower(make_case: Callable[..., Any], make_bank: Callable[..., Any]) -> None:
    class Greedy(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    validate = ScanDice(make_bank([make_case("a")]), build_loss(LOSS), settings(batch_size=7))
    with pytest.raises(RunError, match="7 slices") as fault:
        validate(Greedy())
    assert fault.value.where == "inference.batch_size"
    with pytest.raises(RuntimeError, match="something else"):
        validate(Failing())


class Failing(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("something else")
