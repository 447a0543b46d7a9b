"""Names and keys of a chain's entries."""

from __future__ import annotations

from pathlib import Path

from transforms.catalog import Signature
from transforms.entries import entry_keys, is_batch_transform, target_name
from transforms.plugins import PluginClass, plugin_target


def test_names_and_keys() -> None:
    assert target_name({"_target_": "monai.transforms.Flipd"}) == target_name({"_target_": "Flipd"}) == "Flipd"
    assert target_name({}) == ""
    assert entry_keys({"keys": "image"}) == ("image",)
    assert entry_keys({"keys": ["image", "label"]}) == ("image", "label")
    assert entry_keys({"keys": 5}) == entry_keys({"keys": None}) == entry_keys({}) == ()
    assert is_batch_transform({"_target_": "RandAffineBatchd"})
    assert not is_batch_transform({"_target_": "SkimageResized"})


def test_a_plugin_s_name_keeps_what_it_knows() -> None:
    target = plugin_target("mine.Xd", PluginClass(Path("mine.py"), "Xd", Signature(), (), inverts=False))
    assert target_name({"_target_": target}) is target
    assert not is_batch_transform({"_target_": target})
