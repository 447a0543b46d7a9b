"""What is shown of a training while it goes on: its history, its curves, and the trackers that are told of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.commands.dataset import Dataset
from pipeline.reporting.live import LiveCurves
from pipeline.reporting.tracking.trackers import NO_TRACKERS, Trackers
from pipeline.runs import RunLog, write_text
from pipeline.training.state import TrainingState, learning_caution

__all__ = ["Watch", "write_history"]


class Watch:
    """Shows a training; of several processes, in the first one alone.

    Parameters
    ----------
    dataset
        That is trained on.
    folder
        Of the run or of the fold.
    log
        Is told, once, of what cannot be shown, and in the end of a training that grew no better.
    trackers
        That were asked for.
    """

    def __init__(self, dataset: Dataset, folder: Path, log: RunLog, trackers: Trackers = NO_TRACKERS) -> None:
        self.folder, self.log, self.trackers = folder, log, trackers
        classes = dataset.config.settings.data.classes
        self.curves = LiveCurves(dataset.name, classes, folder / "plots", log.say, synthetic=dataset.synthetic)

    def begin(self, state: TrainingState) -> None:
        """Tell the trackers that a training begins, or goes on."""
        self.trackers.begin(state.history)

    def epoch(self, state: TrainingState) -> None:
        """Show an epoch that has just been finished, and saved."""
        write_history(self.folder, state.history)
        self.curves.epoch(state.history, state.best_epoch)
        self.trackers.epochs(state.history)

    def end(self, state: TrainingState) -> None:
        """Show what came of it."""
        write_history(self.folder, state.history)
        self.curves.end(state.history, state.best_epoch)
        self.trackers.epochs(state.history, all_now=True)
        if caution := learning_caution(state):
            self.log.say(f"warning: {caution}")


def write_history(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """``history.csv``: one row an epoch."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(folder / "history.csv", text.getvalue())
