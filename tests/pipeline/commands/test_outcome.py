"""How a run's paths are told to others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.commands.outcome import named


def test_paths_inside_the_project_are_told_from_its_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, other = tmp_path / "project", tmp_path / "elsewhere"
    (root / "data").mkdir(parents=True)
    other.mkdir()
    (root / "linked").symlink_to(other)
    (tmp_path / "alias").symlink_to(root)
    assert named(root / "data/images", root) == "data/images"
    assert named(root / "data/../data", root) == "data"
    assert named(root / "linked/images", root) == "linked/images", "the project's own name for it"
    assert named(tmp_path / "alias/data", root) == "data", "the same folder under another name"
    assert named(other / "images", root) == str(other.resolve() / "images")
    assert named(tmp_path / "project-2/data", root) == str(tmp_path.resolve() / "project-2/data"), "a neighbour"
    monkeypatch.chdir(root)
    assert named(Path("data"), root) == "data"
