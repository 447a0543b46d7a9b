"""One network, trained and tested: a whole run or one fold of it; and the folds of a run, one after the other."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.commands.choosing import post_processing
from pipeline.commands.intake import Intake
from pipeline.commands.stages import check_test_crop, keep_to_data, network_for, predict_and_count, prepare, train
from pipeline.config.prediction import postprocess_rules, rules_by_index
from pipeline.config.resolved import resolved_text
from pipeline.config.schema import PostprocessRule, Settings
from pipeline.data.caching.slices import Slices
from pipeline.data.cases import Case
from pipeline.evaluation import aggregation, tables
from pipeline.evaluation.confusion import CaseCounts, SliceCounts
from pipeline.evaluation.distances import DISTANCES, CaseDistances
from pipeline.inference.choosing import Choices, rules_of
from pipeline.inference.model_file import read_choices, write_model_file
from pipeline.inference.writing import mask_path
from pipeline.reporting.tracking.figures import final_figures
from pipeline.reporting.tracking.trackers import NO_TRACKERS, Trackers
from pipeline.runs import RunLog, create_fold_folder, write_text
from pipeline.training.checkpoint import DamagedCheckpoint, load_checkpoint, save_checkpoint
from pipeline.training.parallel import ALONE, Ranks
from pipeline.training.saving import Checkpoints
from pipeline.training.state import TrainingState

_COUNTS = "counts.pt"


@dataclass(frozen=True, eq=False)
class Trained:
    """What became of one network.

    Attributes
    ----------
    intake
        What it was trained and tested on.
    state
        How its training ended.
    counts
        One a test case.
    choices
        The post-processing that was chosen on its validation cases; None where none was to be.
    before
        Whether all of that was done in a session before this one.
    """

    intake: Intake
    state: TrainingState
    counts: Sequence[CaseCounts]
    choices: Choices | None = None
    before: bool = False


def train_and_test(
    intake: Intake, folder: Path, predictions: Path, device: torch.device, log: RunLog, *, resume: bool, name: str = "",
    ranks: Ranks = ALONE, trackers: Trackers = NO_TRACKERS,
) -> Trained:  # fmt: skip
    """Prepare, train, predict the test cases and count them.

    Parameters
    ----------
    intake
        Of the whole run, or of one fold.
    folder, predictions
        Of the run or of the fold, where ``checkpoints/`` exists; of the masks.
    device, log
        To train and predict on; of the run or of the fold.
    resume
        Whether to go on from what is in the folder: a network that was tested is not trained again.
    name
        Of the fold, where its progress is shown.
    ranks
        The processes that do it together; the first one writes.
    trackers
        Are told of the training, and not of the test.

    Raises
    ------
    Interrupted
        When a signal asked for it; what is needed to go on has been saved.
    """
    done = _before(intake, folder, log, ranks, resume=resume)
    if done is not None:
        return done
    of_fold = f", {name}" if name else ""
    network = network_for(intake.dataset, device)  # before the cache is filled: it may refuse its parameters
    if ranks.is_first:
        check_test_crop(intake)
    banks = _banks(intake, of_fold, log, ranks)
    state = train(
        intake, network, banks, folder, device, log, resume=resume, name=f"train{of_fold}", ranks=ranks,
        trackers=trackers,
    )  # fmt: skip
    chosen = ranks.from_first(
        lambda: post_processing(intake, network, device, folder, log.say, name=f"choose{of_fold}", resume=resume)
    )
    if ranks.is_first:
        _write_model(intake, folder, chosen)
    rules = _rules(intake.settings, chosen)
    counts = predict_and_count(intake, network, device, predictions, log.say, f"predict{of_fold}", rules, ranks)
    if ranks.is_first:
        save_checkpoint(folder / "checkpoints" / _COUNTS, {"counts": [_plain(one) for one in counts]})
    return Trained(intake, state, counts, chosen)


def _write_model(intake: Intake, folder: Path, chosen: Choices | None) -> None:
    """What `bin/predict` needs to know beside the weights."""
    dataset = intake.dataset
    write_model_file(folder, dataset.config, dataset.cases, intake.facts, intake.split.train, chosen)


def _before(intake: Intake, folder: Path, log: RunLog, ranks: Ranks, *, resume: bool) -> Trained | None:
    """What was trained and tested before, in a run that goes on; else the folder is ready for it."""
    if ranks.is_first:
        keep_to_data(folder, intake, resume=resume)
    done = ranks.from_first(lambda: _tested(intake, folder, log.say) if resume else None)
    if done is not None:
        log.say("was trained and tested before")
    elif ranks.is_first:
        (folder / "checkpoints" / _COUNTS).unlink(missing_ok=True)  # never older than the training that goes on
    return done


def _banks(intake: Intake, of_fold: str, log: RunLog, ranks: Ranks) -> dict[str, Slices]:
    """The prepared slices that train and that choose the checkpoint."""
    sides = intake.split.sides()
    banks = {side: prepare(intake, f"{side}{of_fold}", sides[side], log.say, ranks) for side in ("train", "validation")}
    log(f"prepared {sum(len(bank) for bank in banks.values())} slices, {sum(b.bytes() for b in banks.values())} bytes")
    return banks


def _rules(settings: Settings, chosen: Choices | None) -> dict[int, PostprocessRule]:
    """Post-processing by class index: as it was chosen, where it was, else as the config has it."""
    if chosen is None:
        return postprocess_rules(settings)
    return rules_by_index(rules_of(chosen), settings.data.classes)


def train_folds(
    intake: Intake, folder: Path, device: torch.device, log: RunLog, *, resume: bool, ranks: Ranks = ALONE,
    trackers: Trackers = NO_TRACKERS,
) -> list[Trained]:  # fmt: skip
    """`train_and_test` for every fold, each from the config's seed; their masks come together in one folder.

    A fold's checkpoints, history, log and evaluation are in ``fold_<number>/`` of the run's folder.
    """
    if intake.settings.training.budget:
        log.say(f"training.budget: {intake.settings.training.budget} for each of the {len(intake.folds)} folds")
    results = []
    for number, part in enumerate(intake.folds):
        name = f"fold {number} ({number + 1} of {len(intake.folds)})"
        config_text = resolved_text(part.dataset.config)
        where = ranks.from_first(lambda: create_fold_folder(folder, number, config_text))  # noqa: B023
        own_log = RunLog(where / ranks.log_name, log, name)
        own_log.say(side_text(part))
        own_trackers = trackers.fold(number, where, config_text)
        trained = train_and_test(
            part, where, folder / "predictions", device, own_log, resume=resume, name=name, ranks=ranks,
            trackers=own_trackers,
        )  # fmt: skip
        if ranks.is_first:
            evaluation = score(trained.counts, part, folder / "predictions")
            keep_evaluation(evaluation, where / "evaluation", own_trackers, [trained], trained.state.history)
            own_trackers.close(finished=True)
        results.append(trained)
        gc.collect()  # a fold's slices and network are gone before the next one's come
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return results


def side_text(intake: Intake) -> str:
    """How many cases each side has."""
    return ", ".join(f"{len(cases)} {side}" for side, cases in intake.split.sides().items()) + " cases"


def score(counts: Sequence[CaseCounts], intake: Intake, predictions: Path) -> aggregation.Evaluation:
    """Evaluate test cases that were counted, with the files that they were counted from."""
    settings = intake.settings
    return aggregation.evaluate(
        counts, settings.data.classes, seed=settings.seed, resamples=settings.evaluation.resamples,
        confidence=settings.evaluation.confidence,
        files={case.id: _files(case, predictions) for case in intake.tested},
    )  # fmt: skip


def _files(case: Case, predictions: Path) -> tuple[str, str]:
    return str(mask_path(predictions, case)), str(case.label)


def keep_evaluation(
    evaluation: aggregation.Evaluation, folder: Path, trackers: Trackers, tested: Sequence[Trained],
    history: Sequence[Mapping[str, Any]] | None = None,
) -> None:  # fmt: skip
    """Write an evaluation, and tell the trackers its figures; not again those that an earlier session has told.

    Parameters
    ----------
    evaluation
        Of the test cases of all that were tested.
    folder
        ``evaluation/`` of the run or of the fold.
    trackers
        Of the run or of the fold.
    tested
        All folds, or the one network that it is of.
    history
        Of its training, which the trackers know of; None where that is one of each fold's.
    """
    done_before = all(one.before for one in tested)
    told = done_before and (folder / "summary.json").exists()
    write_evaluation(evaluation, folder)
    if told:
        return
    if done_before and history is not None:  # that session ended in between: the figures are of its last epoch
        trackers.begin(history)
    trackers.results(final_figures(evaluation.summary))


def write_evaluation(evaluation: aggregation.Evaluation, folder: Path) -> None:
    """Write the tables and the summary of an evaluation."""
    write_text(folder / "cases.csv", tables.cases_csv(evaluation))
    write_text(folder / "scans.csv", tables.scans_csv(evaluation))
    write_text(folder / "patients.csv", tables.patients_csv(evaluation))
    write_text(folder / "summary.json", tables.summary_json(evaluation))


def _tested(intake: Intake, folder: Path, say: Callable[[str], None]) -> Trained | None:
    """What a network that was trained and tested left in its folder; None where it did not come that far."""
    checkpoints = folder / "checkpoints"
    if not all((checkpoints / name).exists() for name in (_COUNTS, "last.pt")):
        return None
    try:
        state = TrainingState(**load_checkpoint(checkpoints / "last.pt")["state"])
    except DamagedCheckpoint:
        return None  # the training says it, and goes back to the one before
    try:
        saved = load_checkpoint(checkpoints / _COUNTS)["counts"]
    except DamagedCheckpoint as fault:
        say(f"{_COUNTS}: {fault.what}: the test cases are predicted again")
        return None
    if not state.finished or not all(_measured(one) for one in saved):
        return None  # of a version that kept other counts, or measured less: its cases are predicted again
    kept = Checkpoints(checkpoints, say)
    kept.settle(*kept.newest())  # best.pt is what bin/predict will need
    counts = [_counts(one) for one in saved]
    return Trained(intake, state, counts, read_choices(folder, intake.dataset.config), before=True)


def _measured(saved: Mapping[str, Any]) -> bool:
    return (
        "slices" in saved
        and saved.get("distances") is not None
        and set(DISTANCES) <= set(saved["distances"]["figures"])
    )


def _plain(value: Any) -> Any:
    """A case's counts as tensors and plain values, which is what a checkpoint holds."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(value))
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, CaseCounts | CaseDistances | SliceCounts):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return value


def _counts(saved: Mapping[str, Any]) -> CaseCounts:
    """A case's counts from what `_plain` made of them."""
    slices = SliceCounts(**{name: one.numpy() for name, one in saved["slices"].items()})
    values = {**saved, "slices": slices}
    measured = saved["distances"]
    if measured is not None:
        figures = {name: one.numpy() for name, one in measured["figures"].items()}
        values["distances"] = CaseDistances(**{**measured, "figures": figures})
    return CaseCounts(**values)
