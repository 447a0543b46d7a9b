"""An ablation on the terminal: what each variant reached, how it differs from the first one, what it cost."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.ablation import SIDES, Figure, VariantFigures
from pipeline.evaluation.ablation_result import DONE, FAILED, STOPPED, Ablation
from pipeline.evaluation.tables import table_line
from pipeline.evaluation.wording import signed, signed_interval
from pipeline.reporting.wording import count, duration, gibibytes, interval, rate, shortened
from pipeline.terminal import width_of

__all__ = ["ablation_table"]

_GAP = "  "
_LEAST_NAME = 12  # columns that a variant's name gets at least
_CLASS = 10  # columns that a class's name gets at most


@dataclass(frozen=True)
class _Column:
    """A column of a block: what stands above it, its cells, and the group that it belongs to."""

    head: str
    cells: tuple[str, ...]
    group: str = ""

    @property
    def width(self) -> int:
        return max(map(width_of, (self.head, *self.cells)))


def ablation_table(ablation: Ablation, *, width: int = 80) -> str:
    """Show an ablation at a glance: plain text, without a line end at the end.

    Parameters
    ----------
    ablation
        With any number of finished cells.
    width
        Most columns of the terminal that a line may take; the figures need about 70.
    """
    marked = " | PHANTOM: synthetic images" if ablation.synthetic else ""
    states = [cell.state for cell in ablation.cells]
    extent = f"{states.count(DONE)} of {len(states)} runs done"
    lines = [shortened(f"{ablation.title}{marked}", width), extent]
    if ablation.figures:
        lines += ["", *_scores(ablation, width)]
        if len(ablation.figures) > 1:
            lines += ["", *_differences(ablation, width)]
        lines += ["", *_costs(ablation, width)]
    lines += _unfinished(ablation, width)
    best = ablation.best
    if best is not None:
        mean = rate(best.sides["validation"].own.mean)
        lines += ["", *_wrapped(f"Highest validation Dice: {mean}, {_named(ablation, best)}.", width)]
    notes = ablation.notes()
    return "\n".join([*lines, *([""] if notes else []), *(part for note in notes for part in _wrapped(note, width))])


def _scores(ablation: Ablation, width: int) -> list[str]:
    """The block of the figures themselves."""
    figures = ablation.figures
    columns = []
    if ablation.pools_seeds:
        columns.append(_Column("seeds", tuple(str(len(one.seeds)) for one in figures)))
    for side in SIDES:
        group = "validation" if side == "validation" else "test, per scan"
        own = [one.sides[side].own for one in figures]
        columns.append(_Column("Dice", tuple(rate(one.mean) for one in own), group))
        if ablation.pools_seeds:
            columns.append(_Column("sd", tuple(rate(one.sd) for one in own), group))
        columns.append(_Column(_percent(ablation), tuple(interval(one.interval) for one in own), group))
    return _block(ablation, "Dice", columns, width)


def _differences(ablation: Ablation, width: int) -> list[str]:
    """The block of the differences from the first variant."""
    columns = []
    for side in SIDES:
        found: list[Figure | None] = [one.sides[side].difference for one in ablation.figures]
        columns.append(_Column(side, tuple(signed(None if one is None else one.mean) for one in found)))
        bounds = (None if one is None else one.interval for one in found)
        columns.append(_Column(_percent(ablation), tuple(signed_interval(one) for one in bounds)))
    return _block(ablation, "less variant 1", columns, width)


def _costs(ablation: Ablation, width: int) -> list[str]:
    """The test Dice of each class, and what the training cost; as many blocks as it takes."""
    figures = ablation.figures
    classes = [
        _Column(shortened(name, _CLASS), tuple(rate(one.sides["test"].own.by_class.get(name)) for one in figures))
        for name in ablation.classes
    ]
    costs = [
        _Column("time", tuple(duration(one.seconds) for one in figures)),
        _Column("steps", tuple(count(one.steps) for one in figures)),
        _Column("memory", tuple(gibibytes(one.memory) for one in figures)),
    ]
    room = width - 5 - _LEAST_NAME
    blocks, current = [], list[_Column]()
    for column in classes:
        if current and sum(len(_GAP) + one.width for one in (*current, column)) > room:
            blocks.append(current)
            current = []
        current.append(column)
    lines = []
    for block in filter(None, [*blocks, current]):
        lines += [*_block(ablation, "test Dice of", block, width), ""]
    return [*lines, *_block(ablation, "training", costs, width)]


def _block(ablation: Ablation, title: str, columns: Sequence[_Column], width: int) -> list[str]:
    """Lines of a table: a row a variant, its number and name first; the name gets the room that the figures leave."""
    taken = sum(len(_GAP) + column.width for column in columns)
    names = [f"{ablation.number(one.name):>2}  {one.name}" for one in ablation.figures]
    first = max(_LEAST_NAME, min(max(map(width_of, (*names, f"    {title}"))), width - taken))
    rows = [_line(f"    {title}", [column.head for column in columns], columns, first)]
    if any(column.group for column in columns):
        rows.insert(0, _group_line(columns, first))
    rule = "─" * (first + taken)
    cells = [[column.cells[row] for column in columns] for row in range(len(names))]
    return [*rows, rule, *(_line(name, cells[row], columns, first) for row, name in enumerate(names))]


def _group_line(columns: Sequence[_Column], first: int) -> str:
    """What stands above several columns, in the middle of them."""
    line, place = " " * first, 0
    while place < len(columns):
        alike = [column for column in columns[place:] if column.group == columns[place].group]
        span = sum(column.width for column in alike) + len(_GAP) * (len(alike) - 1)
        line += _GAP + columns[place].group.center(span)
        place += len(alike)
    return line.rstrip()


def _line(name: str, cells: Sequence[str], columns: Sequence[_Column], first: int) -> str:
    number, text = name[:4], shortened(name[4:], first - 4)
    return table_line(f"{number}{text}", cells, first, [column.width for column in columns])


def _unfinished(ablation: Ablation, width: int) -> list[str]:
    """What failed and why, and how much is still to be run."""
    lines = []
    for cell in ablation.cells:
        if cell.state in (FAILED, STOPPED):
            lines += ["", *_wrapped(f"{cell.state}: {cell.name}{': ' if cell.reason else ''}{cell.reason}", width)]
    return lines


def _named(ablation: Ablation, one: VariantFigures) -> str:
    return f"variant {ablation.number(one.name)}, {one.name}"


def _percent(ablation: Ablation) -> str:
    return f"{100 * ablation.resampling.confidence:g} % CI"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False, subsequent_indent="  ")
