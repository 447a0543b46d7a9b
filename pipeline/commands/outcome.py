"""What a run leaves behind when it is done: evaluation, tables, plots, report, provenance."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.commands.folds import Trained, score, write_evaluation
from pipeline.commands.intake import Intake
from pipeline.config.resolved import resolved_text
from pipeline.data.cases import Case, scan_key
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import knows_spacing
from pipeline.evaluation import aggregation, folds, tables
from pipeline.inference.scans import prediction_path
from pipeline.progress import stage
from pipeline.reporting.content import FoldContent, ReportContent
from pipeline.reporting.examples import choose_cases, load_example
from pipeline.reporting.plots import save_plots
from pipeline.reporting.report import render_report
from pipeline.runs import provenance, write_json, write_text


def conclude(
    intake: Intake, trained: Sequence[Trained], folder: Path,
    *, command: Sequence[str], device: str, started: float, resumed: bool,
) -> str:  # fmt: skip
    """Evaluate the counted test cases, of all folds together, and write everything a run ends with.

    Returns
    -------
    str
        The table for the terminal.
    """
    dataset, settings = intake.dataset, intake.settings
    evaluation = _evaluation(intake, trained, folder)
    write_evaluation(evaluation, folder / "evaluation")
    source = provenance(
        command, seed=settings.seed, device=device, started=started,
        dataset={"fingerprint": intake.fingerprint, "cases": len(intake.facts), "synthetic": dataset.synthetic,
                 "folders": sorted({str(case.image.parent.resolve()) for case in dataset.cases})},
    )  # fmt: skip
    source |= {"resumed": resumed, "training_seconds": round(sum(one.state.seconds for one in trained), 1)}
    source |= {"folds": len(intake.folds)} if intake.folds else {}
    content = _content(intake, evaluation, trained, folder, source)
    with stage("report", 2, "parts") as progress:
        save_plots(content, folder / "plots")
        progress.advance()
        write_json(folder / "provenance.json", source)
        write_text(folder / "report.html", render_report(content))  # last: a run that has it is finished
        progress.advance()
    marked = " | PHANTOM: synthetic images, not patients" if dataset.synthetic else ""
    tested = f"Dice over {len(intake.folds)} folds" if intake.folds else "Dice on the test cases"
    table = tables.terminal_table(evaluation, title=f"{dataset.name}: {tested}{marked}")
    if not intake.folds:
        return table
    return f"{table}\n\n{folds.fold_table(evaluation.summary['folds'], settings.data.classes)}"


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
        load_example(by_id[name], prediction_path(folder / "predictions", by_id[name]), classes, options, known)
        for name in captions
    ]
    return ReportContent(
        title=settings.report.title or dataset.name,
        name=dataset.name,
        classes=classes,
        synthetic=dataset.synthetic,
        warnings=(*intake.warnings, *_warnings(intake, evaluation, resumed=source["resumed"])),
        summary=evaluation.summary,
        cases=evaluation.cases,
        patients=evaluation.patients,
        history=[] if intake.folds else trained[0].state.history,
        best_epoch=0 if intake.folds else trained[0].state.best_epoch,
        folds=tuple(FoldContent(one.state.history, one.state.best_epoch) for one in trained if intake.folds),
        examples=tuple(examples),
        captions=tuple(captions.values()),
        dataset=[_dataset_row(side, cases, intake.facts, classes, known) for side, cases in _sides(intake).items()],
        config_text=resolved_text(dataset.config),
        provenance=source,
        repeat=f"bin/run_pipeline {shlex.quote(str(folder / 'config.yaml'))}",
    )


def _sides(intake: Intake) -> dict[str, tuple[Case, ...]]:
    """What the table of the dataset has a row for: the sides of the split, or what each fold tests."""
    if not intake.folds:
        return intake.split.sides()
    return {f"fold {number}": fold.split.test for number, fold in enumerate(intake.folds)}


def _warnings(intake: Intake, evaluation: aggregation.Evaluation, *, resumed: bool) -> list[str]:
    settings, data = intake.settings, intake.settings.data
    found = []
    if data.ignore_affine:
        found.append("The files' affines were ignored: every voxel counts as one unit.")
    if settings.training.budget and "steps" not in settings.training.budget:
        found.append(
            "The training had a budget of time: another machine, or another run, makes another number of steps."
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


def _untested(intake: Intake) -> list[str]:
    tested, unused = {case.id for case in intake.tested}, {case.id for case in intake.unused}
    count = sum(case.id not in tested | unused for case in intake.dataset.cases)
    return [f"{count} cases are tested in no fold: they are trained on, and not in these figures."] if count else []


def _dataset_row(
    side: str, cases: Sequence[Case], known_facts: Mapping[str, CaseFacts], classes: Sequence[str], known_spacing: bool
) -> dict[str, Any]:
    facts = [known_facts[case.id] for case in cases]
    spacings = [fact.spacing_mm for fact in facts]
    return {
        "split": side,
        "patients": len({case.patient for case in cases}),
        "scans": len({scan_key(case) for case in cases}),
        "cases": len(cases),
        "slices": sum(fact.slices for fact in facts),
        "sizes": _range_text([fact.shape for fact in facts]),
        "spacing": f"{_range_text(spacings)} mm" if known_spacing else None,
        **{f"slices_with_{name}": int(sum(fact.slices_with[k] for fact in facts)) for k, name in enumerate(classes)},
        **{f"voxels_{name}": int(sum(fact.voxels[k] for fact in facts)) for k, name in enumerate(classes)},
    }


def _range_text(values: Sequence[Sequence[float]]) -> str:
    """Sizes or spacings of many files: each axis as one value or as a range.

    >>> _range_text([(256, 128), (256, 144)]), _range_text([(256, 128), (40, 50, 60)])
    ('256 x 128-144', 'mixed')
    """
    if len({len(value) for value in values}) != 1:
        return "mixed"
    ranges = [(min(axis), max(axis)) for axis in zip(*values, strict=True)]
    return " x ".join(f"{low:.4g}" if low == high else f"{low:.4g}-{high:.4g}" for low, high in ranges)
