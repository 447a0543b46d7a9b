"""Training: the same to the bit, stopped and resumed or not; the best weights are kept, never just the last."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.caching.prepared import prepare_cases
from pipeline.data.caching.slices import SliceBank
from pipeline.data.splitting.splits import split_cases
from pipeline.errors import ConfigError, Interrupted, RunError
from pipeline.networks.apply import Window
from pipeline.networks.unet import UNet
from pipeline.progress import Progress
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.loop import Trainer, TrainingState
from pipeline.training.objective import build_loss
from pipeline.training.schedule import rate_factor
from pipeline.training.signals import StopRequest
from pipeline.training.step import OptimizerStep
from pipeline.training.validation import ScanDice, ValidationResult

BOTH = ["image", "label"]
AUGMENT = [
    {"_target_": "RandAffineBatchd", "keys": BOTH, "prob": 0.8, "rotate_degrees": 15, "mode": ["bilinear", "nearest"]},
    {"_target_": "RandGaussianNoised", "keys": "image", "prob": 0.5},
]
TIMING = {"seconds", "slices_per_second", "augment_share", "per_sample_share"}
STEPS = 5  # of an epoch of the tiny training below


class StopAt(StopRequest):
    """A request to stop that comes during a step, and is seen before the one after it."""

    def __init__(self, trainer: Trainer, step: int) -> None:
        super().__init__()
        self.trainer, self.step = trainer, step

    def __bool__(self) -> bool:
        self.name = "SIGTERM" if self.trainer.state.step >= self.step else None
        return self.name is not None


@pytest.fixture
def make_trainer(
    tmp_path: Path, make_config: Callable[..., Any], make_case: Callable[..., Any], make_bank: Callable[..., Any]
) -> Callable[..., Trainer]:
    """A trainer of 18 slices of two sizes, in 5 batches an epoch; each call makes everything anew."""

    def make(
        folder: str = "run",
        *,
        seed: int = 0,
        validate: Any = None,
        loss: Any = None,
        network: Any = None,
        **training: Any,
    ) -> Trainer:
        settings = make_config(
            seed=seed,
            training={"epochs": 3, "batch_size": 4, "ema": 0.8, "learning_rate": 0.01, "device": "cpu", **training},
            transforms={"augment": AUGMENT},
        ).settings
        bank = make_bank([make_case(f"t{n}", f"p{n}") for n in range(3)], [(6, 16, 16), (6, 16, 16), (6, 12, 20)])
        chosen = make_bank([make_case(f"v{n}", f"q{n}") for n in range(2)], (3, 16, 16), seed=9)
        loss = loss or build_loss(settings.loss)
        torch.manual_seed(seed)
        network = network or UNet(1, 3, channels=[4, 8], dropout=0.1)
        scorer = validate or ScanDice(chosen, loss, Window(None, 0.5, "gaussian", 4))
        (tmp_path / folder).mkdir(exist_ok=True)
        return Trainer(settings, network, loss, bank, scorer, tmp_path / folder)

    return make


def fit(trainer: Trainer, stop: StopRequest | None = None) -> TrainingState:
    stop = StopRequest() if stop is None else stop  # it is false until it comes
    return trainer.fit(Progress("train", None, "slices"), stop, lambda line: None, lambda: None)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    state = {f"network.{name}": value for name, value in trainer.step.network.state_dict().items()}
    if trainer.step.average is not None:
        state |= {f"average.{name}": value for name, value in trainer.step.average.state_dict().items()}
    return {name: value.clone() for name, value in state.items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(state: TrainingState) -> list[str]:
    """The history but for its timing, as text: NaN is equal to itself there."""
    return [repr({name: value for name, value in row.items() if name not in TIMING}) for row in state.history]


def test_one_seed_gives_one_training(make_trainer: Callable[..., Trainer]) -> None:
    first, again, other = make_trainer("a"), make_trainer("b"), make_trainer("c", seed=1)
    states = [fit(trainer) for trainer in (first, again, other)]
    assert first.steps_per_epoch == STEPS
    assert same(weights(first), weights(again))
    assert rows(states[0]) == rows(states[1])
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize(
    "stops",
    [
        [0],  # before the first step
        [1],
        [3],
        [STEPS],  # during an epoch's last step: it is validated, and the next does not begin
        [STEPS + 1],
        [2 * STEPS],
        [3 * STEPS - 1],  # the last step but one
        [2, 3, STEPS, 2 * STEPS + 2],  # several times
    ],
)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    make_trainer: Callable[..., Trainer], stops: list[int], tmp_path: Path
) -> None:
    options = {"foreground": 0.4, "validate_every": 2, "clip_norm": 1.0}
    whole = make_trainer("whole", **options)
    expected = fit(whole)

    for number, step in enumerate(stops):
        trainer = make_trainer("parts", **options)
        if number:
            trainer.resume()
        with pytest.raises(Interrupted, match=f"SIGTERM at step {step}"):
            fit(trainer, StopAt(trainer, step))
        assert trainer.state.step == step
    trainer = make_trainer("parts", **options)
    trainer.resume()
    assert trainer.state.step == stops[-1]
    found = fit(trainer)

    assert same(weights(trainer), weights(whole))
    assert rows(found) == rows(expected)
    assert (found.best_epoch, found.best_mean) == (expected.best_epoch, expected.best_mean)
    best = [load_checkpoint(tmp_path / name / "best.pt") for name in ("whole", "parts")]
    assert same(best[0]["network"], best[1]["network"])
    optimizers = [repr(one.step.optimizer.state_dict()) for one in (trainer, whole)]
    assert optimizers[0] == optimizers[1]


def test_a_stop_during_the_last_step_is_the_end_all_the_same(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer()
    state = fit(trainer, StopAt(trainer, 3 * STEPS))
    assert state.finished
    assert [row["epoch"] for row in state.history] == [1, 2, 3]
    resumed = make_trainer()
    resumed.resume()
    assert rows(fit(resumed)) == rows(state), "there is nothing left to do"
    assert resumed.state.step == 3 * STEPS


def test_a_training_learns(make_trainer: Callable[..., Trainer]) -> None:
    state = fit(make_trainer(epochs=10, ema=0.0))
    assert state.history[-1]["train_loss"] < 0.6 * state.history[0]["train_loss"]
    assert state.best_mean > 0.7
    assert state.best_mean == max(row["validation_dice"] for row in state.history)


class Prescribed:
    """A validation that finds what it was told to, and keeps the weights that it was shown."""

    def __init__(self, *means: float) -> None:
        self.means, self.shown = list(means), []  # type: ignore[var-annotated]

    def __call__(self, network: nn.Module) -> ValidationResult:
        self.shown.append({name: value.clone() for name, value in network.state_dict().items()})
        return ValidationResult(0.25, np.full(2, self.means[len(self.shown) - 1]))


@pytest.mark.parametrize("ema", [0.0, 0.8])
def test_the_best_epoch_is_kept_and_not_the_last(
    make_trainer: Callable[..., Trainer], tmp_path: Path, ema: float
) -> None:
    validate = Prescribed(0.2, 0.6, 0.5, 0.6, 0.1)
    trainer = make_trainer(validate=validate, epochs=5, ema=ema)
    state = fit(trainer)
    assert (state.best_epoch, state.best_mean) == (2, 0.6)
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert (best["epoch"], best["validation_dice"]) == (2, 0.6)
    assert same(best["network"], validate.shown[1])
    assert not same(best["network"], validate.shown[3]), "of equal ones the first"
    assert not same(best["network"], validate.shown[4])
    last = load_checkpoint(tmp_path / "run" / "last.pt")
    assert same(last["network"], trainer.step.network.state_dict())
    kept = trainer.step.kept
    assert same(validate.shown[4], kept.state_dict()), "the averaged weights are the ones that are scored and kept"
    assert same(validate.shown[4], last["network"]) == (ema == 0)
    UNet(1, 3, channels=[4, 8]).load_state_dict(best["network"])


def test_a_score_of_nothing_is_still_a_checkpoint(make_trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    state = fit(make_trainer(validate=Prescribed(math.nan, math.nan), epochs=2))
    assert (state.best_epoch, state.best_mean) == (1, 0.0)
    assert (tmp_path / "run" / "best.pt").exists()


def test_the_history_tells_every_epoch(make_trainer: Callable[..., Trainer]) -> None:
    lines: list[str] = []
    done: list[int] = []
    trainer = make_trainer(validate=Prescribed(0.5, 0.75), epochs=5, validate_every=4, learning_rate=0.02, warmup=0.0)
    state = trainer.fit(
        Progress("train", None, "slices"), StopRequest(), lines.append, lambda: done.append(len(trainer.state.history))
    )
    assert done == [1, 2, 3, 4, 5]
    assert [(row["epoch"], row["step"]) for row in state.history] == [(n, n * STEPS) for n in range(1, 6)]
    validated = [row["epoch"] for row in state.history if "validation_dice" in row]
    assert validated == [4, 5], "every fourth, and the last"
    assert state.history[3] | dict.fromkeys(TIMING, 0) | {"train_loss": 0} == dict.fromkeys(TIMING, 0) | {
        "epoch": 4, "step": 20, "train_loss": 0, "validation_loss": 0.25,
        "validation_dice": 0.5, "dice_a": 0.5, "dice_b": 0.5,
        "learning_rate": 0.02 * rate_factor(19 / 25, "cosine", 0.0),
    }  # fmt: skip
    assert all(row["train_loss"] > 0 and row["slices_per_second"] > 0 for row in state.history)
    assert [row["seconds"] for row in state.history] == sorted(row["seconds"] for row in state.history)
    assert len(lines) == 5
    assert lines[3].startswith("epoch 4, step 20, seconds ")
    assert "validation_dice 0.5, dice_a 0.5" in lines[3]


def test_the_history_tells_what_augmentation_took(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the seconds of an epoch's steps, as the clock has them; an epoch counts anew."""
    trainer = make_trainer(epochs=2)
    clock = SimpleNamespace(seconds=0.0, start=lambda seconds: None, agree=lambda stop=None: None)

    def augmented(batch: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
        clock.seconds += 8  # of which the chain says that it had 2 and 1
        trainer.step.augment.seconds += 2.0 if trainer.state.epoch == 0 else 4.0
        trainer.step.augment.per_sample_seconds += 1.0
        return batch

    chain = trainer.step.augment
    monkeypatch.setattr(type(chain), "__call__", lambda self, batch, seed: augmented(batch, seed))
    trainer.clock = clock  # type: ignore[assignment]
    first, second = fit(trainer).history
    assert (first["augment_share"], first["per_sample_share"]) == (0.25, 0.125)
    assert (second["augment_share"], second["per_sample_share"]) == (0.5, 0.125)
    assert first["slices_per_second"] == pytest.approx(18 / 40, abs=0.05)


def test_the_loss_of_an_epoch_is_the_mean_of_its_steps(make_trainer: Callable[..., Trainer]) -> None:
    seen: list[float] = []

    class Noting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loss = build_loss({"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True})

        def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            value: torch.Tensor = self.loss(logits, label)
            if value.requires_grad:
                seen.append(value.item())
            return value

    state = fit(make_trainer(loss=Noting(), epochs=2))
    assert len(seen) == 2 * STEPS
    assert state.history[0]["train_loss"] == pytest.approx(np.mean(seen[:STEPS]))
    assert state.history[1]["train_loss"] == pytest.approx(np.mean(seen[STEPS:]))


class NanAt(nn.Module):
    """A loss that is not a number at one training step."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__()
        self.loss = build_loss({"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True})
        self.step, self.value, self.done = step, value, 0

    def forward(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.loss(logits, label)
        if value.requires_grad:
            self.done += 1
            if self.done == self.step + 1:
                value = value * self.value
        return value


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_with_names_and_keeps_the_best(
    make_trainer: Callable[..., Trainer], tmp_path: Path, value: float
) -> None:
    trainer = make_trainer(loss=NanAt(7, value))
    indices = trainer._batches(1)[2]
    names = sorted({trainer.bank.cases[trainer.bank.case[index]].id for index in indices})
    with pytest.raises(RunError, match=f"the loss is {value} at step 7") as fault:
        fit(trainer)
    assert fault.value.what.endswith(f"the batch's cases: {', '.join(names)}")
    assert "best checkpoint so far was kept" in fault.value.remedy
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert best["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in best["network"].values())
    last = load_checkpoint(tmp_path / "run" / "last.pt")
    assert last["state"]["step"] == STEPS, "it was not saved after that step"
    assert all(torch.isfinite(tensor).all() for tensor in last["network"].values())


def test_before_the_first_validation_no_checkpoint_is_promised(
    make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    with pytest.raises(RunError) as fault:
        fit(make_trainer(loss=NanAt(2, math.nan)))
    assert "checkpoint" not in fault.value.remedy
    assert not (tmp_path / "run" / "best.pt").exists()


@pytest.mark.parametrize(
    ("budget", "epochs", "expected"),
    [
        ("7 steps", 9, [5, 7]),
        ("10 steps", 9, [5, 10]),
        ("1 steps", 9, [1]),
        ("99 steps", 2, [5, 10]),  # the epochs end first
    ],
)
def test_a_budget_of_steps_is_kept_exactly(
    make_trainer: Callable[..., Trainer], tmp_path: Path, budget: str, epochs: int, expected: list[int]
) -> None:
    trainer = make_trainer(budget=budget, epochs=epochs, validate_every=50, schedule="constant")
    state = fit(trainer)
    assert [row["step"] for row in state.history] == expected
    assert state.step == trainer.total_steps == expected[-1]
    assert "validation_dice" in state.history[-1], "what is left at the end was validated"
    assert load_checkpoint(tmp_path / "run" / "best.pt")["epoch"] == len(expected)


def test_the_schedule_is_fitted_to_the_budget(make_trainer: Callable[..., Trainer]) -> None:
    state = fit(make_trainer(budget="10 steps", epochs=50, warmup=0.0, learning_rate=0.01))
    expected = [0.01 * rate_factor(step / 10, "cosine", 0.0) for step in (4, 9)]
    assert [row["learning_rate"] for row in state.history] == pytest.approx(expected)


@pytest.mark.parametrize(("patience", "epochs"), [(None, 9), (1, 4), (2, 5), (3, 9)])
def test_patience_ends_a_training_that_gets_no_better(
    make_trainer: Callable[..., Trainer], patience: int | None, epochs: int
) -> None:
    # Better at epochs 1, 2 and 3; not at 4 and 5, which is as good as 3; at 6; not from 7 on.
    dice = iter([0.1, 0.2, 0.5, 0.3, 0.5, 0.6, 0.1, 0.6, 0.5])

    def validate(network: nn.Module) -> ValidationResult:
        return ValidationResult(1.0, np.full(2, next(dice)))

    state = fit(make_trainer(validate=validate, epochs=9, patience=patience))
    assert state.epoch == epochs
    assert state.finished


def test_a_long_epoch_is_saved_on_the_way(
    make_trainer: Callable[..., Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    trainer = make_trainer(epochs=1, checkpoint_minutes=2 / 60)
    Clock(monkeypatch).on(trainer, 0.0)
    keep = trainer._save_last

    def noting() -> None:
        keep()
        saved.append(load_checkpoint(tmp_path / "run" / "last.pt")["state"]["step"])

    trainer._save_last = noting  # type: ignore[method-assign]
    fit(trainer)
    assert saved == [2, 4, 5], "after two seconds, of one a step, and at the end"


class Clock:
    """Seconds that pass by what is done: one a training step, `each` a validation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, look: float = 0.0) -> None:
        self.now, self.look = 1000.0, look
        monkeypatch.setattr("pipeline.training.schedule.time", SimpleNamespace(monotonic=self.read))

    def read(self) -> float:
        self.now += self.look
        return self.now

    def on(self, trainer: Trainer, validation: float) -> None:
        batch, validate = trainer.bank.batch, trainer.validate

        def slow_batch(indices: np.ndarray) -> Any:
            self.now += 1
            return batch(indices)

        def slow_validate(network: nn.Module) -> ValidationResult:
            self.now += validation
            return validate(network)

        trainer.bank.batch = slow_batch  # type: ignore[method-assign]
        trainer.validate = slow_validate  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("budget", "validation", "every", "steps", "validated"),
    [
        ("7 s", 0.0, 1, [5, 7], [1, 2]),
        ("7 s", 0.0, 9, [5, 7], [2]),  # the end is validated, whatever the rhythm
        ("12 s", 3.0, 1, [5, 9], [1, 2]),  # 5 + 3 + 4
        ("7 s", 3.0, 1, [5], [1]),  # the validation uses up the rest: nothing follows it
        ("0.5 s", 0.0, 9, [1], [1]),  # one step at least
        ("3 min", 1.0, 1, [5, 10], [1, 2]),  # the epochs end first
    ],
)
def test_a_budget_of_time_ends_in_time(
    make_trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    budget: str,
    validation: float,
    every: int,
    steps: list[int],
    validated: list[int],
) -> None:
    clock = Clock(monkeypatch)
    trainer = make_trainer(budget=budget, epochs=2 if "min" in budget else 50, validate_every=every)
    clock.on(trainer, validation)
    state = fit(trainer)
    assert [row["step"] for row in state.history] == steps
    assert [row["epoch"] for row in state.history if "validation_dice" in row] == validated
    assert state.finished
    assert (tmp_path / "run" / "best.pt").exists()


@pytest.mark.parametrize("budget", [n / 4 for n in range(36, 45)])
def test_whatever_ends_it_the_last_epoch_is_validated(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, budget: float
) -> None:
    # Every look at the clock costs a quarter of a second, so that the budget may run out between any two of them.
    clock = Clock(monkeypatch, look=0.25)
    trainer = make_trainer(budget=f"{budget} s", epochs=50, validate_every=50)
    clock.on(trainer, 0.0)
    state = fit(trainer)
    assert "validation_dice" in state.history[-1]
    assert state.best_epoch


def test_time_spent_before_a_stop_counts(make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    trainer = make_trainer(budget="8 s", epochs=50)
    clock.on(trainer, 0.0)
    with pytest.raises(Interrupted):
        fit(trainer, StopAt(trainer, 6))
    clock.now += 5000  # the night between
    resumed = make_trainer(budget="8 s", epochs=50)
    clock.on(resumed, 0.0)
    resumed.resume()
    assert fit(resumed).step == 8
    assert resumed.state.seconds == 8


def test_a_killed_training_goes_on_with_the_time_that_was_left_at_its_checkpoint(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    trainer = make_trainer(budget="8 s", epochs=50)
    clock.on(trainer, 0.0)
    step, steps = OptimizerStep.__call__, 0

    def dying(self: OptimizerStep, *arguments: Any) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps > 7:
            raise KeyboardInterrupt  # nothing more is saved
        return step(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(OptimizerStep, "__call__", dying)
        fit(trainer)
    clock.now += 5000  # the night between
    resumed = make_trainer(budget="8 s", epochs=50)
    clock.on(resumed, 0.0)
    resumed.resume()
    assert (resumed.state.step, resumed.state.seconds) == (STEPS, STEPS), "the two seconds since are not counted"
    assert fit(resumed).step == 8
    assert resumed.state.seconds == 8


def test_a_budget_that_ran_out_at_the_stop_is_still_validated(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock(monkeypatch)
    trainer = make_trainer(budget="3.5 s", epochs=50)
    clock.on(trainer, 0.0)

    class Late(StopAt):
        def __bool__(self) -> bool:
            if super().__bool__():
                clock.now += 10  # the budget runs out between the step and the stop
            return self.name is not None

    with pytest.raises(Interrupted):
        fit(trainer, Late(trainer, 2))
    resumed = make_trainer(budget="3.5 s", epochs=50)
    clock.on(resumed, 0.0)
    resumed.resume()
    state = fit(resumed)
    assert state.finished
    assert "validation_dice" in state.history[-1]
    assert (tmp_path / "run" / "best.pt").exists()


@pytest.mark.parametrize("spoil", ["network", "average", "optimizer", "state"])
def test_a_checkpoint_of_another_training_is_refused(
    make_trainer: Callable[..., Trainer], tmp_path: Path, spoil: str
) -> None:
    trainer = make_trainer()
    with pytest.raises(Interrupted):
        fit(trainer, StopAt(trainer, 2))
    path = tmp_path / "run" / "last.pt"
    saved = load_checkpoint(path)
    if spoil == "network":
        other = make_trainer(network=UNet(1, 3, channels=[4, 16]))
    else:
        other = make_trainer()
        saved[spoil] = {"average": None, "optimizer": {}, "state": {"epochs": 3}}[spoil]
        torch.save(saved, path)
    with pytest.raises(RunError, match="of another network") as fault:
        other.resume()
    assert fault.value.where == str(path)


def test_there_must_be_something_to_resume(make_trainer: Callable[..., Trainer]) -> None:
    with pytest.raises(RunError, match="no such checkpoint"):
        make_trainer().resume()


def test_too_little_memory_says_the_sizes_and_what_to_lower(make_trainer: Callable[..., Trainer]) -> None:
    class Greedy(UNet):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    trainer = make_trainer(network=Greedy(1, 3, channels=[4, 8]))
    first = trainer._batches(0)[0]
    size = trainer.bank.sizes[trainer.bank.group[first[0]]]
    with pytest.raises(RunError) as fault:
        fit(trainer)
    assert f"batches of {len(first)} slices of {size}" in fault.value.what
    assert fault.value.where == "training.batch_size"


def test_a_loss_that_does_not_fit_is_refused_at_the_start(make_trainer: Callable[..., Trainer]) -> None:
    loss = build_loss({"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True, "weight": [1.0, 2.0]})
    with pytest.raises(ConfigError, match="cannot be used with 3 classes"):
        make_trainer(loss=loss)


def test_every_slice_is_learnt_from_once_an_epoch(make_trainer: Callable[..., Trainer]) -> None:
    trainer = make_trainer(epochs=2)
    batch, served = trainer.bank.batch, []

    def noting(indices: np.ndarray) -> Any:
        served.extend(indices.tolist())
        return batch(indices)

    trainer.bank.batch = noting  # type: ignore[method-assign]
    fit(trainer)
    assert sorted(served[:18]) == sorted(served[18:]) == list(range(18))
    assert served[:18] != served[18:]


def test_test_cases_have_no_way_in(
    tmp_path: Path, make_config: Callable[..., Any], make_case: Callable[..., Any], write_nifti: Callable[..., Path]
) -> None:
    # What a trainer is given holds the training and the validation slices; the test cases' files are not even there.
    given = ["settings", "network", "loss", "bank", "validate", "folder", "say", "ranks"]
    assert list(inspect.signature(Trainer).parameters) == given
    config = make_config(training={"epochs": 1, "batch_size": 4, "device": "cpu"})
    cases = [
        make_case(f"p{n}_0", f"p{n}", image=tmp_path / f"i{n}.nii.gz", label=tmp_path / f"l{n}.nii.gz")
        for n in range(5)
    ]
    split = split_cases(config, cases)
    for case in (*split.train, *split.validation):
        label = np.arange(64).reshape(8, 8) % 3
        write_nifti(case.image, label + 0.1, dtype=np.float32)
        write_nifti(case.label, label, dtype=np.uint8)
    from transforms.chain import PrepareChain
    from transforms.nifti import ReadOptions

    chain = PrepareChain(config.settings.transforms.prepare, ReadOptions())
    banks = [SliceBank(side, prepare_cases(chain, side), 3) for side in (split.train, split.validation)]
    assert split.test
    assert not any(case.image.exists() for case in split.test)
    loss = build_loss(config.settings.loss)
    validate = ScanDice(banks[1], loss, config.settings.inference)
    trainer = Trainer(config.settings, UNet(1, 3, channels=[4, 8]), loss, banks[0], validate, tmp_path)
    fit(trainer)
    assert {case.id for case in (*trainer.bank.cases, *validate.bank.cases)}.isdisjoint(case.id for case in split.test)
