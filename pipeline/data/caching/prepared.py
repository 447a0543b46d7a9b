"""Run the prepare chain over cases: into MONAI's cache, or one after the other for who keeps them elsewhere."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from monai.data import CacheDataset
from monai.transforms import Transform

from pipeline.data.caching.demand import PlaneShape, estimated_shapes
from pipeline.data.caching.samples import sample_shape
from pipeline.data.cases import Case
from pipeline.data.crops import crop_faults
from pipeline.data.facts import CaseFacts
from pipeline.errors import Fault, raise_all
from pipeline.memory import Release
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions


@dataclass(frozen=True)
class Preparation:
    """What is to be prepared, and how.

    Attributes
    ----------
    chain
        The deterministic chain.
    cases
        With labels, when the chain works on labels.
    facts
        By case id.
    options
        How files are read.
    classes
        How many classes there are.
    context
        Neighbouring slices on each side that a network sees as channels.
    processes
        Of this machine, that each prepare and keep the same at the same time.
    """

    chain: PrepareChain
    cases: tuple[Case, ...]
    facts: Mapping[str, CaseFacts]
    options: ReadOptions
    classes: int
    context: int
    processes: int = 1

    @cached_property
    def shape_of(self) -> Callable[[CaseFacts], PlaneShape]:
        """Channels, height and width that a case's slices will have; a few cases are prepared to find out."""
        return estimated_shapes(
            self.cases, self.facts, lambda case: sample_shape(case, self.chain(sample_of(case)))[1:]
        )  # fmt: skip


class _Prepare(Transform):
    """The chain as one deterministic step of MONAI's, which CacheDataset may cache, and which counts what it did."""

    def __init__(self, chain: PrepareChain, done: Callable[[], None]) -> None:
        self.chain, self.done = chain, done
        self.stopped = False
        self._idle = threading.Condition()
        self._running = 0
        self._release = Release()  # of what the chain's steps took

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        with self._idle:
            if self.stopped:
                raise KeyboardInterrupt
            self._running += 1
        try:
            sample = _narrowed(self.chain({key: data[key] for key in self.chain.keys if key in data}))
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()
        self.done()
        self._release(sample["image"].nbytes if "image" in sample else 0)
        return sample

    def stop(self) -> None:
        """Begin no further case, and wait for those that are running: a thread that outlives its process aborts it."""
        with self._idle:
            self.stopped = True
            self._idle.wait_for(lambda: self._running == 0)


class PreparedCases(CacheDataset):
    """MONAI's CacheDataset, of which single samples can be let go."""

    def drop(self, number: int) -> None:
        """Forget one sample; asked for again, it is prepared again."""
        self._cache[number] = None


def sample_of(case: Case, *, label: bool = True) -> dict[str, str | list[str]]:
    """The files of a case under the keys that chains use: a list for an image whose channels are files."""
    images = [str(path) for path in case.images]
    sample: dict[str, str | list[str]] = {"image": images if len(images) > 1 else images[0]}
    return sample | ({"label": str(case.label)} if label and case.label is not None else {})


def prepare_cases(
    chain: PrepareChain, cases: Sequence[Case], progress: Callable[[], None] = lambda: None, threads: int = 1
) -> PreparedCases:
    """Prepare cases into MONAI's CacheDataset.

    Parameters
    ----------
    chain
        The deterministic chain.
    cases
        With labels, when the chain works on labels.
    progress
        Called after each case.
    threads
        How many cases are prepared at once.

    Returns
    -------
    PreparedCases
        One sample a case: ``image`` (S, C, H, W) float32 with the trace of what was done to it, and ``label``
        (S, H, W), uint8 where its values fit.

    Raises
    ------
    Fault
        With the case's file.
    """
    step = _Prepare(chain, progress)
    try:
        return PreparedCases(
            [sample_of(case) for case in cases],
            step,
            num_workers=threads,
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


def prepare_in_order(
    chain: PrepareChain, cases: Sequence[Case], progress: Callable[[], None] = lambda: None, threads: int = 1
) -> Generator[dict[str, Any], None, None]:
    """Samples as `prepare_cases` gives them, one after the other; only a few are held at a time.

    Raises
    ------
    Fault
        With the case's file.
    """
    pool = ThreadPoolExecutor(threads)
    pending: deque[Future[dict[str, Any]]] = deque()

    def prepared(case: Case) -> dict[str, Any]:
        return _narrowed(chain(sample_of(case)))

    try:
        for case in cases:
            pending.append(pool.submit(prepared, case))
            if len(pending) > threads + 1:
                yield pending.popleft().result()
                progress()
        while pending:
            yield pending.popleft().result()
            progress()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def prepare_each(
    job: Preparation, take: Callable[[int, dict[str, Any]], None], progress: Callable[[], None] = lambda: None,
    threads: int = 1,
) -> None:  # fmt: skip
    """Prepare every case once, in order, and see that the chain cuts off nothing that is labelled.

    Parameters
    ----------
    job
        What is to be prepared.
    take
        Called with each case's number and sample.
    progress
        Called after each case.
    threads
        How many cases are prepared at once.

    Raises
    ------
    Fault, Faults
        Of the first case that cannot be prepared, or of all from which labelled voxels are cut.
    """
    with closing(prepare_in_order(job.chain, job.cases, progress, threads)) as samples:
        numbered = enumerate(samples)

        def prepared(number: int) -> torch.Tensor:
            # The crop check looks at some cases, in order: those between are taken on the way.
            for place, sample in numbered:
                take(place, sample)
                if place == number:
                    image: torch.Tensor = sample["image"]
                    return image
            raise LookupError(f"case {number} was prepared before, and is not held any more")

        raise_all(crop_faults(job.chain, job.cases, job.facts, job.options, prepared))
        for place, sample in numbered:
            take(place, sample)


def _narrowed(sample: dict[str, Any]) -> dict[str, Any]:
    """The sample with its label in a quarter of the memory, where its values are what labels hold."""
    if "label" in sample:
        label = sample["label"].as_tensor()
        small = label.to(torch.uint8)
        if torch.equal(small.to(label.dtype), label):
            sample["label"] = small
    return sample
