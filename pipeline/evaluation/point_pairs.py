"""Distances from points to the nearest of others, each with each or by a k-d tree: no grid, any distance."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["are_few", "between_points", "tree_cost"]

_PAIRS, _TARGETS = 60_000, 16  # up to which pairs, or targets, each point is held against each target
_COST = 500_000.0  # of a tree: below this, what is done once for a whole grid takes longer
_CHUNK = 1 << 16  # pairs taken together
_LEAF = 32  # targets that the tree does not split further
# What the tree costs, in looks at one place in memory, as measured on volumes of 256 x 256 x 128, rounded.
_TREE_TARGET, _TREE_QUERY = 50, 60  # the second for each doubling of the targets


def tree_cost(n_points: int, n_targets: int) -> float:
    """How much work a tree is, in looks at one place in memory."""
    return _TREE_TARGET * n_targets + _TREE_QUERY * math.log2(n_targets + 1) * n_points


def are_few(n_points: int, n_targets: int) -> bool:
    """Whether nothing is quicker than `between_points`."""
    return _pairs_are_few(n_points, n_targets) or tree_cost(n_points, n_targets) <= _COST


def between_points(points: np.ndarray, targets: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """How far each point lies from the target that is nearest to it.

    Parameters
    ----------
    points, targets
        (rank, N) and (rank, M), in voxels; at least one target.
    spacing
        Along each axis, above 0.

    Returns
    -------
    numpy.ndarray
        (N,) float64, in the unit of the spacing.
    """
    own, other = (side * np.array(spacing)[:, np.newaxis] for side in (points, targets))
    return (_by_pairs if _pairs_are_few(own.shape[1], other.shape[1]) else _by_tree)(own, other)


def _pairs_are_few(n_points: int, n_targets: int) -> bool:
    return n_targets <= _TARGETS or n_points * n_targets <= _PAIRS


def _by_pairs(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    found = np.empty(points.shape[1])
    step = max(1, _CHUNK // targets.shape[1])
    for start in range(0, len(found), step):
        squares = np.zeros((1, 1))
        for own, other in zip(points[:, start : start + step, np.newaxis], targets, strict=True):
            squares = squares + np.square(own - other)
        found[start : start + step] = squares.min(axis=1)
    return np.sqrt(found)


def _by_tree(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    from scipy.spatial import cKDTree

    # Points of a grid are spread evenly enough: sorting them to split at medians costs more than it saves.
    tree = cKDTree(targets.T, leafsize=_LEAF, balanced_tree=False, compact_nodes=False)
    distances: np.ndarray = tree.query(points.T)[0]
    return distances
