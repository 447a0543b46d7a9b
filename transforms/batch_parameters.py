"""What the batch transforms share: their parameters, checked; draws on the CPU; and samples that are exchanged."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import torch

from transforms.faults import ChainError

Batch = dict[str, torch.Tensor]  # image (B, C, H, W) float, label (B, 1, H, W)
Drawn = TypeVar("Drawn")


class BatchTransform(ABC, Generic[Drawn]):
    """A random transform of a whole batch, whose parameters are drawn in one place and used in another.

    `draw` takes them from the CPU generator that the caller seeds, so that the same step draws the same on every
    device, and `apply` reads nothing back from the device: it never waits for a GPU.
    """

    @abstractmethod
    def draw(self, batch: Batch, generator: torch.Generator) -> Drawn:
        """Draw the parameters for one batch, on the CPU."""

    @abstractmethod
    def apply(self, batch: Batch, drawn: Drawn) -> Batch:
        """A batch whose drawn samples are changed; the others stay as they are, to the bit."""

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw and apply."""
        return self.apply(batch, self.draw(batch, generator))


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    """Uniform numbers from `low` to `high`."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def draw_samples(batch: Batch, prob: float, generator: torch.Generator) -> torch.Tensor:
    """(M,) indices of the samples that a change applies to, rising; each with probability `prob`."""
    return torch.nonzero(torch.rand(batch["image"].shape[0], generator=generator) < prob).flatten()


def sent(drawn: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Drawn parameters on the device, without waiting for what runs there."""
    return drawn.to(device, non_blocking=True)


def taken(values: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """(M, ...) a copy of the samples `chosen` (M,), on the device of `values` (B, ...)."""
    return values.index_select(0, chosen)


def replaced(values: torch.Tensor, chosen: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
    """A copy of `values` (B, ...) whose samples `chosen` (M,), on its device, are `changed` (M, ...)."""
    return values.index_copy(0, chosen, changed.to(values.dtype))


def is_number(value: Any) -> bool:
    """Whether a value of a YAML file is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def bounded(name: str, value: Any, high: float = math.inf) -> float:
    """A number from 0 to `high`, or a refusal."""
    if not is_number(value) or not 0 <= value <= high or not math.isfinite(value):
        limits = "0 or more" if high == math.inf else f"from 0 to {high:g}"
        raise ChainError(f"{name} is {value!r}", remedy=f"Give a number, {limits}")
    return float(value)


def ordered_pair(name: str, value: Any, high: float = math.inf) -> tuple[float, float]:
    """[low, high] above 0 and at most `high`, or a refusal."""
    pair = [float(item) for item in value] if isinstance(value, (list, tuple)) and all(map(is_number, value)) else []
    if len(pair) != 2 or not 0 < pair[0] <= pair[1] <= high or not math.isfinite(pair[1]):
        limits = "above 0" if high == math.inf else f"above 0 and at most {high:g}"
        raise ChainError(f"{name} is {value}", remedy=f"Give [low, high], {limits}")
    return pair[0], pair[1]


def axes_of_slice(name: str, value: Any) -> tuple[int, ...]:
    """Axes of a slice in the order given, each 0 or 1, or a refusal; one may stand without a list."""
    axes = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(axis, bool) or not isinstance(axis, int) or axis not in (0, 1) for axis in axes):
        raise ChainError(f"{name} is {value}", remedy="Give a list of axes: 0 for rows, 1 for columns")
    return tuple(axes)


def check_moves_both(own: str, keys: Sequence[str] | str) -> None:
    """Refuse keys other than image and label, of a transform that moves voxels."""
    if isinstance(keys, str) or sorted(keys) != ["image", "label"]:
        raise ChainError(f"{own} moves image and label together", remedy="Set keys: [image, label]")


def check_changes_image(own: str, keys: Sequence[str] | str) -> None:
    """Refuse keys other than the image, of a transform that changes intensities."""
    if keys != "image" and list(keys) != ["image"]:
        raise ChainError(f"{own} changes the image only", remedy="Set keys: image")
