"""What is done beside a training keeps to its share of the time."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from pipeline import pacing
from pipeline.pacing import Allowance


@pytest.mark.parametrize("takes_s", [0.01, 0.4, 3.0])
def test_never_more_than_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch, takes_s: float) -> None:
    clock = SimpleNamespace(now=7.0)
    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    allowance, times = Allowance(takes_s), []
    for _ in range(10_000):
        clock.now += 0.25  # an epoch
        if allowance.is_due:
            with allowance.spending():
                clock.now += takes_s
            times.append(clock.now)
            assert allowance.spent_s == pytest.approx(len(times) * takes_s)
            assert allowance.spent_s <= 0.01 * (clock.now - 7.0)
    assert len(times) >= 0.8 * min(0.01 * (clock.now - 7.0) / takes_s, 10_000), "the allowance is made use of"
    assert all(later - sooner >= min(100 * takes_s, 0.25) for sooner, later in itertools.pairwise(times))


def test_what_took_longer_than_expected_waits_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: clock.now))
    allowance = Allowance(0.1)
    clock.now = 10.0
    assert allowance.is_due
    with pytest.raises(ZeroDivisionError), allowance.spending():
        clock.now += 5
        raise ZeroDivisionError
    clock.now = 999.0  # 5 s were spent, and 5 s are expected: due at 1000 s
    assert not allowance.is_due
    clock.now = 1000.0
    assert allowance.is_due
