"""An exponential moving average of the weights: steadier than the weights of any one step."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]  # of one device and type, as AveragedModel hands them over


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

    def move(averages: Tensors, currents: Tensors, updates: torch.Tensor | int) -> None:
        count = int(updates)
        keep = min(decay, (1 + count) / (10 + count))
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, currents, 1 - keep)
        else:  # BatchNorm's counter of batches
            torch._foreach_copy_(averages, currents)

    return AveragedModel(network, multi_avg_fn=move, use_buffers=True)
