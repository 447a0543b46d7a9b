"""bin/check: a config before any compute is spent, and two networks side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.commands.arguments import add_config_arguments, command_parser, guarded
from pipeline.commands.dataset import Dataset, open_dataset
from pipeline.config.suggestions import suggestion
from pipeline.config.targets import NETWORK_PREFIX, network_names
from pipeline.errors import EXIT_DONE, ConfigError

EPILOG = """examples:
  bin/check configs/hipmri.yaml
  bin/check configs/phantom.yaml --against monai.networks.nets.UNet
"""
_BATCHES = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = command_parser(
        "bin/check", "Check a config, its dataset and every file of it; or compare its network with another.", EPILOG
    )
    add_config_arguments(parser)
    parser.add_argument("--against", metavar="NETWORK", help="a second network, such as monai.networks.nets.UNet")
    parser.add_argument(
        "--batches", type=int, default=_BATCHES, metavar="N", help=f"to compare on (default {_BATCHES})"
    )
    parser.add_argument("--no-stand-in", action="store_true", help="stop when the data are missing")
    arguments = parser.parse_args(argv)
    return guarded(lambda: _check(arguments), show_traceback=arguments.traceback)


def _check(arguments: argparse.Namespace) -> int:
    if arguments.against is not None and arguments.against not in network_names():
        raise ConfigError(f"unknown network {arguments.against!r}", where="--against",
                          remedy=suggestion(arguments.against, network_names()))  # fmt: skip
    if arguments.batches < 1:
        raise ConfigError(f"got {arguments.batches}", where="--batches", remedy="Give 1 or more")
    dataset = open_dataset(Path(arguments.config), arguments.overrides, allow_stand_in=not arguments.no_stand_in)
    print(f"config   {arguments.config}: keys, types, names and chains are right")
    for side, cases in dataset.split.sides().items():
        patients = len({case.patient for case in cases})
        print(f"{side:<11}{len(cases)} cases of {patients} patients, such as {cases[0].id}")
    from pipeline.commands.stages import inspect

    inspection = inspect(dataset)
    print(f"files      {len(inspection.facts)} images and masks were read whole; nothing is wrong with them")
    for warning in inspection.warnings:
        print(f"warning    {warning}")
    if arguments.against is not None:
        _compare(dataset, arguments.against, arguments.batches)
    return EXIT_DONE


def _compare(dataset: Dataset, other: str, count: int) -> None:
    from itertools import cycle, islice

    from pipeline.commands.stages import prepare
    from pipeline.data.slices import epoch_batches
    from pipeline.networks.measure import compare, counterpart
    from pipeline.progress import stage
    from pipeline.training.device import choose_device, describe, tune_cpu
    from pipeline.training.objective import build_loss

    settings = dataset.config.settings
    tune_cpu(settings.training.threads)
    device = choose_device(settings.training.device)
    batch_size = settings.training.batch_size
    bank = prepare(dataset, "train", dataset.split.train).to(device)
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
    print(f"\n{targets[1]} has the same widths; the last loss is the mean of the last 5 batches.")


def _ratio(own: float, peer: float) -> str:
    return f"x {own / peer:.2f}"


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)
