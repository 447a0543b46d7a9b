"""Left and right in names, and in images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from transforms.sides import draws_each_axis, mirrored_axes, side_pairs, sided


@pytest.mark.parametrize(
    "pair",
    [
        ("kidney_left", "kidney_right"), ("left lung", "right lung"), ("Hippocampus-L", "Hippocampus-R"),
        ("femur_l", "femur_r"), ("L-kidney", "R-kidney"), ("LeftKidney", "RightKidney"), ("kidneyL", "kidneyR"),
        ("LEFT LUNG", "lung, right"), ("left", "right"), ("Left-Lateral-Ventricle", "Right-Lateral-Ventricle"),
        ("lung_upper_lobe_left", "lung_upper_lobe_right"), ("Niere (left)", "Niere (right)"), ("left größe", "größe r"),
    ],
)  # fmt: skip
def test_pairs(pair: tuple[str, str]) -> None:
    assert side_pairs(["background", *pair, "liver"]) == [pair]
    assert side_pairs(["background", *reversed(pair)]) == [pair], "left comes first"


def test_a_name_with_both_sides_has_none() -> None:
    assert side_pairs(["left shunt", "right shunt", "left-right shunt"]) == [("left shunt", "right shunt")]


@pytest.mark.parametrize(
    "classes",
    [
        ["left ventricle", "right ventricle", "left atrium", "right_atrium"], ["lung_left", "liver_right"],
        ["kidney_left", "kidney"], ["vertebrae L1", "vertebrae R1x"], ["upright", "leftover"], ["large", "radius"],
        ["left-right shunt", "right-left shunt"], [],
    ],
)  # fmt: skip
def test_no_pairs(classes: list[str]) -> None:
    assert side_pairs(classes) == []


def test_a_side_in_full() -> None:
    assert [name for name in ("left lung", "lungRIGHT", "lung_r", "Right", "leftover", "") if sided(name)] == [
        "left lung", "lungRIGHT", "Right",
    ]  # fmt: skip


IMAGE = torch.arange(20.0).reshape(1, 4, 5)


@pytest.mark.parametrize("axis", [None, 0, 1, -1, -2, [0], [1], [0, 1]])
def test_mirrors_are_those_of_monai(axis: Any) -> None:
    """A mirror image is no turned image: turning it by half leaves the other mirror image."""
    from monai.transforms import Flipd, RandFlipd

    axes = mirrored_axes("RandFlipd", {"spatial_axis": axis})
    assert axes == mirrored_axes("Flipd", {"spatial_axis": axis})
    wanted = torch.flip(IMAGE, [1 + next(iter(axes))]) if axes else torch.rot90(IMAGE, 2, (1, 2))
    for transform in (Flipd("image", axis), RandFlipd("image", prob=1.0, spatial_axis=axis)):
        assert torch.equal(torch.as_tensor(transform({"image": IMAGE})["image"]), wanted)


def test_mirrors_of_other_transforms() -> None:
    assert mirrored_axes("RandAxisFlipd", {"prob": 0.5}) == {0, 1}
    assert mirrored_axes("RandAxisFlipd", {"prob": 0}) == frozenset()
    assert mirrored_axes("RandAffineBatchd", {"flip": [0, 1]}) == {0, 1}
    assert mirrored_axes("RandAffineBatchd", {"flip": 1}) == {1}
    assert mirrored_axes("RandAffineBatchd", {}) == frozenset()
    assert mirrored_axes("RandFlipBatchd", {"axes": [0, 1]}) == {0, 1}
    assert mirrored_axes("RandFlipBatchd", {"axes": 1}) == {1}
    assert mirrored_axes("RandFlipBatchd", {"axes": [0, 1], "prob": 0.0}) == frozenset()
    assert mirrored_axes("RandFlipBatchd", {"axes": [0, 1], "prob": [0, 0.5]}) == {1}
    assert mirrored_axes("RandFlipBatchd", {"axes": [1, 0], "prob": [0, 0.5]}) == {0}
    assert mirrored_axes("RandFlipBatchd", {"axes": [0, 1], "prob": [0.5]}) == {0, 1}, "it is refused elsewhere"
    assert mirrored_axes("RandFlipBatchd", {}) == mirrored_axes("RandFlipBatchd", {"axes": "x"}) == frozenset()
    assert mirrored_axes("RandRotate90d", {"spatial_axes": [0, 1]}) == frozenset()
    assert mirrored_axes("RandFlipd", {"spatial_axis": True}) == frozenset()
    assert mirrored_axes("RandFlipd", {"spatial_axis": "x"}) == frozenset()


@pytest.mark.parametrize("prob", [0.5, [0.5, 0], [0, 0.5], [0.3, 0.9], 0])
@pytest.mark.parametrize("axes", [[0, 1], [1, 0]])
def test_what_is_told_of_a_batch_flip_is_what_it_does(axes: list[int], prob: Any) -> None:
    """Both axes are drawn apart: the images that come out are the one, the mirror images, and both at once."""
    from transforms.batch import RandFlipBatchd

    batch = {"image": IMAGE[None].repeat(200, 1, 1, 1), "label": IMAGE[None, :1].repeat(200, 1, 1, 1)}
    after = RandFlipBatchd(prob=prob, axes=axes)(batch, torch.Generator().manual_seed(0))["image"]
    told = mirrored_axes("RandFlipBatchd", {"axes": axes, "prob": prob})
    assert draws_each_axis("RandFlipBatchd")
    for flipped in ({0}, {1}, {0, 1}):
        wanted = torch.flip(IMAGE, [1 + axis for axis in flipped])
        seen = any(torch.equal(one, wanted) for one in after)
        assert seen == (flipped <= told)
