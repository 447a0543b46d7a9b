"""What bin/predict and bin/evaluate share: a folder of images predicted with finished runs, each case once."""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.commands.prediction_job import Done, Job
from pipeline.config.prediction import checked_mirror, mirror_axes
from pipeline.config.schema import PLANES
from pipeline.data.caching.digests import digest_of
from pipeline.data.cases import Case, listing
from pipeline.errors import ConfigError, DataError, Fault, RunError, raise_all
from pipeline.inference.folder import Failed, find_images, shard_of
from pipeline.inference.ledger import Ledger, Sources, sources_of, writable
from pipeline.inference.trained import Model, find_model
from pipeline.inference.writing import Form, mask_path, probabilities_path
from pipeline.runs import write_text
from pipeline.terminal import tell
from pipeline.threads import wait_briefly
from pipeline.training.signals import hold_signals

__all__ = [
    "Done",
    "Job",
    "Outcome",
    "closing_line",
    "model_provenance",
    "open_job",
    "reviews_by_mask",
    "run_job",
    "write_failures",
    "write_reviews",
]

_LEAST_FREE_BYTES = 100_000_000
_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes
    ----------
    failed
        All cases of the folder that this model could not predict, of all processes that share it.
    skipped
        Cases of this process's that had been predicted before.
    done
        By this process, this time.
    reviews
        Rows of review.csv, of all processes that share the folder.
    """

    failed: tuple[Failed, ...]
    skipped: int
    done: Done
    reviews: tuple[Mapping[str, Any], ...] = ()


def open_job(arguments: argparse.Namespace, masks: Path, shard: tuple[int, int] = (0, 1)) -> Job:
    """Everything that can be said of a job before the network is loaded; quick, and nothing heavy is imported.

    Parameters
    ----------
    arguments
        ``run``, ``images``, ``patient``, ``scan``, ``replace``, and those that `pipeline.commands.predict` adds.
    masks
        The folder of the masks, which is made.
    shard
        Which part of the images is to be predicted.

    Raises
    ------
    Fault, Faults
        What is wrong with the arguments, the runs, the folder of the images or that of the masks.
    """
    raise_all(_argument_faults(arguments))
    model = find_model(arguments.run)
    axis = _axis(arguments.axis)
    if axis is not None and model.facts.axis not in (None, axis):
        raise ConfigError(
            f"the run's volumes were cut along axis {model.facts.axis} ({PLANES[model.facts.axis or 0]} in RAS)",
            where=f"--axis {arguments.axis}", remedy="Leave it out: new volumes are cut as those were",
        )  # fmt: skip
    mirror = _mirrored(model, arguments.mirror)
    images = find_images(arguments.images, model, arguments.patient, arguments.scan)
    if masks.resolve() == arguments.images.resolve():
        raise ConfigError("the masks would replace the images: it is the folder of --images", where=str(masks),
                          remedy="Name another folder with --out DIR")  # fmt: skip
    prepare_folder(masks)
    form: Form | None = arguments.probabilities
    if form is not None:
        prepare_folder(masks / "probabilities")
    digest = digest_of([model.digest(), mirror, axis, form])
    return Job(model, digest, images, masks, shard, form, mirror, axis, arguments.device,
               arguments.batch_size, arguments.threads, arguments.replace, bool(arguments.review))  # fmt: skip


def _mirrored(model: Model, asked: bool | None) -> tuple[int, ...]:
    """The axes of ``--mirror``; those that the run itself mirrors where it was not given."""
    if asked is False:
        return ()
    trained = [member.settings.model_copy(update={"inference": member.settings.inference.model_copy(
        update={"mirror": "trained"} if asked else {})}) for member in model.members]  # fmt: skip
    axes = mirror_axes(trained[0])
    if asked and not axes:
        raise ConfigError("training made no mirror images, and a network that never saw one can fail on it",
                          where="--mirror", remedy="Leave it out, or train with RandFlipBatchd")  # fmt: skip
    for member in model.members:
        checked_mirror(member.settings, axes, f"--mirror, for {member.folder}")
    return axes


def _argument_faults(arguments: argparse.Namespace) -> Iterator[ConfigError]:
    for option in ("batch_size", "threads"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            yield ConfigError(f"got {value}", where=f"--{option.replace('_', '-')}", remedy="Give 1 or more")
    if not _DEVICE.fullmatch(arguments.device):
        yield ConfigError(f"got {arguments.device!r}, expected auto, cpu, cuda, or one GPU such as cuda:1",
                          where="--device")  # fmt: skip
    if arguments.axis is not None and _axis(arguments.axis) is None:
        yield ConfigError(f"got {arguments.axis!r}, expected 0, 1, 2 or one of {', '.join(PLANES)}", where="--axis")


def _axis(text: str | None) -> int | None:
    known = {**{name: number for number, name in enumerate(PLANES)}, **{str(number): number for number in range(3)}}
    return known.get(text or "")


def prepare_folder(folder: Path) -> None:
    """Make a folder, and see that it can be written and has room, before anything is computed.

    Raises
    ------
    RunError
        When it cannot be made or written, or its disk is nearly full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder cannot be made ({error.strerror})", where=str(folder),
                       remedy="Name another with --out DIR") from error  # fmt: skip
    probe = folder / f".probe-{os.getpid()}"
    write_text(probe, "")
    probe.unlink()
    free = shutil.disk_usage(folder).free
    if free < _LEAST_FREE_BYTES:
        raise RunError(f"only {free // 1_000_000} MB are free there", where=str(folder),
                       remedy="Free some space, or name another folder with --out DIR")  # fmt: skip


def run_job(job: Job) -> Outcome:
    """Predict what is left to be predicted; may be stopped at any time, and called again.

    Raises
    ------
    Fault
        What stops all cases: a folder that cannot be written any more, a network that cannot be loaded, masks in the
        folder that are not this model's.
    KeyboardInterrupt
        At a signal; what was predicted until then is kept, and known.
    """
    if job.review and job.model.without_ranges:
        tell(_without_ranges(job))
    index, count = job.shard
    ledger = Ledger(job.masks, f"{index}-of-{count}")
    try:
        own = shard_of(job.images.cases, index, count)
        sources = {case.id: sources_of(case) for case in own}
        todo = [case for case in own if not _is_there(job, ledger, case, sources[case.id])]
        if not job.replace:
            _check_foreign(job, ledger, todo)
        done = Done()
        if todo:
            wait_briefly()
            with hold_signals():  # a library that is interrupted while it is imported may abort the process
                from pipeline.commands.predicting import predict_cases
            done = predict_cases(job, ledger, todo, sources)
        ledger.refresh()
        names = [case.id for case in job.images.cases]
        failed = (*job.images.failed, *ledger.failures(names, job.digest))
        reviews = ledger.reviews(names, job.digest, job.review_mark) if job.review else []
    finally:
        ledger.close()
    return Outcome(failed, len(own) - len(todo), done, tuple(reviews))


def _without_ranges(job: Job) -> str:
    folders = ", ".join(map(str, job.model.without_ranges))
    return (f"warning: the range of the training labels is not known ({folders}: model.json is of an earlier format): "
            "the trust is without it. Train again to have it.")  # fmt: skip


def _is_there(job: Job, ledger: Ledger, case: Case, sources: Sources | None) -> bool:
    files = [mask_path(job.masks, case)] + ([probabilities_path(job.masks, case)] if job.form else [])
    if not all(path.is_file() for path in files) or not ledger.is_finished(case, job.digest, sources):
        return False
    record = ledger.records[case.id]
    return not job.review or (bool(record.review) and record.review_mark == job.review_mark)


def _check_foreign(job: Job, ledger: Ledger, cases: Sequence[Case]) -> None:
    """Refuse to write over masks that another model, or nobody that is known, has made."""
    there = [case.id for case in cases if mask_path(job.masks, case).exists()]
    strange = [name for name in there if name not in ledger.records]
    others = [name for name in there if name in ledger.records and ledger.records[name].model != job.digest]
    for names, whose in ((strange, "that no record of this program names"), (others, "of another model, or of other "
                                                                             "options")):  # fmt: skip
        if names:
            raise DataError(f"{len(names)} masks are there already {whose}: {listing(names[:20])}",
                            where=str(job.masks), remedy="Name a new folder with --out DIR, or replace them with "
                            "--replace")  # fmt: skip


def closing_line(job: Job, outcome: Outcome) -> str:
    """How it went, in a line."""
    done = outcome.done
    words = [f"predicted {done.cases} cases"]
    if done.cases:
        rate = done.slices / max(1e-9, done.seconds)
        words[0] += f" ({done.slices} slices) in {done.seconds:.1f} s, {rate:.0f} slices/s, on {done.device}"
    if outcome.skipped:
        words.append(f"{outcome.skipped} had been predicted before")
    if outcome.failed:
        words.append(f"{len(outcome.failed)} could not be predicted")
    return f"{'; '.join(words)} -> {job.masks}"


def write_failures(folder: Path, failures: Sequence[tuple[str, Fault]]) -> None:
    """``failures.csv``: one row a fault, with the case; one of an earlier time goes away."""
    from pipeline.evaluation.tables import failures_csv

    path = folder / "failures.csv"
    if failures:
        write_text(path, writable(failures_csv(failures)))
    else:
        path.unlink(missing_ok=True)


def write_reviews(folder: Path, job: Job, outcome: Outcome) -> None:
    """``review.csv``: a row a case, the least trusted first; one of an earlier time, of other masks, goes away."""
    path, rows = folder / "review.csv", outcome.reviews
    if not rows:
        if job.review or outcome.done.cases:
            path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: (row["trust"], row["case"])))
    write_text(path, text.getvalue())


def reviews_by_mask(job: Job, outcome: Outcome) -> dict[Path, Mapping[str, Any]]:
    """The rows of review.csv, by the file of the mask that they speak of."""
    masks = {case.id: mask_path(job.masks, case) for case in job.images.cases}
    return {masks[row["case"]]: row for row in outcome.reviews}


def model_provenance(job: Job) -> dict[str, object]:
    """What predicted, for ``provenance.json``."""
    return {"runs": [str(member.folder) for member in job.model.members], "model": job.digest,
            "mirror": list(job.mirror)}  # fmt: skip
