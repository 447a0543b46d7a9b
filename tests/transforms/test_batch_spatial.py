"""Image and mask move as one, each parameter in its direction; mirrors are exact; what is not drawn stays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from scipy import ndimage

from transforms.augment import AugmentChain
from transforms.batch import Batch, RandAffineBatchd, RandFlipBatchd, Warp
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


def discs(count: int, side: int = 96) -> Batch:
    """A disc off the centre: bright in each image, with an edge of a pixel's width, and class 3 of the mask."""
    rows, columns = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")
    beyond = torch.hypot(rows - PLACE[0], columns - PLACE[1]) - 12
    image = (0.5 - beyond).clamp(0, 1).repeat(count, 1, 1, 1)
    return {"image": image, "label": (3 * (beyond <= 0)).to(torch.uint8).repeat(count, 1, 1, 1)}


PLACE = (53.0, 42.0)  # on a voxel: image and mask have exactly this centre
CHAINS: dict[str, list[dict[str, Any]]] = {
    **{name: [{"_target_": "RandAffineBatchd", name: EVERYTHING[name]}] for name in EVERYTHING},
    "all": [{"_target_": "RandAffineBatchd", **EVERYTHING}],
    "bicubic": [{"_target_": "RandAffineBatchd", **EVERYTHING, "mode": ["bicubic", "nearest"]}],
    "flip by itself": [{"_target_": "RandFlipBatchd", "axes": [0, 1]}],
    "all, and flip": [{"_target_": "RandAffineBatchd", **EVERYTHING}, {"_target_": "RandFlipBatchd", "axes": [1]}],
}


@pytest.mark.parametrize("name", CHAINS)
def test_image_and_mask_move_together(name: str) -> None:
    """The disc's centre in the image is its centre in the mask, to half a pixel, and on average to far less."""
    before = discs(150)
    after = AugmentChain(CHAINS[name])(before, 0)
    assert not torch.equal(after["label"], before["label"])
    apart = []
    for image, label in zip(after["image"], after["label"], strict=True):
        assert set(label.unique().tolist()) == {0, 3}
        apart.append(centroid(image[0]) - centroid(label[0]))
    differences = torch.stack(apart)
    assert float(differences.abs().max()) <= 0.5  # pixels, as far away as the nearest one may be
    assert float(differences.mean(0).abs().max()) < 0.06  # to either side: nothing is shifted for good


@pytest.mark.parametrize("name", ["rotate_degrees", "scale", "shear", "translate", "flip"])
def test_both_move_to_where_they_were_sent(name: str) -> None:
    """Where the drawn matrix and shift send the disc, worked out apart from any resampling."""
    before, transform = discs(40), RandAffineBatchd(**{name: EVERYTHING[name]})
    drawn = transform.draw(before, generator())
    after, middle = transform.apply(before, drawn), (96 - 1) / 2
    assert len(drawn.chosen) > 20
    for number, matrix, shift in zip(drawn.chosen, drawn.matrix.double(), drawn.shift.double(), strict=True):
        wanted = torch.linalg.solve(matrix, torch.tensor(PLACE) - middle - shift) + middle
        for key, limit in (("image", 0.05), ("label", 0.5)):
            assert float((centroid(after[key][number, 0]) - wanted).abs().max()) < limit


@pytest.mark.parametrize(("padding", "scipy_s"), [("border", "nearest"), ("zeros", "grid-constant")])
def test_voxels_come_from_where_scipy_s_come(padding: str, scipy_s: str) -> None:
    before = noise_batch(20, channels=2, height=31, width=18)
    before["image"] = functional.avg_pool2d(before["image"], 3, 1, 1)
    parameters = {**EVERYTHING, "elastic": 0.0, "padding_mode": padding}
    transform = RandAffineBatchd(**parameters)
    drawn, middle = transform.draw(before, generator()), np.array([(31 - 1) / 2, (18 - 1) / 2])
    after, differing = transform.apply(before, drawn), []
    for number, tensor, shift in zip(drawn.chosen, drawn.matrix, drawn.shift, strict=True):
        matrix = tensor.double().numpy()
        offset = middle - matrix @ middle + shift.double().numpy()
        for channel in range(2):
            image = before["image"][number, channel].double().numpy()
            wanted = ndimage.affine_transform(image, matrix, offset, order=1, mode=scipy_s)
            np.testing.assert_allclose(after["image"][number, channel].numpy(), wanted, atol=2e-4)
        label = before["label"][number, 0].numpy()
        wanted = ndimage.affine_transform(label, matrix, offset, order=0, mode=scipy_s)
        differing.append(float((after["label"][number, 0].numpy() != wanted).mean()))
    assert np.mean(differing) < 1e-3  # where a place lies right between two voxels


def test_elastic_places_are_a_cubic_interpolation_of_the_coarse_ones() -> None:
    """Displacements read off a ramp, whose every value is its own place, against torch's own interpolation."""
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(64.0), indexing="ij")
    ramps = {"image": torch.stack([rows, columns])[None], "label": torch.zeros(1, 1, 48, 64)}
    transform = RandAffineBatchd(elastic=1.5, elastic_spacing=10)
    drawn = transform.draw(ramps, generator())
    assert drawn.elastic is not None
    assert drawn.elastic.shape == (1, 2, 6, 7)
    found = transform.apply(ramps, drawn)["image"] - ramps["image"]
    wanted = functional.interpolate(drawn.elastic, (48, 64), mode="bicubic", align_corners=True)
    inside = (slice(None), slice(None), slice(9, -9), slice(9, -9))  # at the border, places are cut off
    torch.testing.assert_close(found[inside], wanted[inside], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "parameters", [{}, {"prob": 0.0, **EVERYTHING}, {"prob": 1.0, "scale": [1, 1], "rotate_degrees": 0}], ids=str
)
def test_what_does_not_move_stays_to_the_bit(parameters: dict[str, Any]) -> None:
    before = noise_batch()
    after = RandAffineBatchd(**parameters)(before, generator())
    assert torch.equal(after["image"], before["image"])
    assert torch.equal(after["label"], before["label"])


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


def test_flips_by_hand() -> None:
    #   1 2 3     rows    4 5 6     columns   3 2 1     both   6 5 4
    #   4 5 6     ->      1 2 3     ->        6 5 4     ->     3 2 1
    array = torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    wanted = torch.tensor(
        [[[1.0, 2, 3], [4, 5, 6]], [[4, 5, 6], [1, 2, 3]], [[3, 2, 1], [6, 5, 4]], [[6, 5, 4], [3, 2, 1]]]
    )
    batch = {"image": array.repeat(4, 2, 1, 1), "label": array.to(torch.uint8).repeat(4, 1, 1, 1)}
    drawn = torch.tensor([[False, False], [True, False], [False, True], [True, True]])
    after = RandFlipBatchd(axes=[0, 1]).apply(batch, drawn)
    assert torch.equal(after["image"], wanted[:, None].repeat(1, 2, 1, 1))
    assert torch.equal(after["label"], wanted[:, None].to(torch.uint8))


def test_flips_change_no_value_and_undo_themselves() -> None:
    before, transform = noise_batch(40, channels=3), RandFlipBatchd(axes=[0, 1])
    drawn = transform.draw(before, generator())
    once = transform.apply(before, drawn)
    twice = transform.apply(once, drawn)
    assert all(torch.equal(twice[key], before[key]) for key in before)
    assert torch.equal(once["image"].flatten(1).sort(1).values, before["image"].flatten(1).sort(1).values)
    moved = {number for number in range(40) if not torch.equal(once["image"][number], before["image"][number])}
    assert moved == set(torch.nonzero(drawn.any(1)).flatten().tolist())


def test_each_axis_has_its_probability() -> None:
    drawn = RandFlipBatchd(prob=[0.8, 0.25], axes=[1, 0]).draw(noise_batch(2000, height=2, width=2), generator())
    assert drawn.double().mean(0).tolist() == pytest.approx([0.25, 0.8], abs=0.03)
    assert float((drawn[:, 0] & drawn[:, 1]).double().mean()) == pytest.approx(0.2, abs=0.03), "each by itself"
    drawn = RandFlipBatchd(axes=[1]).draw(noise_batch(2000, height=2, width=2), generator())
    assert not drawn[:, 0].any()
    assert float(drawn[:, 1].double().mean()) == pytest.approx(0.5, abs=0.04)


def test_the_order_of_the_axes_does_not_matter() -> None:
    one, other = (RandFlipBatchd(axes=axes).draw(noise_batch(30), generator()) for axes in ([0, 1], [1, 0]))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"keys": "image", "axes": [0]}, "moves image and label together"),
        ({"axes": []}, "axes is"),
        ({"axes": [0, 0]}, "axes is"),
        ({"axes": [2]}, "axes is"),
        ({"axes": ["0"]}, "axes is"),
        ({"axes": [True]}, "axes is"),
        ({"axes": [0, 1], "prob": [0.5]}, "1 numbers for 2 axes"),
        ({"axes": [0], "prob": 1.5}, "prob is 1.5"),
        ({"axes": [0, 1], "prob": [0.5, "1"]}, "prob is '1'"),
    ],
    ids=str,
)
def test_refusals_of_the_flip(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError, match=f"RandFlipBatchd.*{told}|RandFlipBatchd {told}") as caught:
        RandFlipBatchd(**parameters)
    assert caught.value.remedy
    assert RandFlipBatchd(axes=0).axes == (0,)  # type: ignore[arg-type]  # a YAML file has no types
