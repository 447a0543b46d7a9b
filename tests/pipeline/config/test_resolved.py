"""A resolved config, loaded again, is the same config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import Config, load_config
from pipeline.config.resolved import changed_keys, differing_keys, resolved_text, yaml_text
from pipeline.config.yaml_source import parse_yaml
from pipeline.errors import ConfigError

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


@pytest.mark.parametrize(
    ("one", "other"),
    [("a: 1", "a: true"), ("a: 1", "a: 1.0"), ("a: null", "b: 1"), ("a: {}", "a: {b: null}"), ("a: [1]", "a: ['1']")],
)
def test_values_that_are_nearly_the_same_differ(one: str, other: str) -> None:
    assert differing_keys(one, other) != []
    assert differing_keys(one, one) == []


def test_what_is_the_same_but_for_its_order_does_not_differ() -> None:
    assert differing_keys("a: {b: 1, c: .nan}\nd: x\n", "d: x\na: {c: .nan, b: 1}\n") == []


def of_an_older_version(stored: Path, *keys: str) -> None:
    """Take keys that have come since out of a run's config."""
    values = parse_yaml(stored.read_text(encoding="utf-8"), "").value
    for section, key in (key.split(".") for key in keys):
        del values[section][key]
    stored.write_text(yaml_text(values), encoding="utf-8")


def test_keys_that_have_come_since_count_with_their_defaults(tmp_path: Path, load: Callable[..., Config]) -> None:
    stored, config = tmp_path / "config.yaml", load("loss.weight=[1, 2]")
    stored.write_text(resolved_text(config), encoding="utf-8")
    assert changed_keys(stored, resolved_text(config)) == []
    of_an_older_version(stored, "data.mirrored", "report.tracker", "training.patience")
    assert changed_keys(stored, resolved_text(config)) == []
    assert "mirrored" not in stored.read_text(), "it is left as it is"
    now = load("loss.weight=[1, 2.0]", "data.mirrored=true", "training.epochs=7")
    assert changed_keys(stored, resolved_text(now)) == ["data.mirrored", "loss.weight", "training.epochs"]


def test_a_config_with_what_looks_like_a_variable_is_the_same(tmp_path: Path, load: Callable[..., Config]) -> None:
    config = load("report.title=${A}", environment={"A": "costs ${B}"})
    (tmp_path / "config.yaml").write_text(resolved_text(config), encoding="utf-8")
    assert changed_keys(tmp_path / "config.yaml", resolved_text(config)) == []


def test_a_config_that_cannot_be_loaded_any_more_is_told(tmp_path: Path, load: Callable[..., Config]) -> None:
    stored, text = tmp_path / "config.yaml", resolved_text(load())
    stored.write_text(f"{text}sharpen: 3\nblur: 2\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"config.yaml:\d+: sharpen: this version cannot load .*'sharpen' \(and 1 more"
    ):
        changed_keys(stored, text)
