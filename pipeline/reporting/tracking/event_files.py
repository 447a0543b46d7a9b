"""Event files for TensorBoard, in ``tensorboard/`` of the run's folder; of a fold, in that of the fold's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.reporting.tracking.figures import epoch_figures

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise ImportError(f"tensorboard: {error}") from error

__all__ = ["EventFiles"]


class EventFiles:
    """A `Tracker` that writes event files; they are read by ``tensorboard --logdir RUN``.

    Parameters
    ----------
    folder
        Of the run or of the fold.
    run_name
        Such as ``hipmri/003``.
    config_text
        The resolved config, YAML.
    """

    name = "tensorboard"

    def __init__(self, folder: Path, run_name: str, config_text: str) -> None:
        self._folder, self._run_name, self._config_text = folder / "tensorboard", run_name, config_text
        self._writer: SummaryWriter | None = None
        self._told = 0  # epochs

    def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Begin, or go on after the last epoch but one of the history.

        A process that was killed may not have come to tell the last one. What was told from there on is purged by
        the readers of event files, and told again.
        """
        self._told = max(0, len(history) - 1)
        self._close()
        self._writer = SummaryWriter(str(self._folder), purge_step=self._told + 1 if history else None)
        if not history:
            self._writer.add_text("run", self._run_name)
            self._writer.add_text("config", f"```yaml\n{self._config_text}```")
        self.epochs(history)

    def epochs(self, history: Sequence[Mapping[str, Any]], *, all_now: bool = False) -> None:
        """Write the epochs that have not been written, as scalars whose step is the epoch, from 1."""
        writer = self._open()
        for row in history[self._told :]:
            for name, value in epoch_figures(row).items():
                writer.add_scalar(name, value, row["epoch"])
        self._told = len(history)
        writer.flush()

    def results(self, figures: Mapping[str, float]) -> None:
        """Write the figures of the test cases, as scalars."""
        writer = self._open()
        for name, value in figures.items():
            writer.add_scalar(name, value, self._told)
        writer.flush()

    def fold(self, number: int, folder: Path, config_text: str) -> EventFiles:
        """Event files in the fold's own folder."""
        return EventFiles(folder, f"{self._run_name}, fold {number}", config_text)

    def close(self, *, finished: bool) -> None:
        """End the file."""
        self._close()

    def _open(self) -> SummaryWriter:
        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder))
        return self._writer

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None
