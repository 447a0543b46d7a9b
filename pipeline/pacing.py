"""Keeps what is done beside a training, such as drawing, to a small share of its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Allowance"]


class Allowance:
    """A share of the time that passes, to be spent on something beside.

    What is done takes as long as it takes, so it is done the more seldom, the longer it takes: once in 100 times its
    own duration, where the share is 0.01.

    Parameters
    ----------
    expected_s
        How long it will take for the first time, as far as one can know.
    share
        Of the time since this was made.
    """

    def __init__(self, expected_s: float, share: float = 0.01) -> None:
        self.share = share
        self.spent_s = 0.0
        self._expected_s = expected_s
        self._began = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it can be done once more, as slowly as the last time, within the share."""
        return self.spent_s + self._expected_s <= self.share * (time.monotonic() - self._began)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Note how long it takes."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._expected_s = time.monotonic() - began
            self.spent_s += self._expected_s
