"""How long steps show that they are getting on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SECONDS_BETWEEN_LINES = 10.0
_BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining},{rate_fmt}{postfix}]"


class Progress:
    """One stage's progress; made by `stage`.

    Parameters
    ----------
    name
        What is being done, such as ``read``.
    total
        How many units there are, or None where that is not known.
    unit
        What is counted, such as ``slices``.
    before
        Units that were done before, which count in the total and not in the rate.
    """

    def __init__(self, name: str, total: int | None, unit: str, before: int = 0) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = self._before = before
        self.figures: dict[str, str] = {}
        self._lock = threading.Lock()
        self._began = self._told = time.monotonic()
        self._last: tuple[int, str] | None = None  # what the last line told, but for the rate
        self._bar: Any = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=before, desc=f"{name:<18}", unit=f" {unit}", dynamic_ncols=True, leave=True,
                mininterval=0.2, bar_format=_BAR if total else None,
            )  # fmt: skip

    def advance(self, count: int = 1, **figures: str) -> None:
        """Count some units as done, with the figures that matter just now, such as ``loss="0.41"``.

        Several threads may count.
        """
        with self._lock:
            self.done += count
            self.figures.update(figures)
            if self._bar is not None:
                if figures:
                    self._bar.set_postfix(self.figures, refresh=False)
                self._bar.update(count)
            elif time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
                self._told = time.monotonic()
                self._line()

    def _line(self) -> None:
        seconds = max(1e-9, time.monotonic() - self._began)
        share = f"{self.done}/{self.total}" if self.total else f"{self.done}"
        figures = self._figures_text()
        self._last = self.done, figures
        rate = (self.done - self._before) / seconds
        shown = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
        print(f"{self.name}: {share} {self.unit}, {shown} {self.unit}/s{figures}", file=sys.stderr, flush=True)

    def _figures_text(self) -> str:
        return "".join(f", {name} {value}" for name, value in self.figures.items())

    def write(self, line: str) -> None:
        """Print a line without breaking the bar."""
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr)

    def close(self) -> None:
        """End the bar, or say in a last line how it went, where no line has said it."""
        if self._bar is not None:
            self._bar.close()
        elif self.done and self._last != (self.done, self._figures_text()):
            self._line()


@contextmanager
def stage(name: str, total: int | None, unit: str, before: int = 0) -> Iterator[Progress]:
    """A stage with a bar (on a terminal) or with a line every ten seconds and one at its end."""
    progress = Progress(name, total, unit, before)
    try:
        yield progress
    finally:
        progress.close()
