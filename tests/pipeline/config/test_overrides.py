"""``--set``: every kind of value, lists by number, and places that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.document import Document
from pipeline.config.overrides import apply_override
from pipeline.config.yaml_source import parse_yaml
from pipeline.errors import ConfigError

TEXT = """\
seed: 0
data: {root: here, phantom: null}
network: {_target_: UNet, channels: [8, 16]}
transforms:
  prepare: [{_target_: A, size: [4, 5]}, {_target_: B}]
"""


def document() -> Document:
    return parse_yaml(TEXT, "a.yaml")


def after(*overrides: str, folder: Path = Path()) -> Document:
    changed = document()
    for override in overrides:
        apply_override(changed, override, folder)
    return changed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("1e-3", 0.001), ("true", True), ("null", None), ("", None), ("no", "no"), ("007", "007"),
        ("'5'", "5"), ('"a b"', "a b"), ("[a, b]", ["a", "b"]), ("[a,b]", ["a", "b"]), (" [1, 2] ", [1, 2]),
        ("{a: 1, b: [x]}", {"a": 1, "b": ["x"]}), ("[]", []), ("a=b", "a=b"), ("with space", "with space"),
        ("${HOME}", "${HOME}"), ("/a/b.c", "/a/b.c"), ("a: b", "a: b"), ("# no comment", "# no comment"), (" 5 ", 5),
    ],
)  # fmt: skip
def test_values(text: str, value: Any) -> None:
    found = after(f"data.root={text}").value["data"]["root"]
    assert found == value
    assert type(found) is type(value)


def test_places() -> None:
    assert after("seed=3").value["seed"] == 3
    assert after(" seed = 3").value["seed"] == 3
    assert after("network.channels.1=99").value["network"]["channels"] == [8, 99]
    assert after("transforms.prepare.0.size=[7, 8]").value["transforms"]["prepare"][0] == {
        "_target_": "A",
        "size": [7, 8],
    }
    assert after("transforms.prepare.0.size.0=7").value["transforms"]["prepare"][0]["size"] == [7, 5]
    assert after("transforms.prepare.1={_target_: C}").value["transforms"]["prepare"][1] == {"_target_": "C"}
    assert after("data.phantom.train=2").value["data"] == {"root": "here", "phantom": {"train": 2}}
    assert after("report.title=X").value["report"] == {"title": "X"}
    assert after("data.label_map.1=2").value["data"]["label_map"] == {"1": 2}
    assert after("data={}").value["data"] == {}
    assert after("seed=1", "seed=2").value["seed"] == 2, "the last one counts"


def test_where_a_value_came_from() -> None:
    changed = after("transforms.prepare.0.size=[7, 8]", "data.label_map.1=2")
    assert changed.where(("transforms", "prepare", 0, "size", 1)) == "--set transforms.prepare.0.size"
    assert changed.where(("transforms", "prepare", 1)) == "a.yaml:5: transforms.prepare.1"
    assert changed.where(("data", "label_map", "1")) == "--set data.label_map.1"
    assert after("data={layout: x}").where(("data", "root")) == "--set data"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed", "--set: got 'seed', expected key=value"),
        ("=5", "--set: got '=5', expected key=value"),
        ("", "--set: got '', expected key=value"),
        ("seed.deep=1", "--set seed.deep: 'seed' holds no keys"),
        ("data.root.deep=1", "--set data.root.deep: 'data.root' holds no keys"),
        ("network.channels.2=1", "'2' is no entry of 'network.channels'. Its 2 entries are numbered from 0"),
        ("network.channels.-1=1", "'-1' is no entry"),
        ("network.channels.x=1", "'x' is no entry"),
        ("network.channels.\u00b2=1", "is no entry"),
        ("network.channels.99999999999=1", "is no entry"),
        ("seed=$import os", "looks like an expression"),
        ("seed=@network", "looks like an expression"),
        ("seed=['$x']", "looks like an expression"),
        ("seed=[a", "--set seed: not YAML"),
        ("seed={a: 1, a: 2}", "--set seed: the key 'a' stands twice"),
        ("seed=[!!python/name:os.system x]", "--set seed: a YAML tag"),
        ("transforms=none.yaml", "--set transforms: no such chain"),
    ],
)
def test_refusals(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        after(override)
    assert told in str(caught.value)


def test_a_chain_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "pad.yaml").write_text("prepare:\n  - {_target_: P}\n")
    changed = after("transforms=pad.yaml", folder=tmp_path)
    assert changed.value["transforms"] == {"prepare": [{"_target_": "P"}]}
    assert (
        changed.where(("transforms", "prepare", 0, "_target_"))
        == f"{tmp_path}/pad.yaml:2: transforms.prepare.0._target_"
    )
    assert changed.where(("transforms", "prepare", 1, "size")).startswith(f"{tmp_path}/pad.yaml:"), "old lines are gone"
    assert after("transforms={prepare: []}").value["transforms"] == {"prepare": []}
