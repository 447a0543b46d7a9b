"""Random augmentation of a whole batch, on the device that it lives on.

Each transform draws its parameters in `draw` and uses them in `apply`, so that what was random can be seen, and
repeated. All draws come from the CPU generator that the caller seeds, so that the same step draws the same on every
device; noise alone is made on the device, from a seed that is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional

from transforms.faults import ChainError

Batch = dict[str, torch.Tensor]  # image (B, C, H, W) float, label (B, 1, H, W)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _ordered_pair(name: str, value: Any) -> tuple[float, float]:
    pair = [float(item) for item in value] if isinstance(value, (list, tuple)) and all(map(_is_number, value)) else []
    if len(pair) != 2 or not 0 < pair[0] <= pair[1] or not math.isfinite(pair[1]):
        raise ChainError(f"{name} is {value}", remedy="Give [low, high], above 0")
    return pair[0], pair[1]


def _bounded(name: str, value: Any, high: float = math.inf) -> float:
    """A number from 0 to `high`, or a refusal."""
    if not _is_number(value) or not 0 <= value <= high or not math.isfinite(value):
        limits = "0 or more" if high == math.inf else f"from 0 to {high:g}"
        raise ChainError(f"{name} is {value!r}", remedy=f"Give a number, {limits}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True)
class Warp:
    """Parameters of `RandAffineBatchd` for the samples that move.

    Attributes
    ----------
    chosen
        (M,) indices into the batch; a sample whose draw came out as no movement at all is not among them.
    matrix
        (M, 2, 2), from output to input offsets (row, column) from the centre, in pixels.
    shift
        (M, 2) in pixels.
    elastic
        (M, 2, h, w) displacements of a coarse grid in pixels, or None.
    """

    chosen: torch.Tensor
    matrix: torch.Tensor
    shift: torch.Tensor
    elastic: torch.Tensor | None


class RandAffineBatchd:
    """Rotate, scale, shear, shift, mirror and deform a batch in one resampling.

    Parameters
    ----------
    keys
        ``[image, label]``: both always move together.
    prob
        Share of the samples that move.
    rotate_degrees
        Rotation is uniform in plus and minus this.
    scale
        [low, high] of the magnification.
    shear
        Shear factor, uniform in plus and minus this.
    translate
        Shift as a share of the side, uniform in plus and minus this.
    flip
        Axes (0: rows, 1: columns of a slice) that are mirrored, each with probability one half.
    elastic
        Standard deviation of the deformation, in pixels, at the points of a coarse grid; 0 for none.
    elastic_spacing
        Distance between the points of that grid, in pixels.
    mode
        Of the keys, as in MONAI; the label's is ``nearest``.
    padding_mode
        What lies outside: ``border``, ``zeros`` or ``reflection``.
    """

    def __init__(
        self,
        keys: Sequence[str] = ("image", "label"),
        prob: float = 1.0,
        rotate_degrees: float = 0.0,
        scale: Sequence[float] = (1.0, 1.0),
        shear: float = 0.0,
        translate: float = 0.0,
        flip: Sequence[int] = (),
        elastic: float = 0.0,
        elastic_spacing: int = 16,
        mode: Sequence[str] = ("bilinear", "nearest"),
        padding_mode: str = "border",
    ) -> None:
        own = type(self).__name__
        if isinstance(keys, str) or sorted(keys) != ["image", "label"]:
            raise ChainError(f"{own} moves image and label together", remedy="Set keys: [image, label]")
        modes = dict(zip(keys, mode, strict=False)) if len(mode) == len(keys) else {}
        if modes.get("label") != "nearest" or modes.get("image") not in ("bilinear", "bicubic"):
            raise ChainError(f"{own}: mode is {mode}", remedy="Set mode: [bilinear, nearest], in the order of keys")
        if padding_mode not in ("border", "zeros", "reflection"):
            raise ChainError(f"{own}: padding_mode is {padding_mode!r}", remedy="Set border, zeros or reflection")
        axes = flip if isinstance(flip, (list, tuple)) else [flip]
        if any(isinstance(axis, bool) or axis not in (0, 1) for axis in axes):
            raise ChainError(f"{own}: flip is {flip}", remedy="Give a list of axes: 0 for rows, 1 for columns")
        if not _is_number(elastic_spacing) or not elastic_spacing >= 2:
            raise ChainError(f"{own}: elastic_spacing is {elastic_spacing!r}", remedy="Give 2 pixels or more")
        self.prob = _bounded(f"{own}: prob", prob, 1)
        self.radians = math.radians(_bounded(f"{own}: rotate_degrees", rotate_degrees, 180))
        self.shear, self.translate = _bounded(f"{own}: shear", shear), _bounded(f"{own}: translate", translate, 1)
        self.scale = _ordered_pair(f"{own}: scale", scale)
        self.flip, self.elastic = tuple(sorted(set(axes))), _bounded(f"{own}: elastic", elastic)
        self.elastic_spacing, self.image_mode, self.padding_mode = elastic_spacing, modes["image"], padding_mode

    def draw(self, batch: Batch, generator: torch.Generator) -> Warp:
        """Draw the parameters for one batch, on the CPU."""
        count, _, height, width = batch["image"].shape
        chosen = torch.nonzero(torch.rand(count, generator=generator) < self.prob).flatten()
        moved = len(chosen)
        matrix = self._draw_matrix(moved, generator)
        sides = torch.tensor([height, width], dtype=torch.float32)
        shift = _uniform(generator, -self.translate, self.translate, moved, 2) * sides
        if self.elastic > 0:
            points = [max(2, round(side / self.elastic_spacing) + 1) for side in (height, width)]
            elastic = torch.randn((moved, 2, *points), generator=generator) * self.elastic
            return Warp(chosen, matrix, shift, elastic)
        # Resampling on an unmoved grid would still round: what does not move is left alone, to the bit.
        moves = (matrix != torch.eye(2)).flatten(1).any(1) | (shift != 0).any(1)
        return Warp(chosen[moves], matrix[moves], shift[moves], None)

    def _draw_matrix(self, moved: int, generator: torch.Generator) -> torch.Tensor:
        """(moved, 2, 2): rotation and scale, then shear, then mirrors, from output to input."""
        angle = _uniform(generator, -self.radians, self.radians, moved)
        low, high = (math.log(value) for value in self.scale)
        inverse_scale = torch.exp(-_uniform(generator, low, high, moved))
        cos, sin = torch.cos(angle) * inverse_scale, torch.sin(angle) * inverse_scale
        matrix = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
        if self.shear:
            skew = torch.eye(2).repeat(moved, 1, 1)
            skew[:, 0, 1] = _uniform(generator, -self.shear, self.shear, moved)
            matrix = matrix @ skew
        for axis in self.flip:
            signs = torch.ones(moved, 1, 2)
            signs[:, 0, axis] = torch.where(torch.rand(moved, generator=generator) < 0.5, -1.0, 1.0)
            matrix = matrix * signs
        return matrix

    def apply(self, batch: Batch, warp: Warp) -> Batch:
        """Move the chosen samples; the others are left as they are, to the bit."""
        image, label = batch["image"], batch["label"]
        if len(warp.chosen) == 0:
            return batch
        grid = self._grid(warp, image.shape[-2], image.shape[-1], image.device)
        chosen = warp.chosen.to(image.device)

        def sampled(values: torch.Tensor, mode: str) -> torch.Tensor:
            # In float32, whatever the type: half precision would round the places too.
            moved = functional.grid_sample(values[chosen].float(), grid, mode, self.padding_mode, align_corners=False)
            return values.index_copy(0, chosen, moved.to(values.dtype))

        return {**batch, "image": sampled(image, self.image_mode), "label": sampled(label, "nearest")}

    def _grid(self, warp: Warp, height: int, width: int, device: torch.device) -> torch.Tensor:
        rows = torch.arange(height, device=device) - (height - 1) / 2
        columns = torch.arange(width, device=device) - (width - 1) / 2
        matrix, shift = warp.matrix.to(device), warp.shift.to(device)
        coordinates = []
        for axis in (0, 1):
            along = matrix[:, axis, 0, None, None] * rows[None, :, None]
            across = matrix[:, axis, 1, None, None] * columns[None, None, :]
            coordinates.append(along + across + shift[:, axis, None, None])
        if warp.elastic is not None:
            smooth = functional.interpolate(
                warp.elastic.to(device), (height, width), mode="bicubic", align_corners=True
            )
            coordinates = [coordinates[0] + smooth[:, 0], coordinates[1] + smooth[:, 1]]
        # grid_sample wants (x, y) from -1 to 1 across the outer edges of the corner pixels.
        return torch.stack([coordinates[1] * (2 / width), coordinates[0] * (2 / height)], dim=-1)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw and apply."""
        return self.apply(batch, self.draw(batch, generator))


class RandIntensityBatchd:
    """Change brightness, contrast, gamma and noise of images that were normalised to about unit variance.

    Parameters
    ----------
    keys
        ``image``.
    prob
        Share of the samples that each change applies to.
    brightness
        Standard deviation of what is added.
    contrast
        [low, high] of the factor about the image's mean.
    gamma
        [low, high] of the exponent, applied between the image's own minimum and maximum.
    noise
        Largest standard deviation of Gaussian noise; each sample draws its own.
    """

    def __init__(
        self,
        keys: Sequence[str] | str = "image",
        prob: float = 0.5,
        brightness: float = 0.0,
        contrast: Sequence[float] = (1.0, 1.0),
        gamma: Sequence[float] = (1.0, 1.0),
        noise: float = 0.0,
    ) -> None:
        own = type(self).__name__
        if keys != "image" and list(keys) != ["image"]:
            raise ChainError(f"{own} changes the image only", remedy="Set keys: image")
        self.prob = _bounded(f"{own}: prob", prob, 1)
        self.brightness, self.noise = _bounded(f"{own}: brightness", brightness), _bounded(f"{own}: noise", noise)
        self.contrast = _ordered_pair(f"{own}: contrast", contrast)
        self.gamma = _ordered_pair(f"{own}: gamma", gamma)

    def draw(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """One value a sample and change, (B, 1, 1, 1), neutral where the change is not drawn; and a seed for noise."""
        count = batch["image"].shape[0]

        def values(drawn: torch.Tensor, neutral: float) -> torch.Tensor:
            use = torch.rand(count, generator=generator) < self.prob
            return torch.where(use, drawn, torch.tensor(neutral))[:, None, None, None]

        return {
            "brightness": values(torch.randn(count, generator=generator) * self.brightness, 0.0),
            "contrast": values(_uniform(generator, *self.contrast, count), 1.0),
            "gamma": values(_uniform(generator, *self.gamma, count), 1.0),
            "noise": values(_uniform(generator, 0.0, self.noise, count), 0.0),
            "seed": torch.randint(0, 2**31 - 1, (1,), generator=generator),
        }

    def apply(self, batch: Batch, parameters: dict[str, Any]) -> Batch:
        """Change the images, each where its change was drawn; the rest, and the labels, stay as they are to the bit."""
        image = batch["image"]
        value = {name: tensor.to(image.device, image.dtype) for name, tensor in parameters.items() if name != "seed"}
        if self.gamma != (1.0, 1.0):
            low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
            extent = (high - low).clamp_min(1e-6)
            changed = ((image - low) / extent).pow(value["gamma"]) * extent + low
            image = torch.where(value["gamma"] == 1, image, changed)
        if self.contrast != (1.0, 1.0):
            mean = image.mean((1, 2, 3), keepdim=True)
            image = torch.where(value["contrast"] == 1, image, (image - mean) * value["contrast"] + mean)
        if self.brightness > 0:
            image = image + value["brightness"]
        if self.noise > 0:
            source = torch.Generator(device=image.device).manual_seed(int(parameters["seed"]))
            field = torch.randn(image.shape, generator=source, device=image.device, dtype=image.dtype)
            image = image + field * value["noise"]
        return {**batch, "image": image}

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Draw and apply."""
        return self.apply(batch, self.draw(batch, generator))
