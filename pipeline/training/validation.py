"""Dice of the validation patients, a scan at a time, on the prepared grid: what chooses the checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.metrics import DiceMetric
from torch import nn

from pipeline.data.slices import SliceBank
from pipeline.networks.apply import WindowSettings, chunks, slice_logits


@dataclass(frozen=True)
class ValidationResult:
    """What a validation found.

    Attributes
    ----------
    loss
        The training loss, averaged over scans.
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
    """

    def __init__(self, bank: SliceBank, loss: nn.Module, settings: WindowSettings) -> None:
        self.bank, self.loss, self.settings = bank, loss, settings
        groups: dict[tuple[str, int], list[int]] = {}
        for index in range(len(bank)):
            key = (bank.cases[bank.case[index]].scan, int(bank.group[index]))
            groups.setdefault(key, []).append(index)
        self._scans: Sequence[np.ndarray] = [np.array(members) for members in groups.values()]

    @torch.inference_mode()
    def __call__(self, network: nn.Module) -> ValidationResult:
        """Validate; the network is left in evaluation mode."""
        network.eval()
        classes = self.bank.classes
        metric = DiceMetric(include_background=False, reduction="none", num_classes=classes)
        losses = []
        for members in self._scans:
            batches = [self.bank.batch(members[part]) for part in chunks(len(members), self.settings.batch_size)]
            logits = torch.cat([slice_logits(network, batch["image"], self.settings) for batch in batches])
            labels = torch.cat([batch["label"] for batch in batches])
            # The loss of a whole scan: a batch of its end slices would lack classes that training batches have.
            losses.append(float(self.loss(logits, labels)))
            # A scan is one volume to the metric: (1, 1, S, H, W) class indices.
            predicted, reference = logits.argmax(1, keepdim=True), labels.long()
            metric(y_pred=predicted.transpose(0, 1)[None], y=reference.transpose(0, 1)[None])
        scores = metric.get_buffer()
        dice = np.full(classes - 1, math.nan)
        for index in range(classes - 1):
            column = scores[:, index]
            column = column[~torch.isnan(column)]
            if len(column):
                dice[index] = float(column.mean())
        return ValidationResult(float(np.mean(losses)), dice)
