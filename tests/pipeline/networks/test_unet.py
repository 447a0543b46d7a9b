"""The UNet: any size in, the same size out; its cost by hand; what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.errors import ConfigError
from pipeline.networks.build import parameter_count
from pipeline.networks.unet import ACTIVATIONS, NORMS, UNet, pad_to_multiple


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 37),
    width=st.integers(1, 37),
    levels=st.integers(2, 4),
    norm=st.sampled_from(NORMS),
    training=st.booleans(),
)
def test_any_size_comes_back(batch: int, height: int, width: int, levels: int, norm: str, training: bool) -> None:
    network = UNet(2, 3, channels=[4] * levels, norm=norm).train(training)
    logits = network(torch.randn(batch, 2, height, width))
    assert logits.shape == (batch, 3, height, width)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (8, 16), (5, 3)])
@pytest.mark.parametrize("norm", NORMS)
def test_one_tiny_slice_can_be_learnt_from(norm: str, size: tuple[int, int]) -> None:
    # Four levels halve an 8 x 8 slice to a single pixel, which alone has no spread to be normalised by.
    network = UNet(1, 2, channels=[4, 4, 4, 4], norm=norm)
    network(torch.randn(1, 1, *size)).square().mean().backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("upsample", ["transposed", "bilinear"])
@pytest.mark.parametrize("norm", NORMS)
def test_every_choice_learns(norm: str, act: str, upsample: str) -> None:
    torch.manual_seed(0)
    network = UNet(1, 2, channels=[4, 8], norm=norm, act=act, upsample=upsample)
    kinds = {type(module) for module in network.modules()}
    expected = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "group": nn.GroupNorm, "none": nn.Identity}
    assert expected[norm] in kinds
    assert ACTIVATIONS[act] in kinds
    assert (nn.ConvTranspose2d in kinds) == (upsample == "transposed")
    image = torch.randn(2, 1, 8, 8)
    label = (image[:, 0] > 0).long()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    losses = []
    for _ in range(12):
        loss = nn.functional.cross_entropy(network(image), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


#   channels [4, 8], 3 in, 5 out                     weights                           norm
#   encoder     3 -> 4 -> 4                          4*3*9 + 4*4*9            = 252    2 * 8   = 16
#   bottleneck  4 -> 8 -> 8                          8*4*9 + 8*8*9            = 864    2 * 16  = 32
#   upsampler   8 -> 4, 2 x 2, with bias             8*4*4 + 4                = 132
#   decoder     4 + 4 -> 4 -> 4                      4*8*9 + 4*4*9            = 432    2 * 8   = 16
#   head        4 -> 5, 1 x 1, with bias             5*4 + 5                  = 25
BY_HAND = 252 + 864 + 132 + 432 + 25


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, BY_HAND + 64),
        ({"norm": "instance"}, BY_HAND + 64),
        ({"norm": "group"}, BY_HAND + 64),
        ({"norm": "none"}, BY_HAND + 32),  # a bias a filter instead of a scale and a shift
        ({"upsample": "bilinear"}, BY_HAND + 64 - 132 + 8 * 4 + 4),
        ({"convolutions": 1}, BY_HAND + 64 - 4 * 4 * 9 - 8 * 8 * 9 - 4 * 4 * 9 - 32),
        ({"dropout": 0.5}, BY_HAND + 64),
    ],
)
def test_parameters_by_hand(options: dict[str, Any], count: int) -> None:
    assert parameter_count(UNet(3, 5, channels=[4, 8], **options)) == count


def test_dropout_is_for_training_alone() -> None:
    torch.manual_seed(0)
    network = UNet(1, 2, channels=[4, 8], norm="none", dropout=0.5)
    image = torch.randn(1, 1, 8, 8)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_padding_repeats_the_lower_and_right_edge() -> None:
    image = torch.tensor([[[[1.0, 2, 3], [4, 5, 6]]]])
    expected = [[1, 2, 3, 3], [4, 5, 6, 6], [4, 5, 6, 6], [4, 5, 6, 6]]
    assert pad_to_multiple(image, 2) is not image
    assert pad_to_multiple(image, 2)[0, 0].tolist() == expected[:2]
    # One multiple each way is made two wide.
    assert pad_to_multiple(image, 4)[0, 0].tolist() == [[*row, *[row[-1]] * 4] for row in expected]
    whole = torch.randn(1, 1, 4, 8)
    assert pad_to_multiple(whole, 4) is whole


def test_a_multiple_of_the_size_is_not_padded() -> None:
    # A pixel's logits depend on the image alone: with padding to the right, the right half would see the repeated edge.
    torch.manual_seed(0)
    network = UNet(1, 2, channels=[4, 4]).eval()
    image = torch.randn(1, 1, 4, 7)
    padded = torch.cat([image, image[..., -1:]], dim=-1)
    assert torch.equal(network(image), network(padded)[..., :7])


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"channels": [8]}, "channels"),
        ({"channels": []}, "channels"),
        ({"channels": 8}, "channels"),
        ({"channels": "8, 16"}, "channels"),
        ({"channels": [8, 0]}, "channels"),
        ({"channels": [8, 16.0]}, "channels"),
        ({"channels": [8, True]}, "channels"),
        ({"convolutions": 0}, "convolutions"),
        ({"convolutions": "2"}, "convolutions"),
        ({"convolutions": 1.5}, "convolutions"),
        ({"norm": "layer"}, "norm"),
        ({"norm": ["batch"]}, "norm"),
        ({"act": "tanh"}, "act"),
        ({"act": {"name": "relu"}}, "act"),
        ({"dropout": 1}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": None}, "dropout"),
        ({"upsample": "nearest"}, "upsample"),
    ],
)
def test_values_that_make_no_network_are_refused(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=f"UNet: {word} is") as fault:
        UNet(1, 2, **options)
    assert fault.value.where == "network"


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"norm is 'x'.*act is 'y'"):
        UNet(1, 2, norm="x", act="y")


@pytest.mark.parametrize("size", [(16, 16), (13, 22), (5, 8)])
def test_deep_supervision_gives_lower_resolutions_while_it_trains(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = UNet(1, 3, channels=[4, 6, 8, 10], deep_supervision=2)
    image = torch.randn(2, 1, *size)
    outputs = network(image)
    height, width = size
    expected = [(2, 3, -(-height // factor), -(-width // factor)) for factor in (1, 2, 4)]
    assert [tuple(logits.shape) for logits in outputs] == expected
    alone = network.eval()(image)
    assert isinstance(alone, torch.Tensor)
    assert alone.shape == (2, 3, height, width)
    # It has the same weights but for the heads, and gives the same logits as the network without.
    plain = UNet(1, 3, channels=[4, 6, 8, 10]).eval()
    missing, unexpected = plain.load_state_dict(network.state_dict(), strict=False)
    assert not missing
    assert all(name.startswith("lower_heads.") for name in unexpected)
    assert torch.equal(plain(image), alone)


def test_the_heads_see_the_decoder_at_their_resolution() -> None:
    network = UNet(1, 2, channels=[4, 6, 8], deep_supervision=2)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if "lower_heads" in name}
    assert shapes["lower_heads.0.weight"] == (2, 6, 1, 1)
    assert shapes["lower_heads.1.weight"] == (2, 8, 1, 1)


@pytest.mark.parametrize("levels", [-1, 3, 1.0, True, "1"])
def test_deep_supervision_that_makes_no_network_is_refused(levels: Any) -> None:
    with pytest.raises(ConfigError, match="deep_supervision is"):
        UNet(1, 2, channels=[4, 6, 8], deep_supervision=levels)
