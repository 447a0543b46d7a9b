"""How long steps show that they are getting on: a bar on a terminal, lines elsewhere, nothing where it is quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pipeline.terminal import columns, is_quiet, say, writing_through

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_DRAWINGS = 0.2
_NAME, _SCREEN = 18, 80  # columns
_LEAST_BAR, _LEAST_CRAMPED_BAR = 12, 4


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
    share
        What part of a budget was used before, where the budget ends the stage; else None.
    """

    def __init__(self, name: str, total: int | None, unit: str, before: int = 0, share: float | None = None) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = self._before = before
        self.share = self._share_before = share
        self.figures: dict[str, str] = {}
        self._lock = threading.Lock()
        self._began = self._told = time.monotonic()
        self._last: tuple[int, str] | None = None  # what the last line told, but for the rate
        self._bar: Any = None
        self._ended = False
        self._while_drawn = ExitStack()
        if sys.stderr.isatty() and not is_quiet():
            self._begin_bar()

    def _begin_bar(self) -> None:
        from tqdm import tqdm

        known = 1 if self.share is not None else self.total
        self._bar = tqdm(
            total=known, initial=self._place(), desc=f"{self.name:<{_NAME}}", leave=True, ncols=columns(sys.stderr),
            bar_format=self._bar_format(),
        )  # fmt: skip
        self._while_drawn.enter_context(writing_through(lambda line: self._bar.write(line, file=sys.stderr)))

    def advance(self, count: int = 1, share: float | None = None, **figures: str) -> None:
        """Count some units as done, with the figures that matter just now, such as ``loss="0.41"``.

        Several threads may count.

        Parameters
        ----------
        count
            Of units.
        share
            Of the budget that is used by now.
        figures
            By their names; an underscore stands for a space.
        """
        with self._lock:
            self.done += count
            self.share = self.share if share is None else min(1.0, share)
            self.figures.update(figures)
            now = time.monotonic()
            if self._bar is not None:
                if now - self._told >= _SECONDS_BETWEEN_DRAWINGS:
                    self._told = now
                    self._draw()
            elif now - self._told >= _SECONDS_BETWEEN_LINES:
                self._told = now
                self._line()

    # The bar

    def _place(self) -> float:
        return self.done if self.share is None else self.share

    def _draw(self) -> None:
        self._bar.ncols = columns(sys.stderr)  # it may have been made wider or narrower
        self._bar.n, self._bar.bar_format = self._place(), self._bar_format()
        self._bar.refresh()

    def _bar_format(self) -> str:
        """Name, share, bar, count, rate, time left, and the last of the figures, as many as there is room for."""
        wide = columns(sys.stderr) or _SCREEN
        bar = max(_LEAST_BAR, (wide - 60) // 2)
        room = wide - max(_NAME, len(self.name)) - len(" 100%|| ")
        figures = list(self.figures.items())
        while True:
            tail = ", ".join([*self._facts(bool(figures)), *(f"{name} {value}" for name, value in _spaced(figures))])
            if len(tail) + bar <= room or not figures:
                break
            del figures[0]
        bar = max(_LEAST_CRAMPED_BAR, min(bar, room - len(tail)))
        bounded = self.share is not None or bool(self.total)
        head = f"{{desc}} {{percentage:3.0f}}%|{{bar:{bar}}}| " if bounded else "{desc} "
        return head + tail.replace("{", "{{").replace("}", "}}")

    def _facts(self, with_figures: bool) -> list[str]:
        """What is done, how fast, and how long it will still take, or took."""
        seconds = max(1e-9, time.monotonic() - self._began)
        rate = (self.done - self._before) / seconds
        if self.total and not with_figures:
            facts = [f"{self.done}/{self.total} {self.unit}", f"{_shown(rate)}/s"]
        elif self.share is not None or self.total:
            facts = [f"{_shown(rate)} {self.unit}/s"]
        else:
            facts = [f"{self.done} {self.unit}", f"{_shown(rate)}/s"]
        if self._ended:
            return [*facts, f"took {_clock(seconds)}"]
        left = self._seconds_left(seconds)
        return facts if left is None else [*facts, f"{_clock(left)} left"]

    def _seconds_left(self, seconds: float) -> float | None:
        """As long as it will take at the pace so far; None where that is not known."""
        if self.share is not None and self._share_before is not None:
            made, left = self.share - self._share_before, 1 - self.share
        else:
            made, left = self.done - self._before, (self.total or 0) - self.done
        return seconds * left / made if made > 0 and left >= 0 and (self.total or self.share is not None) else None

    # Lines

    def _line(self) -> None:
        seconds = max(1e-9, time.monotonic() - self._began)
        counted = f"{self.done}/{self.total}" if self.total else f"{self.done}"
        used = "" if self.share is None else f"{self.share:.0%} of the budget, "
        figures = self._figures_text()
        self._last = self.done, figures
        rate = _shown((self.done - self._before) / seconds)
        say(f"{self.name}: {used}{counted} {self.unit}, {rate} {self.unit}/s{figures}")

    def _figures_text(self) -> str:
        return "".join(f", {name} {value}" for name, value in _spaced(list(self.figures.items())))

    def write(self, line: str) -> None:
        """Print a line without breaking the bar."""
        say(line)

    def close(self) -> None:
        """End the bar, or say in a last line how it went, where no line has said it."""
        if self._bar is not None:
            self._ended = True
            self._draw()
            self._bar.close()
            self._while_drawn.close()
        elif self.done and self._last != (self.done, self._figures_text()):
            self._line()


def _spaced(figures: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), value) for name, value in figures]


def _shown(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _clock(seconds: float) -> str:
    """Seconds as minutes and seconds, with hours where there are any.

    >>> _clock(4.4), _clock(83), _clock(3725)
    ('0:04', '1:23', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def stage(name: str, total: int | None, unit: str, before: int = 0, share: float | None = None) -> Iterator[Progress]:
    """A stage with a bar (on a terminal) or with a line every ten seconds and one at its end."""
    progress = Progress(name, total, unit, before, share)
    try:
        yield progress
    finally:
        progress.close()
