"""A tracker that fails is said once, and costs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.reporting.tracking.trackers import NO_TRACKERS, Trackers


class Noted:
    """Notes what it is told; fails at what it is to fail at."""

    def __init__(self, name: str, fails_at: str = "") -> None:
        self.name, self.fails_at, self.told = name, fails_at, [""][:0]
        self.folds: list[Noted] = []

    def _note(self, what: str) -> None:
        if what.split(" ")[0] == self.fails_at:
            raise ConnectionError("the server\nhas gone")
        self.told.append(what)

    def begin(self, history: Sequence[Mapping[str, Any]]) -> None:
        self._note(f"begin {len(history)}")

    def epochs(self, history: Sequence[Mapping[str, Any]], *, all_now: bool = False) -> None:
        self._note(f"epochs {len(history)}{' now' if all_now else ''}")

    def results(self, figures: Mapping[str, float]) -> None:
        self._note(f"results {dict(figures)}")

    def fold(self, number: int, folder: Path, config_text: str) -> Noted:
        self._note(f"fold {number}")
        self.folds.append(Noted(f"{self.name} of fold {number}", self.fails_at))
        return self.folds[-1]

    def close(self, *, finished: bool) -> None:
        self._note(f"close {finished}")


def told_everything(trackers: Trackers) -> None:
    trackers.begin([])
    trackers.epochs([{}])
    trackers.epochs([{}, {}], all_now=True)
    trackers.results({"a": 1.0})
    trackers.close(finished=True)


def test_one_that_fails_is_said_once_and_the_other_is_told_on() -> None:
    said: list[str] = []
    good, bad = Noted("good"), Noted("bad", "epochs")
    told_everything(Trackers([bad, good], said.append))
    assert good.told == ["begin 0", "epochs 1", "epochs 2 now", "results {'a': 1.0}", "close True"]
    assert bad.told == ["begin 0"], "it is left alone after that"
    assert said == ["warning: bad is told no more (ConnectionError: the server has gone); the run goes on without it"]


def test_folds_are_closed_with_their_run(tmp_path: Path) -> None:
    run = Noted("run")
    trackers = Trackers([run], print)
    trackers.fold(0, tmp_path, "").begin([])
    trackers.close(finished=False)
    assert run.folds[0].told == ["begin 0", "close False"]
    assert run.told == ["fold 0", "close False"]


def test_none_at_all() -> None:
    told_everything(NO_TRACKERS)
