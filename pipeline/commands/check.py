"""bin/check: a config before any compute is spent, and two networks side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.commands.arguments import add_config_arguments, command_parser, guarded
from pipeline.commands.dataset import open_dataset
from pipeline.config.suggestions import suggestion
from pipeline.config.targets import NETWORK_PREFIX, network_names
from pipeline.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from pipeline.commands.intake import Intake

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
    print(f"config     {dataset.config.path}: its keys, types and names are known")
    from pipeline.commands.intake import take_in
    from pipeline.commands.stages import check_test_crop

    intake = take_in(dataset)
    for side, cases in intake.split.sides().items():
        patients = len({case.patient for case in cases})
        print(f"{side:<11}{_counted(len(cases), 'case')} of {_counted(patients, 'patient')}, such as {cases[0].id}")
    print(f"files      {len(intake.facts)} images and masks were read whole; nothing is wrong with them")
    for warning in intake.warnings:
        print(f"warning    {warning}")
    check_test_crop(intake)
    _try_out(intake)
    if arguments.against is not None:
        _compare(intake, arguments.against, arguments.batches)
    return EXIT_DONE


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _try_out(intake: Intake) -> None:
    """Build everything that the config names, and take one case and one batch through it."""
    import torch

    from pipeline.commands.stages import network_for
    from pipeline.data.prepared import prepare_cases
    from pipeline.data.slices import SliceBank
    from pipeline.networks.build import parameter_count
    from pipeline.training.device import choose_device
    from pipeline.training.objective import build_loss, check_loss
    from transforms.augment import AugmentChain
    from transforms.chain import PrepareChain

    dataset, settings, case = intake.dataset, intake.settings, intake.split.train[0]
    choose_device(settings.training.device)
    chain = PrepareChain(settings.transforms.prepare, dataset.options)
    samples = prepare_cases(chain, [case])
    bank = SliceBank([case], samples, len(settings.data.classes))
    slices, height, width = samples[0]["image"].shape
    found = " x ".join(str(side) for side in intake.facts[case.id].shape)
    print(f"prepare    {case.id}: {found} voxels to {_counted(slices, 'slice')} of {height} x {width}")
    batch = bank.batch(np.zeros(2, dtype=int))
    AugmentChain(settings.transforms.augment)(batch, settings.seed)
    print(f"augment    {len(settings.transforms.augment)} transforms take a batch")
    network = network_for(dataset, torch.device("cpu"))
    check_loss(build_loss(settings.loss), len(settings.data.classes), torch.device("cpu"))
    print(
        f"network    {settings.network['_target_']}, {parameter_count(network):,} parameters; the loss takes its logits"
    )


def _compare(intake: Intake, other: str, count: int) -> None:
    from itertools import cycle, islice

    from pipeline.commands.stages import prepare
    from pipeline.data.slices import epoch_batches
    from pipeline.networks.measure import compare, counterpart
    from pipeline.progress import stage
    from pipeline.training.device import choose_device, describe, tune_cpu
    from pipeline.training.objective import build_loss

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
