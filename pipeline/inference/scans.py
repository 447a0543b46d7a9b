"""Slices of test scans in, masks on the original grid out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.data.caching.prepared import sample_of
from pipeline.data.cases import Case, check_neighbours, reading_order, scan_key
from pipeline.errors import RunError
from pipeline.networks.apply import Window, WindowSettings, chunks, is_out_of_memory, slice_logits
from transforms.chain import PrepareChain
from transforms.planes import plane_from

_SCANS_AHEAD = 4
_INVERTED_AT_ONCE = 256  # channels (classes times slices) that go back through the chain together, to bound memory


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
    """

    case: Case
    mask: np.ndarray
    axis: int


class ScanPredictor:
    """Predicts scans with a trained network.

    Parameters
    ----------
    network
        On `device`, in evaluation mode.
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
    """

    def __init__(
        self, network: nn.Module, chain: PrepareChain, device: torch.device, context: int, settings: WindowSettings,
        say: Callable[[str], None] = warnings.warn,
    ) -> None:  # fmt: skip
        self.network, self.chain, self.device = network.eval(), chain, device
        self.context, self.settings, self.say = context, Window.of(settings), say

    def __call__(self, cases: Sequence[Case]) -> Iterator[Prediction]:
        """Predict cases, scan by scan; the next scans are read and prepared meanwhile.

        Raises
        ------
        Fault
            With the file, when an image cannot be read or prepared; when memory does not suffice for one slice.
        """
        scans = [list(members) for _, members in groupby(sorted(cases, key=reading_order), key=scan_key)]
        with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
            waiting: list[Future[list[torch.Tensor]]] = []
            following = iter(scans)
            for members in scans:
                while len(waiting) < _SCANS_AHEAD and (upcoming := next(following, None)) is not None:
                    waiting.append(pool.submit(self._prepare, upcoming))
                yield from self._predict(members, waiting.pop(0).result())

    def _prepare(self, cases: Sequence[Case]) -> list[torch.Tensor]:
        return [self.chain(sample_of(case, label=False))["image"] for case in cases]

    def _predict(self, cases: Sequence[Case], prepared: Sequence[torch.Tensor]) -> Iterator[Prediction]:
        if self.context:
            check_neighbours([case for case, image in zip(cases, prepared, strict=True) if image.shape[0] == 1])
        # Neighbours are of one size, and those of a volume's slices lie in it: a scan may fall into several stacks.
        stacks: dict[tuple[int, ...], list[int]] = {}
        for number, image in enumerate(prepared):
            volume = number if image.shape[0] > 1 else -1
            stacks.setdefault((volume, *image.shape[1:]), []).append(number)
        probabilities: dict[int, torch.Tensor] = {}
        for members in stacks.values():
            stack = torch.cat([torch.as_tensor(prepared[number]).as_subclass(torch.Tensor) for number in members])
            parts = self.probabilities(stack).split([prepared[number].shape[0] for number in members])
            probabilities.update(zip(members, parts, strict=True))
        for number, case in enumerate(cases):
            mask, axis = restored_masks(self.chain, probabilities.pop(number), prepared[number])
            yield Prediction(case, mask, axis)

    @torch.inference_mode()
    def probabilities(self, stack: torch.Tensor) -> torch.Tensor:
        """Softmax probabilities (S, K, H, W) float32 on the CPU, of consecutive slices (S, C, H, W) of one scan.

        The network sees ((2 * context + 1) * C) channels: those of each neighbour in turn, from the first to the last.
        """
        count = stack.shape[0]
        places = torch.arange(count)[:, None] + torch.arange(-self.context, self.context + 1)
        neighbours = places.clamp(0, count - 1)
        results: list[torch.Tensor] = []
        done = 0
        while done < count:
            images = stack[neighbours[done : done + self.settings.batch_size]].flatten(1, 2)
            try:
                results.append(self._softmax(images))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._use_less_memory(error)
                continue
            done += len(images)
        return torch.cat(results)

    def _softmax(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)
        return slice_logits(self.network, images, self.settings).softmax(1).cpu()

    def _use_less_memory(self, error: Exception) -> None:
        """Halve the batch; where it is one slice already, go over to the CPU; say so. On the CPU there is no more."""
        size = self.settings.batch_size
        if size > 1:
            self.settings = replace(self.settings, batch_size=size // 2)
            self.say(f"the device's memory did not suffice: going on with batches of {size // 2} slices")
        elif self.device.type != "cpu":
            self.device = torch.device("cpu")
            self.network.to(self.device)
            self.say("the device's memory does not suffice for one slice: going on with the CPU")
        else:
            raise RunError(
                "the memory does not suffice for one slice", where="inference",
                remedy="Set inference.roi_size to a smaller window, or lower network.channels",
            ) from error  # fmt: skip


def restored_masks(chain: PrepareChain, probabilities: torch.Tensor, prepared: torch.Tensor) -> tuple[np.ndarray, int]:
    """Class indices on the image file's own axes and grid, and which axis was cut; -1 for a 2D slice.

    Parameters
    ----------
    chain, probabilities, prepared
        As for `most_probable`.
    """
    plane = plane_from(prepared.meta)  # type: ignore[attr-defined]
    return np.ascontiguousarray(plane.restore(most_probable(chain, probabilities, prepared))), plane.axis


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
    count, classes = probabilities.shape[:2]
    masks = []
    for part in chunks(count, max(1, _INVERTED_AT_ONCE // classes)):
        values = probabilities[part]
        back = chain.invert(values.flatten(0, 1), prepared)
        masks.append(back.reshape(values.shape[0], classes, *back.shape[1:]).argmax(1).to(torch.int32))
    return torch.cat(masks).numpy().astype(np.min_scalar_type(classes - 1))


def prediction_path(folder: Path, case: Case) -> Path:
    """Where a case's mask is written."""
    return folder / f"{case.id}.nii.gz"
