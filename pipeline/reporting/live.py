"""The curves of a training that goes on, drawn anew now and then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.pacing import Allowance
from pipeline.reporting.content import TrainingContent
from pipeline.runs import write_bytes

__all__ = ["LiveCurves"]

_FIRST_TAKES_S = 1.0  # on a slow machine; so the first drawing comes after 100 s


class LiveCurves:
    """Keeps ``loss_plot.png`` up to date, for at most a hundredth of the training's time.

    Parameters
    ----------
    name, classes, synthetic
        Of the run, as in `TrainingContent`.
    folder
        Of the plot; made where it is missing.
    say
        Is told, once, when it cannot be drawn. The training goes on without it.
    allowance
        When to draw.
    """

    def __init__(
        self, name: str, classes: Sequence[str], folder: Path, say: Callable[[str], None], *, synthetic: bool,
        allowance: Allowance | None = None,
    ) -> None:  # fmt: skip
        self.name, self.classes, self.synthetic = name, tuple(classes), synthetic
        self.path = folder / "loss_plot.png"
        self._say = say
        self._allowance = Allowance(_FIRST_TAKES_S) if allowance is None else allowance
        self._failed = False

    def epoch(self, history: Sequence[dict[str, Any]], best_epoch: int) -> None:
        """Draw, where the last epoch was validated and the time for it has come."""
        if "validation_dice" in history[-1] and self._allowance.is_due:
            self._draw(history, best_epoch, running=True)

    def end(self, history: Sequence[dict[str, Any]], best_epoch: int) -> None:
        """Draw the whole training."""
        self._draw(history, best_epoch, running=False)

    def _draw(self, history: Sequence[dict[str, Any]], best_epoch: int, *, running: bool) -> None:
        if self._failed:
            return
        content = TrainingContent(self.name, self.classes, self.synthetic, list(history), best_epoch, running)
        try:
            import pipeline.reporting.curves  # noqa: F401 - once, and slow: it is no part of what a drawing takes

            with self._allowance.spending():
                self.path.parent.mkdir(exist_ok=True)
                write_bytes(self.path, drawn(content))
        except Exception as error:  # whatever it is, a plot is not worth a training
            self._failed = True
            self._say(f"warning: the curves cannot be drawn while it trains ({type(error).__name__}: {error})")


def drawn(content: TrainingContent) -> bytes:
    """The curves as PNG."""
    # Matplotlib takes a while to import: no first step waits for a drawing.
    from pipeline.reporting.curves import training_figure
    from pipeline.reporting.sheets import png

    return png(training_figure(content))
