"""The augment chain: MONAI's transforms sample by sample, ours on the batch, all from one seed."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from transforms.augment import BATCH_COUNTERPARTS, AugmentChain, per_sample_note
from transforms.batch import Batch
from transforms.catalog import MONAI_TRANSFORMS, OWN_TRANSFORMS
from transforms.chain import build_transform
from transforms.faults import ChainError

BOTH = ["image", "label"]
NEAREST = ["bilinear", "nearest"]
# What each of MONAI's random transforms needs to be told so that it does something.
RANDOM: dict[str, dict[str, Any]] = {
    "Rand2DElasticd": {"keys": BOTH, "spacing": [10, 10], "magnitude_range": [1, 2], "mode": NEAREST},
    "RandAdjustContrastd": {"keys": "image"},
    "RandAffined": {"keys": BOTH, "rotate_range": 0.5, "mode": NEAREST},
    "RandAxisFlipd": {"keys": BOTH},
    "RandBiasFieldd": {"keys": "image"},
    "RandCoarseDropoutd": {"keys": "image", "holes": 3, "spatial_size": 5},
    "RandCoarseShuffled": {"keys": BOTH, "holes": 3, "spatial_size": 5},
    "RandCropByLabelClassesd": {
        "keys": BOTH, "label_key": "label", "spatial_size": [16, 16], "num_classes": 3, "num_samples": 2,
    },
    "RandCropByPosNegLabeld": {"keys": BOTH, "label_key": "label", "spatial_size": [16, 16]},
    "RandFlipd": {"keys": BOTH, "prob": 0.5},
    "RandGaussianNoised": {"keys": "image"},
    "RandGaussianSharpend": {"keys": "image"},
    "RandGaussianSmoothd": {"keys": "image"},
    "RandGibbsNoised": {"keys": "image"},
    "RandGridDistortiond": {"keys": BOTH, "mode": NEAREST},
    "RandHistogramShiftd": {"keys": "image"},
    "RandKSpaceSpikeNoised": {"keys": "image"},
    "RandRicianNoised": {"keys": "image"},
    "RandRotate90d": {"keys": BOTH},
    "RandRotated": {"keys": BOTH, "range_x": 0.5, "mode": NEAREST},
    "RandScaleCropd": {"keys": BOTH, "roi_scale": [0.5, 0.5], "random_size": False},
    "RandScaleIntensityFixedMeand": {"keys": "image", "factors": 0.5},
    "RandScaleIntensityd": {"keys": "image", "factors": 0.5},
    "RandShiftIntensityd": {"keys": "image", "offsets": 0.5},
    "RandSimulateLowResolutiond": {"keys": "image", "upsample_mode": "bilinear"},
    "RandSmoothDeformd": {
        "keys": BOTH, "spatial_size": [32, 32], "rand_size": [4, 4], "def_range": 0.2, "grid_mode": NEAREST, "pad": 0,
    },
    "RandSmoothFieldAdjustContrastd": {"keys": "image", "spatial_size": [32, 32], "rand_size": [4, 4], "pad": 0},
    "RandSmoothFieldAdjustIntensityd": {"keys": "image", "spatial_size": [32, 32], "rand_size": [4, 4], "pad": 0},
    "RandSpatialCropd": {"keys": BOTH, "roi_size": [16, 16], "random_size": False},
    "RandStdShiftIntensityd": {"keys": "image", "factors": 2},
    "RandWeightedCropd": {"keys": BOTH, "w_key": "label", "spatial_size": [16, 16]},
    "RandZoomd": {"keys": BOTH, "min_zoom": 0.7, "max_zoom": 1.3, "mode": NEAREST},
}  # fmt: skip
AFFINE = {"_target_": "RandAffineBatchd", "rotate_degrees": 20, "flip": [0, 1]}
INTENSITY = {"_target_": "RandIntensityBatchd", "prob": 1.0, "noise": 0.2}
NOISE = {"_target_": "RandGaussianNoised", "keys": "image", "prob": 1.0, "std": 1.0, "sample_std": False}


def batch(count: int = 3, channels: int = 1, side: int = 32) -> Batch:
    source = torch.Generator().manual_seed(0)
    return {
        "image": torch.rand((count, channels, side, side), generator=source) + 0.1,
        "label": torch.randint(0, 3, (count, 1, side, side), generator=source).to(torch.uint8),
    }


def entry_of(name: str) -> dict[str, Any]:
    takes_prob = "prob" in build_transform({"_target_": name, **RANDOM[name]}).__init__.__code__.co_varnames
    return {"_target_": name, **({"prob": 1.0} if takes_prob else {}), **RANDOM[name]}


def test_every_random_transform_is_looked_at() -> None:
    assert set(RANDOM) == {name for name in MONAI_TRANSFORMS if name.startswith("Rand")}


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_each_of_monai_s_follows_the_seed_alone(name: str) -> None:
    before = batch()
    copies = {key: value.clone() for key, value in before.items()}
    chain = AugmentChain([entry_of(name)])
    assert chain.per_sample == [name]
    once = chain(before, 3)
    torch.manual_seed(99)
    again, others = AugmentChain([entry_of(name)])(before, 3), [chain(before, seed) for seed in range(4, 8)]
    for key in BOTH:
        assert torch.equal(once[key], again[key])
        assert type(once[key]) is torch.Tensor
        assert torch.equal(before[key], copies[key]), "the batch was written into"
        assert once[key].dtype == before[key].dtype
    assert any(not torch.equal(once["image"], other["image"]) for other in others)
    assert set(once["label"].unique().tolist()) <= {0, 1, 2}
    assert once["image"].shape[2:] == once["label"].shape[2:]
    alone = RANDOM[name]["keys"] == "image"
    assert not alone or torch.equal(once["label"], before["label"])


def test_ours_and_monai_s_in_any_order() -> None:
    chain = AugmentChain([AFFINE, NOISE, INTENSITY, {"_target_": "RandFlipd", "keys": BOTH, "prob": 0.5}])
    assert chain.per_sample == ["RandGaussianNoised", "RandFlipd"]
    once, again, other = chain(batch(), 1), chain(batch(), 1), chain(batch(), 2)
    assert all(torch.equal(once[key], again[key]) for key in BOTH)
    assert not torch.equal(once["image"], other["image"])


def test_the_stages_run_in_their_order() -> None:
    threshold = {"_target_": "ThresholdIntensityd", "keys": "image", "threshold": 0.5, "above": False, "cval": 0.5}
    shift = {"_target_": "RandIntensityBatchd", "prob": 1.0, "brightness": 5.0}
    cut_last, cut_first = AugmentChain([shift, threshold])(batch(), 0), AugmentChain([threshold, shift])(batch(), 0)
    assert float(cut_last["image"].max()) <= 0.5 < float(cut_first["image"].max())


def test_samples_and_stages_draw_on_their_own() -> None:
    still: Batch = {"image": torch.zeros(2, 1, 8, 8), "label": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)}
    one = AugmentChain([NOISE])(still, 0)["image"]
    assert not torch.equal(one[0], one[1])
    nothing = {"_target_": "RandIntensityBatchd"}
    two = AugmentChain([NOISE, nothing, NOISE])(still, 0)["image"]
    assert not torch.allclose(two, 2 * one), "the second stage repeats the first"


def test_an_empty_chain_gives_the_batch_back() -> None:
    before = batch()
    after = AugmentChain([])(before, 0)
    assert all(torch.equal(after[key], before[key]) for key in BOTH)


def test_neighbouring_slices_are_channels_that_move_alike() -> None:
    before = batch(channels=1)
    before["image"] = before["image"].repeat(1, 3, 1, 1)
    before["number"] = torch.arange(3)
    after = AugmentChain([{"_target_": "RandAffined", **RANDOM["RandAffined"], "prob": 1.0}, AFFINE])(before, 0)
    assert torch.equal(after["image"][:, 0], after["image"][:, 2])
    assert torch.equal(after["number"], before["number"])


def test_several_crops_of_a_sample_enlarge_the_batch() -> None:
    crops = {"_target_": "RandCropByPosNegLabeld", **RANDOM["RandCropByPosNegLabeld"], "num_samples": 4}
    after = AugmentChain([crops])(batch(), 0)
    assert after["image"].shape == after["label"].shape == (12, 1, 16, 16)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"_target_": "RandSpatialCropd", "keys": BOTH, "roi_size": [8, 8], "random_size": True}, "different sizes"),
        (
            {"_target_": "RandSpatialCropd", "keys": "image", "roi_size": [8, 8], "random_size": False},
            "different sizes",
        ),
        ({"_target_": "SelectItemsd", "keys": "image"}, "drops the label"),
        ({"_target_": "SobelGradientsd", "keys": "image"}, r"makes \[2\] channels of the image's 1"),
        ({"_target_": "RandSpatialCropd", "keys": BOTH, "roi_size": [1, 2, 3, 4]}, "failed at RandSpatialCropd: "),
    ],
    ids=str,
)
def test_what_fits_into_no_batch_is_refused(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(ChainError, match=told) as caught:
        AugmentChain([entry])(batch(), 0)
    assert caught.value.where == "transforms.augment"


def test_parameters_are_refused_with_their_place() -> None:
    with pytest.raises(ChainError, match=r"^transforms\.augment\.1: RandFlipd refuses its parameters"):
        AugmentChain([AFFINE, {"_target_": "RandFlipd", "keys": BOTH, "probability": 1}])
    with pytest.raises(ChainError, match=r"^transforms\.augment\.0: RandAffineBatchd: prob is 3"):
        AugmentChain([{**AFFINE, "prob": 3}])


def test_the_chain_tells_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage lasts a second by this clock: two on the batch with one, sample by sample, between them."""
    ticks = count()
    monkeypatch.setattr("transforms.augment.time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    chain = AugmentChain([AFFINE, NOISE, INTENSITY])
    chain(batch(), 0)
    chain(batch(), 1)
    assert (chain.seconds, chain.per_sample_seconds) == (6, 2)
    assert chain.take_shares(10) == {"augment_share": 0.6, "per_sample_share": 0.2}
    assert chain.take_shares(10) == {"augment_share": 0, "per_sample_share": 0}, "it counts anew"
    alone = AugmentChain([AFFINE, INTENSITY])
    alone(batch(), 0)
    assert alone.take_shares(4) == {"augment_share": 0.25}, "one stage, all on the batch"
    assert AugmentChain([]).take_shares(0) == {"augment_share": 0}


def test_the_note_on_what_runs_sample_by_sample() -> None:
    assert per_sample_note(["RandFlipd", "RandGibbsNoised", "RandFlipd", "RandAffined"], 0.5) == (
        "RandFlipd, RandGibbsNoised and RandAffined work sample by sample, which takes 50% of the training; "
        "RandAffineBatchd and RandFlipBatchd take a whole batch"
    )
    assert per_sample_note(["mine.Fogd"], 0.014) == "mine.Fogd works sample by sample, which takes 1% of the training"


def test_what_the_note_names_exists() -> None:
    assert set(BATCH_COUNTERPARTS) <= MONAI_TRANSFORMS
    assert set(BATCH_COUNTERPARTS.values()) == {name for name in OWN_TRANSFORMS if name.endswith("Batchd")}
