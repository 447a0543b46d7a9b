"""What a run leaves behind when it is done: evaluation, tables, plots, report, provenance."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.commands.exhibits import ceiling_cases, gallery_of, tested_ceiling
from pipeline.commands.folds import Trained, keep_evaluation, score
from pipeline.commands.intake import Intake
from pipeline.config.resolved import resolved_text
from pipeline.config.schema import Settings
from pipeline.data.cases import Case
from pipeline.data.inspection import knows_spacing
from pipeline.data.statistics import side_statistics
from pipeline.errors import Fault
from pipeline.evaluation import aggregation, folds, tables
from pipeline.evaluation.ceiling import Ceiling
from pipeline.inference.choosing import rules_of
from pipeline.inference.writing import mask_path
from pipeline.progress import stage
from pipeline.provenance import provenance
from pipeline.reporting.content import FoldContent, ReportContent
from pipeline.reporting.examples import choose_cases, load_example
from pipeline.reporting.plots import save_plots
from pipeline.reporting.report import render_report
from pipeline.reporting.stack import Gallery
from pipeline.reporting.tracking.trackers import NO_TRACKERS, Trackers
from pipeline.runs import write_json, write_text
from pipeline.terminal import painter
from pipeline.training.augment_cost import per_sample_cost
from pipeline.training.state import learning_caution

_CHECKOUT = Path(__file__).parents[2]  # where bin/ is


def conclude(
    intake: Intake, trained: Sequence[Trained], folder: Path,
    *, command: Sequence[str], device: str, started: float, resumed: bool, processes: int = 1,
    trackers: Trackers = NO_TRACKERS,
) -> str:  # fmt: skip
    """Evaluate the counted test cases, of all folds together, and write everything a run ends with.

    Returns
    -------
    str
        The table for the terminal.
    """
    dataset, settings, root = intake.dataset, intake.settings, intake.dataset.config.project_root
    evaluation = _evaluation(intake, trained, folder)
    history = None if intake.folds else trained[0].state.history
    keep_evaluation(evaluation, folder / "evaluation", trackers, trained, history)
    source = provenance(
        command, seed=settings.seed, device=device, started=started,
        dataset={"fingerprint": intake.fingerprint, "cases": len(intake.facts), "synthetic": dataset.synthetic,
                 "folders": sorted({named(case.image.parent, root) for case in dataset.cases})},
    )  # fmt: skip
    source |= {"processes": processes}
    source |= {"resumed": resumed, "training_seconds": round(sum(one.state.seconds for one in trained), 1)}
    source |= {"folds": len(intake.folds)} if intake.folds else {}
    ceiling, lacks = _ceiling(intake)
    with stage("report", 3, "parts") as progress:
        content = _content(intake, evaluation, trained, folder, source)
        gallery, more = _gallery(intake, evaluation, folder)
        content = replace(content, ceiling=ceiling, gallery=gallery, warnings=(*content.warnings, *lacks, *more))
        progress.advance()
        save_plots(content, folder / "plots")
        progress.advance()
        write_json(folder / "provenance.json", source)
        write_text(folder / "report.html", render_report(content))  # last: a run that has it is finished
        progress.advance()
    marked = " | PHANTOM: synthetic images, not patients" if dataset.synthetic else ""
    tested = f"Dice over {len(intake.folds)} folds" if intake.folds else "Dice on the test cases"
    table = tables.terminal_table(evaluation, title=f"{dataset.name}: {tested}{marked}", paint=painter(sys.stdout))
    if not intake.folds:
        return table
    return f"{table}\n\n{folds.fold_table(evaluation.summary['folds'], settings.data.classes)}"


def _ceiling(intake: Intake) -> tuple[Ceiling | None, tuple[str, ...]]:
    """The ceiling of the chain, or why there is none: a run is not lost because a test label does not go through."""
    total = sum(intake.facts[case.id].slices for case in ceiling_cases(intake))
    try:
        with stage("ceiling", total, "slices") as progress:
            return tested_ceiling(intake, progress.advance), ()
    except Fault as fault:
        return None, (f"The ceiling of the chain could not be measured: {fault}",)


def _gallery(
    intake: Intake, evaluation: aggregation.Evaluation, folder: Path
) -> tuple[Gallery, tuple[str, ...]]:  # fmt: skip
    """The slices that can be leafed through, or why there are none: the report does without."""
    try:
        return gallery_of(intake, evaluation, folder / "predictions"), ()
    except (Fault, MemoryError) as fault:
        reason = str(fault) or "there is not enough memory"
        return Gallery(), (f"The slices could not be put into this page: {reason}",)


def _evaluation(intake: Intake, trained: Sequence[Trained], folder: Path) -> aggregation.Evaluation:
    """The evaluation of all test cases together; with what each fold says by itself, where there are folds."""
    predictions = folder / "predictions"
    pooled = score([one for part in trained for one in part.counts], intake, predictions)
    if not intake.folds:
        return pooled
    summaries = [score(part.counts, part.intake, predictions).summary for part in trained]
    figures = folds.fold_figures(summaries, [part.state.best_epoch for part in trained])
    return replace(pooled, summary={**pooled.summary, "folds": figures})


def _content(
    intake: Intake, evaluation: aggregation.Evaluation, trained: Sequence[Trained], folder: Path,
    source: dict[str, Any],
) -> ReportContent:  # fmt: skip
    dataset, settings, options = intake.dataset, intake.settings, intake.dataset.options
    captions = choose_cases(intake.tested, evaluation.cases, settings.report.case)
    by_id = {case.id: case for case in intake.tested}
    known, classes = knows_spacing(dataset.config), settings.data.classes
    examples = [
        load_example(by_id[name], mask_path(folder / "predictions", by_id[name]), classes, options, known)
        for name in captions
    ]
    return ReportContent(
        title=settings.report.title or dataset.name,
        name=dataset.name,
        classes=classes,
        synthetic=dataset.synthetic,
        warnings=(
            *intake.warnings,
            *_warnings(intake, evaluation, resumed=source["resumed"]),
            *_unlearnt(trained),
            *_chosen_rules(trained),
            *_costs(settings, [row for one in trained for row in one.state.history]),
        ),
        summary=evaluation.summary,
        cases=evaluation.cases,
        scans=evaluation.scans,
        patients=evaluation.patients,
        history=[] if intake.folds else trained[0].state.history,
        best_epoch=0 if intake.folds else trained[0].state.best_epoch,
        folds=tuple(FoldContent(one.state.history, one.state.best_epoch) for one in trained if intake.folds),
        examples=tuple(examples),
        captions=tuple(captions.values()),
        dataset=tuple(side_statistics(side, cases, intake.facts) for side, cases in _sides(intake).items()),
        knows_spacing=known,
        config_text=resolved_text(dataset.config),
        provenance=source,
        repeat=f"bin/run_pipeline {shlex.quote(named(folder / 'config.yaml', _CHECKOUT))}",
    )


def _sides(intake: Intake) -> dict[str, tuple[Case, ...]]:
    """What the table of the dataset has a row for: the sides of the split, or what each fold tests."""
    if not intake.folds:
        return intake.split.sides()
    return {f"fold {number}": fold.split.test for number, fold in enumerate(intake.folds)}


def _costs(settings: Settings, history: Sequence[dict[str, Any]]) -> list[str]:
    cost = per_sample_cost(settings.transforms.augment, history)
    return [] if cost is None else [f"{cost}."]


def _warnings(intake: Intake, evaluation: aggregation.Evaluation, *, resumed: bool) -> list[str]:
    settings, data = intake.settings, intake.settings.data
    found = []
    if data.ignore_affine:
        found.append("The files' affines were ignored: every voxel counts as one unit.")
    if settings.training.budget and "steps" not in settings.training.budget:
        found.append(
            "The training had a budget of time: another machine, or another run, makes another number of steps, and "
            "gives another result."
        )
    if resumed:
        found.append("The run was stopped and resumed: the time and the memory told are those of its last session.")
    if intake.unused:
        found.append(f"{len(intake.unused)} cases are in no part of the split and were not used.")
    if intake.folds:
        found += _untested(intake)
    levels = evaluation.summary["levels"]["scan"]["classes"]
    missed = {name: row["missed"] for name, row in levels.items() if name != data.classes[0] and row["missed"]}
    if missed:
        counts = ", ".join(f"{name} in {count}" for name, count in missed.items())
        found.append(f"Missed altogether, by scan: {counts}.")
    return found


def _unlearnt(trained: Sequence[Trained]) -> list[str]:
    """Trainings that grew no better, with their folds where there are several."""
    cautions = [learning_caution(one.state) for one in trained]
    several = len(trained) > 1
    return [f"Fold {number}: {text}" if several else text for number, text in enumerate(cautions) if text]


def _chosen_rules(trained: Sequence[Trained]) -> list[str]:
    """What post-processing was chosen, and on what, for each fold where there are several."""
    found = []
    for number, one in enumerate(trained):
        if one.choices is not None:
            rules = [f"{name}: {choice.candidate}" for name, choice in one.choices.items() if rules_of({name: choice})]
            fold = f", fold {number}" if len(trained) > 1 else ""
            found.append(f"Post-processing, chosen on the validation cases alone{fold}: {'; '.join(rules) or 'none'}.")
    return found


def _untested(intake: Intake) -> list[str]:
    tested, unused = {case.id for case in intake.tested}, {case.id for case in intake.unused}
    count = sum(case.id not in tested | unused for case in intake.dataset.cases)
    return [f"{count} cases are tested in no fold: they are trained on, and not in these figures."] if count else []


def named(path: Path, project_root: Path) -> str:
    """A path as it is told to others: relative to the project's root where it is inside it, else absolute."""
    inside, whole = Path(os.path.abspath(path)), Path(os.path.abspath(project_root))
    for one, root in ((inside, whole), (inside.resolve(), whole.resolve())):
        if one.is_relative_to(root):
            return str(one.relative_to(root))
    return str(inside.resolve())
