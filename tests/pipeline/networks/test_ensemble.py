"""Networks side by side: what they give together, and that each learns as it would alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.errors import ConfigError
from pipeline.networks.build import build_network
from pipeline.networks.ensemble import Ensemble
from pipeline.networks.fold import folded
from pipeline.training.objective import Objective, build_loss

TARGETS: list[dict[str, object]] = [
    {"_target_": "UNet", "channels": [4, 8], "deep_supervision": 1},
    {"_target_": "UNet", "channels": [4, 8]},
    {"_target_": "monai.networks.nets.UNet", "channels": [4, 8], "strides": [2], "norm": "batch"},
]
LOSS = {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True}


def made(target: dict[str, object], members: int) -> nn.Module:
    torch.manual_seed(3)
    return build_network({**target, "members": members}, 2, 3)


@pytest.mark.parametrize("target", TARGETS, ids=["deep", "own", "monai"])
def test_probabilities_are_the_mean_of_the_members(target: dict[str, object]) -> None:
    together = made(target, 3).eval()
    assert isinstance(together, Ensemble)
    image = torch.randn(2, 2, 13, 10)
    with torch.no_grad():
        each = [member(image).softmax(1) for member in together.members]
        found = together(image)
        torch.testing.assert_close(found.softmax(1), sum(each) / 3)
        torch.testing.assert_close(folded(together, 2)(image), found, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(each[0], each[1]), "members have weights of their own"


def test_a_probability_of_nothing_is_no_infinity() -> None:
    class Sure(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.cat([image + 1e4, image - 1e4], 1)

    logits = Ensemble([Sure(), Sure()]).eval()(torch.zeros(1, 1, 2, 2))
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits.softmax(1)[:, 0], torch.ones(1, 2, 2))


@pytest.mark.parametrize("target", TARGETS, ids=["deep", "own", "monai"])
def test_each_member_learns_as_it_would_alone(target: dict[str, object]) -> None:
    torch.manual_seed(0)
    image, label = torch.randn(4, 2, 16, 16), torch.randint(0, 3, (4, 1, 16, 16))
    objective, together = Objective(build_loss(LOSS)), made(target, 2).train()
    assert isinstance(together, Ensemble)
    alone = made(target, 1).train()  # the first weights that are drawn
    for network in (together, alone):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1 * (2 if network is together else 1))
        for _ in range(3):
            optimizer.zero_grad()
            objective(network(image), label).backward()
            optimizer.step()
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together.members[0].state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_of_the_members_losses() -> None:
    label, objective = torch.randint(0, 3, (2, 1, 8, 8)), Objective(build_loss(LOSS))
    outputs = [[torch.randn(2, 3, 8, 8), torch.randn(2, 3, 4, 4)] for _ in range(3)]
    expected = sum(float(objective(one, label)) for one in outputs) / 3
    assert float(objective(outputs, label)) == pytest.approx(expected, rel=1e-6)


def test_one_member_is_the_network_itself() -> None:
    one, plain = made(TARGETS[0], 1), build_network(TARGETS[0], 2, 3)
    assert type(one) is type(plain) and one.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None])
def test_numbers_that_make_no_ensemble(value: object) -> None:
    with pytest.raises(ConfigError, match="members is"):
        build_network({**TARGETS[0], "members": value}, 2, 3)
