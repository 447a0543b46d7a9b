"""The channels of an image: each goes through a chain by itself, and they come together again on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transforms.faults import ChainError

if TYPE_CHECKING:
    from monai.data import MetaTensor

    from transforms.nifti import NiftiFile, ReadOptions


def channel_sources(image: Any, options: ReadOptions) -> list[NiftiFile | str]:
    """One a channel: the file to read, or what was read of a file that holds several, which is read once.

    Parameters
    ----------
    image
        The path of a file, or a list of paths.
    options
        ``channels`` that each file holds.
    """
    from transforms.nifti import read_nifti

    paths = list(image) if isinstance(image, (list, tuple)) else [image]
    if options.channels == 1:
        return paths
    return [channel for path in paths for channel in read_nifti(path, options).channels]


def place_of(source: NiftiFile | str) -> str:
    """The file of a channel."""
    return str(getattr(source, "path", source))


def stack_channels(channels: Sequence[MetaTensor], places: Sequence[str]) -> MetaTensor:
    """Prepared channels as one image.

    Parameters
    ----------
    channels
        Each (S, H, W).
    places
        The file of each.

    Returns
    -------
    MetaTensor
        (S, C, H, W) with the metadata and the trace of the first channel, which are those of all.

    Raises
    ------
    ChainError
        When the files, or what a chain made of them, do not lie on one grid.
    """
    import torch
    from monai.data import MetaTensor

    first = channels[0]
    for channel, place in zip(channels[1:], places[1:], strict=True):
        if not _on_one_grid(channel, first):
            raise ChainError(
                f"the channels of an image do not lie on one grid once they are prepared: {tuple(channel.shape)} here, "
                f"{tuple(first.shape)} for {places[0]}", where=place,
                remedy="Resample the files onto one grid, and let no step of transforms.prepare depend on intensities",
            )  # fmt: skip
    stack = torch.stack([channel.as_tensor() for channel in channels], 1)
    return MetaTensor(stack, meta=first.meta, applied_operations=first.applied_operations)


def _on_one_grid(channel: MetaTensor, first: MetaTensor) -> bool:
    import torch

    kept = ("spatial_shape", "slice_order", "slice_flips")  # of the file, whatever size it was given since
    return (
        channel.shape == first.shape
        and all(list(channel.meta[name]) == list(first.meta[name]) for name in kept)
        and torch.allclose(channel.affine, first.affine, rtol=1e-2, atol=1e-2)
    )
