"""Several networks of one kind as one: trained side by side, their probabilities averaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pipeline.errors import ConfigError

__all__ = ["Ensemble", "member_count"]


class Ensemble(nn.Module):
    """Networks that see the same batches and differ by their first weights (a deep ensemble).

    Parameters
    ----------
    members
        At least two; each takes (B, C, H, W) and gives logits (B, K, H, W), or a list of several resolutions of them
        while it trains.

    Notes
    -----
    After Lakshminarayanan et al., "Simple and scalable predictive uncertainty estimation using deep ensembles", NeurIPS
    2017: where members err, they err apart, so that their mean is better than any of them. The time is that of all
    members together.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[list[torch.Tensor]]:
        """Logits (B, K, H, W) whose softmax is the mean of the members' probabilities.

        While it trains, the logits of each member instead, each a list from the highest resolution to the lowest: each
        learns by a loss of its own.
        """
        outputs = [member(image) for member in self.members]
        if self.training:
            return [[one] if isinstance(one, torch.Tensor) else list(one) for one in outputs]
        mean = torch.stack([logits.float().softmax(1) for logits in outputs]).mean(0)
        return mean.clamp_min(torch.finfo(mean.dtype).tiny).log()


def member_count(value: Any) -> int:
    """How many networks ``network.members`` asks for.

    Raises
    ------
    ConfigError
        When it is no whole number of 1 or more.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"members is {value!r}", where="network", remedy="Give how many networks, 1 or more")
    return value
