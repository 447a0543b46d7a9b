"""A config with faults: all of them are told, and what can be used is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.lenient import LenientConfig, load_leniently
from pipeline.config.load import Config, load_config
from pipeline.errors import ConfigError, Fault, Faults

from .conftest import SMALL

Lenient = Callable[..., LenientConfig]
BOTH = "keys: [image, label]"


@pytest.fixture
def lenient(small: Path) -> Lenient:
    """Loads the small config with changes; its faults are those that the strict way raises."""

    def run(*overrides: str, add: str = "", text: str = SMALL) -> LenientConfig:
        small.write_text(text + add)
        found = load_leniently(small, overrides, {})
        assert [str(fault) for fault in found.faults] == strict(partial(load_config, small, overrides, {}))
        assert bool(found.left_out) <= (found.config is not None)
        assert found.config is None or bool(found.left_out) == bool(found.faults)
        return found

    return run


def strict(load: Callable[[], Config]) -> list[str]:
    try:
        load()
    except Fault as fault:
        return [str(one) for one in (fault.faults if isinstance(fault, Faults) else [fault])]
    return []


def used(found: LenientConfig) -> Config:
    assert found.config is not None
    return found.config


def test_nothing_is_wrong(lenient: Lenient, small: Path) -> None:
    found = lenient("training.epochs=7")
    assert (found.faults, found.left_out) == ((), ())
    assert used(found).settings == load_config(small, ["training.epochs=7"], {}).settings
    assert used(found).path == small


@pytest.mark.parametrize(
    ("overrides", "left_out"),
    [
        (["sede=5"], ["sede"]),
        (["training.epoch=5", "training.batch_sise=5"], ["training.batch_sise", "training.epoch"]),
        (["training.epochs=x"], ["training.epochs"]),
        (["training=5"], ["training"]),
        (["data.cash=ram", "data.cache=rom"], ["data.cache", "data.cash"]),
        (["data.context=-1"], ["data.context"]),
        (["data.fold=all"], ["data.fold"]),
        (["network.chanels=5"], ["network.chanels"]),
        (["loss.weight=[1, 2, 3]"], ["loss.weight"]),
        (["inference.roi_size=[64, x]"], ["inference.roi_size"]),
        (["seed=${SEED}"], ["seed"]),
        (["splits={kind: holdout, validation: 0}"], ["splits"]),
        (["seed"], ["--set seed"]),
        (["name.x=5", "sede=5"], ["--set name.x", "sede"]),
        (["transforms.augment=[{_target_: RandFlipp}]"], ["transforms.augment.0 (RandFlipp)"]),
        (["plugins=[none.py]"], ["plugins.0"]),
        (["plugins=[none.py]", "transforms.augment=[{_target_: none.X, keys: image}]"],
         ["plugins.0", "transforms.augment.0 (none.X)"]),
    ],
)  # fmt: skip
def test_what_is_left_out(lenient: Lenient, small: Path, overrides: list[str], left_out: list[str]) -> None:
    found = lenient(*overrides)
    assert found.left_out == tuple(left_out)
    wanted = load_config(small, ["data.cache=ram"], {}).settings
    assert used(found).settings == wanted, "the default, or nothing, is in its place"


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.root=${ROOT}"], ["data.root=5"], ["data.layout=hipmir"], ["data.classes=[a]"], ["data.classes={0: a}"],
        ["data.patient=x"], ["data.label_map={5: 2}"], ["data=5"], ["name=a/b"], ["network=5"], ["network={}"],
        ["network={_target_: Nett}"], ["loss={_target_: Los}"], ["loss.softmax=false"], ["transforms=5"],
        ["transforms.prepare=[]"], ["transforms.prepare.0={_target_: LoadImage, keys: [image, label]}"],
        ["transforms.prepare.1={_target_: EnsureChanelFirstd, keys: [image, label]}"],
        ["data.ignore_affine=true", "data.spacing_mm=[1, 1]"], ["data.phantom.train=0"],
    ],
)  # fmt: skip
def test_what_leaves_no_config(lenient: Lenient, overrides: list[str]) -> None:
    found = lenient(*overrides)
    assert found.faults
    assert (found.config, found.left_out) == (None, ())


@pytest.mark.parametrize(
    "text", ["", "name: [", "- 1", "a: !!str x", "extends: none.yaml", SMALL.replace("name: small\n", ""), SMALL[:60]]
)
def test_texts_that_leave_no_config(lenient: Lenient, text: str) -> None:
    found = lenient(text=text)
    assert found.faults
    assert found.config is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    found = load_leniently(tmp_path / "none.yaml")
    assert found.config is None
    assert isinstance(found.faults[0], ConfigError)


def chain(*names: str) -> str:
    entries = ", ".join(f"{{_target_: {name}, {BOTH}}}" for name in ("LoadImaged", "EnsureChannelFirstd", *names))
    return f"transforms.prepare=[{entries}]"


def test_entries_are_named_as_they_were_written(lenient: Lenient) -> None:
    found = lenient(chain("Flipp", "Identityd", "RandFlipd", "NormalizeIntensityd", "Rotate90d"))
    assert sorted(found.left_out) == [
        "transforms.prepare.2 (Flipp)",
        "transforms.prepare.4 (RandFlipd)",
        "transforms.prepare.5 (NormalizeIntensityd)",
    ]
    targets = [entry["_target_"] for entry in used(found).settings.transforms.prepare]
    assert targets == ["LoadImaged", "EnsureChannelFirstd", "Identityd", "Rotate90d"]


def test_what_is_at_fault_only_then(lenient: Lenient) -> None:
    """Two entries, one a key, go together: without the one, the other is at fault too."""
    pair = "{_target_: Resized, keys: image, spatial_size: [4, 4], bad: 1}, {_target_: Identityd, keys: image}, " \
           "{_target_: Resized, keys: label, spatial_size: [4, 4], mode: nearest}"  # fmt: skip
    found = lenient(chain()[:-1] + f", {pair}]")
    assert found.left_out == ("transforms.prepare.2 (Resized)", "transforms.prepare.4 (Resized)")


def test_marks_move_with_the_entries(lenient: Lenient) -> None:
    text = SMALL.replace(
        "    - {_target_: EnsureChannelFirstd, keys: [image, label]}\n",
        f"    - {{_target_: Flipp, {BOTH}}}\n    - {{_target_: EnsureChannelFirstd, {BOTH}}}\n",
    )
    config = used(lenient(text=text))
    assert config.where("transforms", "prepare", 1).endswith("small.yaml:10: transforms.prepare.1")


def test_data_without_a_split(lenient: Lenient) -> None:
    """Two folders give no split: one is drawn, so that the files can be looked at."""
    found = lenient("data.layout=folders")
    assert found.left_out == ("splits (kind: holdout in its place)",)
    assert used(found).settings.splits.kind == "holdout"
    found = lenient("data.layout=folders", "splits.kind=lay", "splits.fold=3")
    assert found.left_out == ("splits.fold", "splits.kind", "splits (kind: holdout in its place)")


def test_everything_at_once(lenient: Lenient) -> None:
    bad = "sede: 1\ntraining: {epochs: x, device: gpu}\nreport: {titel: T}\nevaluation: [1]\n"
    found = lenient("inference.overlap=2", chain("Resizd"), "no-equals", add=bad)
    assert len(found.faults) == len(found.left_out) == 8
    settings: Any = used(found).settings
    assert (settings.training.epochs, settings.training.device, settings.inference.overlap) == (50, "auto", 0.5)
