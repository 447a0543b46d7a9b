"""Where voxels go: rotation, scale, shear, shift, mirrors and elastic deformation of a batch in one resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from transforms.batch_parameters import (
    Batch,
    BatchTransform,
    axes_of_slice,
    bounded,
    check_moves_both,
    draw_samples,
    is_number,
    ordered_pair,
    replaced,
    sent,
    taken,
    uniform,
)
from transforms.faults import ChainError


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


class RandAffineBatchd(BatchTransform[Warp]):
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
        check_moves_both(own, keys)
        modes = dict(zip(keys, mode, strict=False)) if len(mode) == len(keys) else {}
        if modes.get("label") != "nearest" or modes.get("image") not in ("bilinear", "bicubic"):
            raise ChainError(f"{own}: mode is {mode}", remedy="Set mode: [bilinear, nearest], in the order of keys")
        if padding_mode not in ("border", "zeros", "reflection"):
            raise ChainError(f"{own}: padding_mode is {padding_mode!r}", remedy="Set border, zeros or reflection")
        if not is_number(elastic_spacing) or not elastic_spacing >= 2:
            raise ChainError(f"{own}: elastic_spacing is {elastic_spacing!r}", remedy="Give 2 pixels or more")
        self.prob = bounded(f"{own}: prob", prob, 1)
        self.radians = math.radians(bounded(f"{own}: rotate_degrees", rotate_degrees, 180))
        self.shear, self.translate = bounded(f"{own}: shear", shear), bounded(f"{own}: translate", translate, 1)
        self.scale = ordered_pair(f"{own}: scale", scale)
        self.flip = tuple(sorted(set(axes_of_slice(f"{own}: flip", flip))))
        self.elastic, self.elastic_spacing = bounded(f"{own}: elastic", elastic), elastic_spacing
        self.image_mode, self.padding_mode = modes["image"], padding_mode

    def draw(self, batch: Batch, generator: torch.Generator) -> Warp:
        """Draw the parameters for one batch, on the CPU."""
        height, width = batch["image"].shape[-2:]
        chosen = draw_samples(batch, self.prob, generator)
        moved = len(chosen)
        matrix = self._draw_matrix(moved, generator)
        sides = torch.tensor([height, width], dtype=torch.float32)
        shift = uniform(generator, -self.translate, self.translate, moved, 2) * sides
        if self.elastic > 0:
            points = [max(2, round(side / self.elastic_spacing) + 1) for side in (height, width)]
            elastic = torch.randn((moved, 2, *points), generator=generator) * self.elastic
            return Warp(chosen, matrix, shift, elastic)
        # Resampling on an unmoved grid would still round: what does not move is left alone, to the bit.
        moves = (matrix != torch.eye(2)).flatten(1).any(1) | (shift != 0).any(1)
        return Warp(chosen[moves], matrix[moves], shift[moves], None)

    def _draw_matrix(self, moved: int, generator: torch.Generator) -> torch.Tensor:
        """(moved, 2, 2): rotation and scale, then shear, then mirrors, from output to input."""
        angle = uniform(generator, -self.radians, self.radians, moved)
        low, high = (math.log(value) for value in self.scale)
        inverse_scale = torch.exp(-uniform(generator, low, high, moved))
        cos, sin = torch.cos(angle) * inverse_scale, torch.sin(angle) * inverse_scale
        matrix = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
        if self.shear:
            skew = torch.eye(2).repeat(moved, 1, 1)
            skew[:, 0, 1] = uniform(generator, -self.shear, self.shear, moved)
            matrix = matrix @ skew
        for axis in self.flip:
            signs = torch.ones(moved, 1, 2)
            signs[:, 0, axis] = torch.where(torch.rand(moved, generator=generator) < 0.5, -1.0, 1.0)
            matrix = matrix * signs
        return matrix

    def apply(self, batch: Batch, drawn: Warp) -> Batch:
        """Move the chosen samples; the others are left as they are, to the bit."""
        image, label = batch["image"], batch["label"]
        if len(drawn.chosen) == 0:
            return batch
        grid = _grid(drawn, image.shape[-2], image.shape[-1], image.device)
        chosen = sent(drawn.chosen, image.device)

        def sampled(values: torch.Tensor, mode: str) -> torch.Tensor:
            # In float32, whatever the type: half precision would round the places too.
            still = taken(values, chosen).float()
            moved = functional.grid_sample(still, grid, mode, self.padding_mode, align_corners=False)
            return replaced(values, chosen, moved)

        return {**batch, "image": sampled(image, self.image_mode), "label": sampled(label, "nearest")}


def _grid(warp: Warp, height: int, width: int, device: torch.device) -> torch.Tensor:
    """(M, H, W, 2) places that are read, as grid_sample takes them: (column, row), -1 to 1 across the outer edges."""
    # The few numbers of each sample are brought to that form on the CPU, so that the many are touched once.
    to_unit = torch.tensor([2 / width, 2 / height])
    matrix = sent(warp.matrix.flip(1) * to_unit[:, None], device)
    shift = sent(warp.shift.flip(1) * to_unit, device)
    rows = torch.arange(height, device=device) - (height - 1) / 2
    columns = torch.arange(width, device=device) - (width - 1) / 2
    along = rows[None, :, None] * matrix[:, None, :, 0] + shift[:, None]
    across = columns[None, :, None] * matrix[:, None, :, 1]
    grid = along[:, :, None] + across[:, None]
    if warp.elastic is not None:
        coarse = sent(warp.elastic.flip(1) * to_unit[:, None, None], device)
        by_row, by_column = (
            _cubic_weights(*sides, device) for sides in zip((height, width), coarse.shape[-2:], strict=True)
        )
        grid += (by_row @ coarse @ by_column.T).permute(0, 2, 3, 1)
    return grid


def _cubic_weights(fine: int, coarse: int, device: torch.device) -> torch.Tensor:
    """(fine, coarse) weights of a cubic interpolation along one axis, its ends on the ends.

    A product with them is what ``interpolate(mode="bicubic", align_corners=True)`` does, at a tenth of its time.
    """
    unit = torch.eye(coarse, device=device)[None, None]
    return functional.interpolate(unit, (fine, coarse), mode="bicubic", align_corners=True)[0, 0]


class RandFlipBatchd(BatchTransform[torch.Tensor]):
    """Mirror slices along axes, exactly: voxels change places and nothing is resampled.

    Parameters
    ----------
    keys
        ``[image, label]``: both always move together.
    prob
        Of being mirrored: one for all axes, or one an axis, in the order of `axes`.
    axes
        0: rows, 1: columns of a slice; each is drawn by itself.
    """

    def __init__(
        self,
        keys: Sequence[str] = ("image", "label"),
        prob: float | Sequence[float] = 0.5,
        *,
        axes: Sequence[int],
    ) -> None:
        own = type(self).__name__
        check_moves_both(own, keys)
        self.axes = axes_of_slice(f"{own}: axes", axes)
        if not self.axes or len(set(self.axes)) < len(self.axes):
            raise ChainError(f"{own}: axes is {axes}", remedy="Give each axis once: 0 for rows, 1 for columns")
        each = prob if isinstance(prob, (list, tuple)) else [prob] * len(self.axes)
        if len(each) != len(self.axes):
            what = f"{own}: prob has {len(each)} numbers for {len(self.axes)} axes"
            raise ChainError(what, remedy="Give one number, or one an axis, in the order of axes")
        self.prob = tuple(bounded(f"{own}: prob", one, 1) for one in each)

    def draw(self, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        """(B, 2) bool: which samples are mirrored along the rows, and along the columns."""
        mirrored = torch.zeros(batch["image"].shape[0], 2, dtype=torch.bool)
        for axis, prob in sorted(zip(self.axes, self.prob, strict=True)):
            mirrored[:, axis] = torch.rand(len(mirrored), generator=generator) < prob
        return mirrored

    def apply(self, batch: Batch, drawn: torch.Tensor) -> Batch:
        """Mirror the chosen samples; the others are left as they are, to the bit."""
        if not drawn.any():
            return batch
        image, label = batch["image"].clone(), batch["label"].clone()
        for axes in ((0,), (1,), (0, 1)):
            wanted = torch.tensor([0 in axes, 1 in axes])
            chosen = torch.nonzero((drawn == wanted).all(1)).flatten()
            places, sides = sent(chosen, image.device), [axis - 2 for axis in axes]
            for values in (image, label):
                values.index_copy_(0, places, taken(values, places).flip(sides))
        return {**batch, "image": image, "label": label}
