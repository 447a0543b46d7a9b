"""What every part of bin/benchmark is given, and gives: ways that take turns, and a table of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers_found import Peers
from benchmarks.workers import Sample, Unmeasured, Worker
from pipeline.progress import stage

OWN, PEER, LIMIT = "own", "peer", "limit"  # what a way is: this project, another, or what nothing can do without


@dataclass(frozen=True)
class Setting:
    """How a part is to be measured.

    Attributes
    ----------
    rounds
        Turns that each way takes.
    quick
        Small and few, to see that all works; the figures then say little.
    peers
        The other programs.
    folder
        Of this part, empty; gone afterwards.
    out
        Where what is to be kept goes, such as a plot; None for nowhere.
    """

    rounds: int
    quick: bool
    peers: Peers
    folder: Path
    out: Path | None = None

    def sized(self, usual: int, quick: int) -> int:
        """One number or the other."""
        return quick if self.quick else usual


@dataclass(frozen=True)
class Way:
    """One way of doing the thing.

    Attributes
    ----------
    name, role
        What it is called, and OWN, PEER or LIMIT.
    run
        Does it once.
    units
        How many units one call does: slices, images, volumes; a program may say it itself, as ``units``.
    compares
        Whether a ratio to it says something: it does the same thing.
    """

    name: str
    role: str
    run: Callable[[], Sample]
    units: float = 1
    compares: bool = True


@dataclass
class Row:
    """What was measured of one way.

    Attributes
    ----------
    name, role, compares
        Of the way.
    seconds
        A unit, one value a round.
    peak_bytes, device_peak_bytes
        The most memory in any round.
    """

    name: str
    role: str
    compares: bool
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    device_peak_bytes: int = 0

    def note(self, sample: Sample, units: float | None) -> None:
        """Add a measurement of so many units; of its memory alone where there are None, as of the first round."""
        self.peak_bytes = max(self.peak_bytes, sample.peak_bytes)
        self.device_peak_bytes = max(self.device_peak_bytes, sample.device_peak_bytes or 0)
        if units is not None:
            self.seconds.append(sample.seconds / units)


@dataclass
class Table:
    """Of one measurement.

    Attributes
    ----------
    title
        What was measured, with its sizes.
    unit
        What is counted; ``s`` for whole commands, whose seconds are shown in place of a rate.
    rows
        The first is compared with the others.
    notes
        Sentences below the table: what was compared, what is missing and how to have it.
    """

    title: str
    unit: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    def ratios(self, row: Row) -> list[float]:
        """How many times as fast the first row is as this one, a value a round."""
        return [other / own for other, own in zip(row.seconds, self.rows[0].seconds, strict=True)]


def measure(
    title: str, unit: str, ways: Sequence[Way], setting: Setting, notes: Sequence[str] = ()
) -> tuple[Table, dict[str, Any]]:
    """Let the ways take turns: A B A B, after a first round that warms up and is not counted.

    A peer that fails is left out, and a note says so.

    Returns
    -------
    Table, dict
        And what each way found the last time, by name.

    Raises
    ------
    Unmeasured
        When a way of this project's fails.
    """
    taking = [(way, Row(way.name, way.role, way.compares)) for way in ways]
    found: dict[str, Any] = {}
    told = list(notes)
    with stage(title.partition(":")[0], setting.rounds + 1, "rounds") as progress:
        for number in range(setting.rounds + 1):
            for way, row in list(taking):
                try:
                    sample = way.run()
                except Unmeasured as failure:
                    if way.role != PEER:
                        raise
                    told.append(failed(way.name, failure))
                    taking.remove((way, row))
                    continue
                found[way.name] = sample.result
                row.note(sample, units_of(way, sample) if number else None)
            progress.advance()
    left = {way.name for way, _ in taking}
    return Table(title, unit, [row for _, row in taking], told), {name: found[name] for name in found if name in left}


def units_of(way: Way, sample: Sample) -> float:
    """How many units a call did: as it says itself, where it does."""
    told = sample.result.get("units") if isinstance(sample.result, dict) else None
    return way.units if told is None else float(told)


def failed(name: str, failure: Unmeasured) -> str:
    """A note on a peer that is there and does not work."""
    return f"{name} failed, and is not measured: {str(failure).strip().splitlines()[-1]}"


class Ways(ExitStack):
    """Collects ways whose programs are ended together; a program that fails is told of, and left out.

    Attributes
    ----------
    all
        Those that can be measured.
    notes
        What could not, and why.
    """

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Way] = []
        self.notes: list[str] = []

    def worker(self, way: tuple[str, str, float], program: tuple[Path | str, str, str], **arguments: Any) -> None:
        """Add a program that is asked again and again.

        Parameters
        ----------
        way
            Name, role and units.
        program
            Interpreter, module and job.
        arguments
            Of the job.

        Raises
        ------
        Unmeasured
            When it is one of ours.
        """
        name, role, units = way
        try:
            run = self.enter_context(Worker(*program, **arguments))
            self.all.append(Way(name, role, run, units, role != OWN))
        except Unmeasured as failure:
            if role != PEER:
                raise
            self.notes.append(failed(name, failure))

    def command(self, way: tuple[str, str, float], run: Callable[[], Sample], *, compares: bool = True) -> None:
        """Add a whole command; `compares` as of a `Way`, and false of those that are this project's own."""
        name, role, units = way
        self.all.append(Way(name, role, run, units, compares and role != OWN))


def median_range(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most."""
    return statistics.median(values), min(values), max(values)
