"""One of two processes that test_parallel.py starts: does what it is asked for, and leaves what it found in a file."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.errors import ConfigError, Fault, Interrupted, RunError
from pipeline.networks.apply import Window
from pipeline.progress import Progress
from pipeline.training import ending
from pipeline.training.loop import Trainer
from pipeline.training.objective import build_loss
from pipeline.training.parallel import ALONE, Ranks
from pipeline.training.signals import StopRequest
from pipeline.training.validation import ScanDice

WINDOW = Window(None, 0.5, "gaussian", 4)


def plain_network(classes: int = 3) -> nn.Module:
    """A network without BatchNorm, whose gradient is the mean over slices."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv2d(8, classes, 3, padding=1))


def trainer_of(given: dict[str, Any], folder: Path, ranks: Ranks = ALONE, loss: nn.Module | None = None) -> Trainer:
    """A trainer of the banks that the test made."""
    settings = given["settings"]
    loss = loss or build_loss(settings.loss)
    folder.mkdir(parents=True, exist_ok=True)
    validate = ScanDice(given["chosen"], loss, WINDOW, ranks)
    return Trainer(settings, plain_network(), loss, given["bank"], validate, folder, lambda line: None, ranks)


class StopAt(StopRequest):
    """A signal that comes to one process alone, after some steps."""

    def __init__(self, trainer: Trainer, step: int) -> None:
        super().__init__()
        self.trainer, self.step = trainer, step

    def __bool__(self) -> bool:
        self.name = "SIGUSR1" if self.trainer.state.step >= self.step else None
        return self.name is not None


def fit(trainer: Trainer, stop: StopRequest | None = None) -> dict[str, Any]:
    """Train; gives the weights and the history."""
    stop = StopRequest() if stop is None else stop  # it is false until it comes
    state = trainer.fit(Progress("train", None, "slices"), stop, lambda line: None, lambda: None)
    return {"weights": trainer.step.network.state_dict(), "history": state.history}


def with_training(given: dict[str, Any], **changes: Any) -> Any:
    """The settings, with other values of the training."""
    settings = given["settings"]
    return settings.model_copy(update={"training": settings.training.model_copy(update=changes)})


def refused(kind: type[Exception], body: Any) -> str:
    """The text of the error that something ends in."""
    try:
        body()
    except kind as error:
        return str(error)
    return "nothing was refused"


class NanFor(nn.Module):
    """A loss that is not a number for one process alone, from its second batch on."""

    def __init__(self, bad: bool) -> None:
        super().__init__()
        self.bad, self.calls = bad, 0

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return logits.mean() * (float("nan") if self.bad and self.calls > 3 else 1.0)


def found(ranks: Ranks, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What this process sees, with the other one beside it."""
    told: dict[str, Any] = {
        "from_first": ranks.from_first(lambda: os.getpid()),
        "gathered": ranks.gathered(ranks.rank * 10),
        "collected": ranks.collected([number * number for number in ranks.dealt(range(7))]),
        "highest": ranks.highest([float(ranks.rank), -float(ranks.rank)]),
        "total": ranks.total(np.array([1.0, ranks.rank])).tolist(),
        "seed": ranks.seed(5),
    }
    network = plain_network()
    dice = ScanDice(given["chosen"], build_loss(given["settings"].loss), WINDOW, ranks)(network)
    told["validation"] = (dice.loss, dice.dice.tolist())
    told["whole"] = fit(trainer_of(given, folder / "whole", ranks))

    stopped = trainer_of(given, folder / "two-to-one", ranks)
    stop = StopAt(stopped, 3) if ranks.rank == 1 else StopRequest()
    told["stopped"] = refused(Interrupted, lambda: fit(stopped, stop))

    resumed = trainer_of(given, folder / "one-to-two", ranks)
    resumed.resume()
    told["resumed_at"] = resumed.state.step
    told["resumed"] = fit(resumed)

    timed = {**given, "settings": with_training(given, epochs=10_000, budget="0.5s", validate_every=7, patience=3)}
    told["timed_steps"] = fit(trainer_of(timed, folder / "timed", ranks))["history"][-1]["step"]

    bad = trainer_of(given, folder / "nan", ranks, NanFor(ranks.rank == 1))
    told["nan"] = refused(RunError, lambda: fit(bad))
    small = {**given, "settings": with_training(given, batch_size=1)}
    told["too_small"] = refused(ConfigError, lambda: trainer_of(small, folder / "small", ranks))
    return told


def main(folder: Path) -> None:
    """Write what was found, and how the other's sudden end looks from here."""
    given = pickle.loads((folder / "given.pickle").read_bytes())
    ranks = Ranks.from_environment()
    told: dict[str, Any] = {}

    def until_the_other_dies() -> None:
        with ranks.together():
            told.update(found(ranks, given, folder))
            (folder / f"found-{ranks.rank}.pickle").write_bytes(pickle.dumps(told))
            ranks.wait()
            if ranks.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            ranks.wait()

    told["lost"] = refused(Fault, until_the_other_dies)
    (folder / f"found-{ranks.rank}.pickle").write_bytes(pickle.dumps(told))


if __name__ == "__main__":
    torch.set_num_threads(1)
    ending._LINGER_S = 0.5  # the other is killed, and will not say that it has left
    main(Path(sys.argv[1]))
