"""What two networks cost and how they learn, side by side."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.config.targets import MONAI_NETWORKS, NETWORK_PREFIX
from pipeline.networks.build import build_network, parameter_count
from pipeline.networks.measure import Measurement, compare, counterpart, multiply_adds
from pipeline.networks.unet import UNet
from pipeline.training.objective import build_loss

MONAI_UNET = NETWORK_PREFIX + "UNet"


def tiny_batches(count: int) -> list[dict[str, torch.Tensor]]:
    """Discs of two classes in noise: something that any network learns."""
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    batches = []
    for _ in range(count):
        centre = torch.rand(4, 2, 1, 1, generator=generator) * 6 + 5
        distance = (rows - centre[:, 0]).square() + (columns - centre[:, 1]).square()
        label = ((distance < 25).int() + (distance < 6).int())[:, None].to(torch.uint8)
        image = label + 0.4 * torch.randn(label.shape, generator=generator)
        batches.append({"image": image, "label": label})
    return batches


def test_both_networks_learn_the_same_batches() -> None:
    own = {"_target_": "UNet", "channels": [8, 16]}
    counted: list[int] = []
    loss = build_loss({"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True})
    results = compare(
        [own, counterpart(own, MONAI_UNET)],
        tiny_batches(50),
        3,
        loss,
        learning_rate=5e-3,
        done=lambda: counted.append(1),
    )
    assert len(counted) == 100
    assert [result.name for result in results] == ["UNet", MONAI_UNET]
    for result in results:
        assert result.output_shape == (4, 3, 16, 16)
        assert len(result.losses) == 50
        assert result.final_loss() < 0.4 * result.losses[0], result.name
        assert result.final_loss() == pytest.approx(sum(result.losses[-5:]) / 5)
        assert result.forward_per_second > result.train_per_second > 0
    assert [result.parameters for result in results] == [
        parameter_count(build_network(target, 1, 3)) for target in (own, counterpart(own, MONAI_UNET))
    ]


def test_a_comparison_can_be_repeated() -> None:
    target = {"_target_": "UNet", "channels": [4, 8]}
    loss = build_loss({"_target_": "DiceLoss", "softmax": True, "to_onehot_y": True})

    def losses(seed: int, *targets: Any) -> tuple[float, ...]:
        return compare(targets, tiny_batches(3), 3, loss, learning_rate=1e-2, seed=seed)[-1].losses

    assert losses(1, target) == losses(1, target)
    assert losses(1, target) != losses(2, target)
    assert losses(1, {**target, "norm": "group"}, target) == losses(1, target), "the other's turns change nothing"


def test_the_first_loss_is_that_of_the_first_weights() -> None:
    target = {"_target_": "UNet", "channels": [4, 8]}
    (batch,) = tiny_batches(1)
    loss = build_loss({"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True})
    torch.manual_seed(3)
    network = build_network(target, 1, 3)
    (result,) = compare([target], [batch], 3, loss, learning_rate=1e-2, seed=3)
    assert result.losses[0] == pytest.approx(loss(network(batch["image"]), batch["label"]).item(), rel=1e-5)


#   UNet, 1 channel in, 2 classes, channels [4, 8], on 8 x 8: multiplications a pixel, times pixels
#   encoder     (1*4 + 4*4) * 9 * 64     = 11520
#   bottleneck  (4*8 + 8*8) * 9 * 16     = 13824
#   upsampler   8*4 * 2*2 * 16           =  2048
#   decoder     (8*4 + 4*4) * 9 * 64     = 27648
#   head        4*2 * 64                 =   512
BY_HAND = 11520 + 13824 + 2048 + 27648 + 512


def test_multiply_adds_by_hand() -> None:
    network = UNet(1, 2, channels=[4, 8])
    assert multiply_adds(network, torch.zeros(3, 1, 8, 8)) == BY_HAND, "of one slice, however many there are"
    assert network.training, "left as it was"
    assert multiply_adds(network.eval(), torch.zeros(1, 1, 7, 7)) == BY_HAND, "padded to 8 x 8"
    assert not network.training
    assert multiply_adds(nn.Conv2d(3, 5, 3, padding=1), torch.zeros(1, 3, 4, 6)) == 3 * 5 * 9 * 24


def test_final_loss_is_of_the_last_batches() -> None:
    measured = Measurement("x", 1, 1, (1,), 1.0, 1.0, (9.0, 5.0, 4.0, 3.0))
    assert measured.final_loss(last=2) == 3.5
    assert measured.final_loss() == 5.25


@pytest.mark.parametrize("name", sorted(MONAI_NETWORKS))
@pytest.mark.parametrize("widths", [[8, 16, 32], [8, 12, 16, 20, 24, 28]])
def test_every_counterpart_can_be_built(name: str, widths: list[int]) -> None:
    target = counterpart({"_target_": "UNet", "channels": widths}, NETWORK_PREFIX + name)
    network = build_network(target, 1, 3)
    assert parameter_count(network) > 1000
    if name == "UNet":
        assert (target["channels"], target["strides"]) == (widths, [2] * (len(widths) - 1))


def test_our_own_is_a_counterpart_too() -> None:
    monai = {"_target_": MONAI_UNET, "channels": [4, 8], "strides": [2], "num_res_units": 0}
    assert counterpart(monai, "UNet") == {"_target_": "UNet", "channels": [4, 8]}
    assert counterpart({"_target_": NETWORK_PREFIX + "HighResNet"}, "UNet")["channels"] == [32, 64, 128, 256, 512]
