"""Configs on top of configs, and chains in files of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.layers import load_layers
from pipeline.errors import ConfigError


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def value_of(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = load_layers(path).value
    return value


def test_mappings_are_merged_and_the_rest_is_replaced(tmp_path: Path) -> None:
    write(
        tmp_path,
        base="a: {b: 1, c: [1, 2], d: {e: 1, f: 2}}\ng: 5\n",
        top="extends: base.yaml\na: {c: [3], d: {f: 9}}\n",
    )
    assert value_of(tmp_path / "top.yaml") == {"a": {"b": 1, "c": [3], "d": {"e": 1, "f": 9}}, "g": 5}


def test_a_mapping_and_something_else(tmp_path: Path) -> None:
    write(tmp_path, base="a: {b: 1}\nc: 2\n", top="extends: base.yaml\na: null\nc: {d: 1}\n")
    assert value_of(tmp_path / "top.yaml") == {"a": None, "c": {"d": 1}}


def test_a_changed_target_starts_anew(tmp_path: Path) -> None:
    write(
        tmp_path,
        base="network: {_target_: A, channels: 1}\nloss: {_target_: L, x: 1}\nother: {_target_: O, y: 1}\n",
        top="extends: base.yaml\nnetwork: {_target_: B, depth: 2}\nloss: {x: 2}\nother: {_target_: O, z: 2}\n",
    )
    assert value_of(tmp_path / "top.yaml") == {
        "network": {"_target_": "B", "depth": 2},
        "loss": {"_target_": "L", "x": 2},
        "other": {"_target_": "O", "y": 1, "z": 2},
    }


def test_several_layers_and_the_place_of_each_value(tmp_path: Path) -> None:
    write(
        tmp_path,
        one="a: {b: 1, c: 2}\nd: {e: {f: 1}}\n",
        sub__two="extends: ../one.yaml\n\na: {c: 3}\n",
        three="extends: sub/two.yaml\nd:\n  e: 5\n",
    )
    document = load_layers(tmp_path / "three.yaml")
    assert document.value == {"a": {"b": 1, "c": 3}, "d": {"e": 5}}
    places = {path: str(mark).removeprefix(f"{tmp_path}{os.sep}") for path, mark in document.marks.items()}
    assert places[("a", "b")] == "sub/../one.yaml:1"
    assert places[("a", "c")] == "sub/two.yaml:3"
    assert places[("d", "e")] == "three.yaml:3"
    assert ("d", "e", "f") not in places, "its line would be that of a value that is gone"
    assert ("extends",) not in places


def test_a_chain_in_a_file(tmp_path: Path) -> None:
    write(tmp_path, top="a: 1\ntransforms: chains/pad.yaml\n", chains__pad="prepare:\n  - {_target_: X}\naugment: []\n")
    document = load_layers(tmp_path / "top.yaml")
    assert document.value["transforms"] == {"prepare": [{"_target_": "X"}], "augment": []}
    assert document.where(("transforms", "prepare", 0, "_target_")).startswith(f"{tmp_path}/chains/pad.yaml:2: ")


def test_a_chain_s_file_replaces_the_whole_chain(tmp_path: Path) -> None:
    write(
        tmp_path,
        base="transforms: {prepare: [1], augment: [2]}\n",
        bare="prepare: [3]\n",
        named="extends: base.yaml\ntransforms: bare.yaml\n",
        written="extends: base.yaml\ntransforms: {prepare: [4]}\n",
        over="extends: named.yaml\ntransforms: {augment: [5]}\n",
    )
    assert value_of(tmp_path / "named.yaml") == {"transforms": {"prepare": [3]}}
    assert value_of(tmp_path / "written.yaml") == {"transforms": {"prepare": [4], "augment": [2]}}
    assert value_of(tmp_path / "over.yaml") == {"transforms": {"prepare": [3], "augment": [5]}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("extends: none.yaml", r"top\.yaml:1: extends: no such config: .*none\.yaml"),
        ("a: 1\nextends: [base.yaml]", r"top\.yaml:2: extends: expected the path of another config"),
        (
            "transforms: none.yaml",
            r"top\.yaml:1: transforms: no such chain: .*none\.yaml\. Known here: transforms/pad\.yaml",
        ),
        ("transforms: ''", r"top\.yaml:1: transforms: no such chain"),
        ("extends: top.yaml", r"runs in a circle or too deep: top\.yaml -> top\.yaml"),
        ("extends: ring.yaml", r"runs in a circle or too deep: top\.yaml -> ring\.yaml -> top\.yaml"),
        ("- a\n", r"top\.yaml:1: a config is a mapping of keys"),
        ("text", r"top\.yaml:1: a config is a mapping of keys"),
        ("extends: broken.yaml", r"broken\.yaml:2: not YAML"),
    ],
)
def test_what_cannot_be_layered(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, top=text, ring="extends: top.yaml", broken="a: 1\nb: [", transforms__pad="prepare: []")
    with pytest.raises(ConfigError, match=told):
        load_layers(tmp_path / "top.yaml")


def test_an_endless_row_of_configs(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.yaml").write_text(f"extends: {number + 1}.yaml")
    with pytest.raises(ConfigError, match="too deep"):
        load_layers(tmp_path / "0.yaml")


def test_a_symlink_loop(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    with pytest.raises(ConfigError, match="symbolic links"):
        load_layers(tmp_path / "a.yaml")
    (tmp_path / "top.yaml").write_text("extends: a.yaml")
    with pytest.raises(ConfigError, match="no such config"):
        load_layers(tmp_path / "top.yaml")
