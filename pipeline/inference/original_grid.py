"""From the prepared grid back to the grid of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pipeline.networks.apply import chunks
from transforms.chain import PrepareChain
from transforms.planes import plane_from

__all__ = [
    "highest",
    "inverted",
    "mean_of_views",
    "most_probable",
    "restored_probabilities",
    "spacing_mm",
]

_INVERTED_AT_ONCE = 256  # channels (classes times slices) that go back through the chain together, to bound memory


def spacing_mm(meta: Mapping[str, Any]) -> tuple[float, ...]:
    """Of the file's own axes, from what the reader wrote down of a slice's plane."""
    rows, columns, slices = np.diagonal(np.asarray(meta["original_affine"]))[:3].tolist()
    order = plane_from(meta).order
    if not order:
        return rows, columns
    spacing = dict(zip(order, (slices, rows, columns), strict=True))
    return tuple(spacing[axis] for axis in range(3))


def restored_probabilities(chain: PrepareChain, probabilities: torch.Tensor, prepared: torch.Tensor) -> np.ndarray:
    """(K, ...) float32 on the image file's own axes and grid; 0 for all classes where the chain cut voxels off.

    Parameters
    ----------
    chain, probabilities, prepared
        As for `most_probable`.
    """
    plane = plane_from(prepared.meta)  # type: ignore[attr-defined]
    stack = torch.cat(list(inverted(chain, probabilities, prepared))).numpy().swapaxes(0, 1)
    return np.stack([plane.restore(channel) for channel in stack])


def most_probable(chain: PrepareChain, probabilities: torch.Tensor, prepared: torch.Tensor) -> np.ndarray:
    """Class indices on the original grid: probabilities go back through the chain before the argmax.

    Parameters
    ----------
    chain
        The chain that made `prepared`.
    probabilities
        (S, K, H, W) float32 on the prepared grid.
    prepared
        The prepared image (S, C, H, W), with its trace.

    Returns
    -------
    np.ndarray
        (S, H0, W0) slices, as the reader cut them; uint8, or uint16 for more than 256 classes.
    """
    return np.concatenate([highest(back)[1] for back in inverted(chain, probabilities, prepared)])


def inverted(chain: PrepareChain, probabilities: torch.Tensor, prepared: torch.Tensor) -> Iterator[torch.Tensor]:
    """(S', K, H0, W0) on the original grid, some slices at a time."""
    count, classes = probabilities.shape[:2]
    for part in chunks(count, max(1, _INVERTED_AT_ONCE // classes)):
        values = probabilities[part]
        back = chain.invert(values.flatten(0, 1), prepared)
        yield back.reshape(values.shape[0], classes, *back.shape[1:])


def mean_of_views(
    chains: Sequence[PrepareChain], views: Iterable[tuple[torch.Tensor, torch.Tensor]]
) -> Iterator[torch.Tensor]:
    """The mean of what is said of one volume, cut along several axes, on its original grid.

    Parameters
    ----------
    chains
        One a view.
    views
        Probabilities (S, K, H, W) and the prepared image of each.

    Yields
    ------
    torch.Tensor
        (S', K, H0, W0) float32, slices as the first view cuts them, some at a time. Voxels that the chain cut off in a
        view have the mean of the others; 0 for all classes where it cut them off in all.
    """
    total: np.ndarray | None = None
    for chain, (probabilities, prepared) in zip(chains, views, strict=True):
        whole = restored_probabilities(chain, probabilities, prepared)
        if total is None:
            total, plane = whole, plane_from(prepared.meta)  # type: ignore[attr-defined]
        else:
            total += whole
    assert total is not None
    said = total.sum(axis=0)  # less than one a view where the chain cut voxels off in some of them
    total /= np.where(said > 0, said, 1)
    slices = np.stack([plane.cut(channel) for channel in total], axis=1)
    for part in chunks(len(slices), max(1, _INVERTED_AT_ONCE // slices.shape[1])):
        yield torch.from_numpy(np.ascontiguousarray(slices[part]))


def highest(probabilities: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
    """The highest probability of each pixel (S, H, W), and the class that has it, in the smallest unsigned type."""
    found = probabilities.max(1)  # five times as fast as argmax
    return found.values, found.indices.numpy().astype(np.min_scalar_type(probabilities.shape[1] - 1))
