"""The training loop: batches, augmentation, steps, validation and the best checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pipeline.config.schema import Settings, parse_budget
from pipeline.data.caching.slices import Slices, epoch_batches
from pipeline.data.cases import listing
from pipeline.errors import ConfigError, Interrupted, RunError
from pipeline.networks.apply import is_out_of_memory
from pipeline.progress import Progress
from pipeline.training.objective import check_loss
from pipeline.training.parallel import ALONE, Ranks
from pipeline.training.saving import Checkpoints
from pipeline.training.schedule import Clock, rate_factor
from pipeline.training.signals import StopRequest
from pipeline.training.state import TrainingState, epoch_line, log_line
from pipeline.training.step import LossRecord, NotFinite, OptimizerStep
from pipeline.training.validation import ScanDice


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
    say
        Is told in a sentence what could not be done as the config wants it; a warning where nothing is given.
    ranks
        The processes that train the network together; the first one writes.

    Attributes
    ----------
    step
        What trains the network, a batch at a time.
    checkpoints
        Where it is saved.
    state
        Where the training is.
    budget_seconds
        How long it may take; None where epochs or steps end it.
    total_steps
        How many steps there are at most.

    Raises
    ------
    ConfigError
        When the loss does not fit the classes, or a batch has fewer slices than there are processes.
    """

    def __init__(
        self, settings: Settings, network: nn.Module, loss: nn.Module, bank: Slices, validate: ScanDice, folder: Path,
        say: Callable[[str], None] = warnings.warn, ranks: Ranks = ALONE,
    ) -> None:  # fmt: skip
        self.settings, self.bank, self.validate, self.ranks = settings, bank, validate, ranks
        self.checkpoints = Checkpoints(folder, say)
        training = settings.training
        if training.batch_size < ranks.count:
            raise ConfigError(f"{training.batch_size} slices cannot be shared out over {ranks.count} processes",
                              where="training.batch_size", remedy="Raise it, or start fewer")  # fmt: skip
        device = next(network.parameters()).device
        check_loss(loss, bank.classes, device)
        self.step = OptimizerStep(settings, network, loss, device, say, ranks)
        self.record = LossRecord(device, ranks)
        self.state = TrainingState()
        self.clock = Clock(ranks)
        self.steps_per_epoch = len(self._batches(0))
        self.budget_seconds, steps = parse_budget(training.budget) if training.budget else (None, None)
        total = training.epochs * self.steps_per_epoch
        self.total_steps = total if steps is None else min(total, steps)
        self._saved = 0.0  # the clock when last.pt was written

    def _batches(self, epoch: int) -> list[np.ndarray]:
        training = self.settings.training
        seed = self.settings.seed * 100_003 + epoch
        return epoch_batches(self.bank, training.batch_size, seed, foreground=training.foreground)

    def _progress(self) -> float:
        """From 0 at the start to 1 at the end of the epochs or of the budget."""
        share = self.state.step / self.total_steps
        return share if self.budget_seconds is None else max(share, self.clock.seconds / self.budget_seconds)

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
        self.clock.start(self.state.seconds)
        self._saved = self.clock.seconds
        while not self.state.finished:
            pace = self._train_epoch(progress, stop)
            self._finish_epoch(pace)
            log(log_line(self.state))
            if "validation_dice" in self.state.history[-1]:
                progress.write(epoch_line(self.state))
            self._save_last()
            epoch_done()
        return self.state

    def _train_epoch(self, progress: Progress, stop: StopRequest) -> dict[str, float]:
        """The steps that the present epoch has left; gives the pace and augmentation's shares, for the history."""
        state, began, seen = self.state, self.clock.seconds, 0
        coming = self._batches(state.epoch)[state.batch :]
        self.bank.expect([self.ranks.share(indices)[0] for indices in coming])
        for indices in coming:
            if asked := self.clock.agree(stop):
                self._save_last()
                raise Interrupted(f"{asked} at step {state.step}")
            self._save_in_time()
            self._step(indices)
            state.batch += 1
            seen += len(indices)
            progress.advance(len(indices), self._share(), **self._figures())
            if self._progress() >= 1:
                break
        self._look()
        self.clock.agree()
        seconds = max(1e-9, self.clock.seconds - began)
        shares = self.step.augment.take_shares(seconds)
        return {"slices_per_second": round(seen / seconds, 1)} | {name: round(one, 4) for name, one in shares.items()}

    def _figures(self) -> dict[str, str]:
        figures = {"loss": f"{np.mean(self.state.losses[-20:]):.3f}"} if self.state.losses else {}
        if self.state.best_epoch:
            figures["best_Dice"] = f"{self.state.best_mean:.3f}"
        return figures

    def _share(self) -> float | None:
        """Of a budget of time that is used; None where epochs or steps end the training."""
        return None if self.budget_seconds is None else self._progress()

    def _step(self, indices: np.ndarray) -> None:
        """One step of the optimizer on some slices, of which each process takes its share."""
        training, state = self.settings.training, self.state
        seed = self.ranks.seed((self.settings.seed * 7_919 + state.step) % 2**31)
        own, share = self.ranks.share(indices)
        rate = training.learning_rate * rate_factor(self._progress(), training.schedule, training.warmup)
        try:
            loss = self.step(self.bank.batch(own), seed, rate, share)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            sizes = self.bank.sizes[int(self.bank.group[indices[0]])]
            raise RunError(
                f"the device's memory does not suffice for batches of {len(own)} slices of {sizes}",
                where="training.batch_size", remedy="Lower training.batch_size, or network.channels",
            ) from error  # fmt: skip
        state.step += 1
        with self._naming_cases():
            state.losses += self.record.add(loss, indices)

    def _look(self) -> None:
        """Have all losses so far looked at: nothing is saved or validated before it is known that they are finite."""
        with self._naming_cases():
            self.state.losses += self.record.look()

    @contextmanager
    def _naming_cases(self) -> Iterator[None]:
        """Say of a loss that is not finite which cases it is of, and what to do."""
        try:
            yield
        except NotFinite as fault:
            names = listing({self.bank.cases[self.bank.case[index]].id for index in fault.indices})
            kept = "; the best checkpoint so far was kept" if self.state.best_epoch else ""
            raise RunError(
                f"the loss is {fault.loss} at step {self.state.step - 1 - fault.ago}; the batch's cases: {names}",
                where="training", remedy="Lower training.learning_rate, set training.clip_norm, or look at these "
                f"cases{kept}",
            ) from None  # fmt: skip

    def _finish_epoch(self, pace: dict[str, float]) -> None:
        state = self.state
        state.epoch, state.batch = state.epoch + 1, 0
        last = self._progress() >= 1
        row: dict[str, Any] = {
            "epoch": state.epoch, "step": state.step, "seconds": round(self.clock.seconds, 2),
            **pace, "learning_rate": self.step.rate,
            "train_loss": float(np.mean(state.losses)),
        }  # fmt: skip
        state.losses = []
        validated = last or state.epoch % self.settings.training.validate_every == 0
        if validated:
            row |= self._validate()
            self.clock.agree()
        state.history.append(row)
        # A validation may use up the rest of a budget of time; what follows it would not be validated.
        state.finished = last or (validated and (self._progress() >= 1 or self._out_of_patience()))

    def _out_of_patience(self) -> bool:
        """Whether no epoch since the best one was better, for as many epochs as ``training.patience`` allows."""
        patience = self.settings.training.patience
        return patience is not None and self.state.epoch - self.state.best_epoch >= patience

    def _validate(self) -> dict[str, float]:
        """Score the weights that are kept, and save them if they are the best so far; gives columns of the history."""
        kept = self.step.kept
        self.ranks.follow_first(kept.buffers())
        result = self.validate(kept)
        if result.mean > self.state.best_mean:
            self.state.best_mean, self.state.best_epoch = result.mean, self.state.epoch
            if self.ranks.is_first:
                self.checkpoints.save_best(kept.state_dict(), self.state.epoch, result.mean)
        classes = self.settings.data.classes[1:]
        return {
            "validation_loss": result.loss,
            "validation_dice": result.mean,
            **{f"dice_{name}": float(value) for name, value in zip(classes, result.dice, strict=True)},
        }

    def _save_last(self) -> None:
        self._look()
        self.state.seconds = self._saved = self.clock.seconds
        if self.ranks.is_first:
            self.checkpoints.save({**self.step.state(), "state": dict(vars(self.state))})

    def _save_in_time(self) -> None:
        """Save within a long epoch, too, so that no crash costs more than a few minutes."""
        if self.clock.seconds - self._saved >= 60 * self.settings.training.checkpoint_minutes:
            self._save_last()

    def resume(self) -> None:
        """Go back to where the newest checkpoint that is whole was written.

        What came after it is trained again: to the same bits, but for a budget of time, which goes on with what was
        left of it then (the seconds between that checkpoint and a crash are not counted).

        Raises
        ------
        RunError
            When there is none, or it is of another network.
        """
        path, saved = self.checkpoints.newest()
        try:
            self.step.restore(saved)
            self.state = TrainingState(**saved["state"])
        except (RuntimeError, AttributeError, KeyError, ValueError, TypeError) as error:
            raise RunError(f"the checkpoint is of another network: {error}", where=str(path),
                           remedy="Resume with the config that the run was started with") from error  # fmt: skip
        self.ranks.wait()  # until all have read it
        if self.ranks.is_first:
            self.checkpoints.settle(path, saved)
