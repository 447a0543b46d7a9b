"""One step of the optimizer: augmentation, the network, the loss and its gradient, the weights and their average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.config.schema import Settings
from pipeline.training.averaging import MovingAverage
from pipeline.training.objective import Objective
from pipeline.training.parallel import ALONE, Ranks
from pipeline.training.precision import choose_precision, compiled
from transforms.augment import AugmentChain
from transforms.batch import Batch

__all__ = ["LossRecord", "NotFinite", "OptimizerStep"]

_LOOKED_AT_EVERY = 25  # steps, on a GPU, or where there are several processes


class OptimizerStep:
    """Trains a network by a batch at a time; nothing in it waits for a GPU.

    Parameters
    ----------
    settings
        The whole config.
    network
        On the device; (B, C, H, W) to logits (B, K, H, W), or to those of several resolutions, see `Objective`.
    loss
        Of logits and labels (B, 1, H, W).
    device
        Where the network is.
    say
        Is told in a sentence when the network cannot be compiled.
    ranks
        The processes that make each step together, each on its share of the batch.

    Attributes
    ----------
    average
        The moving average of the weights; None where there is none.
    precision
        Of the network's layers.
    """

    def __init__(
        self, settings: Settings, network: nn.Module, loss: nn.Module, device: torch.device,
        say: Callable[[str], None], ranks: Ranks = ALONE,
    ) -> None:  # fmt: skip
        training = settings.training
        parallel = ranks.parallel(network, device)
        self.ranks, self.network, self.objective, self.clip_norm = ranks, network, Objective(loss), training.clip_norm
        self.precision = choose_precision(training.precision, device)
        self.augment = AugmentChain(settings.transforms.augment)
        self.average = MovingAverage(network, training.ema) if training.ema > 0 else None
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        self._forward = compiled(parallel, training.compile, device, say)

    @property
    def kept(self) -> nn.Module:
        """The network with the weights that are validated and kept: the averaged ones, where there are any."""
        return self.network if self.average is None else self.average.module

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def __call__(self, batch: Batch, seed: int, rate: float, share: float = 1.0) -> torch.Tensor:
        """Make one step.

        Parameters
        ----------
        batch
            ``image`` (B, C, H, W) float32 and ``label`` (B, 1, H, W), on the device.
        seed
            Every random choice of the step follows from it.
        rate
            The learning rate.
        share
            Of the batch of all processes that this one is. Their gradients are averaged so that they are those of that
            whole batch, where its loss is the mean over its slices.

        Returns
        -------
        torch.Tensor
            What the batch adds to the loss before the step, () float32, on the device: `share` times its own.
        """
        torch.manual_seed(seed)  # what the network itself draws, such as dropout
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        batch = self.augment(batch, seed)
        image = batch["image"].contiguous(memory_format=torch.channels_last)
        with self.precision():
            outputs = self._forward(image)
        loss = share * self.objective(outputs, batch["label"])
        self.optimizer.zero_grad(set_to_none=True)
        (self.ranks.count * loss).backward()  # the gradients are averaged over the processes: their sum is wanted
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` goes on."""
        average = None if self.average is None else self.average.state_dict()
        return {
            "network": self.network.state_dict(),
            "average": average,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a `state`; raises KeyError, RuntimeError, ValueError or TypeError for that of another network."""
        self.network.load_state_dict(saved["network"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])


class NotFinite(Exception):
    """A loss that is NaN or infinite: `loss`, of a batch of `indices`, `ago` steps before the last one."""

    def __init__(self, loss: float, indices: np.ndarray, ago: int) -> None:
        super().__init__(f"the loss is {loss}")
        self.loss, self.indices, self.ago = loss, indices, ago


class LossRecord:
    """Losses that lie on the device, looked at together: to read each as it comes would make every step wait.

    Parameters
    ----------
    device
        Of the losses. On the CPU of one process there is nothing to wait for, and each is looked at at once.
    ranks
        The processes whose losses add up to that of the batch.
    """

    def __init__(self, device: torch.device, ranks: Ranks = ALONE) -> None:
        self._most = 1 if device.type == "cpu" and ranks.count == 1 else _LOOKED_AT_EVERY
        self._ranks = ranks
        self._waiting: list[tuple[torch.Tensor, np.ndarray]] = []

    def add(self, loss: torch.Tensor, indices: np.ndarray) -> list[float]:
        """Note a step's loss and its batch, that of all processes; gives those that are looked at now, often none."""
        self._waiting.append((loss, indices))
        return self.look() if len(self._waiting) >= self._most else []

    def look(self) -> list[float]:
        """All losses since the last look.

        Raises
        ------
        NotFinite
            For the first that is NaN or infinite.
        """
        waiting, self._waiting = self._waiting, []
        values = torch.stack([loss for loss, _ in waiting]).float().cpu().numpy() if waiting else np.empty(0)
        values = self._ranks.total(values) if waiting else values
        for place in np.flatnonzero(~np.isfinite(values))[:1]:
            raise NotFinite(float(values[place]), waiting[place][1], len(waiting) - 1 - int(place))
        return [float(value) for value in values]
