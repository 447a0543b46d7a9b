"""The stages of a run, in the order that data flows: inspect, prepare, train, predict, count."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.commands.dataset import Dataset
from pipeline.data.cases import Case
from pipeline.data.inspection import CaseFacts, inspect_cases, knows_spacing, read_options, repeated_images
from pipeline.data.prepared import prepare_cases
from pipeline.data.slices import SliceBank
from pipeline.errors import Interrupted
from pipeline.evaluation.confusion import CaseCounts, slice_confusions
from pipeline.inference.masks import mask_bytes
from pipeline.inference.scans import ScanPredictor, prediction_path
from pipeline.networks.build import build_network
from pipeline.progress import stage
from pipeline.runs import write_bytes, write_text
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.loop import Trainer, TrainingState
from pipeline.training.objective import build_loss
from pipeline.training.signals import stop_on_signals
from pipeline.training.validation import ScanDice
from transforms.chain import PrepareChain
from transforms.nifti import read_label


@dataclass(frozen=True)
class Inspection:
    """What reading every file gave.

    Attributes
    ----------
    facts
        One a case of the split, by its id.
    warnings
        Leaks that the config allows.
    fingerprint
        Changes when any image or mask of the split does.
    """

    facts: dict[str, CaseFacts]
    warnings: tuple[str, ...]
    fingerprint: str


def inspect(dataset: Dataset) -> Inspection:
    """Read and check every file of the split."""
    cases = [case for members in dataset.split.sides().values() for case in members]
    with stage("check", len(cases), "cases") as progress:
        facts = inspect_cases(dataset.config, cases, progress.advance)
    zeroed = [
        f"{fact.zeroed} voxels of {fact.case} were NaN or infinite, and are read as 0" for fact in facts if fact.zeroed
    ]
    warnings = (*dataset.split.leaks, *repeated_images(dataset.config, dataset.split, facts), *zeroed)
    digest = hashlib.sha256()
    for fact in sorted(facts, key=lambda fact: fact.case):
        digest.update(f"{fact.case} {fact.digest.hex()} {fact.label_digest.hex()}\n".encode())
    return Inspection({fact.case: fact for fact in facts}, warnings, digest.hexdigest())


def prepare(dataset: Dataset, name: str, cases: Sequence[Case]) -> SliceBank:
    """Run the prepare chain over cases and stack their slices."""
    settings = dataset.config.settings
    chain = PrepareChain(settings.transforms.prepare, read_options(dataset.config))
    with stage(f"prepare {name}", len(cases), "cases") as progress:
        samples = prepare_cases(chain, cases, progress.advance)
    return SliceBank(cases, samples, len(settings.data.classes), settings.data.context)


def network_for(dataset: Dataset, device: torch.device) -> nn.Module:
    """The config's network with its first weights, which follow from the seed, on a device."""
    settings = dataset.config.settings
    torch.manual_seed(settings.seed)
    network = build_network(settings.network, 2 * settings.data.context + 1, len(settings.data.classes))
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def train(
    dataset: Dataset, banks: dict[str, SliceBank], folder: Path, device: torch.device, log: Callable[[str], None],
    *, resume: bool,
) -> tuple[nn.Module, TrainingState]:  # fmt: skip
    """Train, and give back the best network of the validation patients.

    Raises
    ------
    Interrupted
        With how to go on.
    """
    settings = dataset.config.settings
    network = network_for(dataset, device)
    loss = build_loss(settings.loss).to(device)
    validate = ScanDice(banks["validation"].to(device), loss, settings.inference)
    trainer = Trainer(settings, network, loss, banks["train"].to(device), validate, folder / "checkpoints")
    if resume and (folder / "checkpoints" / "last.pt").exists():
        trainer.resume()
        log(f"resumed at step {trainer.state.step}")
    total = None if trainer.budget_seconds is not None else settings.training.epochs * len(banks["train"])
    with stop_on_signals() as stop, stage("train", total, "slices") as progress:
        progress.advance(trainer.state.epoch * len(banks["train"]) if resume else 0)
        try:
            state = trainer.fit(progress, stop, log, lambda: write_history(folder, trainer.state.history))
        except Interrupted as reason:
            raise Interrupted(f"{reason}; go on with the same command and --resume --out {folder}") from reason
    write_history(folder, state.history)
    network.load_state_dict(load_checkpoint(folder / "checkpoints" / "best.pt")["network"])
    return network, state


def write_history(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """``history.csv``: one row an epoch."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(folder / "history.csv", text.getvalue())


def predict_and_count(
    dataset: Dataset,
    inspection: Inspection,
    network: nn.Module,
    device: torch.device,
    folder: Path,
    say: Callable[[str], None],
) -> list[CaseCounts]:
    """Predict the test cases, write their masks, and count them against their labels on the original grid."""
    config = dataset.config
    settings, options, cases = config.settings, read_options(config), dataset.split.test
    chain = PrepareChain(settings.transforms.prepare, options, keys=("image",))
    predictor = ScanPredictor(network, chain, device, settings.data.context, settings.inference, say=say)
    counts = []
    slices = sum(inspection.facts[case.id].slices for case in cases)
    with stage("predict", slices, "slices") as progress:
        for prediction in predictor(cases):
            case = prediction.case
            write_bytes(prediction_path(folder / "predictions", case), mask_bytes(prediction.mask, case.image))
            assert case.label is not None
            label = read_label(case.label, options)
            volume = None
            if knows_spacing(config) and label.array.ndim == 3:
                volume = label.spacing_mm[0] * label.spacing_mm[1] * label.spacing_mm[2]
            confusion = slice_confusions(
                label.array, prediction.mask, len(settings.data.classes), axis=prediction.axis
            )  # fmt: skip
            counts.append(CaseCounts(case.id, case.scan, case.patient, confusion, volume))
            progress.advance(inspection.facts[case.id].slices)
    return counts
