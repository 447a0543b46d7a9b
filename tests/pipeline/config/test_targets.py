"""Names and parameters of transforms, networks and losses, judged without importing them."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import pytest

from pipeline.config.document import Document, Mark
from pipeline.config.targets import (
    FILLED_IN,
    MONAI_LOSSES,
    MONAI_NETWORKS,
    NETWORK_PREFIX,
    check_targets,
    network_names,
    short_name,
    target_signature,
)
from transforms.catalog import Signature

GOOD: dict[str, Any] = {
    "transforms": {"prepare": [{"_target_": "LoadImaged", "keys": ["image", "label"]}], "augment": []},
    "network": {"_target_": "UNet", "channels": [8, 16]},
    "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
}


def told(**changes: Any) -> list[str]:
    return [str(fault) for fault in check_targets(Document({**GOOD, **changes}, {(): Mark("a.yaml", 1)}))]


def prepare(*entries: Any) -> dict[str, Any]:
    return {"prepare": list(entries), "augment": []}


def test_a_good_config() -> None:
    assert told() == []
    assert told(loss={"_target_": "monai.losses.DiceLoss"}) == []
    assert told(transforms=prepare({"_target_": "monai.transforms.Flipd", "keys": "image"})) == []
    assert told(network={"_target_": "monai.networks.nets.UNet", "channels": [8, 16], "strides": [2]}) == []


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (
            {"transforms": prepare({"_target_": "Resizd", "spatial_size": [1, 1]})},
            "a.yaml:1: transforms.prepare.0._target_: unknown transform 'Resizd'. The nearest known name is 'Resized'.",
        ),
        (
            {"transforms": prepare({"_target_": "monai.transforms.Resizd"})},
            "a.yaml:1: transforms.prepare.0._target_: unknown transform 'monai.transforms.Resizd'."
            " The nearest known name is 'Resized'.",
        ),
        (
            {"transforms": prepare({"_target_": "Flipd", "keys": "image", "axis": 0})},
            "a.yaml:1: transforms.prepare.0.axis: Flipd takes no 'axis'."
            " Known here: allow_missing_keys, keys, lazy, spatial_axis.",
        ),
        (
            {"transforms": prepare({"_target_": "SpatialPadd", "keys": "image", "spatial_size": [1, 1], "mod": 1})},
            "a.yaml:1: transforms.prepare.0.mod: SpatialPadd takes no 'mod'. The nearest known name is 'mode'.",
        ),
        (
            {"transforms": prepare({"_target_": "Resized", "keys": "image"})},
            "a.yaml:1: transforms.prepare.0: Resized needs 'spatial_size'. Add it.",
        ),
        (
            {"transforms": prepare({"_target_": "LoadImaged", "keys": "image", "reader": "monai.data.ITKReader"})},
            "a.yaml:1: transforms.prepare.0.reader: not to be set: every file is read by this project's own checked"
            " NIfTI reader. Remove this key.",
        ),
        (
            {"network": {"_target_": "Unet"}},
            "a.yaml:1: network._target_: unknown network 'Unet'. The nearest known name is 'UNet'.",
        ),
        (
            {"network": {"_target_": "monai.networks.nets.UNet", "channels": [8], "strides": [2], "in_channels": 1}},
            "a.yaml:1: network.in_channels: filled in from the data (channels from the images, classes from"
            " data.classes). Remove this key.",
        ),
        (
            {"network": {"_target_": "monai.networks.nets.UNet", "channels": [8]}},
            "a.yaml:1: network: monai.networks.nets.UNet needs 'strides'. Add it.",
        ),
        (
            {"loss": {"_target_": "DiceLos"}},
            "a.yaml:1: loss._target_: unknown loss 'DiceLos'. The nearest known name is 'DiceLoss'.",
        ),
        (
            {"loss": {"_target_": "DiceLoss", "sofmax": True}},
            "a.yaml:1: loss.sofmax: DiceLoss takes no 'sofmax'. The nearest known name is 'softmax'.",
        ),
        (
            {"loss": "DiceLoss"},
            "a.yaml:1: loss: a loss is a mapping with a '_target_', got 'DiceLoss'. Write {_target_: DiceCELoss, ...}.",
        ),
    ],
)
def test_faults(changes: dict[str, Any], wanted: str) -> None:
    assert told(**changes) == [wanted]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("network", "monai.losses.UNet"), ("network", "monai.transforms.UNet"), ("network", "torch.nn.Linear"),
        ("network", "monai.networks.nets.Transchex"), ("network", "BasicUNet"), ("loss", "monai.transforms.DiceLoss"),
        ("loss", "torch.nn.MSELoss"), ("loss", "os.system"),
    ],
)  # fmt: skip
def test_a_name_of_another_house_is_unknown(key: str, name: str) -> None:
    found = told(**{key: {"_target_": name}})
    assert len(found) == 1
    assert f"unknown {key} '{name}'" in found[0]


@pytest.mark.parametrize("name", ["monai.losses.Flipd", "monai.networks.nets.Flipd", "Lambdad", "os.system", "Compose"])
def test_a_transform_of_another_house_is_unknown(name: str) -> None:
    assert f"unknown transform '{name}'" in told(transforms=prepare({"_target_": name, "keys": "image"}))[0]


def test_several_at_once_in_the_order_of_the_text() -> None:
    entry = {"_target_": "Flipd", "keys": "image", "zz": 1, "aa": 2}
    found = told(transforms=prepare(entry, {"_target_": "X"}, 5), loss={"_target_": "Y"})
    assert ["'zz'" in found[0], "'aa'" in found[1], "'X'" in found[2], "got 5" in found[3], "'Y'" in found[4]] == [
        True
    ] * 5


@pytest.mark.parametrize("value", [None, 5, "text", [], {"prepare": 5, "augment": None}, {"prepare": {"a": 1}}])
def test_chains_of_any_kind_are_left_to_the_schema(value: Any) -> None:
    assert told(transforms=value) == []


def test_short_names() -> None:
    assert short_name("monai.transforms.Flipd", "transform") == "Flipd"
    assert short_name("monai.losses.DiceLoss", "loss") == "DiceLoss"
    assert short_name("monai.networks.nets.UNet", "network") == "monai.networks.nets.UNet"


@pytest.mark.parametrize("name", sorted(network_names() | MONAI_LOSSES))
def test_parameters_are_those_of_the_classes(name: str) -> None:
    kind = "loss" if name in MONAI_LOSSES else "network"
    home = "monai.losses" if kind == "loss" else "monai.networks.nets" if "." in name else "pipeline.networks.unet"
    cls = getattr(import_module(home), name.split(".")[-1])
    signature = inspect.signature(cls.__init__).parameters
    parameters = {key: one for key, one in signature.items() if key != "self"}
    required = {key for key, one in parameters.items() if one.default is one.empty}
    assert target_signature(name, kind) == Signature(frozenset(parameters), frozenset(required))
    assert kind == "loss" or {"in_channels", "out_channels"} <= parameters.keys() & FILLED_IN


def test_network_names() -> None:
    assert network_names() == {"UNet"} | {f"{NETWORK_PREFIX}{name}" for name in MONAI_NETWORKS}
