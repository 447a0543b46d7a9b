"""bin/make_phantom: writes what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.commands.make_phantom import main


def test_it_writes_the_six_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--train", "1", "--validate", "1", "--test", "1", "--weeks", "1", "--slices", "2"]
    assert main([str(tmp_path / "phantom"), *arguments]) == 0
    assert len(list((tmp_path / "phantom").glob("keras_slices_*/*.nii.gz"))) == 12
    assert f"--set data.root={tmp_path / 'phantom'}" in capsys.readouterr().out


@pytest.mark.parametrize(("argument", "words"), [(["--slices", "61"], "slices"), (["--weeks", "0"], "weeks")])
def test_values_out_of_range(
    tmp_path: Path, argument: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "phantom"), *argument]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "phantom").exists()


def test_a_folder_with_files_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    assert main([str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
