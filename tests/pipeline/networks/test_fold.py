"""Folding batch normalisation changes no logits, and leaves alone what it could change."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.config.targets import MONAI_NETWORKS, NETWORK_PREFIX
from pipeline.networks.build import build_network
from pipeline.networks.fold import folded
from tests.pipeline.networks.test_build import SMALL


def lived_in(network: nn.Module) -> nn.Module:
    """In evaluation mode, with statistics, scales and shifts that are not those of a new network."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.uniform_(-0.5, 0.5, generator=generator)
            module.running_var.uniform_(0.3, 2, generator=generator)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.uniform_(-0.5, 0.5, generator=generator)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())


def check_same(network: nn.Module, channels: int) -> nn.Module:
    """The folded copy, whose logits are the network's in double precision: nothing but rounding may differ."""
    network = network.double()
    before = deepcopy(network.state_dict())
    copy = folded(network, channels)
    for shape in ((2, channels, 17, 23), (1, channels, 32, 48)):
        image = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            torch.testing.assert_close(copy(image), network(image), rtol=1e-9, atol=1e-9)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items()), "it is left as it is"
    assert before.keys() == network.state_dict().keys()
    return copy


@pytest.mark.parametrize("upsample", ["transposed", "bilinear"])
@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
def test_our_network_has_none_left(norm: str, upsample: str) -> None:
    torch.manual_seed(0)
    target = {"_target_": "UNet", "channels": [8, 16, 24], "norm": norm, "upsample": upsample, "dropout": 0.2}
    network = lived_in(build_network(target, 3, 4)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert norms(network) == (10 if norm == "batch" else 0)
    copy = check_same(network, 3)
    assert norms(copy) == 0
    weights = [one for one in copy.parameters() if one.ndim == 4]
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)


def test_rounding_is_all_that_float32_adds() -> None:
    torch.manual_seed(0)
    network = lived_in(build_network({"_target_": "UNet", "channels": [8, 16, 24]}, 1, 4))
    image = torch.randn(2, 1, 40, 24)
    with torch.no_grad():
        torch.testing.assert_close(folded(network, 1)(image), network(image), rtol=1e-4, atol=1e-4)


# MONAI's networks with batch normalisation: how many, and how many a convolution cannot do as well.
BATCH: dict[str, dict[str, Any]] = {
    "AttentionUnet": {}, "BasicUNet": {"norm": "batch"}, "DynUNet": {"norm_name": "batch"},
    "HighResNet": {"norm_type": "batch"}, "SegResNet": {"norm": "batch"}, "UNet": {"norm": "batch"}, "VNet": {},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(MONAI_NETWORKS))
def test_monai_s_networks_give_the_same(name: str) -> None:
    parameters, channels = SMALL[name]
    torch.manual_seed(0)
    target = {"_target_": NETWORK_PREFIX + name, **parameters, **BATCH[name]}
    network = lived_in(build_network(target, channels, 5))
    before = norms(network)
    assert before > 0
    left = norms(check_same(network, channels))
    if name in ("AttentionUnet", "UNet", "BasicUNet"):
        assert left < before, "their convolutions and normalisations stand in sequences"


class Peeking(nn.Module):
    """Uses the convolution's output for more than its normalisation, in one of the ways that a plugin may."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.seen = way, torch.zeros(())
        self.layers = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, 3, 1)
        if way == "hook":
            self.layers[0].register_forward_hook(self.keep)
        if way == "shared":
            self.other = nn.Sequential(self.layers[0], nn.ReLU())

    def keep(self, module: nn.Module, images: Any, found: torch.Tensor) -> None:
        self.seen = found

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if self.way == "one by one":
            found = first = image
            for number, layer in enumerate(self.layers):
                found = layer(found)
                first = found if number == 0 else first
            return torch.as_tensor(self.head(found + first))
        further = {"again": self.layers[0], "shared": getattr(self, "other", None)}.get(self.way)
        found = self.layers(image)
        seen = self.seen if self.way == "hook" else further(image) if further else 0
        return torch.as_tensor(self.head(found + seen))


@pytest.mark.parametrize("way", ["one by one", "again", "shared", "hook"])
def test_a_convolution_that_others_use_is_left_alone(way: str) -> None:
    torch.manual_seed(0)
    assert norms(check_same(lived_in(Peeking(way)), 2)) == 1


def test_the_same_network_without_peeking_is_folded() -> None:
    torch.manual_seed(0)
    assert norms(check_same(lived_in(Peeking("no")), 2)) == 0


class Doubled(nn.Conv2d):
    """A convolution that does more than its class says."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(input).abs()


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (lambda: [nn.Conv2d(2, 4, 3, padding=1, padding_mode="replicate", stride=1), nn.BatchNorm2d(4)], 0),
        (lambda: [nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4, affine=False)], 0),
        (lambda: [nn.ConvTranspose2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)], 0),
        (lambda: [nn.Sequential(nn.Conv2d(2, 4, 1)), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())], 0),
        (lambda: [nn.ConvTranspose2d(2, 4, 3, padding=1, groups=2), nn.BatchNorm2d(4)], 1),
        (lambda: [nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)], 1),
        (lambda: [nn.Conv2d(2, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)], 1),
        (lambda: [nn.BatchNorm2d(2), nn.Conv2d(2, 4, 1)], 1),
        (lambda: [Doubled(2, 4, 1), nn.BatchNorm2d(4)], 1),
    ],
)
def test_what_is_folded(make: Callable[[], list[nn.Module]], left: int) -> None:
    torch.manual_seed(0)
    assert norms(check_same(lived_in(nn.Sequential(*make(), nn.Conv2d(4, 3, 1))), 2)) == left


def test_a_norm_in_training_is_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)).eval()
    network[1].train()
    assert norms(folded(network, 2)) == 1
