"""Batch augmentation: image and mask move as one, each parameter in its direction, and what is not drawn stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from transforms.batch import Batch, RandAffineBatchd, RandIntensityBatchd, Warp
from transforms.faults import ChainError

EVERYTHING: dict[str, Any] = {
    "rotate_degrees": 25, "scale": [0.8, 1.25], "shear": 0.2, "translate": 0.1, "flip": [0, 1], "elastic": 1.5,
}  # fmt: skip


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


def blobs(count: int = 8, side: int = 64) -> Batch:
    """A smooth blob in each image and the same, cut at half its height, as class 3 of the mask."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.exp(-(((rows - 36.0) / 7) ** 2 + ((columns - 26.0) / 5) ** 2))
    return {"image": image.repeat(count, 1, 1, 1), "label": (3 * (image > 0.5)).to(torch.uint8).repeat(count, 1, 1, 1)}


def centroid(values: torch.Tensor) -> torch.Tensor:
    weights = values.double() / values.double().sum()
    places = [torch.arange(size, dtype=torch.float64) for size in values.shape]
    return torch.stack([(weights.sum(1) * places[0]).sum(), (weights.sum(0) * places[1]).sum()])


def warp(matrix: list[list[float]], shift: tuple[float, float] = (0, 0), elastic: torch.Tensor | None = None) -> Warp:
    return Warp(torch.tensor([0]), torch.tensor([matrix], dtype=torch.float32), torch.tensor([shift]).float(), elastic)


def moved(array: Any, drawn: Warp, **parameters: Any) -> tuple[list[list[float]], list[list[float]]]:
    """A tiny image and the same as a label, after one warp."""
    batch = {"image": torch.tensor([[array]]).float(), "label": torch.tensor([[array]]).to(torch.uint8)}
    result = RandAffineBatchd(**parameters).apply(batch, drawn)
    image, label = result["image"][0, 0], result["label"][0, 0]
    return (image * 1000).round().div(1000).tolist(), label.tolist()


@pytest.mark.parametrize("name", ["rotate_degrees", "scale", "shear", "translate", "flip", "elastic", "all"])
def test_image_and_mask_move_together(name: str) -> None:
    parameters = EVERYTHING if name == "all" else {name: EVERYTHING[name]}
    before = blobs(60)
    after = RandAffineBatchd(**parameters)(before, generator())
    apart = []
    for image, label in zip(after["image"], after["label"], strict=True):
        assert set(label.unique().tolist()) == {0, 3}
        # Of the image, the part above half its height is what the mask shows.
        apart.append(centroid((image[0] > 0.5).float()) - centroid((label[0] > 0).float()))
    differences = torch.stack(apart)
    assert float(differences.abs().max()) <= 0.55  # the nearest pixel is up to half a pixel away
    assert float(differences.mean(0).abs().max()) < 0.12  # to either side: nothing is shifted for good
    assert not torch.equal(after["label"], before["label"])


@pytest.mark.parametrize(
    "parameters", [{}, {"prob": 0.0, **EVERYTHING}, {"prob": 1.0, "scale": [1, 1], "rotate_degrees": 0}], ids=str
)
def test_what_does_not_move_stays_to_the_bit(parameters: dict[str, Any]) -> None:
    before = noise_batch()
    after = RandAffineBatchd(**parameters)(before, generator())
    assert torch.equal(after["image"], before["image"])
    assert torch.equal(after["label"], before["label"])


def test_samples_that_are_not_chosen_stay_to_the_bit() -> None:
    before = noise_batch(40)
    transform = RandAffineBatchd(prob=0.5, **EVERYTHING)
    chosen = set(transform.draw(before, generator(3)).chosen.tolist())
    after = transform(before, generator(3))
    assert 10 < len(chosen) < 30
    same = {number for number in range(40) if torch.equal(after["image"][number], before["image"][number])}
    assert same == set(range(40)) - chosen
    assert all(torch.equal(after["label"][number], before["label"][number]) for number in same)


def test_the_batch_is_not_written_into() -> None:
    before = noise_batch()
    copies = {key: value.clone() for key, value in before.items()}
    RandAffineBatchd(**EVERYTHING)(before, generator())
    RandIntensityBatchd(prob=1, brightness=1, contrast=[0.5, 2], gamma=[0.5, 2], noise=1)(before, generator())
    assert all(torch.equal(before[key], copies[key]) for key in copies)


def test_mirrors_by_hand() -> None:
    #   1 2 3      rows    4 5 6     columns   3 2 1
    #   4 5 6      ->      1 2 3     ->        6 5 4
    array = [[1.0, 2, 3], [4, 5, 6]]
    assert moved(array, warp([[-1, 0], [0, 1]])) == ([[4, 5, 6], [1, 2, 3]],) * 2
    assert moved(array, warp([[1, 0], [0, -1]])) == ([[3, 2, 1], [6, 5, 4]],) * 2


def test_mirrors_are_drawn_for_half_the_samples() -> None:
    drawn = RandAffineBatchd(flip=[1]).draw(noise_batch(400), generator())
    assert 150 < len(drawn.chosen) < 250
    assert torch.equal(drawn.matrix, torch.diag(torch.tensor([1.0, -1])).expand(len(drawn.chosen), 2, 2))


def test_a_quarter_turn_is_numpy_s() -> None:
    array = np.arange(25.0).reshape(5, 5)
    turn = math.pi / 2
    matrix = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    # Output offset (r, c) reads input (-c, r): the right column comes from the top row, as in a turn clockwise.
    image, label = moved(array.tolist(), warp(matrix))
    assert image == np.rot90(array, -1).tolist()
    assert label == np.rot90(array, -1).tolist()


def test_rotation_keeps_within_its_angle() -> None:
    drawn = RandAffineBatchd(rotate_degrees=30).draw(noise_batch(500), generator())
    angles = torch.rad2deg(torch.atan2(drawn.matrix[:, 1, 0], drawn.matrix[:, 0, 0]))
    assert float(angles.abs().max()) <= 30.001
    assert float(angles.min()) < -25 < 25 < float(angles.max())
    assert torch.allclose(torch.linalg.det(drawn.matrix), torch.ones(500), atol=1e-5)


def test_shifts_by_hand() -> None:
    # A shift of one row reads one row further down: the content moves up, and the border is repeated.
    array = [[1.0, 2], [3, 4], [5, 6]]
    assert moved(array, warp([[1, 0], [0, 1]], (1, 0))) == ([[3, 4], [5, 6], [5, 6]],) * 2
    assert moved(array, warp([[1, 0], [0, 1]], (0, -1))) == ([[1, 1], [3, 3], [5, 5]],) * 2
    assert moved(array, warp([[1, 0], [0, 1]], (1, 0)), padding_mode="zeros") == ([[3, 4], [5, 6], [0, 0]],) * 2
    half, _ = moved(array, warp([[1, 0], [0, 1]], (0.5, 0)))
    assert half == [[2, 3], [4, 5], [5, 6]]


def test_values_keep_the_precision_of_float32() -> None:
    values = torch.rand(1, 1, 9, 9, generator=generator()) * 1000
    batch = {"image": values, "label": torch.zeros(1, 1, 9, 9)}
    result = RandAffineBatchd().apply(batch, warp([[1, 0], [0, 1]], (2, 0)))["image"]
    assert torch.allclose(result[:, :, :-2], values[:, :, 2:], rtol=1e-5)


def test_shifts_are_a_share_of_their_side() -> None:
    drawn = RandAffineBatchd(translate=0.1).draw(noise_batch(400, height=20, width=200), generator())
    assert 1.8 < float(drawn.shift[:, 0].abs().max()) <= 2
    assert 18 < float(drawn.shift[:, 1].abs().max()) <= 20


def test_magnification_by_hand() -> None:
    # Twice as large about the centre: each output pixel reads at half its offset, -1.5 -> -0.75 and -0.5 -> -0.25.
    array = [[0.0, 4, 8, 12]]
    image, _ = moved(array, warp([[0.5, 0], [0, 0.5]]))
    assert image == [[3, 5, 7, 9]]
    drawn = RandAffineBatchd(scale=[2, 2]).draw(noise_batch(3), generator())
    assert torch.allclose(drawn.matrix, torch.eye(2) / 2)
    before = blobs(1)
    after = RandAffineBatchd(scale=[1.5, 1.5])(before, generator())
    assert float((after["label"] > 0).sum() / (before["label"] > 0).sum()) == pytest.approx(1.5**2, rel=0.05)


def test_shear_moves_rows_along_their_columns() -> None:
    drawn = RandAffineBatchd(shear=0.3).draw(noise_batch(300), generator())
    assert torch.allclose(drawn.matrix[:, 0, 0], torch.ones(300)) and torch.allclose(
        drawn.matrix[:, 1, 0], torch.zeros(300)
    )
    assert 0.28 < float(drawn.matrix[:, 0, 1].abs().max()) <= 0.3
    array = [[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]
    # Row offset + column offset: the left column reads one row up, the right one reads one row down.
    assert moved(array, warp([[1, 1], [0, 1]])) == ([[1, 2, 6], [1, 5, 9], [4, 8, 9]],) * 2


def test_elastic_displacements() -> None:
    even = torch.full((1, 2, 3, 3), 0.0)
    even[:, 0] = 1  # one row further down everywhere: as a shift
    array = [[1.0, 2], [3, 4], [5, 6]]
    assert moved(array, warp([[1, 0], [0, 1]], elastic=even)) == ([[3, 4], [5, 6], [5, 6]],) * 2
    drawn = RandAffineBatchd(elastic=2.0, elastic_spacing=8).draw(noise_batch(60, height=32, width=64), generator())
    assert drawn.elastic is not None
    assert drawn.elastic.shape == (60, 2, 5, 9)
    assert float(drawn.elastic.std()) == pytest.approx(2, rel=0.05)


def test_the_same_seed_gives_the_same_and_another_does_not() -> None:
    before = noise_batch()
    for transform in (
        RandAffineBatchd(**EVERYTHING), RandIntensityBatchd(brightness=1, contrast=[0.5, 2], gamma=[0.5, 2], noise=1),
    ):  # fmt: skip
        once, again, other = (transform(before, generator(seed)) for seed in (5, 5, 6))
        assert torch.equal(once["image"], again["image"]) and torch.equal(once["label"], again["label"])
        assert not torch.equal(once["image"], other["image"])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_labels_keep_their_type_and_values(dtype: torch.dtype) -> None:
    before = noise_batch(dtype=dtype)
    after = RandAffineBatchd(**EVERYTHING)(before, generator())
    assert after["label"].dtype == dtype
    assert set(after["label"].unique().tolist()) <= set(before["label"].unique().tolist())


def test_half_precision_is_moved_as_precisely() -> None:
    before = blobs(4, 64)
    half = {"image": before["image"].half(), "label": before["label"]}
    transform = RandAffineBatchd(**EVERYTHING)
    wanted, found = transform(before, generator()), transform(half, generator())
    assert found["image"].dtype == torch.float16
    assert torch.equal(wanted["label"], found["label"])
    assert torch.allclose(wanted["image"], found["image"].float(), atol=2e-3)


def test_all_channels_move_alike_and_other_keys_stay() -> None:
    before = noise_batch(channels=1)
    before["image"] = before["image"].repeat(1, 3, 1, 1)
    before["case"] = torch.arange(6)
    after = RandAffineBatchd(**EVERYTHING)(before, generator())
    assert torch.equal(after["image"][:, 0], after["image"][:, 2])
    assert torch.equal(after["case"], before["case"])


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"keys": "image"}, "moves image and label together"),
        ({"keys": ["image", "mask"]}, "moves image and label together"),
        ({"mode": ["bilinear", "bilinear"]}, "mode is"),
        ({"mode": "nearest"}, "mode is"),
        ({"mode": ["nearest", "nearest"]}, "mode is"),
        ({"keys": ["label", "image"]}, "mode is"),
        ({"padding_mode": "wrap"}, "padding_mode is 'wrap'"),
        ({"flip": [2]}, "flip is"),
        ({"flip": "0"}, "flip is"),
        ({"flip": [True]}, "flip is"),
        ({"prob": 1.5}, "prob is 1.5"),
        ({"prob": -0.1}, "prob is -0.1"),
        ({"prob": "1"}, "prob is '1'"),
        ({"rotate_degrees": -5}, "rotate_degrees is -5"),
        ({"rotate_degrees": 400}, "rotate_degrees is 400"),
        ({"scale": [1.1, 0.9]}, "scale is"),
        ({"scale": [0, 1]}, "scale is"),
        ({"scale": [0.9]}, "scale is"),
        ({"scale": 1.1}, "scale is"),
        ({"scale": [0.9, float("inf")]}, "scale is"),
        ({"scale": [float("nan"), 1]}, "scale is"),
        ({"translate": float("nan")}, "translate is"),
        ({"shear": -1}, "shear is"),
        ({"elastic": -1}, "elastic is"),
        ({"elastic_spacing": 0}, "elastic_spacing is"),
    ],
    ids=str,
)
def test_refusals_of_the_affine(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError, match=f"RandAffineBatchd.*{told}|RandAffineBatchd {told}") as caught:
        RandAffineBatchd(**parameters)
    assert caught.value.remedy


def test_one_axis_may_stand_without_a_list() -> None:
    assert RandAffineBatchd(flip=1).flip == (1,)  # type: ignore[arg-type]  # a YAML file has no types
    assert RandAffineBatchd(flip=[1, 0, 1]).flip == (0, 1)


def intensity(values: list[float], **drawn: float) -> list[float]:
    """One row of pixels after a change of which every value is given."""
    transform = RandIntensityBatchd(brightness=1, contrast=[0.1, 9], gamma=[0.1, 9])
    neutral = {"brightness": 0.0, "contrast": 1.0, "gamma": 1.0, "noise": 0.0} | drawn
    parameters = {name: torch.tensor(value).view(1, 1, 1, 1) for name, value in neutral.items()}
    batch = {"image": torch.tensor(values).float().view(1, 1, 1, -1), "label": torch.zeros(1, 1, 1, len(values))}
    result: list[float] = transform.apply(batch, {**parameters, "seed": torch.tensor(0)})["image"].flatten().tolist()
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
    ],
    ids=str,
)
def test_refusals_of_the_intensity(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError, match=told) as caught:
        RandIntensityBatchd(**parameters)
    assert caught.value.remedy
    assert RandIntensityBatchd(keys=["image"]).prob == 0.5
