"""docs/config.md is what the schema says now, and its examples can be used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.config.load import load_config
from pipeline.config.reference import config_reference
from pipeline.config.schema import Settings

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/config.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_schema_says_now() -> None:
    """Else: `bin/check --config-reference > docs/config.md`."""
    assert config_reference() == PAGE


def test_every_key_of_the_schema_has_a_row() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|", PAGE, re.MULTILINE)
    leaves = set(leaves_of(Settings.model_validate(WHOLE).model_dump(by_alias=True)))
    assert len(rows) == len(set(rows)), "a key stands twice"
    assert {row.replace(".CLASS.", ".") for row in rows} == leaves | {"data.phantom", "inference.postprocess"}


# Every section is there, so that dumping it names every key; by another way than the page is written.
WHOLE: dict[str, Any] = {
    "name": "whole",
    "data": {"layout": "hipmri", "classes": ["a", "b"], "phantom": {}},
    "transforms": {"prepare": [{}]},
    "network": {},
    "loss": {},
    "inference": {"postprocess": {"b": {}}},
}


def leaves_of(value: Any, path: str = "") -> Iterator[str]:
    if not isinstance(value, dict) or not value:
        yield path.removeprefix(".").replace("postprocess.b", "postprocess")
        return
    for key, inner in value.items():
        yield from leaves_of(inner, f"{path}.{key}")


def test_the_example_of_a_plugin_can_be_used(tmp_path: Path) -> None:
    import torch

    from transforms.chain import build_transform

    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/mine.py").write_text(example)
    (tmp_path / "mine.yaml").write_text(
        f"extends: {ROOT}/configs/folders.yaml\nplugins: [plugins/mine.py]\n"
        "transforms: {augment: [{_target_: mine.Logd, keys: image}]}\n"
    )
    config = load_config(tmp_path / "mine.yaml", environment={})
    step = build_transform(config.settings.transforms.augment[0])
    assert torch.equal(step({"image": torch.ones(2)})["image"], torch.log(torch.full((2,), 2.0)))


def test_the_example_of_a_config_can_be_loaded(tmp_path: Path) -> None:
    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    (tmp_path / "mine.yaml").write_text(example.replace("hipmri.yaml", f"{ROOT}/configs/hipmri.yaml"))
    assert load_config(tmp_path / "mine.yaml", environment={}).settings.training.epochs == 100
