"""Two networks side by side: size, speed, and how they learn the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from pipeline.commands.intake import Intake
from pipeline.commands.stages import prepare
from pipeline.config.targets import NETWORK_PREFIX
from pipeline.data.caching.slices import epoch_batches
from pipeline.networks.measure import compare, counterpart
from pipeline.progress import stage
from pipeline.training.device import choose_device, describe, tune_cpu
from pipeline.training.objective import build_loss


def compare_networks(intake: Intake, other: str, count: int) -> None:
    """Train the config's network and another on the same batches, taking turns, and print what both cost."""
    dataset, settings = intake.dataset, intake.settings
    tune_cpu(settings.training.threads)
    device = choose_device(settings.training.device)
    batch_size = settings.training.batch_size
    bank = prepare(intake, "train", intake.split.train).to(device)
    chosen = islice(cycle(epoch_batches(bank, batch_size, settings.seed)), count)
    batches = [bank.batch(indices) for indices in chosen]
    targets = [settings.network, counterpart(settings.network, other)]
    with stage("compare", 2 * count, "steps") as progress:
        results = compare(
            targets, batches, bank.classes, build_loss(settings.loss).to(device),
            learning_rate=settings.training.learning_rate, seed=settings.seed, done=progress.advance,
        )  # fmt: skip
    source = "PHANTOM (synthetic)" if dataset.synthetic else dataset.name
    height, width = batches[0]["image"].shape[-2:]
    print(f"\n{source} slices of {height} x {width}, batches of {batch_size}, {describe(device)}; the two took turns\n")
    own, peer = results
    rows = [
        ("", own.name, other.removeprefix(NETWORK_PREFIX) + " (MONAI)" * other.startswith(NETWORK_PREFIX), ""),
        ("parameters", f"{own.parameters:,}", f"{peer.parameters:,}", _ratio(own.parameters, peer.parameters)),
        ("multiply-adds a slice", f"{own.multiply_adds / 1e6:,.0f} M", f"{peer.multiply_adds / 1e6:,.0f} M",
         _ratio(own.multiply_adds, peer.multiply_adds)),
        ("output shape", _shape(own.output_shape), _shape(peer.output_shape), ""),
        ("forward, images/s", f"{own.forward_per_second:.1f}", f"{peer.forward_per_second:.1f}",
         _ratio(own.forward_per_second, peer.forward_per_second)),
        ("training, images/s", f"{own.train_per_second:.1f}", f"{peer.train_per_second:.1f}",
         _ratio(own.train_per_second, peer.train_per_second)),
        ("loss at the first batch", f"{own.losses[0]:.3f}", f"{peer.losses[0]:.3f}", ""),
        (f"loss after {count} batches", f"{own.final_loss():.3f}", f"{peer.final_loss():.3f}", ""),
    ]  # fmt: skip
    for label, first, second, ratio in rows:
        print(f"{label:<24} {first:>20} {second:>20} {ratio:>9}".rstrip())
    for target in targets:
        parameters = ", ".join(f"{key}={value}" for key, value in target.items() if key != "_target_")
        print(f"\n{target['_target_']}({parameters})", end="")
    print("\nThe last loss is the mean of the last 5 batches.")


def _ratio(own: float, peer: float) -> str:
    return f"x {own / peer:.2f}"


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)
