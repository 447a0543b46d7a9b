"""Run the prepare chain over cases, once, into memory."""

from __future__ import annotations

import os
import threading
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
        self.stopped = False
        self._idle = threading.Condition()
        self._running = 0

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        with self._idle:
            if self.stopped:
                raise KeyboardInterrupt
            self._running += 1
        try:
            sample = self.chain({key: data[key] for key in self.chain.keys if key in data})
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
        self.done()
        return sample

    def stop(self) -> None:
        """Begin no further case, and wait for those that are running: a thread that outlives its process aborts it."""
        with self._idle:
            self.stopped = True
            self._idle.wait_for(lambda: self._running == 0)


def sample_of(case: Case, *, label: bool = True) -> dict[str, str | list[str]]:
    """The files of a case under the keys that chains use: a list for an image whose channels are files."""
    images = [str(path) for path in case.images]
    sample: dict[str, str | list[str]] = {"image": images if len(images) > 1 else images[0]}
    return sample | ({"label": str(case.label)} if label and case.label is not None else {})


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
    step = _Prepare(chain, progress)
    try:
        return CacheDataset(
            [sample_of(case) for case in cases],
            step,
            num_workers=os.cpu_count() or 1,
            progress=False,
            copy_cache=False,
        )
    except KeyboardInterrupt:
        step.stop()
        raise
    except RuntimeError as error:  # MONAI wraps what its transforms raise
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, Fault):
                raise cause from None
            cause = cause.__cause__
        raise
