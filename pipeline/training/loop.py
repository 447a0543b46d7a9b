"""The training loop: batches, augmentation, steps, validation and the best checkpoint."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.config.schema import Settings, parse_budget
from pipeline.data.caching.slices import Slices, epoch_batches
from pipeline.data.cases import listing
from pipeline.errors import Interrupted, RunError
from pipeline.networks.apply import is_out_of_memory
from pipeline.progress import Progress
from pipeline.training.averaging import averaged
from pipeline.training.checkpoint import load_checkpoint, save_checkpoint
from pipeline.training.objective import check_loss, rate_factor
from pipeline.training.signals import StopRequest
from pipeline.training.state import TrainingState, epoch_line, log_line
from pipeline.training.validation import ScanDice, ValidationResult
from transforms.augment import AugmentChain


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
        The training slices, whose batches come on the device.
    validate
        Scores a network on the validation patients.
    folder
        ``checkpoints/`` of the run.

    Attributes
    ----------
    state
        Where the training is.
    budget_seconds
        How long it may take; None where epochs or steps end it.
    total_steps
        How many steps there are at most.

    Raises
    ------
    ConfigError
        When the loss does not fit the classes.
    """

    def __init__(
        self, settings: Settings, network: nn.Module, loss: nn.Module, bank: Slices, validate: ScanDice, folder: Path
    ) -> None:
        self.settings, self.network, self.loss = settings, network, loss
        self.bank, self.validate, self.folder = bank, validate, folder
        training = settings.training
        check_loss(loss, bank.classes, next(network.parameters()).device)
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
        self._began = time.monotonic()

    def _batches(self, epoch: int) -> list[np.ndarray]:
        training = self.settings.training
        seed = self.settings.seed * 100_003 + epoch
        return epoch_batches(self.bank, training.batch_size, seed, foreground=training.foreground)

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _progress(self) -> float:
        """From 0 at the start to 1 at the end of the epochs or of the budget."""
        share = self.state.step / self.total_steps
        return share if self.budget_seconds is None else max(share, self._seconds() / self.budget_seconds)

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
            Called after each epoch, when ``last.pt`` is written.

        Raises
        ------
        Interrupted
            When `stop` asked for it; ``last.pt`` holds where it was.
        RunError
            When the loss is not finite, or the device's memory does not suffice.
        """
        self._began = time.monotonic() - self.state.seconds
        while not self.state.finished:
            rate = self._train_epoch(progress, stop)
            self._finish_epoch(rate)
            log(log_line(self.state))
            if "validation_dice" in self.state.history[-1]:
                progress.write(epoch_line(self.state))
            self._save_last()
            epoch_done()
        return self.state

    def _train_epoch(self, progress: Progress, stop: StopRequest) -> float:
        """The steps that the present epoch has left; gives the slices a second."""
        state, began, seen = self.state, self._seconds(), 0
        coming = self._batches(state.epoch)[state.batch :]
        self.bank.expect(coming)
        for indices in coming:
            if stop:
                self._save_last()
                raise Interrupted(f"{stop.name} at step {state.step}")
            state.losses.append(self._step(indices))
            state.batch += 1
            seen += len(indices)
            progress.advance(len(indices), **self._figures())
            if self._progress() >= 1:
                break
        return seen / max(1e-9, self._seconds() - began)

    def _figures(self) -> dict[str, str]:
        figures = {"loss": f"{np.mean(self.state.losses[-20:]):.3f}"}
        if self.state.best_epoch:
            figures["best_dice"] = f"{self.state.best_mean:.3f}"
        if self.budget_seconds is not None:
            figures["budget_used"] = f"{min(1.0, self._progress()):.0%}"
        return figures

    def _step(self, indices: np.ndarray) -> float:
        """One step of the optimizer; gives the loss before it."""
        training = self.settings.training
        seed = (self.settings.seed * 7_919 + self.state.step) % 2**31
        torch.manual_seed(seed)  # what the network itself draws, such as dropout
        rate = training.learning_rate * rate_factor(self._progress(), training.schedule, training.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.network.train()
        try:
            batch = self.augment(self.bank.batch(indices), seed)
            image = batch["image"].contiguous(memory_format=torch.channels_last)
            loss = self.loss(self.network(image), batch["label"])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            value = float(loss.detach())
            self._check_finite(value, indices)
            if training.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), training.clip_norm)
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            sizes = self.bank.sizes[int(self.bank.group[indices[0]])]
            raise RunError(
                f"the device's memory does not suffice for batches of {len(indices)} slices of {sizes}",
                where="training.batch_size", remedy="Lower training.batch_size, or network.channels",
            ) from error  # fmt: skip
        if self.average is not None:
            self.average.update_parameters(self.network)
        self.state.step += 1
        return value

    def _check_finite(self, loss: float, indices: np.ndarray) -> None:
        if math.isfinite(loss):
            return
        names = listing({self.bank.cases[self.bank.case[index]].id for index in indices})
        kept = "; the best checkpoint so far was kept" if self.state.best_epoch else ""
        raise RunError(
            f"the loss is {loss} at step {self.state.step}; the batch's cases: {names}", where="training",
            remedy=f"Lower training.learning_rate, set training.clip_norm, or look at these cases{kept}",
        )  # fmt: skip

    def _finish_epoch(self, rate: float) -> None:
        state = self.state
        state.epoch, state.batch = state.epoch + 1, 0
        last = self._progress() >= 1
        row: dict[str, Any] = {
            "epoch": state.epoch, "step": state.step, "seconds": round(self._seconds(), 2),
            "slices_per_second": round(rate, 1), "learning_rate": self.optimizer.param_groups[0]["lr"],
            "train_loss": float(np.mean(state.losses)),
        }  # fmt: skip
        state.losses = []
        validated = last or state.epoch % self.settings.training.validate_every == 0
        if validated:
            row |= self._validate()
        state.history.append(row)
        # A validation may use up the rest of a budget of time; what follows it would not be validated.
        state.finished = last or (validated and self._progress() >= 1)

    def _validate(self) -> dict[str, float]:
        """Score the weights that are kept, and save them if they are the best so far; gives columns of the history."""
        kept = self.network if self.average is None else self.average.module
        result = self.validate(kept)
        if result.mean > self.state.best_mean:
            self.state.best_mean, self.state.best_epoch = result.mean, self.state.epoch
            self._save_best(kept, result)
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
        self.state.seconds = self._seconds()
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
            self.state = TrainingState(**saved["state"])
        except (RuntimeError, AttributeError, KeyError, ValueError, TypeError) as error:
            raise RunError(f"the checkpoint is of another network: {error}", where=str(path),
                           remedy="Resume with the config that the run was started with") from error  # fmt: skip
