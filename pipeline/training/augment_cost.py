"""What augmentation sample by sample cost a training, in a sentence for its log and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from transforms.augment import per_sample_note
from transforms.entries import Entry, is_batch_transform, target_name


def sample_by_sample(augment: Sequence[Entry]) -> list[str]:
    """The names of the transforms of a chain that do not take a whole batch, in their order."""
    return [target_name(entry) for entry in augment if not is_batch_transform(entry)]


def per_sample_cost(augment: Sequence[Entry], history: Sequence[Mapping[str, Any]]) -> str | None:
    """What the transforms that run sample by sample took of the training.

    Parameters
    ----------
    augment
        The config's ``transforms.augment``.
    history
        One row an epoch, with `AugmentChain.take_shares` among its columns.

    Returns
    -------
    str or None
        A sentence without a full stop, with the mean over the epochs; None without such transforms, or such columns.
    """
    names = sample_by_sample(augment)
    shares = [row["per_sample_share"] for row in history if "per_sample_share" in row]
    return per_sample_note(names, fmean(shares)) if names and shares else None
