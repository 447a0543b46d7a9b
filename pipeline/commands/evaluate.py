"""bin/evaluate: score masks against masks, without a model."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.arguments import command_parser, guarded
from pipeline.errors import EXIT_DONE, ConfigError, RunError, raise_all
from pipeline.training.signals import interrupt_on_signals

if TYPE_CHECKING:  # NumPy and what reads the files come with them: not for --help
    from pipeline.commands.scoring_plan import Plan
    from pipeline.evaluation.aggregation import Evaluation
    from pipeline.evaluation.pairing import Pairs
    from pipeline.evaluation.scoring import Failure, Score

EPILOG = """examples:
  bin/evaluate --predictions runs/hipmri/latest/predictions --labels labelsTs --out scores
  bin/evaluate --predictions P --labels L --out scores --classes background,liver,tumour --tolerance 1
  bin/evaluate --predictions P --labels L --out scores --config configs/hipmri.yaml
  bin/evaluate --predictions P --labels L --out scores --patient '^(p\\d+)_' --scan '_(week\\d+)'

Predictions and labels pair by their names without .nii.gz. In DIR of --out: cases.csv, scans.csv, patients.csv,
summary.json (with the fields of nnU-Net's), provenance.json and, where files could not be scored, failures.csv;
all others are scored then, and the exit code is 2.
"""
_RESULTS = ("cases.csv", "scans.csv", "patients.csv", "summary.json", "provenance.json", "failures.csv")
_WIDTHS = (80, 100)  # columns of the table, at least and at most
_MOST_WORKERS = 8
_SHOWN = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = _parser().parse_args(argv)
    command = ["bin/evaluate", *(sys.argv[1:] if argv is None else argv)]
    return guarded(lambda: _evaluate(arguments, command), show_traceback=arguments.traceback)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("bin/evaluate", "Score a folder of masks against a folder of labels.", EPILOG)
    parser.add_argument("--predictions", type=Path, required=True, metavar="DIR", help="masks to be scored")
    parser.add_argument("--labels", type=Path, required=True, metavar="DIR", help="masks that are right")
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
    return parser


def _evaluate(arguments: argparse.Namespace, command: Sequence[str]) -> int:
    started = time.time()
    workers = min(_MOST_WORKERS, os.cpu_count() or 1) if arguments.workers is None else arguments.workers
    if workers < 1:
        raise ConfigError(f"got {workers}", where="--workers", remedy="Give 1 or more")
    from pipeline.commands.scoring_plan import plan_from
    from pipeline.evaluation.pairing import find_pairs
    from pipeline.evaluation.scoring import Failure, Score, score_pairs
    from pipeline.progress import stage

    plan = plan_from(arguments)
    count_missing = arguments.missing == "count"
    pairs = find_pairs(arguments.predictions, arguments.labels, plan.naming, count_missing=count_missing)
    _prepare_out(arguments.out, replace=arguments.replace)
    _say_unpaired(pairs)
    with interrupt_on_signals(), stage("score", len(pairs.pairs), "cases") as progress:
        results = score_pairs(pairs.pairs, plan.rules, workers, progress.advance)
    failures = [result for result in results if isinstance(result, Failure)]
    scores = [result for result in results if isinstance(result, Score)]
    _write_failures(arguments.out, failures)
    if scores:
        evaluation = _evaluation(scores, plan, pairs)
        _write(arguments.out, evaluation, _provenance(arguments, command, scores, failures, started, plan.seed))
        print(_table(evaluation, plan, arguments, pairs, failures))
    if failures:
        _say(f"{len(failures)} of {len(results)} cases could not be scored; see {arguments.out / 'failures.csv'}")
    raise_all(fault for failure in failures for fault in failure.faults)
    return EXIT_DONE


def _prepare_out(out: Path, *, replace: bool) -> None:
    """Make the folder, and see that it can be written, before anything is computed.

    Raises
    ------
    ConfigError
        When results are there already.
    RunError
        When it cannot be written.
    """
    from pipeline.runs import write_text

    with suppress(OSError):
        out.mkdir(parents=True, exist_ok=True)
    if not out.is_dir():
        raise RunError("the folder cannot be made", where=str(out), remedy="Name another with --out DIR")
    there = [name for name in _RESULTS if (out / name).exists()]
    if there and not replace:
        raise ConfigError(f"results are there already: {', '.join(there)}", where=str(out),
                          remedy="Name a new folder with --out DIR, or replace them with --replace")  # fmt: skip
    probe = out / f".probe-{os.getpid()}"
    write_text(probe, "")
    probe.unlink()


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _say_unpaired(pairs: Pairs) -> None:
    """Tell of predictions that nothing can score, and of labels whose prediction counts as empty."""
    told = {
        "predictions have no label and are not scored": [path.name for path in pairs.unlabelled],
        "labels have no prediction, which counts as empty": [pair.label.name for pair in pairs.missing],
    }
    for what, names in told.items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            _say(f"warning: {len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")


def _evaluation(scores: Sequence[Score], plan: Plan, pairs: Pairs) -> Evaluation:
    from pipeline.evaluation.aggregation import evaluate
    from pipeline.evaluation.scoring import same_classes

    if plan.classes is None:
        values, counts = same_classes(scores)
        classes = tuple(str(value) for value in values)
    else:
        values, counts, classes = list(range(len(plan.classes))), [score.counts for score in scores], plan.classes
    files = {
        pair.identity.case: (None if pair.prediction is None else str(pair.prediction), str(pair.label))
        for pair in pairs.pairs
    }
    evaluation = evaluate(
        counts, classes, seed=plan.seed, resamples=plan.resamples, confidence=plan.confidence, files=files,
        class_ids=values,
    )  # fmt: skip
    evaluation.summary["missing_predictions"] = [pair.identity.case for pair in pairs.missing]
    return evaluation


def _provenance(
    arguments: argparse.Namespace, command: Sequence[str], scores: Sequence[Score], failures: Sequence[Failure],
    started: float, seed: int,
) -> Mapping[str, object]:  # fmt: skip
    from hashlib import blake2b

    from pipeline.runs import provenance

    digest = blake2b(digest_size=16)
    for score in scores:
        digest.update(score.counts.case.encode() + b"\n" + score.digest)
    dataset = {
        "predictions": str(arguments.predictions.resolve()), "labels": str(arguments.labels.resolve()),
        "cases": len(scores), "failed": len(failures), "fingerprint": digest.hexdigest(),
    }  # fmt: skip
    return provenance(command, seed=seed, device="cpu", dataset=dataset, started=started)


def _write(out: Path, evaluation: Evaluation, source: Mapping[str, object]) -> None:
    from pipeline.evaluation import tables
    from pipeline.runs import write_json, write_text

    write_text(out / "cases.csv", tables.cases_csv(evaluation))
    write_text(out / "scans.csv", tables.scans_csv(evaluation))
    write_text(out / "patients.csv", tables.patients_csv(evaluation))
    write_json(out / "provenance.json", source)
    write_text(out / "summary.json", tables.summary_json(evaluation))


def _write_failures(out: Path, failures: Sequence[Failure]) -> None:
    """``failures.csv``: one row a fault; one of an earlier evaluation goes away."""
    from pipeline.evaluation.tables import failures_csv
    from pipeline.runs import write_text

    path = out / "failures.csv"
    if failures:
        write_text(path, failures_csv([(one.pair.identity.case, fault) for one in failures for fault in one.faults]))
    else:
        path.unlink(missing_ok=True)


def _table(
    evaluation: Evaluation, plan: Plan, arguments: argparse.Namespace, pairs: Pairs, failures: Sequence[Failure]
) -> str:
    from pipeline.evaluation.tables import terminal_table

    width = min(max(shutil.get_terminal_size((_WIDTHS[1], 24)).columns, _WIDTHS[0]), _WIDTHS[1])
    lines = [terminal_table(evaluation, title=f"{arguments.predictions} against {arguments.labels}", width=width)]
    summary = evaluation.summary
    if summary["n_patients"] == summary["n_cases"] > 1 and not (plan.naming.patient or plan.naming.hipmri):
        lines.append("Each file counts as a patient of its own; --patient says which belong together.")
    if pairs.missing:
        lines.append(f"{len(pairs.missing)} predictions are missing and count as empty.")
    if failures:
        lines.append(f"Without {len(failures)} cases that could not be scored.")
    return "\n\n".join([lines[0], "\n".join([*lines[1:], f"Results: {arguments.out}"])])
