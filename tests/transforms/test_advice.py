"""Each hint over a chain's text, with what MONAI does in that case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import monai.transforms as monai_transforms
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.advice import advice, nearest_shift
from transforms.catalog import Signature
from transforms.plugins import PluginClass, PluginTarget, plugin_target

ROOT = Path(__file__).resolve().parents[2]
Entry = dict[str, Any]
BOTH = ["image", "label"]
NORMAL: Entry = {"_target_": "NormalizeIntensityd", "keys": "image"}
RANGE = {"b_min": 0, "b_max": 1}
SOMETHING: list[Entry] = [{"_target_": "RandIntensityBatchd", "keys": "image"}]


def resized(size: list[int], mode: Any = ("bilinear", "nearest"), **parameters: Any) -> Entry:
    modes = list(mode) if isinstance(mode, tuple) else mode
    return {"_target_": "Resized", "keys": BOTH, "spatial_size": size, "mode": modes, **parameters}


@pytest.mark.parametrize("path", sorted((ROOT / "configs/transforms").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_chains_need_none(path: Path) -> None:
    chains = yaml.safe_load(path.read_text())
    assert advice(chains["prepare"], chains["augment"], ("background", "bone"), (256, 128)) == []


@pytest.mark.parametrize(
    ("entry", "same"),
    [
        (NORMAL, True),
        ({"_target_": "ScaleIntensityd", "keys": BOTH[:1]}, True),
        ({"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": 1, "upper": 99, **RANGE}, True),
        ({"_target_": "HistogramNormalized", "keys": "image"}, True),
        ({"_target_": "GaussianSmoothd", "keys": "image", "sigma": 1.0}, False),
        ({"_target_": "ShiftIntensityd", "keys": "image", "offset": 5.0}, False),
    ],
)  # fmt: skip
def test_intensities_that_are_not_normalised(entry: Entry, same: bool) -> None:
    """An image, and the same in another scanner's units, come out alike where nothing is said."""
    hints = advice([entry], SOMETHING)
    assert [("does not normalise" in hint) for hint in hints] == ([] if same else [True])
    parameters = {key: value for key, value in entry.items() if key != "_target_"}
    transform = getattr(monai_transforms, entry["_target_"])(**parameters)
    image = torch.rand((1, 16, 16), generator=torch.Generator().manual_seed(0)) + 1
    one, other = (torch.as_tensor(transform({"image": image * factor})["image"]) for factor in (1, 64))
    assert torch.allclose(one, other, atol=1e-4) == same


def test_a_stated_range_is_a_scale_too() -> None:
    entry = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -1000, "a_max": 400, **RANGE}
    assert advice([entry], SOMETHING) == []
    assert advice([{**NORMAL, "keys": "label"}], SOMETHING) != []


def moved_by(old: int, new: int, mode: str) -> float:
    """What MONAI does: a ramp resized linearly shows the place that a pixel is from, and a mask of places its own."""
    ramp = torch.arange(float(old)).reshape(1, old, 1).expand(1, old, 2).contiguous()
    entry = resized([new, 2], ("bilinear", mode))
    parameters = {key: value for key, value in entry.items() if key != "_target_"}
    sample = monai_transforms.Resized(**parameters)({"image": ramp, "label": ramp})
    shown, taken = (np.asarray(sample[key], dtype=np.float64)[0, :, 0] for key in BOTH)
    return float((shown - taken).mean())


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize(("old", "new"), [(256, 128), (128, 72), (256, 136), (9, 3), (8, 2), (12, 5), (5, 12), (7, 7)])
def test_how_far_masks_move(old: int, new: int, mode: str) -> None:
    assert nearest_shift(old, new, mode) == pytest.approx(moved_by(old, new, mode), abs=1e-5)


def test_known_shifts() -> None:
    assert nearest_shift(256, 128, "nearest") == 0.5  # pixels 0, 2, 4 ... for places 0.5, 2.5, 4.5 ...
    assert nearest_shift(256, 128, "nearest-exact") == -0.5  # pixels 1, 3, 5 ...
    assert nearest_shift(9, 3, "nearest") == 1  # pixels 0, 3, 6 for places 1, 4, 7
    assert nearest_shift(9, 3, "nearest-exact") == 0
    assert nearest_shift(9, 3, "area") == 0


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300))
def test_exact_neighbours_are_never_further_than_half_a_pixel(old: int, new: int) -> None:
    assert abs(nearest_shift(old, new, "nearest-exact")) <= 0.5
    assert nearest_shift(old, old, "nearest") == nearest_shift(old, old, "nearest-exact") == 0


def test_masks_that_move() -> None:
    half = resized([128, 64])
    (hint,) = advice([NORMAL, half], SOMETHING, (), (256, 128))
    assert hint.startswith("transforms.prepare.1: mode nearest moves masks by +0.50 and +0.50 pixels of the file")
    assert hint.endswith("choose another size"), "nearest-exact moves them as far, the other way"
    (hint,) = advice([NORMAL, resized([136, 72])], SOMETHING, (), (256, 128))
    assert hint.endswith("nearest-exact does not")
    assert advice([NORMAL, resized([136, 72], ("bilinear", "nearest-exact"))], SOMETHING, (), (256, 128)) == []
    assert advice([NORMAL, half], SOMETHING) == [], "the size of the slices is not known"
    assert advice([NORMAL, half], SOMETHING, (), (128, 64)) == []
    assert advice([NORMAL, resized([128, 64], keys="image", mode="bilinear")], SOMETHING, (), (256, 128)) == []
    swapped = resized([128, 64], ("nearest", "bilinear"), keys=["label", "image"])
    assert len(advice([NORMAL, swapped], SOMETHING, (), (256, 128))) == 1


@pytest.mark.parametrize("size", [-1, [128, -1], ["a", 1], [128], None])
def test_sizes_that_tell_nothing(size: Any) -> None:
    assert advice([NORMAL, resized(size)], SOMETHING, (), (256, 128)) == []


def test_only_the_first_resize_is_judged() -> None:
    chain = [NORMAL, resized([256, 128]), resized([128, 64])]
    assert advice(chain, SOMETHING, (), (256, 128)) == []


@pytest.mark.parametrize(
    ("size", "parameters", "lost"),
    [
        ([8, 8], {}, True),
        ([8, 8], {"anti_aliasing": True}, False),
        ([8, 8], {"anti_aliasing": [True, False]}, False),
        ([8, 8], {"anti_aliasing": [False, True]}, True),
        ([17, 17], {}, False),
        ([8, 8], {"mode": ["area", "nearest-exact"]}, False),
    ],
)
def test_pixels_that_are_left_out(size: list[int], parameters: Entry, lost: bool) -> None:
    """Shrinking four times, a bright line that lies between the pixels that are looked at is gone."""
    entry = resized(size, ("bilinear", "nearest-exact")) | parameters
    hints = [hint for hint in advice([NORMAL, entry], SOMETHING, (), (32, 32)) if "shrinks images" in hint]
    assert len(hints) == lost
    if lost:
        assert hints[0].endswith("shrinks images 4 times without smoothing them, which leaves out pixels; "
                                 "set anti_aliasing: [true, false]")  # fmt: skip
    image = torch.zeros(1, 32, 32)
    image[:, 16] = 1
    arguments = {key: value for key, value in entry.items() if key != "_target_"}
    sample = monai_transforms.Resized(**arguments)({"image": image, "label": image})
    assert (float(torch.as_tensor(sample["image"]).max()) == 0) == lost


def test_nothing_random() -> None:
    (hint,) = advice([NORMAL], [])
    assert hint.startswith("transforms.augment is empty")


def test_mirrors_that_may_be_meant() -> None:
    flip = {"_target_": "RandFlipd", "keys": BOTH, "prob": 0.5}
    pairs, alone = ("background", "kidney_left", "kidney_right"), ("background", "left lung")
    (hint,) = advice([NORMAL], [{**flip, "spatial_axis": 1}], pairs)
    assert hint.startswith("transforms.augment.0: RandFlipd mirrors images along axis 1")
    (hint,) = advice([NORMAL], [*SOMETHING, {**flip, "spatial_axis": 0}], alone)
    assert hint.startswith("transforms.augment.1: RandFlipd mirrors images")
    assert hint.endswith("named by side are left lung")
    assert advice([NORMAL], [{**flip, "spatial_axis": 1}], ("background", "kidney")) == []
    assert advice([NORMAL], [{**flip, "spatial_axis": 0}], pairs) == [], "lint_chain refuses it"
    assert advice([NORMAL], SOMETHING, pairs) == advice([NORMAL], [flip], alone) == []


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"_target_": "RandFlipBatchd", "axes": [1], "prob": 1}, True),
        ({"_target_": "RandFlipBatchd", "axes": [0, 1], "prob": [0.5, 1.0]}, True),
        ({"_target_": "RandFlipd", "keys": BOTH, "spatial_axis": 1, "prob": 1.0}, True),
        ({"_target_": "RandFlipBatchd", "axes": [0, 1], "prob": [0.5, 0.9]}, False),
        ({"_target_": "RandFlipBatchd", "axes": [0, 1]}, False),
        ({"_target_": "RandAffineBatchd", "flip": [1], "prob": 1}, False),  # mirrors half of them
    ],
)  # fmt: skip
def test_mirrors_of_every_image(entry: Entry, told: bool) -> None:
    hints = advice([NORMAL], [*SOMETHING, entry])
    assert len(hints) == told
    assert not told or hints[0].startswith(f"transforms.augment.1: {entry['_target_']} has prob")


def plugin(*, inverts: bool) -> PluginTarget:
    described = PluginClass(Path("mine.py"), "Xd", Signature(), (), inverts)
    return plugin_target("mine.Xd", described)


def test_plugins_without_an_inverse() -> None:
    (hint,) = advice([{"_target_": plugin(inverts=False), "keys": "image"}], SOMETHING)
    assert hint.startswith("transforms.prepare.0: mine.Xd has no inverse")
    assert advice([{"_target_": plugin(inverts=True), "keys": "image"}], SOMETHING) == [], "it may normalise"
