"""Pairs of masks to tables: what bin/evaluate ends in, whoever made the predictions."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.commands.prediction import prepare_folder, write_failures
from pipeline.commands.scoring_plan import Plan
from pipeline.errors import ConfigError, Fault, RunError
from pipeline.evaluation import tables
from pipeline.evaluation.aggregation import Evaluation, evaluate
from pipeline.evaluation.pairing import Pairs
from pipeline.evaluation.ranking import rank_correlations, ranking_lines
from pipeline.evaluation.scoring import Failure, Score, same_classes, score_pairs
from pipeline.progress import stage
from pipeline.provenance import provenance
from pipeline.runs import write_json, write_text
from pipeline.terminal import painter, result, tell

__all__ = ["Scoring", "clear_results", "prepare_results", "say_unpaired", "score_and_write"]

_RESULTS = ("cases.csv", "scans.csv", "patients.csv", "summary.json", "provenance.json", "failures.csv")
_WIDTHS = (80, 100)  # columns of the table, at least and at most
_SHOWN = 20


@dataclass(frozen=True)
class Scoring:
    """What is scored, and where the results go.

    Attributes
    ----------
    predictions, labels, out
        Folders.
    plan
        How.
    pairs
        Of predictions and labels.
    command
        As it was typed.
    started
        `time.time` at its start.
    workers
        The most processes.
    device
        That the predictions were made on, in words.
    source
        What is to be known of the predictions, for provenance.json.
    failed
        (case, fault) of those that could not be predicted.
    reviews
        Rows of review.csv, by the prediction's file; none where no review was asked for.
    """

    predictions: Path
    labels: Path
    out: Path
    plan: Plan
    pairs: Pairs
    command: Sequence[str]
    started: float
    workers: int
    device: str = "cpu"
    source: Mapping[str, object] = field(default_factory=dict)
    failed: Sequence[tuple[str, Fault]] = ()
    reviews: Mapping[Path, Mapping[str, Any]] = field(default_factory=dict)


def prepare_results(out: Path, *, replace: bool) -> None:
    """Make the folder of the results, and see that it can be written, before anything is computed.

    Raises
    ------
    ConfigError
        When results are there already.
    RunError
        When it cannot be written.
    """
    there = [name for name in _RESULTS if (out / name).exists()]
    if there and not replace:
        raise ConfigError(f"results are there already: {', '.join(there)}", where=str(out),
                          remedy="Name a new folder with --out DIR, or replace them with --replace")  # fmt: skip
    prepare_folder(out)


def clear_results(out: Path) -> None:
    """Remove the results that are to be replaced: where every case fails now, none of them would be written anew.

    Raises
    ------
    RunError
        When one cannot be removed.
    """
    for path in (out / name for name in ("review.csv", *reversed(_RESULTS))):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(f"cannot be removed: {error.strerror or error}", where=str(path),
                           remedy="Remove it, or name a new folder with --out DIR") from error  # fmt: skip


def say_unpaired(pairs: Pairs) -> None:
    """Tell of predictions that nothing can score, and of labels whose prediction counts as empty."""
    told = {
        "predictions have no label and are not scored": [path.name for path in pairs.unlabelled],
        "labels have no prediction, which counts as empty": [pair.label.name for pair in pairs.missing],
    }
    for what, names in told.items():
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            tell(f"warning: {len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")


def score_and_write(job: Scoring) -> list[Fault]:
    """Score every pair, write the tables, show the result; gives what could not be predicted or scored."""
    with stage("score", len(job.pairs.pairs), "cases") as progress:
        results = score_pairs(job.pairs.pairs, job.plan.rules, job.workers, progress.advance)
    failures = [result for result in results if isinstance(result, Failure)]
    scores = [result for result in results if isinstance(result, Score)]
    told = [*job.failed, *((one.pair.identity.case, fault) for one in failures for fault in one.faults)]
    write_failures(job.out, told)
    if scores:
        evaluation = _evaluation(scores, job.plan, job.pairs)
        if job.reviews:
            evaluation.summary["review"] = _ranking(job, evaluation)
        _write(job.out, evaluation, _provenance(job, scores, failures))
        result(_table(evaluation, job, failures))
    if failures:
        line = f"{len(failures)} of {len(results)} cases could not be scored; see {job.out / 'failures.csv'}"
        tell(f"warning: {line}")
    return [fault for _, fault in told]


def _evaluation(scores: Sequence[Score], plan: Plan, pairs: Pairs) -> Evaluation:
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


def _ranking(job: Scoring, evaluation: Evaluation) -> dict[str, Any]:
    """How well the review ranks the cases that it was made of."""
    predicted = {pair.prediction: pair.identity.case for pair in job.pairs.pairs if pair.prediction is not None}
    reviews = {predicted[path]: row for path, row in job.reviews.items() if path in predicted}
    plan = job.plan
    return rank_correlations(reviews, evaluation, seed=plan.seed, resamples=plan.resamples, confidence=plan.confidence)


def _provenance(job: Scoring, scores: Sequence[Score], failures: Sequence[Failure]) -> Mapping[str, object]:
    digest = hashlib.blake2b(digest_size=16)
    for score in scores:
        digest.update(score.counts.case.encode() + b"\n" + score.digest)
    dataset = {
        "predictions": str(job.predictions.resolve()), "labels": str(job.labels.resolve()), **job.source,
        "cases": len(scores), "failed": len(failures) + len({case for case, _ in job.failed}),
        "fingerprint": digest.hexdigest(),
    }  # fmt: skip
    return provenance(job.command, seed=job.plan.seed, device=job.device, dataset=dataset, started=job.started)


def _write(out: Path, evaluation: Evaluation, source: Mapping[str, object]) -> None:
    write_text(out / "cases.csv", tables.cases_csv(evaluation))
    write_text(out / "scans.csv", tables.scans_csv(evaluation))
    write_text(out / "patients.csv", tables.patients_csv(evaluation))
    write_json(out / "provenance.json", source)
    write_text(out / "summary.json", tables.summary_json(evaluation))


def _table(evaluation: Evaluation, job: Scoring, failures: Sequence[Failure]) -> str:
    width = min(max(shutil.get_terminal_size((_WIDTHS[1], 24)).columns, _WIDTHS[0]), _WIDTHS[1])
    title = f"{job.predictions} against {job.labels}"
    lines = [tables.terminal_table(evaluation, title=title, width=width, paint=painter(sys.stdout))]
    summary, naming = evaluation.summary, job.plan.naming
    if "review" in summary:
        lines[0] += "\n\n" + "\n".join(ranking_lines(summary["review"], job.plan.confidence))
    if summary["n_patients"] == summary["n_cases"] > 1 and not (naming.patient or naming.hipmri):
        lines.append("Each file counts as a patient of its own; --patient says which belong together.")
    if job.pairs.missing:
        lines.append(f"{len(job.pairs.missing)} predictions are missing and count as empty.")
    if job.failed:
        lines.append(f"Without {len({case for case, _ in job.failed})} cases that could not be predicted.")
    if failures:
        lines.append(f"Without {len(failures)} cases that could not be scored.")
    return "\n\n".join([lines[0], "\n".join([*lines[1:], f"Results: {job.out}"])])
