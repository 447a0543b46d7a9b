"""The loss by hand: its weights, and its sum over the resolutions of deep supervision."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.training.objective import Objective, build_loss, check_loss, frequency_weights

DICE_CE = {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True}


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


def test_weights_by_hand() -> None:
    # 1/1, 1/4 and 1/16 of 16, with a mean of 1: 16, 4 and 1 by 7. Of their square roots: 4, 2 and 1, by 7/3.
    assert frequency_weights(np.array([1, 4, 16]), 1.0) == pytest.approx([16 / 7, 4 / 7, 1 / 7])
    assert frequency_weights(np.array([1, 4, 16]), 0.5) == pytest.approx([12 / 7, 6 / 7, 3 / 7])
    # A class without voxels has no weight, and no say in the mean.
    assert frequency_weights(np.array([9, 0, 9]), 1.0) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("name", "extra", "weights"),
    [
        ("DiceCELoss", {}, [16 / 7, 4 / 7, 1 / 7]),
        ("DiceCELoss", {"include_background": False}, [16 / 7, 4 / 7, 1 / 7]),  # of the cross entropy
        ("DiceLoss", {}, [16 / 7, 4 / 7, 1 / 7]),
        ("DiceLoss", {"include_background": False}, [1.6, 0.4]),  # 4 and 1, with a mean of 1
    ],
)
def test_a_loss_weighs_classes_by_their_frequency(name: str, extra: dict[str, Any], weights: list[float]) -> None:
    target = {"_target_": name, "softmax": True, "to_onehot_y": True, **extra}
    logits, label = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 1, 4, 4))
    weighed = build_loss({**target, "weight": "inverse"}, np.array([1, 4, 16]))
    check_loss(weighed, 3, torch.device("cpu"))
    assert weighed(logits, label).item() == pytest.approx(
        build_loss({**target, "weight": weights})(logits, label).item(), rel=1e-6
    )
    assert build_loss({**target, "weight": "inverse"})(logits, label) == build_loss(target)(logits, label)


def test_deep_supervision_by_hand() -> None:
    objective = Objective(build_loss(DICE_CE))
    label = torch.randint(0, 3, (2, 1, 7, 10), dtype=torch.uint8)
    outputs = [torch.randn(2, 3, 7, 10), torch.randn(2, 3, 4, 5), torch.randn(2, 3, 2, 3)]
    # Rows 1, 3, 5 and the last for 7 rows by 2; rows 2 and 6 by 4. Columns 1, 3, 5, 7, 9 of 10; 2, 6 and the last.
    halves = label[:, :, [1, 3, 5, 6]][:, :, :, [1, 3, 5, 7, 9]]
    quarters = label[:, :, [2, 6]][:, :, :, [2, 6, 9]]
    loss = build_loss(DICE_CE)
    parts = [loss(logits, one).item() for logits, one in zip(outputs, (label, halves, quarters), strict=True)]
    expected = (parts[0] + parts[1] / 2 + parts[2] / 4) / 1.75
    assert objective(outputs, label).item() == pytest.approx(expected, rel=1e-6)
    assert objective(outputs[0], label) == loss(outputs[0], label)


def test_a_loss_of_half_precision_logits_is_taken_in_full() -> None:
    logits, label = torch.randn(2, 3, 4, 4).bfloat16(), torch.randint(0, 3, (2, 1, 4, 4))
    value = Objective(build_loss(DICE_CE))(logits, label)
    assert value.dtype == torch.float32
    assert value == build_loss(DICE_CE)(logits.float(), label)


def test_classes_that_are_never_shown_cannot_be_weighed() -> None:
    with pytest.raises(ConfigError, match="show none of the classes") as fault:
        frequency_weights(np.array([0, 0]), 1.0)
    assert fault.value.where == "loss.weight"
