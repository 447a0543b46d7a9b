"""How far a training is, and the learning rate that follows from it."""

from __future__ import annotations

import math
import time

__all__ = ["Clock", "rate_factor"]


class Clock:
    """Seconds spent in training, earlier sessions included."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def start(self, spent: float) -> None:
        """Count from now on, after the seconds that earlier sessions spent."""
        self._began = time.monotonic() - spent

    @property
    def seconds(self) -> float:
        """So far."""
        return time.monotonic() - self._began


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
