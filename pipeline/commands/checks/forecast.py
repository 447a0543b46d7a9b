"""Memory and time of a run, from a few real training steps of its own network on its own slices."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn

from pipeline.commands.checks.findings import aligned
from pipeline.config.schema import Settings, parse_budget
from pipeline.memory import in_words
from pipeline.networks.apply import Window, slice_logits
from pipeline.provenance import peak_memory_bytes
from pipeline.training.objective import build_loss
from pipeline.training.step import OptimizerStep

_STEPS = 4  # the first warms up, the median of the others counts


@dataclass(frozen=True)
class Workload:
    """What a run has to do: slices of each side, cases that are prepared, and seconds a case takes.

    Attributes
    ----------
    train, validation, test
        Slices.
    cases
        How many cases are prepared in all.
    read_seconds
        That reading and checking every file took just now.
    prepare_seconds
        Of one case, by one thread.
    cache_bytes
        What the prepared training and validation slices take.
    threads
        That prepare cases side by side.
    folds
        How many times all but the reading is done; the numbers above are those of one fold.
    """

    train: int
    validation: int
    test: int
    cases: int
    read_seconds: float
    prepare_seconds: float
    cache_bytes: int
    threads: int = 1
    folds: int = 1


@dataclass(frozen=True)
class Pace:
    """What was measured: seconds a slice of training and of prediction, and the peak of memory so far.

    Attributes
    ----------
    train_seconds, forward_seconds
        A slice.
    host_bytes
        The most that this process held, the trial's steps included.
    device_bytes
        The most that a GPU held; 0 without one.
    augment_shares
        What augmentation took of the training, see `AugmentChain.take_shares`.
    """

    train_seconds: float
    forward_seconds: float
    host_bytes: int
    device_bytes: int
    augment_shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Forecast:
    """Predicted seconds of each stage, and bytes."""

    seconds: dict[str, float] = field(default_factory=dict)
    total_seconds: float = 0.0
    epochs: int = 0
    cache_bytes: int = 0
    memory_bytes: int = 0
    device_bytes: int = 0

    def values(self) -> dict[str, Any]:
        """As plain values, seconds to the millisecond."""
        rounded = {name: round(value, 3) for name, value in self.seconds.items()}
        return asdict(self) | {"seconds": rounded, "total_seconds": round(self.total_seconds, 3)}


def trial_batch(sample: Mapping[str, Any], count: int, context: int) -> dict[str, torch.Tensor]:
    """A batch as training has it, of the slices of one prepared case, repeated as often as it takes.

    Parameters
    ----------
    sample
        ``image`` (S, C, H, W) and ``label`` (S, H, W).
    count
        Slices of the batch, B.
    context
        Neighbours on each side: a slice stands for its own here, as only the shape matters.

    Returns
    -------
    dict
        ``image`` (B, (2 * context + 1) * C, H, W) float32 and ``label`` (B, 1, H, W) uint8.
    """
    image, label = (torch.as_tensor(sample[key]).as_subclass(torch.Tensor) for key in ("image", "label"))
    places = torch.arange(count) % len(label)
    return {
        "image": image[places].float().repeat(1, 2 * context + 1, 1, 1),
        "label": label[places][:, None].to(torch.uint8),
    }


def measure_pace(
    settings: Settings, network: nn.Module, batch: Mapping[str, torch.Tensor], device: torch.device
) -> Pace:
    """Train a network for a few steps on one batch, and predict it; the network is changed.

    Parameters
    ----------
    settings
        The config.
    network, batch
        On `device`.
    device
        That the run would use.
    """
    count = len(batch["label"])
    step = OptimizerStep(settings, network, build_loss(settings.loss).to(device), device, lambda line: None)
    seconds = []
    for number in range(_STEPS):
        began = time.perf_counter()
        loss = step({key: value.clone() for key, value in batch.items()}, settings.seed + number, rate=1e-6)
        float(loss)  # waits for the device
        seconds.append((time.perf_counter() - began) / count)
        if number == 0:
            step.augment.take_shares(seconds[0])  # the first builds what the others use
    shares = step.augment.take_shares(sum(seconds[1:]) * count)
    forward = _forward_seconds(settings, network, batch["image"])
    device_bytes = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return Pace(statistics.median(seconds[1:]), forward, peak_memory_bytes(), device_bytes, shares)


def _forward_seconds(settings: Settings, network: nn.Module, image: torch.Tensor) -> float:
    network.eval()
    image = image.contiguous(memory_format=torch.channels_last)
    window, seconds = Window.of(settings.inference), []
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            float(slice_logits(network, image, window)[0, 0, 0, 0])
            seconds.append((time.perf_counter() - began) / len(image))
    return min(seconds)


def forecast(settings: Settings, work: Workload, pace: Pace) -> Forecast:
    """Put together what a whole run takes; pure arithmetic.

    Training and validation end with the epochs or with the budget, whichever comes first.
    """
    training = settings.training
    budget, steps = parse_budget(training.budget) if training.budget else (None, None)
    steps_per_epoch = max(1, -(-work.train // training.batch_size))
    epochs = float(training.epochs)
    if steps is not None:
        epochs = min(epochs, steps / steps_per_epoch)
    an_epoch = work.train * pace.train_seconds
    validating = work.validation * pace.forward_seconds / training.validate_every
    if budget is not None:
        epochs = min(epochs, budget / max(1e-9, an_epoch + validating))
    seconds = {
        "read": work.read_seconds,
        "prepare": work.folds * work.cases * work.prepare_seconds / max(1, work.threads),
        "train": work.folds * epochs * an_epoch,
        "validate": work.folds * epochs * validating,
        "predict": work.folds * work.test * pace.forward_seconds,
    }
    in_memory = work.cache_bytes if settings.data.cache == "ram" else 0
    return Forecast(
        seconds, sum(seconds.values()), max(1, round(epochs)), work.cache_bytes, pace.host_bytes + in_memory,
        pace.device_bytes,
    )  # fmt: skip


def forecast_lines(found: Forecast, free_bytes: int | None) -> list[str]:
    """The forecast for the terminal; `free_bytes` is None where the system does not tell."""
    rows = [(name, duration(value)) for name, value in found.seconds.items()]
    free = "" if free_bytes is None else f", {in_words(free_bytes)} are free"
    memory = f"{in_words(found.memory_bytes)}, {in_words(found.cache_bytes)} of it prepared slices{free}"
    lines = [*aligned([*rows, ("in all", duration(found.total_seconds))]), f"memory about {memory}"]
    return lines + ([f"memory of the GPU about {in_words(found.device_bytes)}"] if found.device_bytes else [])


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(0.234), duration(75), duration(7300)
    ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
