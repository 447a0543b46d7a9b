"""The training loop: batches, augmentation, steps, validation and the best checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.config.schema import Settings, parse_budget
from pipeline.data.slices import SliceBank, epoch_batches
from pipeline.errors import Interrupted, RunError
from pipeline.progress import Progress
from pipeline.training.averaging import averaged
from pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from pipeline.training.objective import rate_factor
from pipeline.training.signals import StopRequest
from pipeline.training.validation import ScanDice, ValidationResult
from transforms.augment import AugmentChain

_STEPS_BETWEEN_LOSS_CHECKS_ON_GPU = 20


@dataclass
class TrainingState:
    """Where a training is; all that is needed to go on from there, beside the tensors.

    Attributes
    ----------
    step, epoch
        Steps done, epochs finished.
    batch
        Batches of the present epoch that are done.
    seconds
        Spent in training so far, earlier sessions included.
    best_mean, best_epoch
        The highest mean validation Dice and the epoch (from 1) that reached it.
    history
        One row an epoch.
    losses
        Of the present epoch's steps.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    best_mean: float = -1.0
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


class Trainer:
    """Trains a network on a bank of slices.

    Every random choice of a step follows from the config's seed and the step's number, so that a training that was
    stopped goes on exactly as if it had not been.

    Parameters
    ----------
    settings
        The whole config.
    network
        On the device; (B, C, H, W) to logits (B, K, H, W).
    loss
        Of logits and labels (B, 1, H, W).
    bank
        The training slices, on the device.
    validate
        Scores a network on the validation patients.
    folder
        ``checkpoints/`` of the run.
    """

    def __init__(
        self, settings: Settings, network: nn.Module, loss: nn.Module, bank: SliceBank, validate: ScanDice, folder: Path
    ) -> None:
        self.settings, self.network, self.loss = settings, network, loss
        self.bank, self.validate, self.folder = bank, validate, folder
        training = settings.training
        self.augment = AugmentChain(settings.transforms.augment)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
        )
        self.average = averaged(network, training.ema) if training.ema > 0 else None
        self.state = TrainingState()
        self.steps_per_epoch = len(self._batches(0))
        self.budget_seconds, steps = parse_budget(training.budget) if training.budget else (None, None)
        total = training.epochs * self.steps_per_epoch
        self.total_steps = total if steps is None else min(total, steps)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        training = self.settings.training
        seed = self.settings.seed * 100_003 + epoch
        return epoch_batches(self.bank, training.batch_size, seed, foreground=training.foreground)

    def _progress(self, seconds: float) -> float:
        share = self.state.step / self.total_steps
        return share if self.budget_seconds is None else max(share, seconds / self.budget_seconds)

    def fit(
        self, progress: Progress, stop: StopRequest, log: Callable[[str], None], epoch_done: Callable[[], None]
    ) -> TrainingState:
        """Train to the end of the epochs or of the budget, whichever comes first.

        Parameters
        ----------
        progress
            Is told of slices.
        stop
            Looked at between steps.
        log
            Takes a line an epoch.
        epoch_done
            Called after each validation.

        Raises
        ------
        Interrupted
            When `stop` asked for it; ``last.pt`` holds where it was.
        RunError
            When the loss is not finite, or the device's memory does not suffice.
        """
        began = time.monotonic() - self.state.seconds
        while self._progress(time.monotonic() - began) < 1:
            validated = self.state.seconds
            batches = self._batches(self.state.epoch)
            seen = 0
            for indices in batches[self.state.batch :]:
                if stop:
                    self.state.seconds = time.monotonic() - began
                    self._save_last()
                    raise Interrupted(f"{stop.name} at step {self.state.step}")
                self.state.losses.append(self._step(indices, time.monotonic() - began))
                seen += len(indices)
                self.state.batch += 1
                progress.advance(len(indices), **self._figures(time.monotonic() - began))
                if self._progress(time.monotonic() - began) >= 1:
                    break
            rate = seen / max(1e-9, time.monotonic() - began - validated)
            self._finish_epoch(time.monotonic() - began, rate, log)
            progress.write(self._epoch_line())
            self.state.seconds = time.monotonic() - began
            self._save_last()
            epoch_done()
        return self.state

    def _figures(self, seconds: float) -> dict[str, str]:
        figures = {"loss": f"{np.mean(self.state.losses[-20:]):.3f}"}
        if self.state.best_epoch:
            figures["best_dice"] = f"{self.state.best_mean:.3f}"
        if self.budget_seconds is not None:
            figures["budget_used"] = f"{self._progress(seconds):.0%}"
        return figures

    def _epoch_line(self) -> str:
        row = self.state.history[-1]
        text = f"epoch {row['epoch']:>3}  training loss {row['train_loss']:.4f}"
        if "validation_dice" in row:
            best = " (best)" if self.state.best_epoch == row["epoch"] else ""
            text += f"  validation loss {row['validation_loss']:.4f}  Dice {row['validation_dice']:.4f}{best}"
        return f"{text}  {row['slices_per_second']:.0f} slices/s"

    def _step(self, indices: np.ndarray, seconds: float) -> float:
        training = self.settings.training
        seed = (self.settings.seed * 7_919 + self.state.step) % 2**31
        torch.manual_seed(seed)  # what the network itself draws, such as dropout
        rate = training.learning_rate * rate_factor(self._progress(seconds), training.schedule, training.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        try:
            batch = self.augment(self.bank.batch(indices), seed)
            image = batch["image"].contiguous(memory_format=torch.channels_last)
            loss = self.loss(self.network(image), batch["label"])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        except torch.OutOfMemoryError as error:
            sizes = tuple(self.bank.images[int(self.bank.group[indices[0]])].shape[1:])
            raise RunError(
                f"the device's memory does not suffice for batches of {training.batch_size} slices of {sizes}",
                where="training.batch_size", remedy="Lower training.batch_size, or network.channels",
            ) from error  # fmt: skip
        value = float(loss.detach())
        if not math.isfinite(value):
            names = sorted({self.bank.cases[self.bank.case[index]].id for index in indices})
            raise RunError(
                f"the loss is {value} at step {self.state.step}; the batch's cases: {', '.join(names)}",
                where="training", remedy="Lower training.learning_rate, set training.clip_norm, or look at these cases; "
                "the last good checkpoint was kept",
            )  # fmt: skip
        if training.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), training.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.state.step += 1
        return value

    def _finish_epoch(self, seconds: float, rate: float, log: Callable[[str], None]) -> None:
        state = self.state
        state.epoch, state.batch = state.epoch + 1, 0
        last = self._progress(seconds) >= 1
        row: dict[str, Any] = {
            "epoch": state.epoch, "step": state.step, "seconds": round(seconds, 2), "slices_per_second": round(rate, 1),
            "learning_rate": self.optimizer.param_groups[0]["lr"], "train_loss": float(np.mean(state.losses)),
        }  # fmt: skip
        state.losses = []
        if last or state.epoch % self.settings.training.validate_every == 0:
            kept = self.average.module if self.average is not None else self.network
            result = self.validate(kept)
            row |= self._validation_columns(result)
            if result.mean > state.best_mean:
                state.best_mean, state.best_epoch = result.mean, state.epoch
                self._save_best(kept, result)
        state.history.append(row)
        log(", ".join(f"{name} {value:.5g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()))

    def _validation_columns(self, result: ValidationResult) -> dict[str, Any]:
        classes = self.settings.data.classes[1:]
        return {
            "validation_loss": result.loss,
            "validation_dice": result.mean,
            **{f"dice_{name}": float(value) for name, value in zip(classes, result.dice, strict=True)},
        }

    def _save_best(self, kept: nn.Module, result: ValidationResult) -> None:
        save_checkpoint(
            self.folder / "best.pt",
            {"network": kept.state_dict(), "epoch": self.state.epoch, "validation_dice": result.mean},
        )

    def _save_last(self) -> None:
        save_checkpoint(
            self.folder / "last.pt",
            {
                "network": self.network.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "state": dict(vars(self.state)),
            },
        )

    def resume(self) -> None:
        """Go back to where ``last.pt`` was written.

        Raises
        ------
        RunError
            When it is missing, damaged, or of another network.
        """
        path = self.folder / "last.pt"
        saved = load_checkpoint(path)
        try:
            self.network.load_state_dict(saved["network"])
            if self.average is not None:
                self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise RunError(f"the checkpoint is of another network: {error}", where=str(path),
                           remedy="Resume with the config that the run was started with") from error  # fmt: skip
        self.state = TrainingState(**saved["state"])
