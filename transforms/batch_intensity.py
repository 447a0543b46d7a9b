"""How bright voxels are: brightness, contrast, gamma, noise and a bias field, of the images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

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

_MAX_DEGREE = 8


class RandIntensityBatchd(BatchTransform[dict[str, torch.Tensor]]):
    """Change brightness, contrast, gamma and noise of images that were normalised to about unit variance.

    All channels of a sample, such as neighbouring slices, have one range, one mean and one change; each has noise of
    its own.

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
    invert_gamma
        Share of the changes of gamma that are applied to the negative of the image, as nnU-Net does: its bright end
        is then stretched as the dark end is otherwise.
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
        invert_gamma: float = 0.0,
        noise: float = 0.0,
    ) -> None:
        own = type(self).__name__
        check_changes_image(own, keys)
        self.prob = bounded(f"{own}: prob", prob, 1)
        self.brightness, self.noise = bounded(f"{own}: brightness", brightness), bounded(f"{own}: noise", noise)
        self.contrast = ordered_pair(f"{own}: contrast", contrast)
        self.gamma = ordered_pair(f"{own}: gamma", gamma)
        self.invert_gamma = bounded(f"{own}: invert_gamma", invert_gamma, 1)

    def draw(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """One value a sample and change, (B, 1, 1, 1), neutral where the change is not drawn; and a seed for noise."""
        count = batch["image"].shape[0]

        def values(drawn: torch.Tensor, neutral: float) -> torch.Tensor:
            use = torch.rand(count, generator=generator) < self.prob
            return torch.where(use, drawn, torch.tensor(neutral))[:, None, None, None]

        drawn = {
            "brightness": values(torch.randn(count, generator=generator) * self.brightness, 0.0),
            "contrast": values(uniform(generator, *self.contrast, count), 1.0),
            "gamma": values(uniform(generator, *self.gamma, count), 1.0),
            "noise": values(uniform(generator, 0.0, self.noise, count), 0.0),
            "seed": torch.randint(0, 2**31 - 1, (1,), generator=generator),
        }
        inverted = torch.zeros(count, 1, 1, 1, dtype=torch.bool)
        if self.invert_gamma > 0:
            inverted = torch.rand((count, 1, 1, 1), generator=generator) < self.invert_gamma
        return {**drawn, "inverted": inverted}

    def apply(self, batch: Batch, drawn: dict[str, torch.Tensor]) -> Batch:
        """Change the images, each where its change was drawn; the rest, and the labels, stay as they are to the bit."""
        image = batch["image"]
        image = _with_gamma(image, drawn["gamma"], drawn["inverted"])
        image = _with_contrast(image, drawn["contrast"], drawn["brightness"])
        image = _with_noise(image, drawn["noise"], int(drawn["seed"]))
        return {**batch, "image": image}


def _with_gamma(image: torch.Tensor, gamma: torch.Tensor, inverted: torch.Tensor) -> torch.Tensor:
    chosen = _where(gamma != 1)
    if len(chosen) == 0:
        return image
    places, power = sent(chosen, image.device), sent(gamma[chosen], image.device)
    values = taken(image, places).float()
    low, high = values.amin((1, 2, 3), keepdim=True), values.amax((1, 2, 3), keepdim=True)
    negative = inverted[chosen]
    if negative.any():  # drawn, and so on the CPU
        # 1 - x where the negative is meant: from the other end, and in the other direction.
        sign = sent(1.0 - 2.0 * negative.float(), image.device)
        start = torch.where(sign < 0, high, low)
    else:
        sign, start = torch.ones((), device=image.device), low
    extent = (high - low).clamp_min(1e-6) * sign
    return replaced(image, places, ((values - start) / extent).pow(power).mul_(extent).add_(start))


def _with_contrast(image: torch.Tensor, contrast: torch.Tensor, brightness: torch.Tensor) -> torch.Tensor:
    chosen = _where((contrast != 1) | (brightness != 0))
    if len(chosen) == 0:
        return image
    places = sent(chosen, image.device)
    factor, added = sent(contrast[chosen], image.device), sent(brightness[chosen], image.device)
    values = taken(image, places).float()
    mean = values.mean((1, 2, 3), keepdim=True)
    return replaced(image, places, (values - mean).mul_(factor).add_(mean + added))


def _with_noise(image: torch.Tensor, deviation: torch.Tensor, seed: int) -> torch.Tensor:
    """Noise is made on the device, from a seed that was drawn: sending it there would cost more."""
    chosen = _where(deviation != 0)
    if len(chosen) == 0:
        return image
    places, spread = sent(chosen, image.device), sent(deviation[chosen], image.device)
    source = torch.Generator(device=image.device).manual_seed(seed)
    shape = (len(chosen), *image.shape[1:])
    noise = torch.randn(shape, generator=source, device=image.device).mul_(spread)
    return replaced(image, places, noise.add_(taken(image, places)))


def _where(changed: torch.Tensor) -> torch.Tensor:
    """(M,) the samples of (B, 1, 1, 1) that are true."""
    return torch.nonzero(changed.flatten()).flatten()


@dataclass(frozen=True)
class BiasField:
    """Parameters of `RandBiasFieldBatchd` for the samples that have a field.

    Attributes
    ----------
    chosen
        (M,) indices into the batch.
    coefficients
        (M, degree + 1, degree + 1) of products of Legendre polynomials of row and column; 0 above the degree, and for
        the constant.
    strength
        (M,) the largest logarithm of a field, up or down.
    """

    chosen: torch.Tensor
    coefficients: torch.Tensor
    strength: torch.Tensor


class RandBiasFieldBatchd(BatchTransform[BiasField]):
    """Multiply images by a smooth field, as an uneven coil of an MRI scanner does.

    The logarithm of the field is a polynomial of row and column, scaled so that it just reaches what was drawn: a
    strength of 0.3 gives factors between exp(-0.3) = 0.74 and exp(0.3) = 1.35. It multiplies what an image has above
    its own minimum: air, where there is no signal, stays as dark as it was, also after intensities were normalised.
    All channels of a sample have one field and one minimum.

    Parameters
    ----------
    keys
        ``image``.
    prob
        Share of the samples that get a field.
    strength
        Largest logarithm of the field; each sample draws its own, uniform from 0.
    degree
        Of the polynomial: 1 is a slope, 3 a field with a few hills.

    Notes
    -----
    The model of a smooth polynomial field on a logarithmic scale is that of K. Van Leemput et al., "Automated
    model-based bias field correction of MR images of the brain", IEEE TMI 18(10), 1999, as in MONAI's RandBiasField.
    """

    def __init__(
        self, keys: Sequence[str] | str = "image", prob: float = 0.2, strength: float = 0.3, degree: int = 3
    ) -> None:
        own = type(self).__name__
        check_changes_image(own, keys)
        if isinstance(degree, bool) or not isinstance(degree, int) or not 1 <= degree <= _MAX_DEGREE:
            raise ChainError(f"{own}: degree is {degree!r}", remedy=f"Give a whole number from 1 to {_MAX_DEGREE}")
        self.prob, self.strength = bounded(f"{own}: prob", prob, 1), bounded(f"{own}: strength", strength, 5)
        self.degree = degree

    def draw(self, batch: Batch, generator: torch.Generator) -> BiasField:
        """Draw the fields for one batch, on the CPU."""
        chosen = draw_samples(batch, self.prob, generator)
        orders = torch.arange(self.degree + 1)
        total = orders[:, None] + orders[None, :]
        used = (total > 0) & (total <= self.degree)
        coefficients = torch.randn((len(chosen), *total.shape), generator=generator) * used
        strength = uniform(generator, 0.0, self.strength, len(chosen))
        some = strength > 0  # a field of ones would still round
        return BiasField(chosen[some], coefficients[some], strength[some])

    def apply(self, batch: Batch, drawn: BiasField) -> Batch:
        """Multiply the chosen images; the others, and the labels, are left as they are, to the bit."""
        image = batch["image"]
        if len(drawn.chosen) == 0:
            return batch
        places = sent(drawn.chosen, image.device)
        values = taken(image, places).float()
        low = values.amin((1, 2, 3), keepdim=True)
        field = bias_fields(drawn, image.shape[-2], image.shape[-1], image.device)[:, None]
        return {**batch, "image": replaced(image, places, (values - low).mul_(field).add_(low))}


def bias_fields(drawn: BiasField, height: int, width: int, device: torch.device) -> torch.Tensor:
    """(M, H, W) factors, from exp(-strength) to exp(strength)."""
    orders = drawn.coefficients.shape[-1]
    by_row, by_column = (_legendre(side, orders, device) for side in (height, width))
    logarithm = by_row @ sent(drawn.coefficients, device) @ by_column.T
    highest = logarithm.abs().amax((1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.exp(logarithm / highest * sent(drawn.strength, device)[:, None, None])


def _legendre(side: int, orders: int, device: torch.device) -> torch.Tensor:
    """(side, orders) Legendre polynomials at places evenly from -1 to 1, by Bonnet's recursion."""
    place = torch.linspace(-1, 1, side, device=device)
    found = [torch.ones_like(place), place]
    for order in range(1, orders - 1):
        found.append(((2 * order + 1) * place * found[order] - order * found[order - 1]) / (order + 1))
    return torch.stack(found[:orders], dim=1)
