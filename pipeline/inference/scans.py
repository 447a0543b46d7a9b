"""Slices of test scans in, masks on the original grid out."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import Any

import torch
from torch import nn

from pipeline.config.schema import PostprocessRule
from pipeline.data.caching.prepared import sample_of
from pipeline.data.cases import Case, reading_order, scan_key
from pipeline.errors import DataError, Fault, RunError
from pipeline.inference.finishing import Finishing, Prediction
from pipeline.inference.mirroring import mean_probabilities
from pipeline.inference.stacks import Opinion, Part, PreparedScan, Stack, filled
from pipeline.networks.apply import Window, WindowSettings, is_out_of_memory
from transforms.chain import PrepareChain
from transforms.planes import plane_from

__all__ = ["ScanPredictor"]

_SCANS_AHEAD = 4  # that are read and prepared before their turn, whatever their size
_BATCHES_AHEAD = 2  # whose slices are prepared before their turn, where their scans are small ...
_AHEAD_BYTES = 4_000_000  # ... which is told by their files
_BATCHES_BEHIND = 1  # whose scans go back through the chain while the next batch is predicted
_MOST_WORKERS = 8


class ScanPredictor:
    """Predicts scans with a trained network, or with several.

    Parameters
    ----------
    network
        On `device`; of several, the softmax probabilities are averaged.
    chains
        A prepare chain that works on the image alone; or one a view of volumes, whose probabilities are averaged on the
        original grid. Slices, as far as anything is told by slice, are those of the first.
    device
        Where the network is.
    context
        Neighbouring slices on each side that the network sees.
    settings
        How slices are passed through the network.
    say
        Is told in a sentence when memory did not suffice and how it goes on; a warning where nothing is given.
    mirror
        Axes of a slice (0 rows, 1 columns): the probabilities of all mirror images are averaged. Which of them may be
        mirrored, `pipeline.config.prediction.checked_mirror` knows.
    rules
        Post-processing by class index.
    keep_probabilities, review
        Whether each prediction carries these.
    """

    def __init__(
        self, network: nn.Module | Sequence[nn.Module], chains: PrepareChain | Sequence[PrepareChain],
        device: torch.device, context: int, settings: WindowSettings, say: Callable[[str], None] = warnings.warn,
        *, mirror: Sequence[int] = (), rules: Mapping[int, PostprocessRule] | None = None,
        keep_probabilities: bool = False, review: bool = False,
    ) -> None:  # fmt: skip
        self.networks = [network] if isinstance(network, nn.Module) else list(network)
        if not self.networks:
            raise ValueError("no network to predict with")
        for member in self.networks:
            member.eval()
        self.chains = [chains] if isinstance(chains, PrepareChain) else list(chains)
        self._finish = Finishing(self.chains, dict(rules or {}), keep_probabilities, review)
        self.device, self.context = device, context
        self.settings, self.say = Window.of(settings), say
        self.mirror, self.compare = tuple(mirror), review

    def __call__(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        """Predict cases in the order of their scans; the next are prepared, and those before are finished, meanwhile.

        Batches are filled across scans whose slices are prepared to one shape.

        Raises
        ------
        Fault
            With the file, when an image cannot be read or prepared; when memory does not suffice for one slice. What
            was predicted before is given first.
        """
        scans = [list(members) for _, members in groupby(sorted(cases, key=reading_order), key=scan_key)]
        workers = max(2, min(_MOST_WORKERS, os.cpu_count() or 1))
        behind: deque[list[Future[Prediction]]] = deque()
        failure: Fault | None = None
        threads = torch.get_num_threads()
        readers, finishers = (ThreadPoolExecutor(workers, initializer=_keep_to_one_core) for _ in range(2))
        try:
            for done in self._predicted(self._prepared_scans(scans, readers)):
                if isinstance(done, Fault):
                    failure = done
                    break
                behind.append([finishers.submit(self._finish, *job) for scan in done for job in scan.by_case()])
                if len(behind) > _BATCHES_BEHIND:
                    yield from _results(behind.popleft())
            while behind:
                yield from _results(behind.popleft())
        finally:
            readers.shutdown(cancel_futures=True)
            finishers.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # of threads that begin from here on
        if failure is not None:
            raise failure

    def _prepared_scans(self, scans: Sequence[Sequence[Case]], pool: ThreadPoolExecutor) -> Iterator[PreparedScan]:
        """Each scan, prepared; those of the next batches are prepared ahead, as long as their files are small."""
        waiting: deque[tuple[Future[PreparedScan], int]] = deque()
        following = deque(scans)
        held, wanted = 0, _SCANS_AHEAD
        while waiting or following:
            while following and len(waiting) < wanted:
                own = sum(_file_bytes(case) for case in following[0])
                if len(waiting) >= _SCANS_AHEAD and held + own > _AHEAD_BYTES:
                    break
                waiting.append((pool.submit(self._prepare, following.popleft()), own))
                held += own
            future, own = waiting.popleft()
            scan = future.result()
            held -= own
            slices = sum(len(stack) for stack in scan.stacks)
            wanted = max(_SCANS_AHEAD, -(-_BATCHES_AHEAD * self.settings.batch_size // slices))
            yield scan

    def _prepare(self, cases: Sequence[Case]) -> PreparedScan:
        seen = [(case, image) for case in cases for image in self._views(case)]
        return PreparedScan([case for case, _ in seen], [image for _, image in seen], self.context)

    def _views(self, case: Case) -> Iterator[Any]:
        """The prepared image, in each view; a file of one slice has but one."""
        for chain in self.chains:
            image = chain(sample_of(case, label=False))["image"]
            if len(self.chains) > 1 and image.shape[0] == 1 and plane_from(image.meta).axis >= 0:
                raise DataError(
                    "is a volume of one slice along an axis, and the network averages views of volumes",
                    where=str(case.image), remedy="Drop that axis: a file of two axes is one slice",
                )  # fmt: skip
            yield image
            if plane_from(image.meta).axis < 0:
                return

    def _predicted(self, prepared: Iterator[PreparedScan]) -> Iterator[list[PreparedScan] | Fault]:
        """The scans that each batch completes, in order; a fault comes last, after what was read before it."""
        begun: deque[PreparedScan] = deque()
        faults: list[Fault] = []

        def stacks() -> Iterator[Stack]:
            try:
                for scan in prepared:
                    begun.append(scan)
                    yield from scan.stacks
            except Fault as fault:
                faults.append(fault)

        try:
            for batch in filled(stacks(), lambda: self.settings.batch_size):
                self._predict(batch)
                done = []
                while begun and begun[0].is_known:
                    done.append(begun.popleft())
                yield done
        except Fault as fault:
            faults.append(fault)
        yield from faults[:1]

    def _predict(self, batch: Sequence[Part]) -> None:
        """Tell each part's stack what the networks say of it."""
        sizes = [part.size for part in batch]
        found = self._opinion(torch.cat([part.stack.inputs(part.start, part.end) for part in batch]))
        shared = [None] * len(sizes) if found.overlaps is None else found.overlaps.split(sizes)
        for part, probabilities, overlaps in zip(batch, found.probabilities.split(sizes), shared, strict=True):
            part.stack.take(Opinion(probabilities, overlaps))

    @torch.inference_mode()
    def _opinion(self, images: torch.Tensor) -> Opinion:
        """Of a batch (B, (2 * context + 1) * C, H, W), on the CPU."""
        results: list[torch.Tensor] = []
        overlaps: list[torch.Tensor] = []
        done = 0
        while done < len(images):
            part = images[done : done + self.settings.batch_size]
            try:
                mean, shared = self._mean_probabilities(part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._use_less_memory(error)
                continue
            results.append(mean)
            overlaps += [] if shared is None else [shared]
            done += len(part)
        return Opinion(torch.cat(results), torch.cat(overlaps) if overlaps else None)

    def _mean_probabilities(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.device.type == "cuda":
            images = images.pin_memory()  # from where the device fetches it by itself
        images = images.to(self.device, torch.float32, non_blocking=True)
        images = images.contiguous(memory_format=torch.channels_last)
        mean, shared = mean_probabilities(self.networks, images, self.settings, self.mirror, compare=self.compare)
        return mean.cpu(), shared

    def _use_less_memory(self, error: Exception) -> None:
        """Halve the batch; where it is one slice already, go over to the CPU; say so. On the CPU there is no more."""
        size = self.settings.batch_size
        if size > 1:
            self.settings = replace(self.settings, batch_size=size // 2)
            self.say(f"the device's memory did not suffice: going on with batches of {size // 2} slices")
        elif self.device.type != "cpu":
            self.device = torch.device("cpu")
            for network in self.networks:
                network.to(self.device)
            self.say("the device's memory does not suffice for one slice: going on with the CPU")
        else:
            raise RunError(
                "the memory does not suffice for one slice", where="inference",
                remedy="Set inference.roi_size to a smaller window, or lower network.channels",
            ) from error  # fmt: skip


def _keep_to_one_core() -> None:
    """Let this thread work alone: each that does not has as many threads of its own as the network has."""
    torch.set_num_threads(1)


def _results(jobs: list[Future[Prediction]]) -> Iterator[Prediction]:
    """What was made of each, in order; it is not held any longer."""
    waiting = deque(jobs)
    jobs.clear()
    while waiting:
        yield waiting.popleft().result()


def _file_bytes(case: Case) -> int:
    return sum(path.stat().st_size for path in case.images if path.is_file())
