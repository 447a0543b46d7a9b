"""Distances between points: both ways, against each other and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.evaluation import point_pairs as module
from pipeline.evaluation.point_pairs import are_few, between_points, tree_cost


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("pairs", [0, 10**9])
def test_both_ways_give_brute_force(monkeypatch: pytest.MonkeyPatch, rank: int, pairs: int) -> None:
    """By the tree and, in one chunk or in several, by pairs."""
    rng = np.random.default_rng(rank)
    points, targets = rng.integers(0, 90, (rank, 57)), rng.integers(40, 200, (rank, 31))
    spacing = (0.7, 3.1, 1.0)[:rank]
    expected = [
        min(
            math.hypot(*((a - b) * one for a, b, one in zip(point, target, spacing, strict=True)))
            for target in targets.T
        )
        for point in points.T
    ]
    monkeypatch.setattr(module, "_PAIRS", pairs)
    for chunk in (1, 100, 1 << 16):
        monkeypatch.setattr(module, "_CHUNK", chunk)
        np.testing.assert_allclose(between_points(points, targets, spacing), expected, rtol=1e-12)


def test_the_way_goes_by_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    monkeypatch.setattr(module, "_by_pairs", lambda *_: taken.append("pairs"))
    monkeypatch.setattr(module, "_by_tree", lambda *_: taken.append("tree"))
    for n_points, n_targets in ((10, 10), (10**5, 3), (10**5, 100)):
        between_points(np.zeros((3, n_points)), np.zeros((3, n_targets)), (1.0, 1.0, 1.0))
    assert taken == ["pairs", "pairs", "tree"]
    assert are_few(10, 10) and are_few(10**6, 3) and are_few(100, 5000) and not are_few(10**5, 10**3)
    assert tree_cost(0, 10) < tree_cost(10, 10) < tree_cost(10, 20)
