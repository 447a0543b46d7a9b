"""A project of its own for each test: the shipped configs in a temporary folder, with a tiny phantom."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.phantom.writing import PhantomSpec, write_phantom

CHECKOUT = Path(__file__).parents[3]
TINY = ("--set", "network.channels=[4, 8]", "--set", "training.epochs=1", "--set", "training.batch_size=4")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the shipped configs; runs and data of relative paths go there."""
    shutil.copytree(CHECKOUT / "configs", tmp_path / "configs")
    for name in ("HIPMRI_ROOT", "HIPPOCAMPUS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny phantom: five patients, four slices each."""
    root = tmp_path_factory.mktemp("phantom") / "data"
    write_phantom(root, PhantomSpec(train=2, validate=1, test=2, weeks=1, slices=4))
    return root


@pytest.fixture
def run_pipeline() -> Callable[..., int]:
    """``bin/run_pipeline`` in this process, tiny."""
    from pipeline.commands.run_pipeline import main

    return lambda *arguments: main([*map(str, arguments), *TINY])
