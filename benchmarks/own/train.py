"""Training steps of this project: as the loop makes them, and bare; asked again and again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.peers.speak import serve, timed

_MONAI = "monai.networks.nets.UNet"


def _made(config: str, precision: str = "auto") -> tuple[Any, Any, Any, Any]:
    """Settings, the bank of all slices on the device, the loss, and the device."""
    from benchmarks.own.read import facts_of
    from pipeline.config.load import load_config
    from pipeline.data.caching.caches import prepared_slices
    from pipeline.data.caching.prepared import Preparation
    from pipeline.data.inspection import read_options
    from pipeline.data.layouts import find_cases
    from pipeline.training.device import choose_device, tune_cpu
    from pipeline.training.objective import build_loss
    from transforms.chain import PrepareChain

    tune_cpu(None)
    device = choose_device("auto")
    loaded = load_config(Path(config), [f"training.precision={precision}"], {})
    settings = loaded.settings
    cases, options = tuple(find_cases(loaded)), read_options(loaded)
    chain = PrepareChain(settings.transforms.prepare, options)
    facts = facts_of(loaded)
    job = Preparation(chain, cases, facts, options, len(settings.data.classes), settings.data.context)
    loss = build_loss(settings.loss, sum(fact.voxels for fact in facts.values())).to(device)
    return settings, prepared_slices(loaded, [job]).to(device), loss, device


def _network(settings: Any, classes: int, which: str, device: Any) -> Any:
    import torch

    from pipeline.networks.build import build_network

    widths = list(settings.network["channels"])
    monai = {"_target_": _MONAI, "channels": widths, "strides": [2] * (len(widths) - 1), "num_res_units": 2}
    torch.manual_seed(0)
    target: Mapping[str, Any] = monai if which == "monai" else settings.network
    network = build_network(target, 2 * settings.data.context + 1, classes)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def loop(config: str, steps: int, network: str = "own", precision: str = "auto") -> Callable[[], Any]:
    """Make ready to train on some batches: picked, augmented, learnt, averaged; losses are looked at as in a run."""
    from pipeline.data.caching.slices import epoch_batches
    from pipeline.networks.measure import multiply_adds
    from pipeline.training.step import LossRecord, OptimizerStep

    settings, bank, loss, device = _made(config, precision)
    batches = cycle(epoch_batches(bank, settings.training.batch_size, 0))
    built = _network(settings, bank.classes, network, device)
    image = bank.batch(next(batches)[:1])["image"]
    needed = multiply_adds(built.eval(), image) / image[0, 0].numel()
    step = OptimizerStep(settings, built.train(), loss, device, print)
    record = LossRecord(device)

    def once() -> dict[str, Any]:
        seen, losses = 0, []
        for number, indices in enumerate(islice(batches, steps)):
            losses += record.add(step(bank.batch(indices), number, 1e-3), indices)
            seen += len(indices)
        losses += record.look()
        found = {"units": seen, "loss": losses[-1], "precision": step.precision.name}
        return found | {"multiply_adds_a_pixel": needed}

    return once


def bare(config: str, steps: int, limits: dict[str, Any]) -> Callable[[], Any]:
    """Make ready for what no training can leave out: network, loss, gradient, optimizer, on tensors that are there."""
    import torch

    from benchmarks.machine import measured_limits
    from benchmarks.roofline import needs_of
    from pipeline.data.caching.slices import epoch_batches
    from pipeline.training.objective import Objective
    from pipeline.training.precision import choose_precision

    settings, bank, loss, device = _made(config)
    network = _network(settings, bank.classes, "own", device)
    objective = Objective(loss)
    precision = choose_precision(settings.training.precision, device)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    there = [bank.batch(indices) for indices in epoch_batches(bank, settings.training.batch_size, 0)[:steps]]
    images = [one["image"].contiguous(memory_format=torch.channels_last) for one in there]

    def learn(number: int) -> torch.Tensor:
        with precision():
            logits = network(images[number])
        value = objective(logits, there[number]["label"])
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        return value.detach()

    learn(0)
    needs, best = needs_of(lambda: learn(0)), dict(limits)

    def all_batches() -> None:
        for number in range(len(there)):
            value = learn(number)
        float(value)  # waits for the device

    def once() -> dict[str, Any]:
        seconds, _ = timed(all_batches)
        # The best that the machine showed in this run, measured again each time: it may be busy now and then.
        best.update({name: max(value, best[name]) for name, value in measured_limits(device, quick=True).items()})
        return {
            "seconds": seconds,
            "units": sum(map(len, images)),
            "floor_seconds": needs.seconds(best) / len(images[0]),
            "operations": needs.operations,
            "bytes": needs.bytes,
            "precision": precision.name,
        }

    return once


if __name__ == "__main__":
    serve({"loop": loop, "bare": bare})
