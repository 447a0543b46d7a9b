"""Several opinions on a slice, of its mirror images and of several networks: their mean, and how far they agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, combinations

import numpy as np
import torch
from torch import nn

from pipeline.config.prediction import checked_mirror, mirror_axes, mirrored_in_training
from pipeline.networks.apply import WindowSettings, slice_logits

__all__ = [
    "agreement", "checked_mirror", "mean_probabilities", "mirror_axes", "mirrored_in_training", "overlaps", "views",
]  # fmt: skip

_EXACT_IN_FLOAT32 = 2**24  # whole numbers up to this
_OF_A_BATCH = 2  # (B, C, H, W): the axes of a slice come after two others


def views(mirror: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of axes to mirror along, none of them first.

    >>> views([0, 1])
    [(), (0,), (1,), (0, 1)]
    """
    axes = sorted(set(mirror))
    return list(chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1)))


@torch.inference_mode()
def mean_probabilities(
    networks: Sequence[nn.Module], images: torch.Tensor, settings: WindowSettings, mirror: Sequence[int] = (),
    *, compare: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
    """The mean of the softmax probabilities of all networks on all mirror images, each mirrored back.

    Parameters
    ----------
    networks
        At least one, in evaluation mode; (B, C, h, w) to logits (B, K, h, w).
    images
        (B, C, H, W) float32, on the networks' device.
    settings
        How slices are passed through a network.
    mirror
        Axes of a slice: 0 rows, 1 columns.
    compare
        Whether the members are compared, too.

    Returns
    -------
    torch.Tensor, torch.Tensor or None
        (B, K, H, W) float32 on the device; the `overlaps` of the M members (networks times views) on the CPU, where
        they are compared and there are several.
    """
    several = len(networks) * len(views(mirror)) > 1
    total, labels = None, []
    for member in _members(networks, images, settings, mirror):
        if compare and several:
            labels.append(member.max(1).indices)
        total = member if total is None else total.add_(member)
    assert total is not None
    mean = total.div_(len(networks) * len(views(mirror))) if several else total
    return mean, overlaps(torch.stack(labels), mean.shape[1]) if labels else None


def _members(
    networks: Sequence[nn.Module], images: torch.Tensor, settings: WindowSettings, mirror: Sequence[int]
) -> Iterator[torch.Tensor]:
    for axes in views(mirror):
        places = [axis + _OF_A_BATCH for axis in axes]
        seen = images.flip(places).contiguous(memory_format=torch.channels_last) if axes else images
        for network in networks:
            found = slice_logits(network, seen, settings).softmax(1)
            yield found.flip(places) if axes else found


def overlaps(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """How many pixels each two members give to the same class.

    Parameters
    ----------
    labels
        (M, B, H, W) class indices of M members.
    classes
        K, how many there are.

    Returns
    -------
    torch.Tensor
        (B, K, M, M) int64 on the CPU; the diagonal holds how many each member gives to the class.
    """
    members, count = labels.shape[:2]
    flat = labels.reshape(members, count, -1).transpose(0, 1)
    dtype = torch.float32 if flat.shape[2] <= _EXACT_IN_FLOAT32 else torch.float64
    found = []
    for index in range(classes):
        hot = (flat == index).to(dtype)
        found.append(hot @ hot.mT)
    return torch.stack(found, 1).round().long().cpu()


def agreement(shared: np.ndarray) -> np.ndarray:
    """Mean Dice of each two members, by class.

    Parameters
    ----------
    shared
        (K, M, M), the `overlaps` of all slices of a case, added up.

    Returns
    -------
    np.ndarray
        (K,) float64 from 0 to 1; NaN where no member has the class. Two of which neither has it do not count.
    """
    sizes = np.diagonal(shared, axis1=1, axis2=2)
    one, other = np.triu_indices(shared.shape[1], 1)
    both = sizes[:, one] + sizes[:, other]
    dice = np.divide(2 * shared[:, one, other], both, out=np.zeros(both.shape), where=both > 0)
    counted = (both > 0).sum(axis=1)
    return np.divide(dice.sum(axis=1), counted, out=np.full(len(counted), np.nan), where=counted > 0)
