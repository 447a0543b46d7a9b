"""bin/benchmark: this project beside its peers and the machine's limits, in one run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from pipeline.commands.arguments import command_parser, guarded
from pipeline.config.suggestions import nearest
from pipeline.errors import EXIT_DONE, ConfigError
from pipeline.training.signals import interrupt_on_signals

PARTS = ("read", "cache", "train", "leaks", "surfaces", "evaluate", "predict", "start")
LONG_PARTS = ("accuracy",)  # only when they are named
PEERS = ("monai", "nnunet", "surface-distance")
EPILOG = """examples:
  bin/benchmark --quick
  bin/benchmark --only read,evaluate --peers monai,nnunet
  bin/benchmark --out results
  HIPPOCAMPUS=/data/hippocampus bin/benchmark --only accuracy --out results

Peers are programs in an environment of their own; one that is missing is named, with the command that installs it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = command_parser("bin/benchmark", "Measure this project beside its peers, taking turns; ratios carry over.",
                            EPILOG)  # fmt: skip
    parser.add_argument(
        "--only", metavar="PARTS", help=f"some of {','.join(PARTS + LONG_PARTS)}; else all but accuracy"
    )
    parser.add_argument("--peers", default=",".join(PEERS), metavar="PEERS",
                        help=f"some of {','.join(PEERS)}, or none (default: all)")  # fmt: skip
    parser.add_argument("--peers-python", type=Path, metavar="PATH",
                        help="the interpreter of the peers' environment (default: .venv-peers/bin/python)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="small and few, to see that it works; figures say little")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns that each takes (default 7, or 2 with --quick)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write RESULTS.md, results.json and plots there")
    arguments = parser.parse_args(argv)
    command = ["bin/benchmark", *(sys.argv[1:] if argv is None else argv)]
    return guarded(lambda: _body(arguments, command), show_traceback=arguments.traceback)


def _body(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    parts = list(PARTS) if arguments.only is None else _chosen(arguments.only, PARTS + LONG_PARTS, "part", "--only")
    peers = [] if arguments.peers == "none" else _chosen(arguments.peers, PEERS, "peer", "--peers")
    rounds = arguments.rounds if arguments.rounds is not None else 2 if arguments.quick else 7
    if rounds < 1:
        raise ConfigError(f"got {rounds}", where="--rounds", remedy="Give 1 or more")
    if arguments.peers_python is not None and not arguments.peers_python.exists():
        raise ConfigError("no such file", where=f"--peers-python {arguments.peers_python}",
                          remedy="Name the interpreter of the peers' environment")  # fmt: skip
    session = import_module("benchmarks.session")  # of the checkout, which has what setup.cfg does not install
    with interrupt_on_signals():  # so that what is being measured is ended as well
        session.measure_parts(
            parts, peers, arguments.peers_python, rounds, arguments.out, command, quick=arguments.quick
        )
    return EXIT_DONE


def _chosen(text: str, known: Sequence[str], what: str, where: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        guesses = [guess for name in unknown if (guess := nearest(name, known))]
        meant = f"Did you mean {', '.join(guesses)}? " if guesses else ""
        raise ConfigError(f"unknown {what} {', '.join(unknown) or repr(text)}", where=where,
                          remedy=f"{meant}Known: {', '.join(known)}")  # fmt: skip
    return list(dict.fromkeys(names))
