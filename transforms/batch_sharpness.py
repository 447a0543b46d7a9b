"""How sharp images are: Gaussian blur and simulated low resolution, of the images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from transforms.batch_parameters import (
    Batch,
    BatchTransform,
    bounded,
    check_changes_image,
    draw_samples,
    ordered_pair,
    replaced,
    sent,
    taken,
    uniform,
)
from transforms.faults import ChainError

_TRUNCATE = 4.0  # a kernel ends at so many standard deviations, as scipy's does
_MAX_SIGMA = 64.0


@dataclass(frozen=True)
class Blur:
    """Parameters of `RandBlurBatchd`: (M,) indices into the batch, and (M,) standard deviations in pixels."""

    chosen: torch.Tensor
    sigma: torch.Tensor


class RandBlurBatchd(BatchTransform[Blur]):
    """Blur images with a Gaussian, each with one of its own.

    All channels of a sample are blurred alike. At the border, the outermost voxels are repeated.

    Parameters
    ----------
    keys
        ``image``.
    prob
        Share of the samples that are blurred.
    sigma
        [low, high] of the standard deviation in pixels, uniform.
    """

    def __init__(
        self, keys: Sequence[str] | str = "image", prob: float = 0.2, sigma: Sequence[float] = (0.5, 1.0)
    ) -> None:
        own = type(self).__name__
        check_changes_image(own, keys)
        self.prob, self.sigma = bounded(f"{own}: prob", prob, 1), ordered_pair(f"{own}: sigma", sigma, _MAX_SIGMA)

    def draw(self, batch: Batch, generator: torch.Generator) -> Blur:
        """Draw the parameters for one batch, on the CPU."""
        chosen = draw_samples(batch, self.prob, generator)
        return Blur(chosen, uniform(generator, *self.sigma, len(chosen)))

    def apply(self, batch: Batch, drawn: Blur) -> Batch:
        """Blur the chosen images; the others, and the labels, are left as they are, to the bit."""
        image = batch["image"]
        if len(drawn.chosen) == 0:
            return batch
        places = sent(drawn.chosen, image.device)
        values, kernels = taken(image, places).float(), sent(gaussian_kernels(drawn.sigma), image.device)
        for axis in (2, 3):
            values = _convolved(values, kernels, axis)
        return {**batch, "image": replaced(image, places, values)}


def gaussian_kernels(sigma: torch.Tensor) -> torch.Tensor:
    """Kernels of sum 1, each as ``scipy.ndimage.gaussian_filter`` has it.

    Parameters
    ----------
    sigma
        (M,) in pixels.

    Returns
    -------
    torch.Tensor
        (M, 2 R + 1), where R is the largest one's radius; the shorter ones end in zeros.
    """
    radius = (_TRUNCATE * sigma.double() + 0.5).floor()
    reach = int(radius.max())
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma.double()[:, None]) ** 2) * (offsets.abs() <= radius[:, None])
    return (weights / weights.sum(1, keepdim=True)).float()


def _convolved(values: torch.Tensor, kernels: torch.Tensor, axis: int) -> torch.Tensor:
    """(M, C, H, W) along one axis, each sample by its kernel, all in one convolution whose channels do not mix."""
    reach = kernels.shape[1] // 2
    margins = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    padded = functional.pad(values, margins, mode="replicate").flatten(0, 1)[None]
    weights = kernels[:, None].expand(-1, values.shape[1], -1).flatten(0, 1)[:, None]
    weights = weights[..., None] if axis == 2 else weights[:, :, None]
    return functional.conv2d(padded, weights, groups=len(weights))[0].reshape(values.shape)


@dataclass(frozen=True)
class LowResolution:
    """Parameters of `RandLowResolutionBatchd`: (M,) indices into the batch, and (M, 2) sizes (h, w) in pixels."""

    chosen: torch.Tensor
    sizes: torch.Tensor


class RandLowResolutionBatchd(BatchTransform[LowResolution]):
    """Show images as if they had been taken at a lower resolution: shrunk, and enlarged again.

    As in nnU-Net, shrinking takes the nearest voxel and enlarging interpolates. All channels of a sample are treated
    alike.

    Parameters
    ----------
    keys
        ``image``.
    prob
        Share of the samples that are changed.
    zoom
        [low, high] of the factor that the sides shrink by, uniform, at most 1.
    upsample_mode
        ``bicubic`` or ``bilinear``.
    """

    def __init__(
        self,
        keys: Sequence[str] | str = "image",
        prob: float = 0.25,
        zoom: Sequence[float] = (0.5, 1.0),
        upsample_mode: str = "bicubic",
    ) -> None:
        own = type(self).__name__
        check_changes_image(own, keys)
        if upsample_mode not in ("bicubic", "bilinear"):
            raise ChainError(f"{own}: upsample_mode is {upsample_mode!r}", remedy="Set bicubic or bilinear")
        self.prob, self.zoom = bounded(f"{own}: prob", prob, 1), ordered_pair(f"{own}: zoom", zoom, 1)
        self.upsample_mode = upsample_mode

    def draw(self, batch: Batch, generator: torch.Generator) -> LowResolution:
        """Draw the parameters for one batch, on the CPU."""
        chosen = draw_samples(batch, self.prob, generator)
        sides = torch.tensor(batch["image"].shape[-2:])
        zoom = uniform(generator, *self.zoom, len(chosen))
        sizes = (zoom[:, None] * sides).round().long().clamp_min(1)
        shrinks = (sizes != sides).any(1)  # an image of full size would still be rounded
        return LowResolution(chosen[shrinks], sizes[shrinks])

    def apply(self, batch: Batch, drawn: LowResolution) -> Batch:
        """Shrink and enlarge the chosen images; the others, and the labels, are left as they are, to the bit."""
        image = batch["image"]
        if len(drawn.chosen) == 0:
            return batch
        height, width = image.shape[-2:]
        places = sent(drawn.chosen, image.device)
        rows, columns = (
            sent(_nearest(size, side), image.device)
            for size, side in zip(drawn.sizes.unbind(1), (height, width), strict=True)
        )
        values = taken(image, places).float().flatten(2)
        voxels = (rows[:, :, None] * width + columns[:, None]).flatten(1)[:, None]
        small = values.gather(2, voxels.expand(values.shape)).unflatten(2, (height, width))
        y, x = (
            sent(_read(size, side), image.device)
            for size, side in zip(drawn.sizes.unbind(1), (height, width), strict=True)
        )
        grid = torch.stack(torch.broadcast_tensors(x[:, None], y[:, :, None]), dim=-1)
        large = functional.grid_sample(small, grid, self.upsample_mode, "border", align_corners=False)
        return {**batch, "image": replaced(image, places, large)}


def _nearest(size: torch.Tensor, side: int) -> torch.Tensor:
    """(M, side) the voxel of an axis that is nearest to each of the small image's `size` (M,), the last one repeated.

    So the small images of all samples lie in arrays of one shape, and beyond their ends their border goes on.
    """
    small = torch.minimum(torch.arange(side), size[:, None] - 1)
    return (2 * small + 1) * side // (2 * size[:, None])


def _read(size: torch.Tensor, side: int) -> torch.Tensor:
    """(M, side) where each voxel lies in the small image, as grid_sample counts in an array of `side` voxels."""
    # Voxel i lies at (i + 1/2) size / side - 1/2, and place p of an array counts (2 p + 1) / side - 1.
    centres = torch.arange(side, dtype=torch.float64) + 0.5
    return (2 * centres * size[:, None] / side**2 - 1).float()
