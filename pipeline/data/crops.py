"""Whether a prepare chain cuts off what is to be found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.errors import DataError
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions, read_label
from transforms.planes import plane_from
from transforms.plugins import PluginTarget

_MOST_TOLD = 5


def crop_faults(
    chain: PrepareChain,
    cases: Sequence[Case],
    facts: Mapping[str, CaseFacts],
    options: ReadOptions,
    prepared: Callable[[int], Any],
) -> list[DataError]:
    """A fault for each case with labelled voxels that the chain cuts off: they could never be predicted.

    Parameters
    ----------
    chain
        The prepare chain.
    cases
        With labels.
    facts
        By case id. What a chain keeps of a file depends on the size of its slices, its spacing and orientation alone,
        unless it crops to the foreground, as a plugin may: such a grid that is kept whole is tried once.
    options
        How files are read.
    prepared
        The prepared image (S, C, H, W) of the case with that index.
    """
    by_content = any(name == "CropForegroundd" or isinstance(name, PluginTarget) for name in chain.names)
    whole: set[tuple[object, ...]] = set()
    faults = []
    for number, case in enumerate(cases):
        fact = facts[case.id]
        grid = (fact.plane, fact.spacing_mm, fact.orientation, fact.axis)
        if case.label is None or (grid in whole and not by_content):
            continue
        image = prepared(number)
        kept = (chain.invert(torch.ones(1, *image.shape[-2:]), image)[0] > 0.5).numpy()
        if kept.all():
            whole.add(grid)
            continue
        stack = plane_from(image.meta).cut(read_label(case.label, options).array)
        lost = int((stack[:, ~kept] > 0).sum())
        if lost:
            faults.append(DataError(
                f"transforms.prepare cuts off {lost} labelled voxels of {case.id} ({' x '.join(map(str, fact.shape))})",
                where=str(case.label), remedy="Use a larger spatial_size, or resize instead of cropping",
            ))  # fmt: skip
    return _first(faults)


def _first(faults: list[DataError]) -> list[DataError]:
    """Some of the faults, and how many more there are: where a size is too small, it is so for many."""
    more = len(faults) - _MOST_TOLD
    if more <= 0:
        return faults
    rest = DataError(f"transforms.prepare cuts off labelled voxels of {more} more cases", where="transforms.prepare",
                     remedy="Use a larger spatial_size, or resize instead of cropping")  # fmt: skip
    return [*faults[:_MOST_TOLD], rest]
