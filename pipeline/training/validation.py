"""Dice of the validation patients, a scan at a time, on the prepared grid: what chooses the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import DiceMetric
from torch import nn

from pipeline.data.caching.slices import Slices
from pipeline.errors import RunError
from pipeline.networks.apply import WindowSettings, is_out_of_memory, slice_logits
from pipeline.training.parallel import ALONE, Ranks


@dataclass(frozen=True)
class ValidationResult:
    """What a validation found.

    Attributes
    ----------
    loss
        The training loss: the mean over scans of the mean over their slices, taken in batches spread over the scan.
    dice
        (K - 1,) hard Dice of each class but the background, averaged over the scans that show it; NaN where none does.
    """

    loss: float
    dice: np.ndarray

    @property
    def mean(self) -> float:
        """Mean of the classes that the validation scans show; 0 when they show none."""
        known = self.dice[~np.isnan(self.dice)]
        return float(known.mean()) if known.size else 0.0


class ScanDice:
    """Validates a network on a bank of slices.

    Parameters
    ----------
    bank
        The validation slices.
    loss
        The training loss.
    settings
        How slices are passed through the network.
    ranks
        The processes that share the scans among them; all have the same network, and get the same result.
    """

    def __init__(self, bank: Slices, loss: nn.Module, settings: WindowSettings, ranks: Ranks = ALONE) -> None:
        self.bank, self.loss, self.settings, self.ranks = bank, loss, settings, ranks
        self._scans = [self._batches(members) for members in ranks.dealt(bank.scans())]

    def _batches(self, members: np.ndarray) -> list[np.ndarray]:
        """A scan's slices in batches of one size, each spread over the whole scan.

        The loss of a batch of neighbouring slices at the end of a scan would lack classes that training batches have.
        """
        batches: list[np.ndarray] = []
        for group in np.unique(self.bank.group[members]):
            alike = members[self.bank.group[members] == group]
            count = -(-len(alike) // self.settings.batch_size)
            batches += [alike[first::count] for first in range(count)]
        return batches

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> ValidationResult:
        """Validate; the network is left in evaluation mode.

        Raises
        ------
        RunError
            When the device's memory does not suffice.
        """
        network.eval()
        self.bank.expect([indices for batches in self._scans for indices in batches])
        try:
            results = [self._scan(network, batches) for batches in self._scans]
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise RunError(
                f"the device's memory does not suffice to validate {self.settings.batch_size} slices together",
                where="inference.batch_size", remedy="Lower inference.batch_size",
            ) from error  # fmt: skip
        results = self.ranks.collected(results)
        dice = np.stack([scan_dice for _, scan_dice in results])  # NaN where a scan's reference lacks the class
        shown = ~np.isnan(dice)
        sums, counts = np.where(shown, dice, 0).sum(axis=0), shown.sum(axis=0)
        mean = np.divide(sums, counts, out=np.full(len(sums), math.nan), where=counts > 0)
        return ValidationResult(float(np.mean([loss for loss, _ in results])), mean)

    def _scan(self, network: nn.Module, batches: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
        """Loss and Dice (K - 1,) of one scan, its slices taken together as one volume."""
        classes = self.bank.classes
        loss, predicted, reference = 0.0, [], []
        for indices in batches:
            batch = self.bank.batch(indices)
            logits = slice_logits(network, batch["image"], self.settings)
            loss += float(self.loss(logits, batch["label"])) * len(indices)
            predicted.append(logits.argmax(1).flatten())
            reference.append(batch["label"].flatten().long())
        # Slices may differ in size: to the metric, a scan is one row of class indices, (1, 1, voxels).
        metric = DiceMetric(include_background=False, reduction="none", num_classes=classes)
        # Its buffer is not used: MONAI fills it with what other processes are at, who may be at nothing.
        scores = metric(y_pred=torch.cat(predicted)[None, None], y=torch.cat(reference)[None, None])
        return loss / sum(len(indices) for indices in batches), torch.as_tensor(scores)[0].double().cpu().numpy()
