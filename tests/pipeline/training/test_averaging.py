"""The moving average of the weights, against one kept by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pipeline.training.averaging import MovingAverage


@pytest.mark.parametrize("decay", [0.3, 0.99])
def test_the_average_by_hand(decay: float) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    average = MovingAverage(network, decay)
    expected: dict[str, torch.Tensor] = {}
    for update in range(25):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        network(torch.randn(2, 1, 5, 5))  # moves the statistics of BatchNorm
        average.update_parameters(network)
        # The first update copies; after n of them, min(decay, (1 + n) / (10 + n)) of the average stays.
        keep = 0.0 if update == 0 else min(decay, (1 + update) / (10 + update))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                before = expected.get(name, torch.zeros_like(value, dtype=torch.float64))
                expected[name] = keep * before + (1 - keep) * value.double()
            else:
                expected[name] = value.clone()
    found = average.module.state_dict()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(found[name].double(), value.double(), atol=1e-5), name
    assert found["1.num_batches_tracked"] == 25
    assert (keep == decay) == (decay == 0.3)
    assert not torch.allclose(found["0.weight"], network.state_dict()["0.weight"])


def test_the_network_itself_is_left_alone() -> None:
    network = nn.Linear(2, 2)
    average: Any = MovingAverage(network, 0.9)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    average.update_parameters(network)
    with torch.no_grad():
        network.weight.add_(1)
    assert torch.equal(average.module.weight, before["weight"])
    average.update_parameters(network)
    assert torch.equal(network.weight, before["weight"] + 1)
