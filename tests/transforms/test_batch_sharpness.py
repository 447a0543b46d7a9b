"""Blur against scipy's; low resolution against exact fractions and torch's own interpolation."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from scipy import ndimage

from transforms.batch import Batch, Blur, LowResolution, RandBlurBatchd, RandLowResolutionBatchd
from transforms.faults import ChainError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise_batch(
    count: int = 6, channels: int = 1, height: int = 20, width: int = 28, dtype: Any = torch.uint8
) -> Batch:
    source = generator(1)
    return {
        "image": torch.randn((count, channels, height, width), generator=source),
        "label": torch.randint(0, 6, (count, 1, height, width), generator=source).to(dtype),
    }


@pytest.mark.parametrize(("height", "width"), [(20, 28), (3, 50), (1, 1)])
def test_each_sample_is_blurred_as_scipy_does(height: int, width: int) -> None:
    before, transform = (
        noise_batch(12, channels=3, height=height, width=width),
        RandBlurBatchd(prob=0.7, sigma=[0.3, 4]),
    )
    drawn = transform.draw(before, generator())
    assert 4 < len(drawn.chosen) < 12
    assert float(drawn.sigma.max() - drawn.sigma.min()) > 1, "each has its own"
    after = transform.apply(before, drawn)["image"]
    for number, sigma in zip(drawn.chosen, drawn.sigma, strict=True):
        image = before["image"][number].double().numpy()
        wanted = ndimage.gaussian_filter(image, float(sigma), axes=(1, 2), mode="nearest")
        np.testing.assert_allclose(after[number].numpy(), wanted, atol=1e-5)


def test_a_blurred_point_by_hand() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1
    batch = {"image": image, "label": torch.zeros(1, 1, 9, 9)}
    after = RandBlurBatchd().apply(batch, Blur(torch.tensor([0]), torch.tensor([1.0])))["image"][0, 0]
    # One step aside, a Gaussian of deviation 1 has exp(-1/2) of its height.
    assert float(after[4, 5] / after[4, 4]) == pytest.approx(np.exp(-0.5), rel=1e-5)
    assert float(after[3, 5] / after[4, 4]) == pytest.approx(np.exp(-1), rel=1e-5)
    assert float(after.sum()) == pytest.approx(1, abs=1e-5)


def test_drawn_blurs_keep_within_their_range() -> None:
    drawn = RandBlurBatchd(prob=0.4, sigma=[0.5, 1.5]).draw(noise_batch(2000, height=2, width=2), generator())
    assert 0.36 < len(drawn.chosen) / 2000 < 0.44
    assert 0.5 <= float(drawn.sigma.min()) < 0.51 and 1.49 < float(drawn.sigma.max()) <= 1.5


def shrunk(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(C, H, W) at fewer voxels, each the one that holds its centre, in exact fractions."""
    rows, columns = (
        [floor(Fraction(2 * place + 1, 2) * side / size) for place in range(size)]
        for size, side in zip((height, width), image.shape[1:], strict=True)
    )
    return image[:, rows][:, :, columns]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("height", "width"), [(20, 28), (17, 5), (1, 9)])
def test_low_resolution_is_torch_s_of_the_shrunk_image(mode: str, height: int, width: int) -> None:
    before = noise_batch(30, channels=2, height=height, width=width)
    transform = RandLowResolutionBatchd(prob=0.8, zoom=[0.2, 1], upsample_mode=mode)
    drawn = transform.draw(before, generator())
    assert len(drawn.chosen) > 10
    assert len(drawn.sizes.unique(dim=0)) > 2, "each has its own"
    after = transform.apply(before, drawn)["image"]
    for number, size in zip(drawn.chosen, drawn.sizes.tolist(), strict=True):
        small = shrunk(before["image"][number], *size)
        wanted = functional.interpolate(small[None], (height, width), mode=mode, align_corners=False)[0]
        torch.testing.assert_close(after[number], wanted, atol=2e-5, rtol=1e-4)


def test_low_resolution_by_hand() -> None:
    # 0 1 2 3 at two voxels: their centres lie at 1 and 3, on the edge to the voxels 1 and 3. Enlarged: 1, 1.5, 2.5, 3.
    batch = {"image": torch.arange(4.0).view(1, 1, 1, 4), "label": torch.zeros(1, 1, 1, 4)}
    drawn = LowResolution(torch.tensor([0]), torch.tensor([[1, 2]]))
    after = RandLowResolutionBatchd(upsample_mode="bilinear").apply(batch, drawn)["image"]
    assert after.flatten().tolist() == pytest.approx([1, 1.5, 2.5, 3])


def test_drawn_sizes() -> None:
    drawn = RandLowResolutionBatchd(prob=0.5, zoom=[0.5, 0.9]).draw(
        noise_batch(2000, height=100, width=50), generator()
    )
    assert 0.46 < len(drawn.chosen) / 2000 < 0.54
    assert drawn.sizes.amin(0).tolist() == [50, 25] and drawn.sizes.amax(0).tolist() == [90, 45]
    assert float((drawn.sizes[:, 0] - 2 * drawn.sizes[:, 1]).abs().max()) <= 1, "both sides by one factor"
    nothing = RandLowResolutionBatchd(prob=1, zoom=[1, 1]).draw(noise_batch(20), generator())
    assert len(nothing.chosen) == 0
    tiny = RandLowResolutionBatchd(prob=1, zoom=[0.01, 0.01]).draw(noise_batch(2), generator())
    assert tiny.sizes.tolist() == [[1, 1]] * 2


@pytest.mark.parametrize(
    ("transform", "parameters", "told"),
    [
        (RandBlurBatchd, {"keys": "label"}, "changes the image only"),
        (RandBlurBatchd, {"prob": 2}, "prob is 2"),
        (RandBlurBatchd, {"sigma": [1, 0.5]}, "sigma is"),
        (RandBlurBatchd, {"sigma": [0, 1]}, "sigma is"),
        (RandBlurBatchd, {"sigma": [1, 65]}, "sigma is"),
        (RandBlurBatchd, {"sigma": 1}, "sigma is"),
        (RandLowResolutionBatchd, {"keys": ["label", "image"]}, "changes the image only"),
        (RandLowResolutionBatchd, {"prob": "x"}, "prob is 'x'"),
        (RandLowResolutionBatchd, {"zoom": [0.5, 1.5]}, "zoom is"),
        (RandLowResolutionBatchd, {"zoom": [0, 1]}, "zoom is"),
        (RandLowResolutionBatchd, {"upsample_mode": "nearest"}, "upsample_mode is 'nearest'"),
    ],
    ids=str,
)
def test_refusals(transform: Any, parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError, match=f"{transform.__name__}.*{told}|{transform.__name__} {told}") as caught:
        transform(**parameters)
    assert caught.value.remedy
