"""An ablation while it runs: which cells are done, and its files, which are written anew after each of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.commands.ablation_plan import PlannedCell, is_done, is_trained
from pipeline.commands.ablation_run import CHECKOUT, Ended, Listener, run_command, validation_command
from pipeline.config.grid import SEED, Axis
from pipeline.errors import EXIT_DEFECT, EXIT_DONE, EXIT_INTERRUPTED, EXIT_USER
from pipeline.evaluation.ablation_cells import read_cell
from pipeline.evaluation.ablation_result import DONE, FAILED, OPEN, STOPPED, Ablation, CellOutcome
from pipeline.reporting.ablation_files import ablation_csv, ablation_markdown
from pipeline.reporting.ablation_table import ablation_table
from pipeline.reporting.wording import duration, rate
from pipeline.runs import write_text

__all__ = ["Grid"]


class Grid:
    """The cells of an ablation, run one after the other.

    Parameters
    ----------
    config
        As it was named on the command line.
    planned
        The cells, their configs checked.
    axes
        What is varied.
    folder
        Of the ablation.
    command
        That makes it, for its tables.
    allow_stand_in
        Whether a phantom may stand in for missing data.

    Attributes
    ----------
    stopped_by
        The signal that ended it; empty where none did.
    """

    def __init__(
        self, config: str, planned: Sequence[PlannedCell], axes: Sequence[Axis], folder: Path, command: str,
        *, allow_stand_in: bool,
    ) -> None:  # fmt: skip
        self.config, self.planned, self.folder = config, planned, folder
        self.allow_stand_in = allow_stand_in
        self.stopped_by = ""
        cells = [self._outcome(one) for one in planned]
        varied = ", ".join(axis.key for axis in axes)
        name = planned[0].dataset_name
        remarks = []
        if any(one.budget for one in planned):
            remarks.append("The training had a budget of time: the numbers of steps follow from the machine, too.")
        self.ablation = Ablation(f"{name}: {varied} varied", command, tuple(cells), tuple(remarks))
        self._listener = Listener()

    def _outcome(self, one: PlannedCell) -> CellOutcome:
        """A cell as it stands in the folder."""
        cell, folder = one.cell, self.folder / one.cell.name
        open_cell = CellOutcome(cell.name, cell.variant, cell.choices, dict(cell.choices).get(SEED, ""))
        if is_done(folder):
            return replace(open_cell, state=DONE, finished=read_cell(folder))
        return open_cell

    def table(self) -> str:
        """For the terminal."""
        return ablation_table(self.ablation)

    def run(self) -> int:
        """Run every cell that is not done; returns the exit code of the whole.

        A cell that is refused does not keep the others from being run; a signal does.
        """
        codes = {EXIT_DONE}
        self._write()
        with self._listener.listening():
            for number, one in enumerate(self.planned):
                if self.ablation.cells[number].state == DONE:
                    continue
                if self._listener.asked:
                    codes.add(EXIT_INTERRUPTED)
                    break
                ended = self._run_cell(number, one)
                codes.add(ended.code)
                if ended.code == EXIT_INTERRUPTED:
                    break
        if EXIT_INTERRUPTED in codes:
            self.stopped_by = self._listener.asked or "a signal to the run"
        worst = (EXIT_INTERRUPTED, EXIT_DEFECT, EXIT_USER, EXIT_DONE)
        return next(code for code in worst if code in codes)

    def _run_cell(self, number: int, one: PlannedCell) -> Ended:
        began = time.monotonic()
        print(f"\n== {number + 1} of {len(self.planned)}: {one.cell.name}", file=sys.stderr, flush=True)
        ended = self._both_steps(one)
        states = {EXIT_DONE: DONE, EXIT_INTERRUPTED: STOPPED}
        before = self.ablation.cells[number]
        cell = replace(before, state=states.get(ended.code, FAILED), reason=ended.reason)
        if ended.code == EXIT_DONE:
            cell = replace(self._outcome(one), reason="")
        cells = self.ablation.cells
        self.ablation = replace(self.ablation, cells=(*cells[:number], cell, *cells[number + 1 :]))
        self._write()
        print(f"== {_told(cell)}, {duration(time.monotonic() - began)}", file=sys.stderr, flush=True)
        return ended

    def _both_steps(self, one: PlannedCell) -> Ended:
        """The run, then its validation cases; what was done before is not done again."""
        folder = self.folder / one.cell.name
        if not is_trained(folder):
            arguments = run_command(
                self.config, one.cell.overrides, folder, resume=folder.is_dir(), allow_stand_in=self.allow_stand_in
            )  # fmt: skip
            ended = self._listener.run([sys.executable, str(CHECKOUT / "bin" / "run_pipeline"), *arguments])
            if ended.code != EXIT_DONE:
                return ended
            if self._listener.asked:
                return Ended(EXIT_INTERRUPTED, self._listener.asked)
        return self._listener.run(validation_command(folder))

    def _write(self) -> None:
        """The tables, as far as the ablation has come."""
        from pipeline.reporting.ablation_page import ablation_page

        write_text(self.folder / "ablation.csv", ablation_csv(self.ablation))
        write_text(self.folder / "ablation.md", ablation_markdown(self.ablation))
        write_text(self.folder / "ablation.html", ablation_page(self.ablation))


def _told(cell: CellOutcome) -> str:
    """A cell in a line."""
    if cell.finished is None:
        return f"{cell.state}: {cell.reason}" if cell.state != OPEN else cell.state
    test = cell.finished.summary["levels"]["scan"]["foreground"]["dice"]["mean"]
    return f"done: validation Dice {rate(cell.finished.validation_dice)}, test Dice {rate(test)}"
