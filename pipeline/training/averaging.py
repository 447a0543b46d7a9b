"""An exponential moving average of the weights: steadier than the weights of any one step."""

from __future__ import annotations

from itertools import chain

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

__all__ = ["MovingAverage"]


class MovingAverage(AveragedModel):
    """PyTorch's AveragedModel with a moving average, the statistics of BatchNorm included.

    Parameters
    ----------
    network
        The network that is trained.
    decay
        Share of the average that one step keeps. Early steps keep less, (1 + n) / (10 + n) after n updates, so that the
        random start is soon forgotten.

    Notes
    -----
    AveragedModel's own update sends the number of updates to the device and would have to read it back, for which each
    step would wait.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network, use_buffers=True)
        self.decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the weights of the network; the first update takes them as they are."""
        count = int(self.n_averaged)  # on the CPU
        keep = min(self.decay, (1 + count) / (10 + count)) if count else 0.0
        averages = list(chain(self.module.parameters(), self.module.buffers()))
        currents = [value.detach() for value in chain(model.parameters(), model.buffers())]
        real = [place for place, value in enumerate(averages) if value.is_floating_point()]
        torch._foreach_lerp_([averages[place] for place in real], [currents[place] for place in real], 1 - keep)
        for place in set(range(len(averages))).difference(real):  # BatchNorm's counters of batches
            averages[place].copy_(currents[place])
        self.n_averaged += 1
