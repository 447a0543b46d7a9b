"""The sections of a check that run something: a case through the chain, the ceiling, and what a run takes."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.commands.checks.comparison import compare_networks
from pipeline.commands.checks.findings import Findings, aligned, counted
from pipeline.commands.checks.forecast import Pace, Workload, forecast, forecast_lines, measure_pace, trial_batch
from pipeline.commands.checks.readable import Readable
from pipeline.commands.checks.trace import Step, changed_labels, channel_lines, trace_case, trace_lines, trace_values
from pipeline.commands.exhibits import CEILING_SLICES, spacing_for
from pipeline.commands.intake import Intake
from pipeline.commands.stages import network_for, view_crop_faults
from pipeline.data.caching.prepared import sample_of
from pipeline.data.cases import Case
from pipeline.data.inspection import knows_spacing
from pipeline.data.views import view_options, views_of
from pipeline.errors import ConfigError, Fault, raise_all
from pipeline.evaluation.ceiling import Ceiling, resampling_ceiling, spread_scans
from pipeline.memory import available_bytes, in_words
from pipeline.networks.build import parameter_count
from pipeline.progress import stage
from pipeline.reporting.sheets import png
from pipeline.reporting.trace_sheet import TracePanel, trace_figure
from pipeline.runs import write_bytes
from pipeline.training.augment_cost import per_sample_cost
from pipeline.training.device import choose_device, describe, tune_cpu
from pipeline.training.objective import build_loss, check_loss
from transforms.advice import advice
from transforms.augment import AugmentChain
from transforms.chain import PrepareChain

_AUGMENTED = 2  # pictures of the traced slice, augmented


def check_chain(findings: Findings, readable: Readable, arguments: argparse.Namespace) -> None:
    """Trace a case, measure the ceiling and forecast a run."""
    dataset, settings = readable.dataset, readable.dataset.config.settings
    tune_cpu(settings.training.threads)
    try:
        chain = PrepareChain(settings.transforms.prepare, dataset.options)
        case = _traced_case(readable, arguments.case)
        steps = trace_case(chain, case)
        sample = chain(sample_of(case))  # the whole, and all channels: it is judged as a step alone is not
    except Fault as fault:
        findings.section("case", "the chain does not run")
        findings.faults([fault])
        return
    findings.section("case", f"{case.id}: {case.image}")
    findings.lines(trace_lines(steps))
    if readable.dataset.channels > 1:
        findings.lines(["", *channel_lines(sample["image"])])
    findings.values(id=case.id, steps=trace_values(steps))
    for told in changed_labels(steps):
        findings.warning(told)
    for hint in _hints_of_in_words(readable, steps):
        findings.note(hint)
    if arguments.plot is not None:
        _plot(findings, readable, case, steps, Path(arguments.plot))
    _check_ceiling(findings, readable)
    _check_run(findings, readable, sample, steps)
    if arguments.against is not None and readable.intake is not None:
        compare_networks(readable.intake, arguments.against, arguments.batches)


def _hints_of_in_words(readable: Readable, steps: list[Step]) -> list[str]:
    """Hints on the chain that depend on the slices' size; those that do not were told before."""
    settings = readable.dataset.config.settings
    chains = (settings.transforms.prepare, settings.transforms.augment, settings.data.classes)
    rows, columns = next(step.image.array.shape[1:] for step in steps if step.image is not None)
    told = advice(*chains)
    return [hint for hint in advice(*chains, slice_shape=(rows, columns)) if hint not in told]


def _traced_case(readable: Readable, name: str | None) -> Case:
    """The case of that name; else the first of those that show most classes, on an image that is not constant."""
    by_id = {case.id: case for case in readable.cases}
    if name is not None and name not in by_id:
        raise ConfigError(f"it could not be read: {name!r}", where="--case", remedy="Mend its files, or name another")

    def shows(case: Case) -> tuple[bool, int]:
        fact = readable.facts[case.id]
        return fact.low < fact.high, int((fact.slices_with > 0).sum())

    return max(readable.cases, key=shows) if name is None else by_id[name]


def _plot(findings: Findings, readable: Readable, case: Case, steps: list[Step], path: Path) -> None:
    """The slice that shows most classes after each step, and augmented."""
    settings, classes = readable.dataset.config.settings, readable.dataset.config.settings.data.classes
    drawn = [step for step in steps if step.image is not None and step.label is not None]
    assert drawn[0].label is not None
    place = int(np.argmax([len(np.unique(plane)) * 1e6 + (plane > 0).sum() for plane in drawn[0].label.array]))
    panels = []
    for number, step in enumerate(drawn, start=1):
        assert step.image is not None and step.label is not None
        rows, columns = step.image.array.shape[1:]
        caption = f"{rows} x {columns}, {step.image.low:.4g} to {step.image.high:.4g}"
        panels.append(TracePanel(f"{number} {step.name}", caption, step.image.array[place], step.label.array[place]))
    last = panels[-1]
    batch = {"image": torch.from_numpy(np.stack([last.image] * _AUGMENTED)[:, None].astype(np.float32)),
             "label": torch.from_numpy(np.stack([last.label] * _AUGMENTED)[:, None].astype(np.uint8))}  # fmt: skip
    try:
        augmented = AugmentChain(settings.transforms.augment)(batch, settings.seed)
        for number in range(_AUGMENTED if settings.transforms.augment else 0):
            image, label = (augmented[key][number, 0].numpy() for key in ("image", "label"))
            panels.append(TracePanel(f"augmented, draw {number + 1}", "", image, label))
        figure = trace_figure(f"{case.id}, slice {place}", panels, classes, synthetic=readable.dataset.synthetic)
        write_bytes(path, png(figure))
    except Fault as fault:
        findings.faults([fault])
        return
    findings.lines([f"drawn in {path}"])


def _check_ceiling(findings: Findings, readable: Readable) -> None:
    """Reference masks through the chain and back."""
    dataset, known = readable.dataset, knows_spacing(readable.dataset.config)
    classes, facts = dataset.config.settings.data.classes, readable.facts
    chosen = spread_scans(readable.cases, lambda case: facts[case.id].slices, CEILING_SLICES)
    views = view_options(dataset.config, readable.cases[0].channels_in_file)
    chains = [PrepareChain(dataset.config.settings.transforms.prepare, options) for options in views]
    try:
        with stage("ceiling", len(chosen), "cases") as progress:
            found = resampling_ceiling(
                chains, chosen, dataset.options, classes, lambda case: spacing_for(facts[case.id], known=known),
                progress.advance,
            )  # fmt: skip
    except Fault as fault:
        findings.section("ceiling", "could not be measured")
        findings.faults([fault])
        return
    of_all = "" if len(chosen) == len(readable.cases) else f" of {len(readable.cases)}, evenly spread"
    findings.section("ceiling", "what a network would score that predicts the prepared masks without an error: "
                     f"{counted(found.scans, 'scan')}, {counted(found.cases, 'case')}{of_all}")  # fmt: skip
    _tell_ceiling(findings, found, classes, "mm" if known else "pixels")


def _tell_ceiling(findings: Findings, found: Ceiling, classes: tuple[str, ...], unit: str) -> None:
    figures = {
        name: {"dice": _number(dice), "hd95": _number(distance), "missed": int(missed)}
        for name, dice, distance, missed in zip(classes, found.dice, found.hd95, found.missed, strict=True)
    }
    findings.values(unit=unit, scans=found.scans, cases=found.cases, classes=figures)
    shown = {name: row for name, row in figures.items() if name != classes[0]}
    rows = [("class", "Dice per scan", f"HD95, {unit}", "scans that lose it")]
    rows += [(name, _text(row["dice"], 4), _text(row["hd95"], 2), str(row["missed"])) for name, row in shown.items()]
    findings.lines(aligned(rows))
    lost = [name for name, row in shown.items() if row["missed"]]
    if lost:
        findings.warning(f"the chain loses {', '.join(lost)} altogether in some scans; use a larger size")
    low = [f"{name} {row['dice']:.3f}" for name, row in shown.items() if row["dice"] is not None and row["dice"] < 0.9]
    if low:
        findings.warning(f"the chain alone keeps any network below a Dice of 0.9: {', '.join(low)}")


def _text(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 6)


def _check_run(findings: Findings, readable: Readable, sample: Mapping[str, Any], steps: list[Step]) -> None:
    """Build what the config names, train a few steps on the traced case, and say what a run takes."""
    dataset, settings = readable.dataset, readable.dataset.config.settings
    try:
        _check_crops(readable)
        device = choose_device(settings.training.device)
        network = network_for(dataset, device)
        check_loss(build_loss(settings.loss), len(settings.data.classes), torch.device("cpu"))
        batch = trial_batch(sample, settings.training.batch_size, settings.data.context)
        pace = measure_pace(settings, network, {key: value.to(device) for key, value in batch.items()}, device)
    except Fault as fault:
        findings.section("run", "it would stop before, or at, its first step")
        findings.faults([fault])
        return
    cost = per_sample_cost(settings.transforms.augment, [pace.augment_shares])
    network_text = f"{settings.network['_target_']}, {parameter_count(network):,} parameters, {describe(device)}"
    if readable.intake is None:
        findings.section("run", f"{network_text}; no forecast, as the split is not known")
        _tell_cost(findings, pace, cost)
        return
    per_slice = (batch["image"].numel() * 4 // (2 * settings.data.context + 1) + batch["label"].numel()) // len(
        batch["label"]
    )
    work = _workload(readable, readable.intake, per_slice, sum(step.seconds for step in steps))
    found, free = forecast(settings, work, pace), available_bytes()
    times = f"{work.folds} folds of " if work.folds > 1 else ""
    findings.section(
        "run", f"{network_text}; {times}about {counted(found.epochs, 'epoch')}, by the pace of a few steps"
    )
    findings.lines(forecast_lines(found, free))
    findings.values(parameters=parameter_count(network), device=describe(device), free_bytes=free, **found.values())
    _tell_cost(findings, pace, cost)
    if free is not None and found.memory_bytes > free:
        findings.warning(f"the run needs about {in_words(found.memory_bytes)}, and {in_words(free)} are free; "
                         "data.cache: disk keeps the slices out of memory")  # fmt: skip


def _tell_cost(findings: Findings, pace: Pace, cost: str | None) -> None:
    """What augmentation takes, and a note where it runs sample by sample."""
    findings.values(**{name: round(share, 4) for name, share in pace.augment_shares.items()})
    if cost is not None:
        findings.note(cost)


def _workload(readable: Readable, intake: Intake, bytes_per_slice: int, prepare_seconds: float) -> Workload:
    views = views_of(readable.dataset.config, readable.facts, readable.cases[0].channels_in_file)
    slices = {
        side: sum(view.facts[case.id].slices for case in cases for view in views)
        for side, cases in intake.split.sides().items()
    }
    return Workload(
        train=slices["train"], validation=slices["validation"], test=slices["test"],
        cases=len(readable.cases) * len(views), read_seconds=readable.read_seconds, prepare_seconds=prepare_seconds,
        cache_bytes=bytes_per_slice * (slices["train"] + slices["validation"]), threads=os.cpu_count() or 1,
        folds=len(intake.parts),
    )  # fmt: skip


def _check_crops(readable: Readable) -> None:
    """Refuse a chain that cuts off labelled voxels of any case."""
    config, entries = readable.dataset.config, readable.dataset.config.settings.transforms.prepare
    views = views_of(config, readable.facts, readable.cases[0].channels_in_file)
    raise_all(fault for view in views for fault in view_crop_faults(entries, readable.cases, view))
