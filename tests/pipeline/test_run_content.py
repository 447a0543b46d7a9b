"""What a folder of a run is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.run_content import PARTS, is_unborn, never_trained


def make(folder: Path, files: dict[str, str]) -> Path:
    for part in PARTS:
        (folder / part).mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "unborn", "untrained"),
    [
        ({}, True, False),
        ({"log.txt": "", ".lock": ""}, True, False),
        ({"log.txt": "", ".part-1-ab": "half a config"}, True, False),
        ({"log.txt": "notes of the user's"}, False, False),
        ({"config.yaml": "mine: true"}, False, False),
        ({"config.yaml": "name: a", "log.txt": "0.0 s"}, False, True),
        ({"config.yaml": "name: a", "log.txt": "", "checkpoints/data.json": "[]", ".lock": ""}, False, True),
        ({"config.yaml": "name: a", "log.txt": "", "checkpoints/.part-1-ab": "half of the first"}, False, True),
        (
            {"config.yaml": "name: a", "log.txt": "", "tensorboard/events": "config", "mlflow/mlflow.db": ""},
            False,
            True,
        ),
        (
            {"config.yaml": "name: a", "log.txt": "", "tensorboard/a": "", "checkpoints/last.pt": "weights"},
            False,
            False,
        ),
        ({"config.yaml": "name: a", "log.txt": "", "checkpoints/last.pt": "weights"}, False, False),
        ({"log.txt": "", "checkpoints/last.pt": "weights"}, False, False),
        ({"log.txt": "", "thesis.tex": ""}, False, False),
    ],
)
def test_what_there_is_to_lose(tmp_path: Path, files: dict[str, str], unborn: bool, untrained: bool) -> None:
    folder = make(tmp_path, files)
    assert (is_unborn(folder), never_trained(folder)) == (unborn, untrained)


def test_an_empty_folder_is_unborn(tmp_path: Path) -> None:
    assert is_unborn(tmp_path)
