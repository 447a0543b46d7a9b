"""docs/transforms.md names every parameter of this project's transforms, with its default; its chains can be built."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from transforms.augment import BATCH_COUNTERPARTS, AugmentChain
from transforms.catalog import MONAI_TRANSFORMS, OWN_TRANSFORMS
from transforms.lint import lint_chain

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/transforms.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
CHAINS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_the_page_has_every_transform_of_this_project() -> None:
    assert SECTIONS.keys() == OWN_TRANSFORMS.keys()


@pytest.mark.parametrize("name", sorted(OWN_TRANSFORMS))
def test_parameters_and_defaults_are_those_of_the_signature(name: str) -> None:
    signature = inspect.signature(getattr(import_module(f"transforms.{OWN_TRANSFORMS[name]}"), name))
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", SECTIONS[name], re.MULTILINE)
    assert [row[0] for row in rows] == list(signature.parameters), "each once, in their order"
    for parameter, told, meaning in rows:
        default = signature.parameters[parameter].default
        if default is inspect.Parameter.empty:
            assert told == "none", parameter
        else:
            found = yaml.safe_load(told.strip("`"))
            assert (found, type(found)) == (plain(default), type(plain(default))), parameter
        assert meaning.endswith(".")


def test_the_examples_can_be_used() -> None:
    start, whole, mixed = CHAINS
    assert list(lint_chain(start["prepare"], whole["augment"])) == []
    assert list(lint_chain(start["prepare"], mixed["augment"])) == []
    assert AugmentChain(whole["augment"]).per_sample == []
    assert AugmentChain(mixed["augment"]).per_sample == ["RandGibbsNoised"]
    assert {entry["_target_"] for entry in whole["augment"]} == OWN_TRANSFORMS.keys() - {"SkimageResized"}


def test_the_table_of_costs_sets_like_beside_like() -> None:
    rows = re.findall(r"^\| `(\w+)`.*?\| [\d.]+ \| `(\w+)` \| [\d.]+ \|$", PAGE, re.MULTILINE)
    assert {own for own, _ in rows} == set(BATCH_COUNTERPARTS.values())
    assert all(BATCH_COUNTERPARTS[other] == own for own, other in rows)


def test_every_name_on_the_page_is_known() -> None:
    named = set(re.findall(r"\b(?:Rand\w+d|Skimage\w+)\b", PAGE))
    assert named <= MONAI_TRANSFORMS | OWN_TRANSFORMS.keys()
