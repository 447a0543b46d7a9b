"""bin/benchmark --only cache, small: the arrays that are compared are the same, or it stops."""

from __future__ import annotations

from benchmarks.cache import run


def test_it_compares_the_same_slices_and_prints_ratios() -> None:
    out = run(rounds=1, scans=1, slices=2)
    assert "6 slices" in out
    assert out.count("times as fast") == 3
