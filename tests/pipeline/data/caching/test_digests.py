"""Digests change with what they are of, and with nothing else."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.caching import digests
from pipeline.data.caching.digests import digest_of, foreign_sources, sources_digest, versions


def test_a_digest_is_of_the_values_not_of_their_order() -> None:
    assert digest_of({"a": 1, "b": [1, 2.5, None]}) == digest_of({"b": [1, 2.5, None], "a": 1})
    others = [{"a": 1}, {"a": "1"}, {"a": 1.5}, {"b": 1}, [{"a": 1}], {"a": [1, 2]}, {"a": [2, 1]}, {"a": None}]
    assert len({digest_of(value) for value in others}) == len(others)


def test_sources_are_those_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "ROOT", tmp_path)
    (tmp_path / "one").mkdir()
    found = set()
    for name, text in [("a.py", "1"), ("a.py", "2"), ("b.py", "2"), ("c.txt", "3")]:
        (tmp_path / "one" / name).write_text(text)
        sources_digest.cache_clear()
        found.add(sources_digest("one"))
    assert len(found) == 3, "a text is no source"
    sources_digest.cache_clear()


def test_the_projects_own_sources_are_there() -> None:
    assert sources_digest("transforms") != sources_digest("pipeline/data") != sources_digest()


def test_a_plugins_file_counts_and_libraries_do_not(tmp_path: Path) -> None:
    from monai.transforms import Flipd

    from transforms.tensors import TracedToTensord

    def plugin(text: str) -> Any:
        path = tmp_path / "mine.py"
        path.write_text(text)
        spec = spec_from_file_location("_plugin_mine", path)
        assert spec is not None and spec.loader is not None
        module = sys.modules["_plugin_mine"] = module_from_spec(spec)
        exec_module = spec.loader.exec_module
        exec_module(module)
        return module.Mine()

    try:
        steps = [Flipd(keys="image"), TracedToTensord(keys="image")]
        assert foreign_sources(steps) == {}
        first = foreign_sources([*steps, plugin("class Mine: size = 1\n")])
        assert list(first) == [f"{tmp_path / 'mine.py'}: Mine"]
        second = foreign_sources([plugin("class Mine: size = 22\n")])
        assert first.keys() == second.keys() and first != second
    finally:
        del sys.modules["_plugin_mine"]


def test_versions_name_what_makes_the_arrays() -> None:
    assert versions()["numpy"] == np.__version__
    assert {"slicewise", "torch", "monai", "nibabel", "scikit-image", "scipy"} <= versions().keys()
