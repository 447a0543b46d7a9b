"""Intensities by hand; noise and drawn values by their spread; bias fields against numpy's polynomials."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from transforms.batch import Batch, BiasField, RandBiasFieldBatchd, RandIntensityBatchd
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


def intensity(values: list[float], *, inverted: bool = False, **drawn: float) -> list[float]:
    """One row of pixels after a change of which every value is given."""
    transform = RandIntensityBatchd(brightness=1, contrast=[0.1, 9], gamma=[0.1, 9])
    neutral = {"brightness": 0.0, "contrast": 1.0, "gamma": 1.0, "noise": 0.0} | drawn
    parameters = {name: torch.tensor(value).view(1, 1, 1, 1) for name, value in neutral.items()}
    batch = {"image": torch.tensor(values).float().view(1, 1, 1, -1), "label": torch.zeros(1, 1, 1, len(values))}
    parameters |= {"inverted": torch.tensor(inverted).view(1, 1, 1, 1), "seed": torch.tensor(0)}
    result: list[float] = transform.apply(batch, parameters)["image"].flatten().tolist()
    return result


def test_intensities_by_hand() -> None:
    assert intensity([0, 1, 5]) == [0, 1, 5]
    assert intensity([0, 1, 5], brightness=2) == [2, 3, 7]
    assert intensity([0, 1, 5], contrast=3) == [-4, -1, 11]  # about the mean, 2
    assert intensity([0, 1, 4], gamma=2) == [0, 0.25, 4]  # (1/4)**2 * 4
    assert intensity([-2, 0, 2], gamma=0.5) == pytest.approx([-2, 2 * math.sqrt(2) - 2, 2])  # sqrt(2/4) * 4 - 2
    # Gamma comes first, then contrast about the new mean (4.25 / 3), then brightness.
    assert intensity([0, 1, 4], gamma=2, contrast=2, brightness=1) == pytest.approx(
        [2 * value - 4.25 / 3 + 1 for value in (0, 0.25, 4)]
    )
    assert intensity([7, 7, 7], gamma=2, contrast=2) == [7, 7, 7]
    assert intensity([7, 7, 7], gamma=2, inverted=True) == [7, 7, 7]


def test_gamma_of_the_negative_by_hand() -> None:
    # Of 0, 1, 4 the negative is 4, 3, 0; squared within its range 4, 9/4, 0; and back 0, 7/4, 4.
    assert intensity([0, 1, 4], gamma=2, inverted=True) == pytest.approx([0, 1.75, 4])
    turned = intensity([0, -1, -4], gamma=1.7)
    assert intensity([0, 1, 4], gamma=1.7, inverted=True) == pytest.approx([-value for value in turned])
    assert intensity([0, 1, 4], inverted=True) == [0, 1, 4]


def test_negatives_are_a_share_of_the_changes_of_gamma() -> None:
    one, other = (RandIntensityBatchd(gamma=[0.5, 2], invert_gamma=share) for share in (0.3, 0.0))
    drawn, plain = (transform.draw(noise_batch(2000, height=2, width=2), generator()) for transform in (one, other))
    assert float(drawn["inverted"].double().mean()) == pytest.approx(0.3, abs=0.03)
    assert not plain["inverted"].any()
    assert all(torch.equal(drawn[name], plain[name]) for name in plain if name != "inverted")


def test_channels_have_one_range_and_noise_of_their_own() -> None:
    """Neighbouring slices are channels: the brightest voxel of the three, not of each, is the upper end of gamma."""
    image = torch.tensor([[[0.0, 1]], [[0, 2]], [[0, 4]]])[None]
    batch = {"image": image, "label": torch.zeros(1, 1, 1, 2)}
    transform = RandIntensityBatchd(prob=1, gamma=[2, 2])
    assert transform(batch, generator())["image"].flatten().tolist() == pytest.approx([0, 0.25, 0, 1, 0, 4])
    noisy = RandIntensityBatchd(prob=1, noise=1)(
        {"image": torch.zeros(1, 2, 9, 9), "label": batch["label"]}, generator()
    )
    assert not torch.equal(noisy["image"][0, 0], noisy["image"][0, 1])


def test_noise_has_its_spread_and_its_own_share() -> None:
    before = {"image": torch.zeros(400, 1, 30, 30), "label": torch.zeros(400, 1, 30, 30)}
    after = RandIntensityBatchd(prob=0.5, noise=0.4)(before, generator())["image"]
    spread = after.flatten(1).std(1)
    changed = spread > 0
    assert 160 < int(changed.sum()) < 240
    assert float(spread.max()) == pytest.approx(0.4, rel=0.1)  # each draws its own, uniform from 0
    assert float(spread[changed].mean()) == pytest.approx(0.2, rel=0.15)
    assert abs(float(after.mean())) < 0.01


def test_drawn_values_keep_within_their_range() -> None:
    transform = RandIntensityBatchd(prob=1, brightness=0.5, contrast=[0.8, 1.1], gamma=[0.7, 1.6])
    drawn = transform.draw(noise_batch(500), generator())
    assert 0.8 <= float(drawn["contrast"].min()) < 0.82 and 1.08 < float(drawn["contrast"].max()) <= 1.1
    assert 0.7 <= float(drawn["gamma"].min()) < 0.72 and 1.55 < float(drawn["gamma"].max()) <= 1.6
    assert float(drawn["brightness"].std()) == pytest.approx(0.5, rel=0.1)
    assert abs(float(drawn["brightness"].mean())) < 0.1


def test_what_is_not_drawn_stays_to_the_bit() -> None:
    before = noise_batch(60)
    transform = RandIntensityBatchd(prob=0.3, brightness=1, contrast=[0.5, 2], gamma=[0.5, 2], noise=1)
    drawn = transform.draw(before, generator())
    after = transform.apply(before, drawn)
    still = (drawn["brightness"] == 0) & (drawn["contrast"] == 1) & (drawn["gamma"] == 1) & (drawn["noise"] == 0)
    assert 5 < int(still.sum()) < 30
    for number, unchanged in enumerate(still.flatten().tolist()):
        assert torch.equal(after["image"][number], before["image"][number]) is unchanged
    assert torch.equal(after["label"], before["label"])
    nothing = RandIntensityBatchd(prob=1)(before, generator())
    assert torch.equal(nothing["image"], before["image"])


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"keys": ["image", "label"]}, "changes the image only"),
        ({"keys": "label"}, "changes the image only"),
        ({"prob": 2}, "prob is 2"),
        ({"brightness": -1}, "brightness is -1"),
        ({"noise": "much"}, "noise is 'much'"),
        ({"contrast": [2, 1]}, "contrast is"),
        ({"gamma": [0, 1]}, "gamma is"),
        ({"gamma": [True, 2]}, "gamma is"),
        ({"invert_gamma": 1.5}, "invert_gamma is 1.5"),
    ],
    ids=str,
)
def test_refusals_of_the_intensity(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError, match=told) as caught:
        RandIntensityBatchd(**parameters)
    assert caught.value.remedy
    assert RandIntensityBatchd(keys=["image"]).prob == 0.5


def ones(count: int = 1, channels: int = 1, height: int = 40, width: int = 30) -> Batch:
    """Images of one, with a corner of zero, so that what is multiplied is the field itself."""
    image = torch.ones(count, channels, height, width)
    image[..., 0, 0] = 0
    return {"image": image, "label": torch.zeros(count, 1, height, width)}


def test_a_field_is_numpy_s_polynomial() -> None:
    before, transform = ones(30), RandBiasFieldBatchd(prob=0.7, strength=0.5, degree=3)
    drawn = transform.draw(before, generator())
    after = transform.apply(before, drawn)["image"]
    rows, columns = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 30), indexing="ij")
    for number, coefficients, strength in zip(drawn.chosen, drawn.coefficients, drawn.strength, strict=True):
        assert not coefficients[[0, 1, 2, 3, 3], [0, 3, 2, 1, 3]].any(), "the constant, and what is above the degree"
        logarithm = np.polynomial.legendre.legval2d(rows, columns, coefficients.double().numpy())
        wanted = np.exp(logarithm / np.abs(logarithm).max() * float(strength))
        wanted[0, 0] = 0
        np.testing.assert_allclose(after[number, 0].numpy(), wanted, rtol=1e-4)


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_fields_are_positive_smooth_and_as_strong_as_drawn(degree: int) -> None:
    before, transform = ones(200, channels=2), RandBiasFieldBatchd(prob=1, strength=0.4, degree=degree)
    drawn = transform.draw(before, generator())
    after = transform.apply(before, drawn)["image"]
    fields = after[:, :, 1:, 1:].double()
    assert torch.equal(fields[:, 0], fields[:, 1])
    assert math.exp(-0.4001) < float(fields.min()) < 0.75 and 1.35 < float(fields.max()) < math.exp(0.4001)
    assert drawn.strength.mean().item() == pytest.approx(0.2, abs=0.03)
    assert abs(float(fields.log().mean())) < 0.02, "brighter as often as darker"
    # A polynomial of degree d along any line: its differences of order d + 1 vanish.
    for axis in (2, 3):
        assert float(torch.diff(fields.log(), degree + 1, dim=axis).abs().max()) < 1e-5
        assert float(torch.diff(fields.log(), degree, dim=axis).abs().max()) > 1e-5
    assert not after[:, :, 0, 0].any(), "no signal stays none"


def test_a_field_does_not_depend_on_the_scale_of_the_image() -> None:
    """Normalised before or after, the outcome is the same: the field multiplies the signal, from the minimum up."""
    before, transform = noise_batch(5), RandBiasFieldBatchd(prob=1)
    signal = before["image"] - before["image"].amin((1, 2, 3), keepdim=True)
    drawn = transform.draw(before, generator())
    raw = transform.apply({**before, "image": signal}, drawn)["image"]
    scaled = transform.apply({**before, "image": (signal - 3) / 2}, drawn)["image"]
    torch.testing.assert_close(scaled, (raw - 3) / 2)


def test_a_slope_by_hand() -> None:
    coefficients = torch.tensor([[[0.0, -2], [0, 0]]])  # -2 times the column, from -1 to 1
    image = torch.tensor([[1.0, 1, 1], [3, 3, 3]])[None, None]
    drawn = BiasField(torch.tensor([0]), coefficients, torch.tensor([math.log(2)]))
    after = RandBiasFieldBatchd().apply({"image": image, "label": torch.zeros(1, 1, 2, 3)}, drawn)["image"]
    # Above the minimum of 1 there is 2, times 2, 1 and 1/2.
    assert after[0, 0].tolist() == [[1, 1, 1], pytest.approx([5, 3, 2])]


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"keys": ["image", "label"]}, "changes the image only"),
        ({"prob": -1}, "prob is -1"),
        ({"strength": -0.1}, "strength is -0.1"),
        ({"strength": 6}, "strength is 6"),
        ({"degree": 0}, "degree is 0"),
        ({"degree": 9}, "degree is 9"),
        ({"degree": 2.0}, "degree is 2.0"),
        ({"degree": True}, "degree is True"),
    ],
    ids=str,
)
def test_refusals_of_the_bias_field(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError, match=f"RandBiasFieldBatchd.*{told}|RandBiasFieldBatchd {told}") as caught:
        RandBiasFieldBatchd(**parameters)
    assert caught.value.remedy
