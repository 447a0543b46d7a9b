"""The stages of a run, in the order that data flows: prepare, train, predict, count."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.commands.counting import CountingRules, PredictedCase, count_cases
from pipeline.commands.dataset import Dataset
from pipeline.commands.intake import Intake
from pipeline.commands.watching import Watch
from pipeline.config.prediction import mirror_axes
from pipeline.config.schema import PostprocessRule
from pipeline.data.caching.caches import check_memory, prepared_slices
from pipeline.data.caching.prepared import Preparation, sample_of
from pipeline.data.caching.slices import Slices
from pipeline.data.cases import Case, reading_order, scan_key
from pipeline.data.crops import crop_faults
from pipeline.data.inspection import knows_spacing
from pipeline.data.views import View
from pipeline.errors import ConfigError, DataError, Interrupted, raise_all
from pipeline.evaluation.confusion import CaseCounts
from pipeline.inference.finishing import Prediction
from pipeline.inference.masks import mask_bytes
from pipeline.inference.scans import ScanPredictor
from pipeline.inference.writing import mask_path
from pipeline.networks.build import build_network
from pipeline.networks.fold import folded
from pipeline.progress import Progress, stage
from pipeline.reporting.tracking.trackers import NO_TRACKERS, Trackers
from pipeline.runs import RunLog, write_bytes, write_json
from pipeline.training.augment_cost import per_sample_cost
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.loop import Trainer, TrainingState
from pipeline.training.objective import build_loss
from pipeline.training.parallel import ALONE, Ranks
from pipeline.training.signals import stop_on_signals
from pipeline.training.validation import ScanDice
from transforms.chain import PrepareChain
from transforms.plugins import plugin_digest

_MOST_WORKERS = 8  # processes that count


def keep_to_data(folder: Path, intake: Intake, *, resume: bool) -> None:
    """Write the split and the data's fingerprint into the run, or compare them with what the run was started with.

    Raises
    ------
    ConfigError
        When files, split or the code of a plugin have changed since: a patient who was trained on could be tested.
    """
    known, found = folder / "split.json", intake.split_json()
    fingerprint, marks = folder / "checkpoints" / "data.json", [intake.fingerprint, *_plugin_marks(intake)]
    if resume and fingerprint.exists():
        same = json.loads(known.read_text(encoding="utf-8")) == found
        if not same or json.loads(fingerprint.read_text(encoding="utf-8")) != marks:
            code = " or the plugins" if marks[1:] else ""
            raise ConfigError(
                f"the data{code} are not those that the run was started with", where=str(folder),
                remedy="Put the files back, or start a new run without --resume",
            )  # fmt: skip
        return
    write_json(known, found)
    write_json(fingerprint, marks)


def _plugin_marks(intake: Intake) -> list[str]:
    """A digest of each plugin's source: the same config would be another run with other code."""
    config = intake.dataset.config
    return [plugin_digest(config.locate(text)) for text in config.settings.plugins]


def prepare(
    intake: Intake, name: str, cases: Sequence[Case], say: Callable[[str], None] | None = None, ranks: Ranks = ALONE
) -> Slices:
    """Run the prepare chain over cases, unless their slices are kept on disk.

    Parameters
    ----------
    intake
        Of the dataset.
    name
        Of the side, where its progress is shown.
    cases
        Of one side.
    say
        Takes what the user should know; else it is shown with the progress.
    ranks
        The processes that each need the slices. What is kept on disk, the first one prepares for all.
    """
    config, settings, data = intake.dataset.config, intake.settings, intake.settings.data
    processes = 1 if data.cache == "disk" else ranks.local_count
    jobs = [
        Preparation(
            PrepareChain(settings.transforms.prepare, view.options), tuple(cases), view.facts, view.options,
            len(data.classes), data.context, processes,
        )
        for view in intake.views
    ]  # fmt: skip
    if processes > 1 and data.cache == "ram":
        ranks.from_first(lambda: check_memory(config, jobs))
    alone, count = ranks.first_alone(data.cache == "disk"), len(cases) * len(jobs)
    with alone, stage(f"prepare {name}", count, "cases") as progress:
        return prepared_slices(config, jobs, progress.advance, say or progress.write)


def check_test_crop(intake: Intake) -> None:
    """Refuse, before training, a chain that would cut off labelled voxels of test cases."""
    raise_all(
        fault
        for view in intake.views
        for fault in view_crop_faults(intake.settings.transforms.prepare, intake.split.test, view)
    )


def view_crop_faults(entries: Sequence[Mapping[str, Any]], cases: Sequence[Case], view: View) -> list[DataError]:
    """A fault for each case from which a prepare chain, given by its entries, cuts off labelled voxels in a view."""
    chain = PrepareChain(entries, view.options, keys=("image",))

    def prepared(number: int) -> torch.Tensor:
        image: torch.Tensor = chain(sample_of(cases[number], label=False))["image"]
        return image

    return crop_faults(chain, cases, view.facts, view.options, prepared)


def network_for(dataset: Dataset, device: torch.device) -> nn.Module:
    """The config's network with its first weights, which follow from the seed, on a device."""
    settings = dataset.config.settings
    torch.manual_seed(settings.seed)
    channels = dataset.channels * (2 * settings.data.context + 1)
    network = build_network(settings.network, channels, len(settings.data.classes))
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def train(
    intake: Intake, network: nn.Module, banks: dict[str, Slices], folder: Path, device: torch.device, log: RunLog,
    *, resume: bool, name: str = "train", ranks: Ranks = ALONE, trackers: Trackers = NO_TRACKERS,
) -> TrainingState:  # fmt: skip
    """Train; the network ends, in every process, with the weights that were best on the validation patients.

    The first process shows how it goes, see `Watch`, and tells the trackers.

    Raises
    ------
    Interrupted
        When a signal asked for it; the folder's ``last.pt`` holds where it was.
    """
    settings = intake.settings
    voxels = np.sum([intake.facts[case.id].voxels for case in intake.split.train], axis=0)
    loss = build_loss(settings.loss, voxels).to(device)
    validate = ScanDice(banks["validation"].to(device), loss, settings.inference, ranks)
    bank, checkpoints = banks["train"].to(device), folder / "checkpoints"
    trainer = Trainer(settings, network, loss, bank, validate, checkpoints, log.say, ranks)
    log(f"precision: {trainer.step.precision.name}")
    if ranks.from_first(lambda: resume and trainer.checkpoints.exist()):
        trainer.resume()
        log(f"resumed at step {trainer.state.step}")

    watch = Watch(intake.dataset, folder, log, trackers) if ranks.is_first else None
    if watch is not None:
        watch.begin(trainer.state)
    with stop_on_signals() as stop, _training_stage(name, trainer, len(banks["train"])) as progress:
        state = trainer.fit(progress, stop, log, lambda: watch.epoch(trainer.state) if watch else None)
        if asked := trainer.clock.agree(stop):  # it came during the last step or its validation
            raise Interrupted(f"{asked} at the end of the training")
    if watch is not None:
        watch.end(state)
    cost = per_sample_cost(settings.transforms.augment, state.history)
    if cost is not None:
        log(f"note: {cost}")
    ranks.wait()  # for the first one, which writes
    network.load_state_dict(load_checkpoint(checkpoints / "best.pt")["network"])
    return state


def _training_stage(name: str, trainer: Trainer, slices: int) -> AbstractContextManager[Progress]:
    """A stage of slices; where a budget of time ends the training, it shows how much of that is used."""
    slices_per_step = slices / trainer.steps_per_epoch
    before = round(trainer.state.step * slices_per_step)
    if trainer.budget_seconds is not None:
        return stage(name, None, "slices", before, trainer.state.seconds / trainer.budget_seconds)
    return stage(name, round(trainer.total_steps * slices_per_step), "slices", before)


def predictor_for(
    intake: Intake, network: nn.Module, device: torch.device, say: Callable[[str], None],
    rules: Mapping[int, PostprocessRule] | None = None,
) -> ScanPredictor:  # fmt: skip
    """What predicts the cases of a run as its config says, with post-processing rules by class index."""
    settings = intake.settings
    chains = [PrepareChain(settings.transforms.prepare, view.options, keys=("image",)) for view in intake.views]
    channels = intake.dataset.channels * (2 * settings.data.context + 1)
    return ScanPredictor(
        folded(network.eval(), channels), chains, device, settings.data.context, settings.inference, say,
        mirror=mirror_axes(settings), rules=rules,
    )  # fmt: skip


def predict_and_count(
    intake: Intake, network: nn.Module, device: torch.device, predictions: Path, say: Callable[[str], None],
    name: str = "predict", rules: Mapping[int, PostprocessRule] | None = None, ranks: Ranks = ALONE,
) -> list[CaseCounts]:  # fmt: skip
    """Predict the test cases, write their masks, and count them against their labels on the original grid.

    The distances between their surfaces are measured as well, while the next cases are predicted. Several processes
    share the scans among them; every one gets all counts, in the order in which one process gives them.

    Parameters
    ----------
    intake
        Whose test side is predicted.
    network
        Trained, on the device.
    device
        To predict on.
    predictions
        The folder of the masks.
    say
        Is told in a sentence when memory did not suffice, and how it goes on.
    name
        Of the stage, where its progress is shown: that of the first process's share.
    rules
        Post-processing by class index.
    ranks
        The processes, each with the same network.
    """
    config, cases = intake.dataset.config, _of_scans(intake.split.test, ranks)
    settings, options = config.settings, intake.dataset.options
    predictor = predictor_for(intake, network, device, say, rules)
    counting = CountingRules(
        options, len(settings.data.classes), knows_spacing(config), settings.evaluation.tolerance_mm
    )  # fmt: skip
    workers = max(1, min(_MOST_WORKERS, settings.training.threads or os.cpu_count() or 1) // ranks.local_count)
    with stage(name, sum(intake.facts[case.id].slices for case in cases), "slices") as progress:
        counts = count_cases(
            _written(predictor(cases), predictions), len(cases), counting, workers,
            lambda counts: progress.advance(len(counts.slices)), say,
        )  # fmt: skip
    by_case = {one.case: one for share in ranks.gathered(counts) for one in share}
    return [by_case[case.id] for case in sorted(intake.split.test, key=reading_order)]


def _of_scans(cases: Sequence[Case], ranks: Ranks) -> list[Case]:
    """A process's share of some cases: whole scans, the slices of which may be each other's neighbours."""
    scans = list(dict.fromkeys(scan_key(case) for case in sorted(cases, key=reading_order)))
    own = set(ranks.dealt(scans))
    return [case for case in cases if scan_key(case) in own]


def _written(predicted: Iterable[Prediction], folder: Path) -> Iterator[PredictedCase]:
    """Write masks as they come."""
    for one in predicted:
        write_bytes(mask_path(folder, one.case), mask_bytes(one.mask, one.case.image))
        yield PredictedCase(one.case, one.mask, one.axis)
