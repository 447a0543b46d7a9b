"""What is counted: files that are opened and renamed, and waits for a device."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_LISTENERS: list[Callable[[str, tuple[Any, ...]], None]] = []


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    for listener in _LISTENERS:
        listener(event, arguments)


sys.addaudithook(_hear)  # Python itself calls it, whoever opens a file; it cannot be taken away again


class FileCounts:
    """Files below a folder: how often each was opened, and how often another was renamed to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = f"{folder}/"
        self.opened: Counter[str] = Counter()
        self.renamed: Counter[str] = Counter()

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an event of Python's."""
        if event == "open":
            self._note(self.opened, arguments[0])
        elif event == "os.rename":
            self._note(self.renamed, arguments[1])

    def _note(self, counts: Counter[str], path: object) -> None:
        if isinstance(path, str | Path) and str(path).startswith(self.folder):
            counts[str(path).removeprefix(self.folder)] += 1


@pytest.fixture
def file_counts() -> Callable[[Path], Any]:
    """A context in which the files below a folder are counted."""

    @contextmanager
    def counting(folder: Path) -> Iterator[FileCounts]:
        counts = FileCounts(folder)
        _LISTENERS.append(counts.hear)
        try:
            yield counts
        finally:
            _LISTENERS.remove(counts.hear)

    return counting
