"""bin/check: everything that can be known of a run before it, in the order that it is found out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.commands.arguments import add_config_arguments, add_voice_arguments, command_parser, guarded, voice_of
from pipeline.config.suggestions import suggestion
from pipeline.config.targets import network_names
from pipeline.errors import ConfigError

EPILOG = """examples:
  bin/check configs/hipmri.yaml
  bin/check configs/hippocampus.yaml --case hippocampus_001 --plot trace.png
  bin/check configs/phantom.yaml --json > check.json
  bin/check configs/phantom.yaml --against monai.networks.nets.UNet

what it looks at, stopping at nothing: the config's keys, types and names; its transform chains; every file of the
dataset; the split and what leaks across it; one case step by step through the chain; the best Dice and HD95 that the
chain allows; the memory and the time of a run. Exit code 2 where a run would be refused.
"""
_BATCHES = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = command_parser(
        "bin/check", "What is wrong with a config, its dataset or its chain, before any run.", EPILOG
    )
    add_config_arguments(parser)
    add_voice_arguments(parser)
    parser.add_argument("--case", metavar="ID", help="the case to trace; else one that shows most classes")
    parser.add_argument("--plot", metavar="PNG", help="also draw the traced case, step by step, into this file")
    parser.add_argument("--json", action="store_true", help="print one JSON value for machines, and nothing else")
    parser.add_argument("--against", metavar="NETWORK", help="a second network, such as monai.networks.nets.UNet")
    parser.add_argument(
        "--batches", type=int, default=_BATCHES, metavar="N", help=f"to compare on (default {_BATCHES})"
    )
    parser.add_argument(
        "--config-reference",
        action=_Reference,
        help="print docs/config.md: every key of a config",
    )
    parser.add_argument("--no-stand-in", action="store_true", help="do not go over to a phantom when data are missing")
    arguments = parser.parse_args(argv)
    return guarded(lambda: _check(arguments), show_traceback=arguments.traceback, voice=voice_of(arguments))


class _Reference(argparse.Action):
    """Prints the page and ends, as ``--help`` does: it needs no CONFIG."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **more)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from pipeline.config.reference import config_reference

        print(config_reference(), end="")
        parser.exit()


def _check(arguments: argparse.Namespace) -> int:
    if arguments.against is not None and arguments.against not in network_names():
        raise ConfigError(f"unknown network {arguments.against!r}", where="--against",
                          remedy=suggestion(arguments.against, network_names()))  # fmt: skip
    if arguments.batches < 1:
        raise ConfigError(f"got {arguments.batches}", where="--batches", remedy="Give 1 or more")
    if arguments.plot is not None and not Path(arguments.plot).resolve().parent.is_dir():
        raise ConfigError("no such folder", where=f"--plot {arguments.plot}", remedy="Make it, or name another")
    if arguments.json and arguments.against is not None:
        raise ConfigError("the comparison of networks is a table for people", where="--json",
                          remedy="Give --against without it")  # fmt: skip
    from pipeline.commands.checks.sections import run_checks

    return run_checks(arguments)
