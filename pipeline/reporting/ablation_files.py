"""An ablation as files: a row a cell for a spreadsheet, and a page in Markdown to be put into documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.evaluation.ablation import SIDES, Figure
from pipeline.evaluation.ablation_result import DONE, Ablation, CellOutcome
from pipeline.evaluation.tables import csv_text
from pipeline.evaluation.wording import signed, signed_interval
from pipeline.reporting.wording import count, duration, gibibytes, interval, rate

__all__ = ["ablation_csv", "ablation_markdown", "cost_table", "score_table"]


def ablation_csv(ablation: Ablation) -> str:
    """One row a cell: what it varies, how it ended, its figures; empty where there is none.

    ``prepared_dice`` is the validation Dice that chose the epoch, on the prepared grid, which is another one for each
    chain; ``validation_dice`` is of the same weights on the grid of the files.
    """
    columns = [
        "cell", *ablation.keys, "state", "reason", "validation_dice", "prepared_dice", "test_dice", "test_low",
        "test_high", "test_patients", *(f"test_dice_{name}" for name in ablation.classes), "training_seconds",
        "steps", "peak_memory_bytes", "wall_seconds",
    ]  # fmt: skip
    return csv_text(columns, (_cell_row(cell, ablation.classes) for cell in ablation.cells))


def _cell_row(cell: CellOutcome, classes: Sequence[str]) -> list[Any]:
    head = [cell.name, *(value for _, value in cell.choices), cell.state, cell.reason]
    done = cell.finished
    if done is None:
        return [*head, *[None] * (10 + len(classes))]
    scan = done.summary["levels"]["scan"]
    whole = scan["foreground"]["dice"]
    return [
        *head, done.validation_dice, done.prepared_dice, whole["mean"], *(whole["interval"] or (None, None)),
        done.summary["n_patients"],
        *(scan["classes"][name]["dice"]["mean"] if name in scan["classes"] else None for name in classes),
        done.training_seconds, done.steps, done.peak_memory_bytes, done.provenance["wall_seconds"],
    ]  # fmt: skip


def score_table(ablation: Ablation) -> tuple[list[str], list[list[str]]]:
    """The head and the rows, a variant each, of the table of Dice: validation first, then test."""
    pooled, differs = ablation.pools_seeds, len(ablation.figures) > 1
    head = ["", "variant", *(["seeds"] if pooled else [])]
    for side in SIDES:
        head += [f"{side} Dice", *([f"{side} sd"] if pooled else []), f"{side} interval"]
        head += [f"{side}, less 1"] if differs else []
    rows = []
    for one in ablation.figures:
        row = [str(ablation.number(one.name)), one.name, *([str(len(one.seeds))] if pooled else [])]
        for found in one.sides.values():
            row += [rate(found.own.mean), *([rate(found.own.sd)] if pooled else []), interval(found.own.interval)]
            row += [difference_text(found.difference)] if differs else []
        rows.append(row)
    return head, rows


def cost_table(ablation: Ablation) -> tuple[list[str], list[list[str]]]:
    """The head and the rows, a variant each, of the table of test Dice by class, time, steps and memory."""
    head = ["", "variant", *ablation.classes, "training", "steps", "memory"]
    rows = []
    for one in ablation.figures:
        by_class = one.sides["test"].own.by_class
        rows.append([
            str(ablation.number(one.name)), one.name, *(rate(by_class.get(name)) for name in ablation.classes),
            duration(one.seconds), count(one.steps), gibibytes(one.memory),
        ])  # fmt: skip
    return head, rows


def difference_text(difference: Figure | None) -> str:
    """A difference with its interval and its spread over seeds, such as ``+0.012 (−0.003 to +0.020), sd 0.004``."""
    if difference is None:
        return signed(None)
    bounds = "" if difference.interval is None else f" ({signed_interval(difference.interval)})"
    spread = "" if difference.sd is None else f", sd {rate(difference.sd)}"
    return f"{signed(difference.mean)}{bounds}{spread}"


def ablation_markdown(ablation: Ablation) -> str:
    """A section for a document: the command, the tables, what the figures mean."""
    lines = [f"## {_escaped(ablation.title)}", "", f"    {ablation.command}", ""]
    if ablation.synthetic:
        lines += ["**PHANTOM: synthetic images, not patients.**", ""]
    states = [cell.state for cell in ablation.cells]
    if states.count(DONE) < len(states):
        lines += [f"{states.count(DONE)} of {len(states)} runs are done.", ""]
    if ablation.figures:
        head, rows = cost_table(ablation)
        named = [f"test Dice of {name}" if name in ablation.classes else name for name in head]
        lines += [*_table(*score_table(ablation)), "", *_table(named, rows), ""]
    best = ablation.best
    if best is not None:
        mean = rate(best.sides["validation"].own.mean)
        lines += [f"Highest validation Dice: {mean}, variant {ablation.number(best.name)}, {_escaped(best.name)}.", ""]
    lines += [f"- {_escaped(note)}" for note in ablation.notes()]
    lines += [
        f"- {cell.state}: {_escaped(cell.name)}{': ' if cell.reason else ''}{_escaped(cell.reason)}"
        for cell in ablation.cells if cell.state != DONE
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(map(_escaped, head))} |"
    yield f"|{'|'.join('---' if number == 1 else '---:' for number in range(len(head)))}|"
    yield from (f"| {' | '.join(map(_escaped, row))} |" for row in rows)


def _escaped(text: str) -> str:
    """What Markdown would take for its own, written as it is."""
    for sign in "\\|*_`<[":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
