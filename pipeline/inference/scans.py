"""Slices of test scans in, masks on the original grid out."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pipeline.config.schema import PostprocessRule
from pipeline.data.caching.prepared import sample_of
from pipeline.data.cases import Case, check_neighbours, reading_order, scan_key
from pipeline.errors import Fault, RunError
from pipeline.inference.mirroring import mean_probabilities
from pipeline.inference.original_grid import highest, inverted, spacing_mm
from pipeline.inference.postprocess import postprocess
from pipeline.inference.review import Review, ReviewSums
from pipeline.networks.apply import Window, WindowSettings, is_out_of_memory
from transforms.chain import PrepareChain
from transforms.planes import plane_from

__all__ = ["Prediction", "ScanPredictor", "prediction_path"]

_SCANS_AHEAD = 4  # that are read and prepared before their turn
_SCANS_BEHIND = 1  # whose probabilities go back through the chain while the next scan is predicted
_MOST_WORKERS = 8


@dataclass(frozen=True)
class Prediction:
    """One case's prediction.

    Attributes
    ----------
    case
        The case.
    mask
        Class indices on the image file's own grid, without its trailing axes of length 1: (H, W), or a volume with the
        file's axes, in the smallest unsigned type.
    axis
        Which axis of a volume was cut into slices; -1 for a 2D slice.
    probabilities
        (K, ...) float32 on the mask's axes and grid, 0 for all classes where the prepare chain cut voxels off; as they
        were before any post-processing. None where they were not asked for.
    review
        How far the mask can be trusted; None where that was not asked for.
    """

    case: Case
    mask: np.ndarray
    axis: int
    probabilities: torch.Tensor | None = None
    review: Review | None = None


@dataclass(frozen=True)
class _Opinion:
    """What the networks say of one case: probabilities (S, K, h, w), and the members' overlaps (S, K, M, M)."""

    probabilities: torch.Tensor
    overlaps: torch.Tensor | None


class ScanPredictor:
    """Predicts scans with a trained network, or with several.

    Parameters
    ----------
    network
        On `device`; of several, the softmax probabilities are averaged.
    chain
        A prepare chain that works on the image alone.
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
        self, network: nn.Module | Sequence[nn.Module], chain: PrepareChain, device: torch.device, context: int,
        settings: WindowSettings, say: Callable[[str], None] = warnings.warn, *, mirror: Sequence[int] = (),
        rules: Mapping[int, PostprocessRule] | None = None, keep_probabilities: bool = False, review: bool = False,
    ) -> None:  # fmt: skip
        self.networks = [network] if isinstance(network, nn.Module) else list(network)
        if not self.networks:
            raise ValueError("no network to predict with")
        for member in self.networks:
            member.eval()
        self.chain, self.device, self.context = chain, device, context
        self.settings, self.say = Window.of(settings), say
        self.mirror, self.rules = tuple(mirror), dict(rules or {})
        self.keep_probabilities, self.review = keep_probabilities, review

    def __call__(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        """Predict cases, scan by scan; the next scans are prepared, and the one before is finished, meanwhile.

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
        with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(workers) as finishers:
            prepared = self._prepared_scans(scans, readers)
            for members in scans:
                try:
                    opinions = self._opinions(members, images := next(prepared))
                except Fault as fault:
                    failure = fault
                    break
                jobs = zip(members, images, opinions, strict=True)
                behind.append([finishers.submit(self._finished, *job) for job in jobs])
                del images, opinions, jobs
                if len(behind) > _SCANS_BEHIND:
                    yield from (job.result() for job in behind.popleft())
            while behind:
                yield from (job.result() for job in behind.popleft())
        if failure is not None:
            raise failure

    def _prepared_scans(self, scans: Sequence[Sequence[Case]], pool: ThreadPoolExecutor) -> Iterator[list[Any]]:
        """Each scan's prepared images; some scans are prepared ahead."""
        waiting: deque[Future[list[Any]]] = deque()
        following = iter(scans)
        for _ in scans:
            while len(waiting) < _SCANS_AHEAD and (upcoming := next(following, None)) is not None:
                waiting.append(pool.submit(self._prepare, upcoming))
            yield waiting.popleft().result()

    def _prepare(self, cases: Sequence[Case]) -> list[Any]:
        return [self.chain(sample_of(case, label=False))["image"] for case in cases]

    def _opinions(self, cases: Sequence[Case], prepared: Sequence[Any]) -> list[_Opinion]:
        """One a case, on the prepared grid."""
        if self.context:
            check_neighbours([case for case, image in zip(cases, prepared, strict=True) if image.shape[0] == 1])
        # Neighbours are of one size, and those of a volume's slices lie in it: a scan may fall into several stacks.
        stacks: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(prepared):
            volume = number if image.shape[0] > 1 else -1
            stacks.setdefault((volume, *image.shape[1:]), []).append(number)
        opinions: dict[int, _Opinion] = {}
        for members in stacks.values():
            stack = torch.cat([torch.as_tensor(prepared[number]).as_subclass(torch.Tensor) for number in members])
            found, sizes = self._opinion(stack), [prepared[number].shape[0] for number in members]
            shared = found.overlaps.split(sizes) if found.overlaps is not None else [None] * len(sizes)
            parts = zip(found.probabilities.split(sizes), shared, strict=True)
            opinions.update(zip(members, (_Opinion(*part) for part in parts), strict=True))
        return [opinions[number] for number in range(len(cases))]

    def probabilities(self, stack: torch.Tensor) -> torch.Tensor:
        """Softmax probabilities (S, K, H, W) float32 on the CPU, of consecutive slices (S, C, H, W) of one scan.

        A network sees ((2 * context + 1) * C) channels: those of each neighbour in turn, from the first to the last.
        """
        return self._opinion(stack).probabilities

    @torch.inference_mode()
    def _opinion(self, stack: torch.Tensor) -> _Opinion:
        count = stack.shape[0]
        places = torch.arange(count)[:, None] + torch.arange(-self.context, self.context + 1)
        neighbours = places.clamp(0, count - 1)
        results: list[torch.Tensor] = []
        overlaps: list[torch.Tensor] = []
        done = 0
        while done < count:
            images = stack[neighbours[done : done + self.settings.batch_size]].flatten(1, 2)
            try:
                mean, shared = self._mean_probabilities(images)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._use_less_memory(error)
                continue
            results.append(mean)
            overlaps += [] if shared is None else [shared]
            done += len(images)
        return _Opinion(torch.cat(results), torch.cat(overlaps) if overlaps else None)

    def _mean_probabilities(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        images = images.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)
        mean, shared = mean_probabilities(self.networks, images, self.settings, self.mirror, compare=self.review)
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

    def _finished(self, case: Case, prepared: Any, opinion: _Opinion) -> Prediction:
        """One case's prediction on the grid of its file; runs beside the networks."""
        plane, classes = plane_from(prepared.meta), opinion.probabilities.shape[1]
        sums = ReviewSums(classes) if self.review else None
        masks, kept = [], []
        for back in inverted(self.chain, opinion.probabilities, prepared):
            probable, mask = highest(back)
            masks.append(mask)
            kept += [back.numpy()] if self.keep_probabilities else []
            if sums is not None:
                sums.add(back, probable, mask)
        mask = np.ascontiguousarray(plane.restore(np.concatenate(masks)))
        spacing = spacing_mm(prepared.meta)
        review = None
        if sums is not None:
            shared = None if opinion.overlaps is None else opinion.overlaps.sum(0).numpy()
            review = sums.review(mask, spacing, shared)
        try:
            mask = postprocess(mask, self.rules, spacing)
        except Fault as fault:
            raise type(fault)(f"{fault.what} ({case.id})", where=fault.where, remedy=fault.remedy) from None
        values = np.concatenate(kept).swapaxes(0, 1) if kept else None
        whole = None
        if values is not None:
            whole = torch.from_numpy(np.stack([plane.restore(channel) for channel in values]))
        return Prediction(case, mask, plane.axis, whole, review)


def prediction_path(folder: Path, case: Case) -> Path:
    """Where a case's mask is written."""
    return folder / f"{case.id}.nii.gz"
