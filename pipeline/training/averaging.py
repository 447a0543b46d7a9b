"""An exponential moving average of the weights: steadier than the weights of any one step."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """PyTorch's AveragedModel with a moving average, the statistics of BatchNorm included.

    Parameters
    ----------
    network
        The network that is trained.
    decay
        Share of the average that one step keeps. Early steps keep less, (1 + n) / (10 + n) after n updates, so that the
        random start is soon forgotten.
    """

    def moved(average: torch.Tensor, current: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        count = int(updates)
        keep = min(decay, (1 + count) / (10 + count))
        if not average.is_floating_point():
            return current
        return torch.lerp(average, current, 1 - keep)

    return AveragedModel(network, avg_fn=moved, use_buffers=True)
