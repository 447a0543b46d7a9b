"""Whether a prepare chain cuts off what is to be found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pipeline.data.cases import Case
from pipeline.data.inspection import CaseFacts
from pipeline.errors import DataError
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions, read_label


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
        By case id. What a chain keeps of a file depends on its size and spacing alone, unless it crops to the
        foreground: a size that is kept whole is tried once.
    options
        How files are read.
    prepared
        The prepared image (S, H, W) of the case with that index.
    """
    by_content = "CropForegroundd" in chain.names
    whole: set[tuple[tuple[int, ...], tuple[float, ...]]] = set()
    faults = []
    for number, case in enumerate(cases):
        fact = facts[case.id]
        size = (fact.shape, fact.spacing_mm)
        if case.label is None or (size in whole and not by_content):
            continue
        image = prepared(number)
        kept = (chain.invert(torch.ones(1, *image.shape[1:]), image)[0] > 0.5).numpy()
        if kept.all():
            whole.add(size)
            continue
        label = read_label(case.label, options).array
        stack = label[None] if label.ndim == 2 else np.moveaxis(label, int(image.meta["slice_axis"]), 0)
        lost = int((stack[:, ~kept] > 0).sum())
        if lost:
            faults.append(DataError(
                f"transforms.prepare cuts off {lost} labelled voxels of {case.id} ({' x '.join(map(str, fact.shape))})",
                where=str(case.label), remedy="Use a larger spatial_size, or resize instead of cropping",
            ))  # fmt: skip
    return faults
