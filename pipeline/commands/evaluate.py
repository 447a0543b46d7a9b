"""bin/evaluate: score masks against masks, without a model; or images, predicted with finished runs."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.commands.arguments import add_voice_arguments, command_parser, guarded, voice_of
from pipeline.commands.predict import add_model_arguments, run_stoppable, shard_from
from pipeline.errors import EXIT_DONE, ConfigError, Fault, Interrupted, raise_all
from pipeline.terminal import tell
from pipeline.training.signals import interrupt_on_signals

EPILOG = """examples:
  bin/evaluate --predictions runs/hipmri/latest/predictions --labels labelsTs --out scores
  bin/evaluate --predictions P --labels L --out scores --classes background,liver,tumour --tolerance 1
  bin/evaluate --predictions P --labels L --out scores --config configs/hipmri.yaml
  bin/evaluate --predictions P --labels L --out scores --patient '^(p\\d+)_' --scan '_(week\\d+)'
  bin/evaluate --run runs/hipmri/latest --images imagesTs --labels labelsTs --out scores

Predictions and labels pair by their names without .nii.gz. In DIR of --out: cases.csv, scans.csv, patients.csv,
summary.json (with the fields of nnU-Net's), provenance.json and, where files could not be scored, failures.csv;
all others are scored then, and the exit code is 2. With --run, the masks are in DIR/predictions, and the same command
goes on where it was stopped.
"""
_MOST_WORKERS = 8
_MASKS = "--predictions"
# What only one of the two modes understands.
_OF_MASKS = ("classes", "config", "dataset_json", "prediction_map")
_OF_RUNS = ("probabilities", "mirror", "review", "axis", "device", "batch_size", "threads")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    command = ["bin/evaluate", *(sys.argv[1:] if argv is None else argv)]
    return guarded(
        lambda: _evaluate(arguments, command), show_traceback=arguments.traceback, voice=voice_of(arguments)
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    what = "Score a folder of masks, or of images that finished runs predict, against a folder of labels."
    parser = command_parser("bin/evaluate", what, EPILOG)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--predictions", type=Path, metavar="DIR", help="masks to be scored")
    source.add_argument("--run", type=Path, action="append", metavar="RUN",
                        help="a run's folder, to predict --images with; several are averaged")  # fmt: skip
    parser.add_argument("--images", type=Path, metavar="DIR", help="what is to be predicted")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="masks that are right; with --run, may be left out")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    names = parser.add_mutually_exclusive_group()
    names.add_argument("--classes", metavar="A,B,C", help="names of the values 0, 1, 2 ...; else the values found")
    names.add_argument("--config", type=Path, metavar="YAML", help="take classes, expressions and settings from it")
    names.add_argument("--dataset-json", type=Path, metavar="FILE", help="take the classes from nnU-Net's dataset.json")
    parser.add_argument("--label-map", metavar="4=3,5=0", help="values of the labels to be renamed")
    parser.add_argument("--prediction-map", metavar="4=3,5=0", help="values of the predictions to be renamed")
    parser.add_argument("--tolerance", type=float, metavar="MM", help="of surface Dice (default 2, or the config's)")
    parser.add_argument(
        "--ignore-affine", action="store_true", help="affines mean nothing: do not compare them, count in pixels"
    )
    for name, what in (("case", "what a prediction and its label share"), ("patient", "the patient"),
                       ("scan", "the scan that 2D slices belong to")):  # fmt: skip
        parser.add_argument(f"--{name}", metavar="REGEX", help=f"its group finds {what} in a file's name")
    parser.add_argument("--missing", choices=("error", "count"), default="error",
                        help="a label without a prediction: refuse, or count as predicted empty")  # fmt: skip
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a CPU, at most 8)")
    parser.add_argument("--replace", action="store_true", help="replace the results that are in --out")
    add_model_arguments(parser)
    add_voice_arguments(parser)
    return parser


def _evaluate(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    """Either mode; what is wrong with the arguments is told before anything is read."""
    raise_all(_argument_faults(arguments))
    return _of_run(arguments, command) if arguments.run else _of_masks(arguments, command)


def _argument_faults(arguments: argparse.Namespace) -> Iterator[ConfigError]:
    """What does not go together: the arguments of one mode, and those of the other."""
    workers = arguments.workers
    if workers is not None and workers < 1:
        yield ConfigError(f"got {workers}", where="--workers", remedy="Give 1 or more")
    if arguments.run:
        needed, others = ["images"], ["predictions", *_OF_MASKS]
    else:
        needed, others = ["labels"], ["images", *_OF_RUNS]
    yield from (
        ConfigError("missing", where=f"--{name}", remedy="It goes with " + ("--run" if arguments.run else _MASKS))
        for name in needed if getattr(arguments, name) is None
    )  # fmt: skip
    for name in others:
        if getattr(arguments, name) not in (None, "auto"):
            why = "has no meaning with --run" if arguments.run else "needs --run"
            yield ConfigError(why, where=f"--{name.replace('_', '-')}", remedy="Leave it out")


def _workers(arguments: argparse.Namespace) -> int:
    return min(_MOST_WORKERS, os.cpu_count() or 1) if arguments.workers is None else int(arguments.workers)


def _of_masks(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    """Masks that are there already."""
    started = time.time()
    from pipeline.commands.scoring import Scoring, clear_results, prepare_results, say_unpaired, score_and_write
    from pipeline.commands.scoring_plan import plan_from, without_spacing
    from pipeline.evaluation.pairing import find_pairs

    plan = plan_from(arguments)
    count_missing = arguments.missing == "count"
    pairs = find_pairs(arguments.predictions, arguments.labels, plan.naming, count_missing=count_missing)
    prepare_results(arguments.out, replace=arguments.replace)
    if arguments.replace:
        clear_results(arguments.out)
    say_unpaired(pairs)
    if arguments.config is None:  # a config says whether the spacing is known
        plan = without_spacing(plan, pairs)
    job = Scoring(arguments.predictions, arguments.labels, arguments.out, plan, pairs, command, started,
                  _workers(arguments))  # fmt: skip
    faults = _stoppable(lambda: score_and_write(job), command)
    raise_all(faults)
    return EXIT_DONE


def _of_run(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    """Images that are predicted first, and scored where there are labels."""
    started = time.time()
    if shard_from(None) != (0, 1):
        raise ConfigError(
            "several processes: each would score the same masks", where="WORLD_SIZE in the environment",
            remedy="Share the prediction with bin/predict --out OUT/predictions, then run this once",
        )  # fmt: skip
    from pipeline.commands.image_pairs import pairs_of_images, plan_of_run
    from pipeline.commands.prediction import (
        closing_line,
        model_provenance,
        open_job,
        reviews_by_mask,
        write_failures,
        write_reviews,
    )  # fmt: skip
    from pipeline.commands.scoring import Scoring, clear_results, prepare_results, say_unpaired, score_and_write

    masks = arguments.out / "predictions"
    if arguments.labels is not None:
        prepare_results(arguments.out, replace=arguments.replace)
    job = open_job(arguments, masks)
    plan = plan_of_run(arguments, job)
    if arguments.labels is not None:  # whether they pair is told before the images are predicted
        pairs_of_images(job, arguments.labels, plan.naming, (), count_missing=arguments.missing == "count")
    if arguments.replace:  # they speak of masks that may be replaced
        clear_results(arguments.out)
    outcome = run_stoppable(job, command)
    tell(closing_line(job, outcome))
    write_reviews(arguments.out, job, outcome)
    failed = [(one.case, fault) for one in outcome.failed for fault in one.faults]
    if arguments.labels is None:
        write_failures(arguments.out, failed)
        raise_all(fault for _, fault in failed)
        return EXIT_DONE
    lost = [one.case for one in outcome.failed]
    pairs = pairs_of_images(job, arguments.labels, plan.naming, lost, count_missing=arguments.missing == "count")
    say_unpaired(pairs)
    scoring = Scoring(masks, arguments.labels, arguments.out, plan, pairs, command, started, _workers(arguments),
                      outcome.done.device, {"images": str(arguments.images.resolve()), **model_provenance(job)},
                      failed, reviews_by_mask(job, outcome))  # fmt: skip
    faults = _stoppable(lambda: score_and_write(scoring), command)
    raise_all(faults)
    return EXIT_DONE


def _stoppable(score: Callable[[], list[Fault]], command: Sequence[str]) -> list[Fault]:
    """Score, until a signal says otherwise; then with what to type to start again."""
    try:
        with interrupt_on_signals():
            return score()
    except KeyboardInterrupt as stop:
        raise Interrupted(f"{str(stop) or 'SIGINT'}; the same command scores again: {shlex.join(command)}") from None
