"""Networks by their names: each that a config may name takes any size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.config.targets import MONAI_NETWORKS, NETWORK_PREFIX, OWN_NETWORKS
from pipeline.errors import ConfigError
from pipeline.networks.build import AnySize, build_network, parameter_count

# Small parameters for each name, and the input channels that it is tried with.
SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "AttentionUnet": ({"channels": [4, 8, 16], "strides": [2, 2]}, 3),
    "BasicUNet": ({"features": [4, 4, 4, 4, 8, 4]}, 3),
    "DynUNet": ({"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4] * 3}, 3),
    "HighResNet": ({"layer_params": [
        {"name": "conv_0", "n_features": 4, "kernel_size": 3},
        {"name": "res_1", "n_features": 4, "kernels": [3, 3], "repeat": 1},
        {"name": "conv_1", "n_features": 4, "kernel_size": 1},
        {"name": "conv_2", "kernel_size": 1},
    ]}, 3),
    "SegResNet": ({"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]}, 3),
    "UNet": ({"channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 1}, 3),
    "VNet": ({}, 2),  # its 16 first channels must divide by those of the input
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(MONAI_NETWORKS))
def test_each_network_of_monai_takes_any_size(name: str) -> None:
    parameters, channels = SMALL[name]
    torch.manual_seed(0)
    network = build_network({"_target_": NETWORK_PREFIX + name, **parameters}, channels, 5)
    assert network.training
    assert parameter_count(network) > 100
    for height, width in ((17, 23), (1, 1), (16, 40)):
        for training in (True, False):
            logits = network.train(training)(torch.randn(2, channels, height, width))
            assert logits.shape == (2, 5, height, width)
            assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", sorted(OWN_NETWORKS))
def test_our_own_is_built_by_its_name(name: str) -> None:
    network = build_network({"_target_": name, "channels": [4, 8]}, 3, 5)
    assert type(network).__name__ == name
    assert network(torch.randn(1, 3, 9, 7)).shape == (1, 5, 9, 7)


def test_an_odd_size_is_that_of_the_padded_image() -> None:
    torch.manual_seed(0)
    parameters, _ = SMALL["UNet"]
    network = build_network({"_target_": NETWORK_PREFIX + "UNet", **parameters}, 1, 2).eval()
    assert isinstance(network, AnySize)
    image = torch.randn(1, 1, 6, 11)
    padded = nn.functional.pad(image, (0, 1, 0, 2), mode="replicate")
    assert torch.equal(network(image), network.network(padded)[..., :6, :11])


@pytest.mark.parametrize(
    ("target", "multiple"),
    [
        ({"_target_": "UNet", "channels": [4, 8, 16], "strides": [2, 2]}, 4),
        ({"_target_": "UNet", "channels": [4, 8, 16], "strides": [[1, 2], 3]}, 6),
        ({"_target_": "SegResNet"}, 8),
        ({"_target_": "SegResNet", "blocks_down": [1, 1], "blocks_up": [1]}, 2),
        ({"_target_": "SegResNet", "blocks_down": [1] * 7, "blocks_up": [1] * 6, "init_filters": 8}, 64),
        ({"_target_": "BasicUNet"}, 16),
        ({"_target_": "HighResNet"}, 1),
        ({"_target_": "VNet"}, 16),
    ],
)
def test_images_are_padded_to_what_a_network_halves(target: dict[str, Any], multiple: int) -> None:
    network = build_network({**target, "_target_": NETWORK_PREFIX + target["_target_"]}, 1, 2)
    assert isinstance(network, AnySize)
    assert network.multiple == multiple
    with torch.no_grad():
        assert network(torch.zeros(1, 1, multiple + 1, 2 * multiple)).shape == (1, 2, multiple + 1, 2 * multiple)


def test_dropout_in_2d_drops_no_whole_slices() -> None:
    # MONAI's VNet has Dropout3d, which takes (B, C, H, W) for one volume of B channels.
    network = build_network({"_target_": NETWORK_PREFIX + "VNet"}, 1, 2)
    kinds = [type(module) for module in network.modules()]
    assert nn.Dropout2d in kinds
    assert nn.Dropout3d not in kinds


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"_target_": "UNet", "channels": [4, 8]}, "UNet refuses its parameters: .*strides"),
        ({"_target_": "UNet", "channels": [4, 8], "strides": [2, 2, 2], "norm": "nothing"}, "refuses its parameters"),
        ({"_target_": "BasicUNet", "features": [4]}, "refuses its parameters"),
        ({"_target_": "VNet"}, "divisible"),
        ({"_target_": "DynUNet", "kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2],
          "filters": [4] * 3, "deep_supervision": True, "deep_supr_num": 9}, "refuses its parameters"),
    ],
)  # fmt: skip
def test_parameters_that_are_refused_say_why(target: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as fault:
        build_network({**target, "_target_": NETWORK_PREFIX + target["_target_"]}, 3, 2)
    assert fault.value.where == "network"
    assert "\n" not in fault.value.what


def test_a_network_that_gives_no_logits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import monai.networks.nets as nets

    class Odd(nn.Module):
        def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
            super().__init__()

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image

    monkeypatch.setattr(nets, "HighResNet", Odd)
    with pytest.raises(ConfigError, match=r"gives \(1, 3, 32, 32\), not logits \(1, 2, 32, 32\)"):
        build_network({"_target_": NETWORK_PREFIX + "HighResNet"}, 3, 2)


def test_only_what_is_learnt_is_counted() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    assert parameter_count(network) == 2 * 3 * 9 + 3 + 6
    network[0].requires_grad_(False)
    assert parameter_count(network) == 6
