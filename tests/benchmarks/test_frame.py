"""Ways take turns; a peer that fails is told of, and one of ours is not passed over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.frame import OWN, PEER, Setting, Way, measure
from benchmarks.peers_found import Peers
from benchmarks.workers import Sample, Unmeasured


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(3, True, Peers({}, {}, (), tmp_path / "python"), tmp_path)


def counted(calls: list[str], name: str, result: Any = None) -> Callable[[], Sample]:
    """A way that takes as many seconds as calls were made before it."""

    def run() -> Sample:
        calls.append(name)
        return Sample(float(len(calls)), 100 * len(calls), None, result)

    return run


def test_ways_take_turns_and_the_first_round_is_not_counted(setting: Setting) -> None:
    calls: list[str] = []
    ways = [Way("a", OWN, counted(calls, "a"), 2), Way("b", PEER, counted(calls, "b", {"units": 4}))]
    table, found = measure("t", "images", ways, setting, ["said"])
    assert calls == ["a", "b"] * 4
    assert table.rows[0].seconds == [3 / 2, 5 / 2, 7 / 2]
    assert table.rows[1].seconds == [4 / 4, 6 / 4, 8 / 4], "a program says itself how many units it did"
    assert table.rows[1].peak_bytes == 800
    assert table.notes == ["said"] and found == {"a": None, "b": {"units": 4}}


def test_a_peer_that_fails_is_told_of_and_left_out(setting: Setting) -> None:
    def fails() -> Sample:
        raise Unmeasured("Traceback\n  somewhere\nValueError: no such thing")

    calls: list[str] = []
    table, found = measure("t", "s", [Way("a", OWN, counted(calls, "a")), Way("b", PEER, fails)], setting)
    assert [row.name for row in table.rows] == ["a"] and list(found) == ["a"]
    assert table.notes == ["b failed, and is not measured: ValueError: no such thing"]
    with pytest.raises(Unmeasured):
        measure("t", "s", [Way("a", OWN, fails)], setting)
