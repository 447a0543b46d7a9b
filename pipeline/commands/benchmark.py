"""bin/benchmark: this project beside its peers and the machine's limits, in one run."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.commands.arguments import command_parser, guarded
from pipeline.errors import EXIT_DONE, ConfigError
from pipeline.threads import wait_briefly

PARTS = ("read", "cache", "train", "leaks", "surfaces", "evaluate", "predict")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = command_parser("bin/benchmark", "Measure this project beside MONAI, taking turns; ratios carry over.")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=7, help="turns that each takes (default 7); medians are reported")
    arguments = parser.parse_args(argv)

    def body() -> int:
        parts = arguments.only.split(",")
        unknown = sorted(set(parts) - set(PARTS))
        if unknown:
            raise ConfigError(f"unknown part {', '.join(unknown)}", where="--only", remedy=f"Known: {', '.join(PARTS)}")
        if arguments.rounds < 1:
            raise ConfigError(f"got {arguments.rounds}", where="--rounds", remedy="Give 1 or more")
        from importlib import import_module

        if parts == ["predict"]:  # as bin/predict; the others measure torch as it is
            wait_briefly()
        for part in parts:
            print(import_module(f"benchmarks.{part}").run(arguments.rounds), flush=True)
        return EXIT_DONE

    return guarded(body, show_traceback=arguments.traceback)
