"""The fine structure: neither flat parts nor slopes are any, and edges are cut off."""

from __future__ import annotations

import numpy as np

from pipeline.data.leakage.structure import fine_structure, limited


def test_structures_are_limited_by_hand() -> None:
    """Both show something in the first three places, where the median sizes are 3 and 2."""
    one, other = limited(np.array([1.0, -5.0, 3.0, 4.0, 0.0]), np.array([2.0, 2.0, -8.0, 0.0, 7.0]))
    assert one.tolist() == [1, -3, 3, 0, 0]
    assert other.tolist() == [2, 2, -2, 0, 0]
    alone, blank = limited(np.ones(3), np.zeros(3))
    assert not alone.any() and not blank.any()


def test_what_is_flat_or_slopes_has_none() -> None:
    assert not fine_structure(np.full((30, 30), 12345.678)).any()
    slope = fine_structure(np.add.outer(np.arange(80), np.zeros(80)))
    np.testing.assert_allclose(slope[20:-20], 0, atol=1e-4)
    edge = fine_structure(np.repeat([0, 100], 40)[:, None] * np.ones(80))
    assert np.abs(edge).max() > 20 and edge.dtype == np.float32
