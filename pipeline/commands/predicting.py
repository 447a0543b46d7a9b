"""The heavy part of predicting a folder: the networks, the cases that go through them, the masks that are written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.commands.prediction_job import Done, Job
from pipeline.data.cases import Case
from pipeline.errors import ConfigError, DataError, Fault, ImageFileError, RunError
from pipeline.inference.batch import apart, predict_each
from pipeline.inference.finishing import Prediction
from pipeline.inference.folder import Failed
from pipeline.inference.label_ranges import kind_of
from pipeline.inference.ledger import Ledger, Record, Sources, failure_record, with_digests
from pipeline.inference.review import review_rows
from pipeline.inference.scans import ScanPredictor
from pipeline.inference.trained import Member, Model
from pipeline.inference.writing import BackgroundWriter, write_prediction
from pipeline.networks.build import build_network
from pipeline.networks.fold import folded
from pipeline.progress import Progress, stage
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.device import choose_device, describe, tune_cpu
from transforms.chain import PrepareChain

__all__ = ["load_networks", "predict_cases"]


def load_networks(model: Model, device: torch.device) -> list[nn.Module]:
    """The trained networks of a model on a device, in evaluation mode, with batch normalisation folded in.

    Raises
    ------
    Fault
        When a checkpoint cannot be read, or is not of the network that its config describes.
    """
    return [_network(member, device) for member in model.members]


def _network(member: Member, device: torch.device) -> nn.Module:
    settings = member.settings
    channels = member.facts.channels * (2 * settings.data.context + 1)
    network = build_network(settings.network, channels, len(settings.data.classes))
    try:
        network.load_state_dict(load_checkpoint(member.checkpoint)["network"])
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(f"the weights are not of the network in config.yaml ({first:.200})",
                       where=str(member.checkpoint), remedy="Copy the run whole") from error  # fmt: skip
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return folded(network.eval(), channels)


def predict_cases(job: Job, ledger: Ledger, cases: Sequence[Case], sources: Mapping[str, Sources | None]) -> Done:
    """Predict cases and write their masks.

    Parameters
    ----------
    job
        How.
    ledger
        Is told of every case as its mask is written, or as it fails.
    cases
        To predict.
    sources
        Their files as they were before, by case id.
    """
    device = _device(job.device)
    tune_cpu(job.threads)
    with stage("predict", len(cases), "cases") as progress:
        predictor = _predictor(job, device, progress.write)
        began = time.monotonic()
        if predictor.context == 0:
            cases = apart(cases)
        tally = _Tally(job, ledger, progress)
        writer = BackgroundWriter(_write_job(job, sources), tally)
        try:
            for outcome in predict_each(predictor, cases):
                if isinstance(outcome, Failed):
                    tally(outcome)
                else:
                    writer(outcome)
        finally:
            writer.close()
    return Done(tally.cases, tally.slices, time.monotonic() - began, describe(device))


def _device(name: str) -> torch.device:
    """The device; of several GPUs, that of this process where several share the work."""
    local = os.environ.get("LOCAL_RANK", "")
    if name == "auto" and local.isdecimal() and torch.cuda.device_count() > 1:
        return torch.device(f"cuda:{int(local) % torch.cuda.device_count()}")
    try:
        return choose_device(name)
    except ConfigError as fault:
        raise ConfigError(fault.what, where="--device", remedy="Use --device auto") from fault


def _predictor(job: Job, device: torch.device, tell: Callable[[str], None]) -> ScanPredictor:
    settings = job.model.settings
    views = job.model.first.views
    if job.axis is not None and len(views) == 1 and views[0].axis is None:
        views = (replace(views[0], axis=job.axis),)
    chains = [PrepareChain(settings.transforms.prepare, options, keys=("image",)) for options in views]
    window = settings.inference
    if job.batch_size is not None:
        window = window.model_copy(update={"batch_size": job.batch_size})
    return ScanPredictor(
        load_networks(job.model, device), chains, device, settings.data.context, window, tell, mirror=job.mirror,
        rules=job.model.rules, keep_probabilities=job.form is not None, review=job.review,
    )  # fmt: skip


@dataclass(frozen=True)
class _Written:
    """A case whose mask is there."""

    case: Case
    slices: int
    sources: Sources
    review: Mapping[str, Any]


def _write_job(job: Job, sources: Mapping[str, Sources | None]) -> Callable[[Prediction], _Written | Failed]:
    """What is done with each prediction, in a thread of the writer."""

    def write(prediction: Prediction) -> _Written | Failed:
        case = prediction.case
        fault = _unfit(job, prediction)
        if fault is not None:
            return Failed(case.id, (fault,))
        try:
            write_prediction(prediction, job.masks, job.form)
        except ImageFileError as gone:
            return Failed(case.id, (gone,))
        slices = prediction.mask.shape[prediction.axis] if prediction.axis >= 0 else 1
        return _Written(case, slices, with_digests(case, sources[case.id]), _review_row(job, prediction))

    return write


def _review_row(job: Job, prediction: Prediction) -> Mapping[str, Any]:
    if prediction.review is None:
        return {}
    review, model = prediction.review, job.model
    if not model.facts.knows_spacing:  # the ranges are counted in voxels, too
        review = replace(review, volume=np.array([sizes.sum() for sizes in review.component_sizes]))
    ranges = (model.ranges or {}).get(kind_of(prediction.mask.ndim))
    return review_rows([(prediction.case.id, review)], model.settings.data.classes, ranges)[0]


def _unfit(job: Job, prediction: Prediction) -> Fault | None:
    """Why a prediction is not to be believed, although it could be made."""
    case, volume = prediction.case, prediction.axis >= 0
    if volume and not job.model.facts.volumes and job.axis is None:
        return DataError(
            "is a volume, and the run was trained on 2D slices: nothing says how to cut it", where=str(case.image),
            remedy="Name the plane of those slices, such as --axis coronal",
        )  # fmt: skip
    if not volume and job.model.settings.data.context and case.id in job.images.lone:
        return DataError("is a 2D slice, and the run looks at its neighbours, which its name does not tell",
                         where=str(case.image), remedy="Say with --scan what of a name is the scan: --scan "
                         "'^(.+)_slice_'")  # fmt: skip
    return None


class _Tally:
    """Counts what is done, and notes it in the ledger; in one thread."""

    def __init__(self, job: Job, ledger: Ledger, progress: Progress) -> None:
        self.job, self.ledger, self.progress = job, ledger, progress
        self.cases = self.slices = 0

    def __call__(self, outcome: _Written | Failed) -> None:
        if isinstance(outcome, Failed):
            self.ledger.note(failure_record(outcome, self.job.digest))
        else:
            mark = self.job.review_mark if outcome.review else ""
            record = Record(outcome.case.id, self.job.digest, outcome.sources, (), outcome.review, mark)
            self.ledger.note(record)
            self.cases, self.slices = self.cases + 1, self.slices + outcome.slices
        self.progress.advance()
