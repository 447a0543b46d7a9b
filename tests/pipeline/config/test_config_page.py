"""docs/config.md names every key of the schema, with its default and its choices, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.load import load_config
from pipeline.config.resolved import flow_text
from pipeline.config.schema import Settings

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/config.md").read_text(encoding="utf-8")


class Row(NamedTuple):
    """What the page says of a key."""

    default: str
    kind: str
    meaning: str


def section_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = [section_in(inner) for inner in get_args(annotation)]
    return next((one for one in found if one is not None), None)


def holds_mapping(annotation: Any) -> bool:
    return get_origin(annotation) is dict or any(holds_mapping(inner) for inner in get_args(annotation))


def keys_of(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key that a config may write; of the sections, those that may be null too."""
    for name, info in model.model_fields.items():
        key = f"{path}{info.alias or name}"
        section = section_in(info.annotation)
        named = holds_mapping(info.annotation)  # the section stands below a name of the user's
        if section is None or info.default is None or named:
            yield key, info
        if section is not None:
            yield from keys_of(section, f"{key}.CLASS." if named else f"{key}.")


def choices_in(annotation: Any) -> set[str]:
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {choice for inner in get_args(annotation) for choice in choices_in(inner)}


SCHEMA = dict(keys_of(Settings))
FOUND = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
ROWS = {key: Row(*rest) for key, *rest in FOUND}


def test_the_page_and_the_schema_have_the_same_keys() -> None:
    assert len(FOUND) == len(ROWS), "a key stands twice"
    assert sorted(ROWS) == sorted(SCHEMA)


@pytest.mark.parametrize("key", SCHEMA)
def test_a_key_s_default_and_choices(key: str) -> None:
    info, row = SCHEMA[key], ROWS[key]
    default = "none" if info.is_required() else f"`{flow_text(_plain(info.default))}`"
    assert row.default == default
    assert {f"`{choice}`" for choice in choices_in(info.annotation)} <= set(re.findall("`[^`]+`", row.kind))
    assert row.meaning.endswith(".")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_numbers_say_their_bounds() -> None:
    for key, info in SCHEMA.items():
        bounds = [bound for one in info.metadata for bound in (getattr(one, "ge", None), getattr(one, "le", None))]
        for bound in (bound for bound in bounds if bound):
            assert f"{bound:g}" in ROWS[key].kind.replace(",", " ").split() or str(bound) in ROWS[key].kind, key


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
