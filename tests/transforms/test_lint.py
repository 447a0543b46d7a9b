"""Each rule over a chain's text, with a chain that breaks it and one that keeps it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from transforms.catalog import Signature
from transforms.lint import LintProblem, lint_chain
from transforms.plugins import PluginClass, PluginTarget, plugin_target

ROOT = Path(__file__).resolve().parents[2]
Entry = dict[str, Any]
BOTH = ["image", "label"]
NEAREST = ["bilinear", "nearest"]


def entry(name: str, **parameters: Any) -> Entry:
    return {"_target_": name, "keys": BOTH, **parameters}


START = [entry("LoadImaged"), entry("EnsureChannelFirstd")]


def lint(*steps: Entry, augment: tuple[Entry, ...] = ()) -> list[LintProblem]:
    return list(lint_chain([*START, *steps], list(augment)))


def only(problems: list[LintProblem]) -> LintProblem:
    assert len(problems) == 1, problems
    assert problems[0].remedy
    return problems[0]


@pytest.mark.parametrize("path", sorted((ROOT / "configs/transforms").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_chains_are_clean(path: Path) -> None:
    chains = yaml.safe_load(path.read_text())
    assert list(lint_chain(chains["prepare"], chains["augment"])) == []


def test_a_chain_begins_with_loading() -> None:
    problems = list(lint_chain([entry("EnsureChannelFirstd"), entry("Flipd")], []))
    assert only(problems).path == ("prepare", 0)
    assert "begins with EnsureChannelFirstd" in problems[0].what


def test_a_channel_axis_is_made_for_both_keys() -> None:
    assert "no channel axis is made" in only(list(lint_chain([entry("LoadImaged")], []))).what
    image_only = [entry("LoadImaged"), entry("EnsureChannelFirstd", keys="image")]
    assert only(list(lint_chain(image_only, []))).what == "no channel axis is made for both keys"
    label_too = entry("EnsureChannelFirstd", keys="label")
    assert list(lint_chain([*image_only, label_too], [])) == []
    assert list(lint_chain([entry("LoadImaged", ensure_channel_first=True)], [])) == []


def test_a_misspelt_name_is_not_told_as_a_missing_one() -> None:
    assert list(lint_chain([entry("LoadImaged"), entry("EnsureChanelFirstd")], [])) == []


def test_an_empty_chain_is_for_the_schema_to_tell() -> None:
    assert list(lint_chain([], [])) == []


@pytest.mark.parametrize("keys", [["image", "lable"], "mask"])
def test_unknown_keys(keys: Any) -> None:
    problem = only(lint(entry("Identityd", keys=keys)))
    assert problem.path == ("prepare", 2, "keys")
    assert "no such key: " in problem.what


@pytest.mark.parametrize("keys", [5, [], None, {"image": 1}, ""])
def test_keys_of_a_wrong_kind(keys: Any) -> None:
    problems = lint(entry("Identityd", keys=keys))
    assert problems[0].path == ("prepare", 2, "keys")


def test_keys_that_are_missing() -> None:
    problem = only(lint({"_target_": "Identityd"}))
    assert (problem.path, problem.what) == (("prepare", 2), "Identityd has no keys")
    assert lint(augment=({"_target_": "RandAffineBatchd"}, {"_target_": "RandIntensityBatchd"})) == []


def test_files_are_loaded_once_and_for_both_keys() -> None:
    assert only(lint(entry("LoadImaged"))).path == ("prepare", 2)
    assert only(lint(augment=(entry("LoadImaged"),))).path == ("augment", 0)
    start = [entry("LoadImaged", keys="image"), entry("EnsureChannelFirstd")]
    assert "reads not both" in only(list(lint_chain(start, []))).what


@pytest.mark.parametrize("name", ["RandFlipd", "RandGaussianNoised"])
def test_what_is_random_does_not_stand_in_prepare(name: str) -> None:
    keys = BOTH if name == "RandFlipd" else "image"
    assert "is random" in only(lint(entry(name, keys=keys))).what
    assert lint(augment=(entry(name, keys=keys),)) == []


def test_what_works_on_batches_does_not_stand_in_prepare() -> None:
    assert "works on whole batches" in only(lint(entry("RandAffineBatchd"))).what
    assert "works on whole batches" in only(lint(entry("RandBlurBatchd", keys="image"))).what


def test_what_leaves_no_trace_does_not_stand_in_prepare() -> None:
    warp = entry("GridDistortiond", mode=NEAREST)
    assert "cannot be inverted" in only(lint(warp)).what
    assert lint(augment=(warp,)) == []


@pytest.mark.parametrize("key", ["source_key", "mask_key"])
def test_what_looks_at_the_label_cannot_prepare_a_prediction(key: str) -> None:
    problem = only(lint(entry("CropForegroundd", **{key: "label"})))
    assert problem.path == ("prepare", 2, key)
    assert "looks at the label" in problem.what
    assert lint(entry("CropForegroundd", **{key: "image"})) == []
    assert lint(augment=(entry("RandCropByPosNegLabeld", label_key="label", spatial_size=[8, 8]),)) == []


@pytest.mark.parametrize("name", ["Resized", "Spacingd", "Zoomd", "Rotated", "Affined"])
@pytest.mark.parametrize("mode", [None, "bilinear", ["nearest", "bilinear"], [NEAREST, "area"], 1, False])
def test_labels_are_resampled_by_nearest_neighbour(name: str, mode: Any) -> None:
    parameters = {} if mode is None else {"mode": mode}
    problem = only(lint(entry(name, **parameters)))
    assert "mixes class numbers" in problem.what
    # Resized's plain nearest moves masks by up to half a pixel; see transforms.advice.nearest_shift.
    assert problem.remedy == f"Set mode: [bilinear, {'nearest-exact' if name == 'Resized' else 'nearest'}]"
    assert problem.path == ("prepare", 2, *parameters)


@pytest.mark.parametrize(
    "mode", ["nearest", NEAREST, ["bilinear", "nearest-exact"], ["bilinear", 0], ["area", "nearest"]]
)
def test_labels_that_are_resampled_well(mode: Any) -> None:
    assert lint(entry("Resized", mode=mode)) == []
    assert lint(augment=(entry("RandAffined", mode=mode),)) == []


@pytest.mark.parametrize("name", ["Resized", "Spacingd", "RandAffined"])
@pytest.mark.parametrize("mode", [["nearest"], [], ["bilinear", "nearest", "nearest"]])
def test_a_list_of_modes_has_one_a_key(name: str, mode: list[str]) -> None:
    problems = lint(augment=(entry(name, mode=mode),)) if name.startswith("Rand") else lint(entry(name, mode=mode))
    assert only(problems).path[2:] == ("mode",)
    assert problems[0].what == f"{name} has mode for {len(mode)} of 2 keys"


def test_monai_refuses_such_a_list() -> None:
    from monai.transforms import Resized

    for mode in (["bilinear", "nearest", "nearest"], []):
        with pytest.raises(ValueError, match="length 2"):
            Resized(keys=BOTH, spatial_size=[4, 4], mode=mode)


def test_the_order_of_the_keys_counts() -> None:
    swapped = entry("Resized", keys=["label", "image"], mode=NEAREST)
    assert only(lint(swapped)).remedy == "Set mode: [nearest-exact, bilinear]"
    assert lint(entry("Resized", keys=["label", "image"], mode=["nearest", "bilinear"])) == []


def test_the_label_s_own_transforms() -> None:
    assert only(lint(entry("SkimageResized", order=[1, 1]))).remedy == "Set order: [1, 0]"
    assert only(lint(entry("SkimageResized", order=3))).path == ("prepare", 2, "order")
    assert lint(entry("SkimageResized"), entry("SkimageResized", order=[3, 0])) == []
    assert only(lint(augment=(entry("RandAffineBatchd", mode=["bilinear", "bilinear"]),))).path == (
        "augment",
        0,
        "mode",
    )
    assert lint(augment=(entry("RandAffineBatchd"),)) == []


@pytest.mark.parametrize(
    "name",
    [
        "NormalizeIntensityd",
        "ScaleIntensityd",
        "RandGaussianNoised",
        "RandIntensityBatchd",
        "RandBiasFieldBatchd",
        "RandBlurBatchd",
        "RandLowResolutionBatchd",
    ],
)
def test_intensities_are_not_for_labels(name: str) -> None:
    chain = "augment" if name.startswith("Rand") else "prepare"
    problems = lint(augment=(entry(name),)) if chain == "augment" else lint(entry(name))
    assert "would change the label's class numbers" in only(problems).what


@pytest.mark.parametrize("name", ["Flipd", "SpatialPadd", "CropForegroundd", "SkimageResized"])
def test_image_and_label_move_together(name: str) -> None:
    assert "moves the image and not the label" in only(lint(entry(name, keys="image"))).what
    assert "moves the label and not the image" in only(lint(entry(name, keys=["label"]))).what
    assert lint(entry(name, keys="image"), entry(name, keys="label")) == []


def test_two_entries_do_as_well_as_one_unless_they_are_random() -> None:
    pair = (entry("Resized", keys="image", mode="bilinear"), entry("Resized", keys="label", mode="nearest"))
    assert lint(*pair) == []
    assert "moves the image and not the label" in only(lint(*pair, entry("Resized", keys="image"))[:1]).what
    random = lint(augment=(entry("RandFlipd", keys="image"), entry("RandFlipd", keys="label")))
    assert [problem.path for problem in random] == [("augment", 0), ("augment", 1)]


def test_everything_is_told_at_once() -> None:
    problems = lint(
        entry("RandFlipd", keys="image"),
        entry("Resized", keys=["image", "label", "mask"]),
        augment=(entry("LoadImaged"),),
    )
    assert [problem.path for problem in problems] == [
        ("prepare", 2), ("prepare", 2), ("prepare", 3, "keys"), ("prepare", 3), ("augment", 0),
    ]  # fmt: skip


SIDED = ("background", "kidney_left", "kidney_right")


@pytest.mark.parametrize(
    "flip",
    [
        entry("RandFlipd", prob=0.5, spatial_axis=0),
        entry("RandFlipd", prob=0.5, spatial_axis=[-2]),
        entry("RandAxisFlipd", prob=0.5),
        entry("Flipd", spatial_axis=0),
        entry("RandAffineBatchd", flip=[0, 1]),
        entry("RandAffineBatchd", flip=0),
        entry("RandFlipBatchd", axes=[1, 0]),
        entry("RandFlipBatchd", axes=0, prob=0.1),
    ],
)
def test_classes_that_only_their_side_tells_apart_are_not_mirrored(flip: Entry) -> None:
    problem = only(list(lint_chain(START, [flip], SIDED)))
    assert problem.path == ("augment", 0)
    assert "kidney_left and kidney_right" in problem.what
    assert list(lint_chain(START, [flip], ("background", "kidney", "liver_left"))) == []
    assert list(lint_chain(START, [flip])) == []


def test_what_is_no_mirror_image_along_rows() -> None:
    turns = [entry("RandRotate90d", prob=0.5), entry("RandFlipd", prob=0.5), entry("RandFlipd", spatial_axis=[0, 1])]
    others = [entry("RandFlipd", spatial_axis=1), entry("RandFlipd", prob=0, spatial_axis=0), entry("RandAffineBatchd")]
    others += [entry("RandFlipBatchd", axes=[1]), entry("RandFlipBatchd", axes=[0, 1], prob=[0, 0.5])]
    assert list(lint_chain(START, [*turns, *others], SIDED)) == []
    assert list(lint_chain([*START, entry("Flipd", spatial_axis=0)], [], SIDED)) == [], "it is undone"


def plugin(name: str, *, parameters: frozenset[str] | None = None, bases: tuple[str, ...] = ()) -> PluginTarget:
    described = PluginClass(Path("mine.py"), name, Signature(parameters), bases, inverts=False)
    return plugin_target(f"mine.{name}", described)


def test_plugins_in_the_prepare_chain() -> None:
    assert "is random" in only(lint(entry(plugin("RandX"), keys="image"))).what
    assert "is random" in only(lint(entry(plugin("X", bases=("RandomizableTransform",)), keys="image"))).what
    assert lint(augment=(entry(plugin("RandX"), keys="image"),)) == []
    keys_only = plugin("Xd", parameters=frozenset({"keys"}))
    assert "takes no 'allow_missing_keys'" in only(lint(entry(keys_only))).what
    assert lint(entry(keys_only, keys="image")) == []
    assert lint(entry(plugin("Xd", parameters=frozenset({"keys", "allow_missing_keys"})))) == []
    assert lint(entry(plugin("Xd"))) == [], "what it takes is not known"


def test_a_chain_with_a_plugin_is_still_looked_at() -> None:
    found = list(lint_chain([entry("LoadImaged"), entry(plugin("Xd"))], []))
    assert "no channel axis is made" in only(found).what


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, transforms.lint; print(sorted({'torch', 'monai', 'numpy', 'nibabel'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_key_beside_a_known_one_hides_nothing() -> None:
    entries: list[dict[str, Any]] = [
        {"_target_": "LoadImaged", "keys": ["image", "label"]},
        {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
        {"_target_": "Resized", "keys": ["images", "label"], "spatial_size": [8, 8], "mode": "nearest"},
    ]
    told = [problem.what for problem in lint_chain(entries, [])]
    assert "no such key: images" in told
