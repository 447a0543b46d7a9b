"""Trees of empty files, and configs that read them: most of what a layout does needs no image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.layouts import find_cases
from pipeline.errors import Fault, Faults

CLASSES = ["background", "a", "b"]


@pytest.fixture(scope="session")
def touch() -> Callable[[Path, Iterable[str]], None]:
    """A function that makes empty files in a folder, with what folders they need."""

    def make(folder: Path, names: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()

    return make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The dataset's folder."""
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def config_of(make_config: Callable[..., Any], root: Path) -> Callable[..., Any]:
    """A function that loads a config of a layout over `root`; keys of ``data`` may be given, and the kind of split."""

    def make(layout: str, kind: str = "holdout", classes: list[str] = CLASSES, **data: Any) -> Any:
        whole = {"layout": layout, "root": str(root), "classes": classes, "patient": None, **data}
        return make_config(data=whole, splits={"kind": kind})

    return make


@pytest.fixture
def faults_in(config_of: Callable[..., Any]) -> Callable[..., list[Fault]]:
    """A function that gives every fault which `find_cases` raises, and none where it raises none."""

    def find(layout: str, **more: Any) -> list[Fault]:
        config = config_of(layout, **more)
        try:
            find_cases(config)
        except Faults as several:
            return list(several.faults)
        except Fault as fault:
            return [fault]
        return []

    return find


@pytest.fixture
def write_json(root: Path) -> Callable[..., Path]:
    """A function that writes ``dataset.json``: any value, or the text itself."""

    def write(content: Any) -> Path:
        path = root / "dataset.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write
