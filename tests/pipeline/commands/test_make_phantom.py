"""bin/make_phantom: writes what it says."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from pipeline.commands.dataset import open_dataset
from pipeline.commands.make_phantom import main

ROOT = Path(__file__).resolve().parents[3]


def test_it_writes_the_six_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--train", "1", "--validate", "1", "--test", "1", "--weeks", "1", "--slices", "2"]
    assert main([str(tmp_path / "phantom"), *arguments]) == 0
    assert len(list((tmp_path / "phantom").glob("keras_slices_*/*.nii.gz"))) == 12
    assert f"--set data.root={tmp_path / 'phantom'}" in capsys.readouterr().out


def test_it_writes_two_folders_of_volumes_and_how_to_use_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "two folders"
    arguments = ["--layout", "folders", "--patients", "1", "--weeks", "2", "--slices", "2"]
    assert main([str(folder), *arguments]) == 0
    names = ["p001_week0.nii.gz", "p001_week1.nii.gz"]
    assert {kind: sorted(path.name for path in (folder / kind).iterdir()) for kind in ("images", "labels")} == {
        "images": names, "labels": names,
    }  # fmt: skip
    told = capsys.readouterr().out
    assert told.startswith(f"2 scans of 2 slices in {folder}.")

    command, config, *more = shlex.split(told.splitlines()[1])
    assert (command, config, more[::2]) == ("bin/run_pipeline", "configs/folders.yaml", ["--set"] * 5)
    dataset = open_dataset(ROOT / config, more[1::2])
    assert dataset.synthetic
    assert [(case.id, case.patient) for case in dataset.cases] == [("p001_week0", "p001"), ("p001_week1", "p001")]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (["--slices", "61"], "slices"),
        (["--weeks", "0"], "weeks"),
        (["--patients", "3"], "--patients: the layout hipmri has no such option"),
        (
            ["--layout", "folders", "--train", "3", "--test", "2"],
            "--test, --train: the layout folders has no such option",
        ),
        (["--layout", "folders", "--slices", "7"], "does not divide 60"),
    ],
)
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
