"""How far a training is, and the learning rate that follows from it."""

from __future__ import annotations

import math
import signal
import time

from pipeline.training.parallel import ALONE, Ranks
from pipeline.training.signals import StopRequest

__all__ = ["Clock", "rate_factor"]


class Clock:
    """Seconds spent in training, earlier sessions included.

    Parameters
    ----------
    ranks
        Where there are several, all go by the clock of the first, as it was when they last agreed: they have to come to
        the same end.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self._ranks = ranks
        self._began = time.monotonic()
        self._agreed = 0.0

    def start(self, spent: float) -> None:
        """Count from now on, after the seconds that earlier sessions spent."""
        self._began = time.monotonic() - spent
        self._agreed = spent

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self._began if self._ranks.count == 1 else self._agreed

    def agree(self, stop: StopRequest | None = None) -> str | None:
        """Set this clock by the first process, in one message; of all processes.

        Parameters
        ----------
        stop
            The request that came to this process, if any did.

        Returns
        -------
        str or None
            The name of the signal by which any process was asked to stop.
        """
        if self._ranks.count == 1:
            return stop.name if stop else None
        number = signal.Signals[stop.name] if stop and stop.name else 0
        mine = time.monotonic() - self._began if self._ranks.is_first else 0.0
        self._agreed, asked = self._ranks.highest([mine, float(number)])
        return signal.Signals(int(asked)).name if asked else None


def rate_factor(progress: float, schedule: str, warmup: float) -> float:
    """The share of the peak learning rate at a point of the training.

    Parameters
    ----------
    progress
        From 0 (start) to 1 (end).
    schedule
        ``cosine``: half a cosine down to 0; ``polynomial``: (1 - t) ** 0.9; ``constant``.
    warmup
        Share of the training during which the rate rises in a line from a hundredth.

    Returns
    -------
    float
        From 0 to 1.
    """
    if progress < warmup:
        return 0.01 + 0.99 * progress / warmup
    rest = min(1.0, (progress - warmup) / (1 - warmup))
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * rest))
    return 1.0 if schedule == "constant" else float((1 - rest) ** 0.9)
