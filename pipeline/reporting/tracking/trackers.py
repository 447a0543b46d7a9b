"""The trackers that a run tells how it goes, and what happens when one of them fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

__all__ = ["NO_TRACKERS", "Tracker", "Trackers"]


class Tracker(Protocol):
    """What is told how a training goes: that of a run, or of one fold.

    Attributes
    ----------
    name
        As in the config.
    """

    name: str

    def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Go on after some epochs, or begin where there are none. May be left out where only results are told."""

    def epochs(self, history: Sequence[Mapping[str, Any]], *, all_now: bool = False) -> None:
        """Tell the epochs that have not been told; a tracker may let some gather, unless it is to tell all now."""

    def results(self, figures: Mapping[str, float]) -> None:
        """Tell the figures of the test cases."""

    def fold(self, number: int, folder: Path, config_text: str) -> Tracker:
        """One for a fold of the run."""

    def close(self, *, finished: bool) -> None:
        """End; `finished` says whether the run came to its end."""


class Trackers:
    """All trackers of a run or of a fold. One that fails is told once, and left out from then on.

    Parameters
    ----------
    trackers
        To be told.
    say
        Takes what is wrong with one, in a sentence.
    """

    def __init__(self, trackers: Sequence[Tracker] = (), say: Callable[[str], None] = print) -> None:
        self._trackers, self._say = list(trackers), say
        self._folds: list[Trackers] = []

    def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        """See `Tracker.begin`."""
        self._each(lambda tracker: tracker.begin(history))

    def epochs(self, history: Sequence[Mapping[str, Any]], *, all_now: bool = False) -> None:
        """See `Tracker.epochs`."""
        self._each(lambda tracker: tracker.epochs(history, all_now=all_now))

    def results(self, figures: Mapping[str, float]) -> None:
        """See `Tracker.results`."""
        self._each(lambda tracker: tracker.results(figures))

    def fold(self, number: int, folder: Path, config_text: str) -> Trackers:
        """Those of a fold."""
        of_fold: list[Tracker] = []
        self._each(lambda tracker: of_fold.append(tracker.fold(number, folder, config_text)))
        self._folds.append(Trackers(of_fold, self._say))
        return self._folds[-1]

    def close(self, *, finished: bool) -> None:
        """See `Tracker.close`; those of the folds are closed as well."""
        for fold in self._folds:
            fold.close(finished=finished)
        self._each(lambda tracker: tracker.close(finished=finished))

    def _each(self, tell: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as error:  # of a library or a server; whatever it is, it is not worth a training
                self._trackers.remove(tracker)
                words = " ".join(str(error).split())
                self._say(f"warning: {tracker.name} is told no more ({type(error).__name__}: {words:.300}); "
                          "the run goes on without it")  # fmt: skip


NO_TRACKERS = Trackers()
