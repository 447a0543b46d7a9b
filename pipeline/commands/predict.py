"""bin/predict: a folder of images to masks on their own grids, with finished runs."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.arguments import add_voice_arguments, command_parser, guarded, voice_of
from pipeline.errors import EXIT_DONE, ConfigError, Interrupted, raise_all
from pipeline.terminal import tell
from pipeline.training.signals import interrupt_on_signals

if TYPE_CHECKING:  # NumPy and what reads the files come with them: not for --help
    from pipeline.commands.prediction import Outcome
    from pipeline.commands.prediction_job import Job

EPILOG = """examples:
  bin/predict --run runs/hipmri/latest --images scans --out masks
  bin/predict --run runs/hipmri/latest --images scans --out masks --probabilities uint8
  bin/predict --run runs/a/001 --run runs/a/002 --images scans --out masks      # the average of two runs
  bin/predict --run runs/hipmri/latest --images scans --out masks --shard 0/4   # one of four that share the work
  torchrun --nproc-per-node 4 -- bin/predict --run runs/hipmri/latest --images scans --out masks   # all four

Each mask has its image's name, grid and header. In DIR of --out as well: provenance.json and, where files could not be
predicted, failures.csv; all others are predicted then, and the exit code is 2. The same command goes on where it was
stopped; what was predicted from files that have not changed since is not predicted again.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    command = ["bin/predict", *(sys.argv[1:] if argv is None else argv)]
    return guarded(
        lambda: _predict(arguments, command), show_traceback=arguments.traceback, voice=voice_of(arguments)
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("bin/predict", "Predict a folder of NIfTI images with finished runs.", EPILOG)
    parser.add_argument("--run", type=Path, action="append", required=True, metavar="RUN",
                        help="a run's folder; several are averaged")  # fmt: skip
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="what is to be predicted")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the masks go")
    for name, what in (("patient", "the patient"), ("scan", "the scan that 2D slices belong to")):
        parser.add_argument(f"--{name}", metavar="REGEX", help=f"its group finds {what} in a file's name")
    parser.add_argument("--shard", metavar="I/N", help="predict one part of N, such as 0/4; else by RANK and "
                        "WORLD_SIZE where torchrun sets them")  # fmt: skip
    parser.add_argument("--replace", action="store_true", help="replace masks in --out that are not this model's")
    add_model_arguments(parser)
    add_voice_arguments(parser)
    return parser


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say how images are predicted; ``--run`` and ``--images`` are each command's own."""
    group = parser.add_argument_group("prediction with a run")
    group.add_argument("--probabilities", nargs="?", const="float32", choices=("float32", "uint8"),
                       help="keep each class's probability as well, in float32 or as uint8")  # fmt: skip
    group.add_argument("--mirror", action=argparse.BooleanOptionalAction, default=None, help="average mirror images, "
                       "along the axes that training mirrored (default: as the run says)")  # fmt: skip
    group.add_argument("--review", action="store_true", default=None,
                       help="write review.csv: how far each case can be trusted, the least first")  # fmt: skip
    group.add_argument("--axis", metavar="PLANE", help="sagittal, coronal, axial, or 0, 1, 2: how volumes are cut, "
                       "where the run was trained on slices alone")  # fmt: skip
    group.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda or cuda:1")
    group.add_argument("--batch-size", type=int, metavar="N", help="slices at a time (default: the run's)")
    group.add_argument("--threads", type=int, metavar="N", help="of the CPU (default: one a core)")


def _predict(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    started = time.time()
    shard = shard_from(arguments.shard)
    from pipeline.commands.prediction import closing_line, open_job, write_failures, write_reviews

    job = open_job(arguments, arguments.out, shard)
    outcome = run_stoppable(job, command)
    write_failures(arguments.out, [(one.case, fault) for one in outcome.failed for fault in one.faults])
    write_reviews(arguments.out, job, outcome)
    _write_provenance(arguments, command, job, outcome, started)
    tell(closing_line(job, outcome))
    raise_all(fault for one in outcome.failed for fault in one.faults)
    return EXIT_DONE


def run_stoppable(job: Job, command: Sequence[str]) -> Outcome:
    """`pipeline.commands.prediction.run_job`, which a signal ends.

    Raises
    ------
    Interrupted
        At a signal, with what to type to go on.
    """
    from pipeline.commands.prediction import run_job

    try:
        with interrupt_on_signals():
            return run_job(job)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"{str(stop) or 'SIGINT'}; the same command goes on: {shlex.join(command)}") from None


def shard_from(text: str | None) -> tuple[int, int]:
    """(which, of how many) of ``--shard``, else of torchrun's environment, else the whole.

    Raises
    ------
    ConfigError
        When it is no part of anything.
    """
    where, given = "--shard", text
    if text is None:
        rank, size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
        if rank is None or size is None:
            return 0, 1
        where, given = "RANK and WORLD_SIZE in the environment", f"{rank}/{size}"
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", given or "")
    if found is None or int(found[1]) >= int(found[2]):
        raise ConfigError(f"got {given!r}", where=where, remedy="Count from 0: --shard 0/4 to --shard 3/4")
    return int(found[1]), int(found[2])


def _write_provenance(
    arguments: argparse.Namespace, command: Sequence[str], job: Job, outcome: Outcome, started: float
) -> None:
    from pipeline.commands.prediction import model_provenance
    from pipeline.provenance import provenance
    from pipeline.runs import write_json

    dataset = {
        "images": str(arguments.images.resolve()), "cases": len(job.images.cases) + len(job.images.failed),
        "failed": len(outcome.failed), **model_provenance(job),
    }  # fmt: skip
    source = provenance(command, seed=job.model.settings.seed, device=outcome.done.device, dataset=dataset,
                        started=started)  # fmt: skip
    write_json(arguments.out / "provenance.json", source)
