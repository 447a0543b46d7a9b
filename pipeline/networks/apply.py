"""A network over slices: whole where they fit, else by MONAI's sliding window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn


class WindowSettings(Protocol):
    """What this module needs of the ``inference`` section."""

    @property
    def roi_size(self) -> tuple[int, int] | None:
        """Height and width of a window; None takes slices whole."""

    @property
    def overlap(self) -> float:
        """Share of a window that its neighbour covers as well."""

    @property
    def blend(self) -> str:
        """How overlapping windows are weighed: ``gaussian`` or ``constant``."""

    @property
    def batch_size(self) -> int:
        """Slices, or windows, that pass through the network together."""


@dataclass(frozen=True)
class Window:
    """`WindowSettings` that can be made smaller with `dataclasses.replace`."""

    roi_size: tuple[int, int] | None
    overlap: float
    blend: str
    batch_size: int

    @classmethod
    def of(cls, settings: WindowSettings) -> Window:
        """A copy of settings."""
        return cls(settings.roi_size, settings.overlap, settings.blend, settings.batch_size)


@torch.inference_mode()
def slice_logits(network: nn.Module, images: torch.Tensor, settings: WindowSettings) -> torch.Tensor:
    """Logits of a batch of slices.

    Parameters
    ----------
    network
        In evaluation mode; (B, C, h, w) to (B, K, h, w).
    images
        (B, C, H, W) float32, on the network's device.
    settings
        ``roi_size`` None takes every slice whole; otherwise a slice that is larger on either axis is covered by windows
        of that size, whose logits are blended.

    Returns
    -------
    torch.Tensor
        (B, K, H, W) float32.
    """
    roi = settings.roi_size
    height, width = images.shape[-2:]
    if roi is None or (height <= roi[0] and width <= roi[1]):
        result: torch.Tensor = network(images)
    else:
        from monai.inferers import sliding_window_inference

        result = sliding_window_inference(  # type: ignore[assignment]
            images, roi, sw_batch_size=settings.batch_size, predictor=network, overlap=settings.overlap,
            mode=settings.blend, padding_mode="replicate",
        )  # fmt: skip
    return result.float()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or this machine, has no memory left."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def chunks(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover ``range(count)``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
