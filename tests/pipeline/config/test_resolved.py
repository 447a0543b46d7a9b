"""A resolved config, loaded again, is the same config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import Config, load_config
from pipeline.config.resolved import differing_keys, resolved_text, yaml_text
from pipeline.config.yaml_source import parse_yaml

ROOT = Path(__file__).resolve().parents[3]


def comparable(config: Config) -> dict[str, Any]:
    values = config.settings.model_dump()
    values["data"] |= {"root": str(config.locate(values["data"]["root"]).resolve()), "stand_in": None}
    if values["data"]["cache"] == "disk":
        values["data"]["cache_folder"] = str(config.locate(values["data"]["cache_folder"]).resolve())
    return values


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_configs_repeat_themselves(tmp_path: Path, path: Path) -> None:
    config = load_config(path, environment={})
    copy = tmp_path / "config.yaml"
    copy.write_text(resolved_text(config), encoding="utf-8")
    again = load_config(copy, environment={})
    assert comparable(again) == comparable(config)
    assert Path(again.settings.data.root).is_absolute()
    assert resolved_text(again) == resolved_text(config)


def test_values_that_yaml_would_take_for_something_else(tmp_path: Path, load: Callable[..., Config]) -> None:
    config = load(
        "name='1e-4'", "report.title='no'", "report.case='007'", "data.classes=['null', '0x1f', '~', 'größe 影', '1.']",
        "data.label_map={7: 1, -1: 0}", "training.learning_rate=1e-5", "data.patient='(\\d+)'",
    )  # fmt: skip
    copy = tmp_path / "config.yaml"
    copy.write_text(resolved_text(config), encoding="utf-8")
    again = load_config(copy, environment={})
    assert comparable(again) == comparable(config)
    assert again.settings.name == "1e-4"
    assert again.settings.data.label_map == {7: 1, -1: 0}


def test_the_environment_and_overrides_are_filled_in(load: Callable[..., Config]) -> None:
    text = resolved_text(load("data.root=${WHERE}", "seed=7", environment={"WHERE": "/somewhere/else"}))
    value = parse_yaml(text, "a").value
    assert value["data"]["root"] == "/somewhere/else"
    assert value["seed"] == 7
    assert value["training"]["epochs"] == 50, "a default is written out"
    assert value["data"]["phantom"] is None


def test_a_cache_on_disk_is_found_again_from_elsewhere(tmp_path: Path, load: Callable[..., Config]) -> None:
    config = load("data.cache=disk", "data.cache_folder=kept")
    (tmp_path / "run").mkdir()
    copy = tmp_path / "run" / "config.yaml"
    copy.write_text(resolved_text(config), encoding="utf-8")
    again = load_config(copy, environment={})
    expected = config.locate("kept").resolve()
    assert Path(again.settings.data.cache_folder) == expected
    assert again.locate(again.settings.data.cache_folder) == expected
    assert parse_yaml(resolved_text(load("data.cache=ram")), "a").value["data"]["cache_folder"] == "cache"


@pytest.mark.parametrize(
    "text", ["a\x85b", "a\u2028b", "a\nb", "a\r\nb", " a", "a ", "", "#", "- a", "a: b", "'", '"', "\\", "\t"]
)
def test_texts_of_every_kind(text: str) -> None:
    assert parse_yaml(yaml_text({"key": [text], "other": text}), "a").value == {"key": [text], "other": text}


def test_the_keys_that_differ() -> None:
    assert differing_keys("a: {b: 1, c: [1, 2]}\nd: x\n", "a: {b: 2, c: [1, 2]}\ne: {}\n") == ["a.b", "d", "e"]
