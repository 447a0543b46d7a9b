"""Where a training is, and how an epoch is told in a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_ENOUGH = 3  # validations that tell whether anything was learnt


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
        Spent in training so far, earlier sessions included; of one that was killed, until its last checkpoint.
    best_mean, best_epoch
        The highest mean validation Dice and the epoch (from 1) that reached it.
    history
        One row an epoch.
    losses
        Of the present epoch's steps.
    finished
        Whether the end of the epochs or of the budget was reached, and validated.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    best_mean: float = -1.0
    best_epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    finished: bool = False


def learning_caution(state: TrainingState) -> str:
    """What is to be said of a training that grew no better after its first validation; nothing of any other."""
    validated = [row for row in state.history if "validation_dice" in row]
    if len(validated) < _ENOUGH or validated[0]["epoch"] != state.best_epoch:
        return ""
    return (
        f"The validation Dice was highest at the first of {len(validated)} validations ({state.best_mean:.3f}), after "
        f"{state.best_epoch} of {state.epoch} epochs: nothing that was learnt later is kept. Train longer, with a "
        "larger training.budget or more training.epochs; where classes are rare, set loss.weight: inverse_sqrt."
    )


def epoch_line(state: TrainingState) -> str:
    """The last epoch for the terminal."""
    row = state.history[-1]
    text = f"epoch {row['epoch']:>3}  loss {row['train_loss']:.4f}"
    if "validation_dice" in row:
        best = " (best)" if state.best_epoch == row["epoch"] else ""
        text += f"  validation: loss {row['validation_loss']:.4f}, Dice {row['validation_dice']:.4f}{best}"
    return text


def log_line(state: TrainingState) -> str:
    """The last epoch for the log: every column of the history."""
    row = state.history[-1].items()
    return ", ".join(f"{name} {value:.5g}" if isinstance(value, float) else f"{name} {value}" for name, value in row)
