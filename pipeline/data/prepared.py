"""Run the prepare chain over cases, once, into memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monai.data import CacheDataset
from monai.transforms import Transform

from pipeline.data.cases import Case
from pipeline.errors import Fault
from transforms.chain import PrepareChain


class _Prepare(Transform):
    """The chain as one deterministic step of MONAI's, which CacheDataset may cache, and which counts what it did."""

    def __init__(self, chain: PrepareChain, done: Callable[[], None]) -> None:
        self.chain, self.done = chain, done

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        sample = self.chain({key: data[key] for key in self.chain.keys if key in data})
        self.done()
        return sample


def sample_of(case: Case) -> dict[str, str]:
    """The files of a case, under the keys that chains use."""
    return {"image": str(case.image)} | ({} if case.label is None else {"label": str(case.label)})


def prepare_cases(
    chain: PrepareChain, cases: Sequence[Case], progress: Callable[[], None] = lambda: None
) -> CacheDataset:
    """Prepare cases into MONAI's CacheDataset, by as many threads as there are cores.

    Parameters
    ----------
    chain
        The deterministic chain.
    cases
        With labels, when the chain works on labels.
    progress
        Called after each case.

    Returns
    -------
    CacheDataset
        One sample a case: ``image`` (S, H, W) float32, ``label`` (S, H, W), with S slices.

    Raises
    ------
    Fault
        With the case's file.
    """
    try:
        return CacheDataset(
            [sample_of(case) for case in cases],
            _Prepare(chain, progress),
            num_workers=os.cpu_count() or 1,
            progress=False,
            copy_cache=False,
        )
    except RuntimeError as error:  # MONAI wraps what its transforms raise
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, Fault):
                raise cause from None
            cause = cause.__cause__
        raise
