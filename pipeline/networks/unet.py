"""The 2D UNet: encoder, bottleneck and decoder with skip connections, for slices of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from pipeline.errors import ConfigError

NORMS = ("batch", "instance", "group", "none")
ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "silu": nn.SiLU, "gelu": nn.GELU, "elu": nn.ELU}


def _norm(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    if name == "group":
        groups = next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)
        return nn.GroupNorm(groups, channels)
    return nn.Identity()


def _activation(name: str) -> nn.Module:
    kind = ACTIVATIONS[name]
    return kind() if name == "gelu" else kind(inplace=True)


class ConvBlock(nn.Sequential):
    """Convolutions of 3 x 3, each with normalisation and activation; dropout at the end when asked for."""

    def __init__(self, inputs: int, outputs: int, *, convolutions: int, norm: str, act: str, dropout: float) -> None:
        layers: list[nn.Module] = []
        for number in range(convolutions):
            first = inputs if number == 0 else outputs
            layers += [nn.Conv2d(first, outputs, 3, padding=1, bias=norm == "none"), _norm(norm, outputs)]
            layers.append(_activation(act))
        if dropout > 0:
            layers.append(nn.Dropout2d(dropout))
        super().__init__(*layers)


class UNet(nn.Module):
    """A 2D UNet of any depth and width (after Ronneberger et al., 2015, doi:10.1007/978-3-319-24574-4_28).

    Parameters
    ----------
    in_channels
        Channels of the input: modalities times slices (the slice itself and its neighbours).
    out_channels
        Classes, the background among them.
    channels
        Widths, one a level, from the input's resolution to the bottleneck; each level halves the resolution.
    convolutions
        3 x 3 convolutions a level, on each way.
    norm
        ``batch``, ``instance``, ``group`` or ``none``.
    act
        ``relu``, ``leaky_relu``, ``silu``, ``gelu`` or ``elu``.
    dropout
        Share of the channels dropped after each level, from 0 to below 1.
    upsample
        ``transposed`` (2 x 2, stride 2, learnt) or ``bilinear`` (followed by a 1 x 1 convolution).
    deep_supervision
        How many lower resolutions give logits as well while it trains, for the loss; fewer than there are levels.

    Raises
    ------
    ConfigError
        For values that make no network.

    Notes
    -----
    The input is padded at its lower and right edges to a multiple of 2 ** (levels - 1), by repeating the edge, and the
    logits are cropped back: the output has the input's size (see `pad_to_multiple`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        convolutions: int = 2,
        norm: str = "batch",
        act: str = "relu",
        dropout: float = 0.0,
        upsample: str = "transposed",
        deep_supervision: int = 0,
    ) -> None:
        super().__init__()
        _check(channels, convolutions, norm, act, dropout, upsample, deep_supervision)
        options = {"convolutions": convolutions, "norm": norm, "act": act, "dropout": dropout}
        widths = [int(width) for width in channels]
        self.multiple = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(
            ConvBlock(before, width, **options)  # type: ignore[arg-type]
            for before, width in zip([in_channels, *widths[:-2]], widths[:-1], strict=True)
        )
        self.bottleneck = ConvBlock(widths[-2], widths[-1], **options)  # type: ignore[arg-type]
        self.upsamplers = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.upsamplers.append(_upsampler(below, width, upsample))
            self.decoder.append(ConvBlock(2 * width, width, **options))  # type: ignore[arg-type]
        self.head = nn.Conv2d(widths[0], out_channels, 1)
        self.lower_heads = nn.ModuleList(
            nn.Conv2d(width, out_channels, 1) for width in widths[1 : 1 + deep_supervision]
        )
        self.apply(_initialise)

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Logits (B, out_channels, H, W) of images (B, in_channels, H, W), for any H and W.

        While it trains with deep supervision, a list of them and of (B, out_channels, ceil(H / 2), ceil(W / 2)) and so
        on, the highest resolution first.
        """
        height, width = image.shape[-2:]
        x = pad_to_multiple(image, self.multiple)
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        lower: list[torch.Tensor] = []
        for upsampler, block, skip in zip(self.upsamplers, self.decoder, reversed(skips), strict=True):
            lower.append(x)
            x = block(torch.cat([skip, upsampler(x)], dim=1))
        logits: torch.Tensor = self.head(x)[..., :height, :width]
        if not (self.training and len(self.lower_heads)):
            return logits
        outputs = [logits]
        for level, (head, features) in enumerate(zip(self.lower_heads, reversed(lower), strict=False), start=1):
            factor = 2**level
            outputs.append(head(features)[..., : -(-height // factor), : -(-width // factor)])
        return outputs


def pad_to_multiple(image: torch.Tensor, multiple: int) -> torch.Tensor:
    """Repeat the lower and right edge of (B, C, H, W) until both sides divide by `multiple`.

    An image of one multiple each way is made twice as wide, so that at the lowest resolution no channel is a single
    value: normalisation would have no spread to divide by.
    """
    height, width = image.shape[-2:]
    rows, columns = -height % multiple, -width % multiple
    if height + rows == width + columns == multiple:
        columns += multiple
    return functional.pad(image, (0, columns, 0, rows), mode="replicate") if rows or columns else image


def _upsampler(inputs: int, outputs: int, kind: str) -> nn.Module:
    if kind == "transposed":
        return nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
    # The 1 x 1 convolution comes first: the same result as after it, at a quarter of the work.
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.Upsample(scale_factor=2, mode="bilinear"))


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check(
    channels: Any, convolutions: Any, norm: Any, act: Any, dropout: Any, upsample: Any, deep_supervision: Any
) -> None:
    """Refuse values that make no network; they come from a config, so their types are not known either."""
    widths = list(channels) if isinstance(channels, Sequence) and not isinstance(channels, str) else []
    faults = {
        f"channels is {channels!r}; give at least two whole numbers of 1 and more": len(widths) < 2
        or not all(_is_count(width) for width in widths),
        f"convolutions is {convolutions!r}; give 1 or more": not _is_count(convolutions),
        f"norm is {norm!r}; known are {', '.join(NORMS)}": norm not in NORMS,
        f"act is {act!r}; known are {', '.join(ACTIVATIONS)}": act not in tuple(ACTIVATIONS),
        f"dropout is {dropout!r}; give 0 or more, below 1": not isinstance(dropout, (int, float))
        or not 0 <= dropout < 1,
        f"upsample is {upsample!r}; known are transposed, bilinear": upsample not in ("transposed", "bilinear"),
        f"deep_supervision is {deep_supervision!r}; give 0 or more, below the {len(widths)} levels": isinstance(
            deep_supervision, bool
        )
        or not isinstance(deep_supervision, int)
        or deep_supervision not in range(max(1, len(widths))),
    }
    wrong = [what for what, is_wrong in faults.items() if is_wrong]
    if wrong:
        raise ConfigError("UNet: " + "; ".join(wrong), where="network", remedy="See configs/hipmri.yaml")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
