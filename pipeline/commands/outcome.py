"""What a run leaves behind when it is done: evaluation, tables, plots, report, provenance."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.commands.intake import Intake
from pipeline.config.resolved import resolved_text
from pipeline.data.cases import Case, scan_key
from pipeline.data.facts import CaseFacts
from pipeline.data.inspection import knows_spacing
from pipeline.evaluation import aggregation, tables
from pipeline.evaluation.confusion import CaseCounts
from pipeline.inference.scans import prediction_path
from pipeline.progress import stage
from pipeline.reporting.content import ReportContent
from pipeline.reporting.examples import choose_cases, load_example
from pipeline.reporting.plots import save_plots
from pipeline.reporting.report import render_report
from pipeline.runs import provenance, write_json, write_text
from pipeline.training.loop import TrainingState


def conclude(
    intake: Intake, counts: Sequence[CaseCounts], state: TrainingState, folder: Path,
    *, command: Sequence[str], device: str, started: float, resumed: bool,
) -> str:  # fmt: skip
    """Evaluate the counted test cases and write everything a run ends with.

    Returns
    -------
    str
        The table for the terminal.
    """
    dataset, settings = intake.dataset, intake.settings
    files = {
        case.id: (str(prediction_path(folder / "predictions", case)), str(case.label)) for case in intake.split.test
    }
    evaluation = aggregation.evaluate(
        counts, settings.data.classes, seed=settings.seed, resamples=settings.evaluation.resamples,
        confidence=settings.evaluation.confidence, files=files,
    )  # fmt: skip
    where = folder / "evaluation"
    write_text(where / "cases.csv", tables.cases_csv(evaluation))
    write_text(where / "scans.csv", tables.scans_csv(evaluation))
    write_text(where / "patients.csv", tables.patients_csv(evaluation))
    write_text(where / "summary.json", tables.summary_json(evaluation))
    source = provenance(
        command, seed=settings.seed, device=device, started=started,
        dataset={"fingerprint": intake.fingerprint, "cases": len(intake.facts), "synthetic": dataset.synthetic,
                 "folders": sorted({str(case.image.parent.resolve()) for case in dataset.cases})},
    )  # fmt: skip
    source |= {"resumed": resumed, "training_seconds": round(state.seconds, 1)}
    content = _content(intake, evaluation, state, folder, source)
    with stage("report", 2, "parts") as progress:
        save_plots(content, folder / "plots")
        progress.advance()
        write_json(folder / "provenance.json", source)
        write_text(folder / "report.html", render_report(content))  # last: a run that has it is finished
        progress.advance()
    marked = " | PHANTOM: synthetic images, not patients" if dataset.synthetic else ""
    return tables.terminal_table(evaluation, title=f"{dataset.name}: Dice on the test cases{marked}")


def _content(
    intake: Intake, evaluation: aggregation.Evaluation, state: TrainingState, folder: Path,
    source: dict[str, Any],
) -> ReportContent:  # fmt: skip
    dataset, settings, options = intake.dataset, intake.settings, intake.dataset.options
    captions = choose_cases(intake.split.test, evaluation.cases, settings.report.case)
    by_id = {case.id: case for case in intake.split.test}
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
        history=state.history,
        best_epoch=state.best_epoch,
        examples=tuple(examples),
        captions=tuple(captions.values()),
        dataset=[
            _dataset_row(side, cases, intake.facts, classes, known) for side, cases in intake.split.sides().items()
        ],
        config_text=resolved_text(dataset.config),
        provenance=source,
        repeat=f"bin/run_pipeline {shlex.quote(str(folder / 'config.yaml'))}",
    )


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
    if intake.split.unused:
        found.append(f"{len(intake.split.unused)} cases are in no part of the split and were not used.")
    levels = evaluation.summary["levels"]["scan"]["classes"]
    missed = {name: row["missed"] for name, row in levels.items() if name != data.classes[0] and row["missed"]}
    if missed:
        counts = ", ".join(f"{name} in {count}" for name, count in missed.items())
        found.append(f"Missed altogether, by scan: {counts}.")
    return found


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
