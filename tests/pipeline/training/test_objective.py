"""The loss by hand, and the learning rate along the training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.training.objective import build_loss, check_loss, rate_factor

DICE_CE = {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True}
SCHEDULES = ["cosine", "polynomial", "constant"]


def test_dice_and_cross_entropy_by_hand() -> None:
    # Two pixels, two classes. Logits (0, ln 3) and (0, 0): class 1 has 3/4 and 1/2. The labels are 1 and 0.
    logits = torch.tensor([[[[0.0, 0.0]], [[math.log(3), 0.0]]]])
    label = torch.tensor([[[[1, 0]]]], dtype=torch.uint8)
    # Soft Dice = 2 * overlap / (predicted + reference), with MONAI's 1e-5 above and below:
    class_0 = 1 - (2 * (0.5) + 1e-5) / ((0.25 + 0.5) + 1 + 1e-5)
    class_1 = 1 - (2 * (0.75) + 1e-5) / ((0.75 + 0.5) + 1 + 1e-5)
    entropy = (-math.log(0.75) - math.log(0.5)) / 2
    value = build_loss(DICE_CE)(logits, label)
    assert value.item() == pytest.approx((class_0 + class_1) / 2 + entropy, rel=1e-6)


def test_parameters_reach_the_loss() -> None:
    logits, label = torch.randn(2, 2, 4, 4), torch.randint(0, 2, (2, 1, 4, 4))
    plain = build_loss(DICE_CE)(logits, label)
    for extra in ({"lambda_ce": 3.0}, {"include_background": False}, {"batch": True}, {"weight": [1.0, 5.0]}):
        assert build_loss({**DICE_CE, **extra})(logits, label) != plain
    prefixed = build_loss({**DICE_CE, "_target_": "monai.losses.DiceCELoss"})
    assert prefixed(logits, label) == plain


def test_parameters_that_are_refused_say_why() -> None:
    with pytest.raises(ConfigError, match="DiceCELoss refuses its parameters") as fault:
        build_loss({**DICE_CE, "sigmoid": True})
    assert fault.value.where == "loss"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({**DICE_CE, "weight": [1.0, 2.0]}, "cannot be used with 3 classes"),
        (
            {"_target_": "DiceLoss", "softmax": True, "to_onehot_y": True, "reduction": "none"},
            "gives 6 numbers a batch",
        ),
    ],
)
def test_a_loss_that_does_not_fit_is_told_before_training(target: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as fault:
        check_loss(build_loss(target), 3, torch.device("cpu"))
    assert fault.value.where == "loss"


@pytest.mark.parametrize("name", ["DiceCELoss", "DiceFocalLoss", "DiceLoss", "FocalLoss", "GeneralizedDiceFocalLoss",
                                  "GeneralizedDiceLoss", "TverskyLoss"])  # fmt: skip
@pytest.mark.parametrize("classes", [2, 6])
def test_each_loss_of_the_allow_list_fits(name: str, classes: int) -> None:
    from pipeline.config.targets import MONAI_LOSSES

    assert name in MONAI_LOSSES
    softmax = "use_softmax" if name == "FocalLoss" else "softmax"
    loss = build_loss({"_target_": name, softmax: True, "to_onehot_y": True})
    check_loss(loss, classes, torch.device("cpu"))
    logits = torch.zeros(2, classes, 4, 4, requires_grad=True)
    value = loss(logits, torch.ones(2, 1, 4, 4, dtype=torch.uint8))
    value.backward()
    assert math.isfinite(value.item())
    # The step that lowers the loss raises the logits of the labels' class.
    assert logits.grad is not None
    assert (logits.grad[:, 1] < 0).all()


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("cosine", 0.55, 0.5),  # half of the way from 0.1 to 1
        ("cosine", 0.1 + 0.9 / 3, 0.75),  # (1 + cos 60 degrees) / 2
        ("cosine", 1.0, 0.0),
        ("polynomial", 0.55, 0.5**0.9),
        ("polynomial", 1.0, 0.0),
        ("constant", 0.55, 1.0),
        ("constant", 1.0, 1.0),
        *[(schedule, 0.0, 0.01) for schedule in SCHEDULES],
        *[(schedule, 0.05, 0.505) for schedule in SCHEDULES],
        *[(schedule, 0.1, 1.0) for schedule in SCHEDULES],
    ],
)
def test_the_rate_by_hand(schedule: str, progress: float, expected: float) -> None:
    assert rate_factor(progress, schedule, 0.1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.2])
def test_the_rate_rises_and_then_falls(schedule: str, warmup: float) -> None:
    points = np.linspace(0, 1.2, 241)  # a budget of time may be overrun by a step
    rates = [rate_factor(point, schedule, warmup) for point in points]
    assert all(0 <= rate <= 1 for rate in rates)
    steps = np.diff(rates)
    rising = points[1:] <= warmup
    assert (steps[rising] > 0).all()
    after = steps[points[:-1] >= warmup]
    assert (after <= 0).all()
    if warmup == 0:
        assert rates[0] == 1
