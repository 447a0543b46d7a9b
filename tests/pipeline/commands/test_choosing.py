"""``inference.postprocess: auto`` from the training to bin/predict, with a network that names what its image shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.commands import choosing, folds
from pipeline.commands.predict import main as predict
from pipeline.commands.run_pipeline import main as run_pipeline

PATIENTS = 10
PLUGIN = """
import torch
from torch import nn


class Naming(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.classes, self.idle = out_channels, nn.Parameter(torch.zeros(1))

    def forward(self, image):
        named = nn.functional.one_hot(image[:, 0].round().long(), self.classes).permute(0, 3, 1, 2).float()
        return 20 * named + self.idle
"""


@pytest.fixture
def study(
    tmp_path: Path, write_nifti: Callable[..., Path], make_config: Callable[..., Any]
) -> Callable[..., Path]:  # fmt: skip
    """A function that writes volumes whose images show a stray voxel of class a, and gives a config for them."""

    def make(**sections: Any) -> Path:
        generator = np.random.default_rng(0)
        for number in range(PATIENTS):
            label = np.zeros((12, 12, 3), dtype=np.uint8)
            label[1 : 5 + number % 3, 1 : 4 + number // 3], label[8:10, 1:3, 1], label[8:10, 5:7, 1] = 1, 2, 2
            image = (label + generator.uniform(-0.4, 0.4, label.shape)).astype(np.float32)
            image[10, 10, number % 3] = 1
            write_nifti(tmp_path / f"images/p{number}.nii.gz", image, (1.0, 1.0, 2.5))
            write_nifti(tmp_path / f"labels/p{number}.nii.gz", label, (1.0, 1.0, 2.5))
        (tmp_path / "naming.py").write_text(PLUGIN)
        path: Path = make_config(
            plugins=["naming.py"], network={"_target_": "naming.Naming"}, inference={"postprocess": "auto"}, **sections
        ).path
        return path

    return make


def loaded(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asanyarray(image.dataobj)


def masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")}


def test_what_helps_on_the_validation_cases_is_done_to_the_test_cases(
    study: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run_pipeline([str(study()), "--out", str(out)]) == 0
    split = json.loads((out / "split.json").read_text())[0]
    found = json.loads((out / "model.json").read_text())
    assert [found["postprocess"][name]["chosen"] for name in ("a", "b")] == ["largest", "none"]
    sizes = [(loaded(tmp_path / f"labels/{name}.nii.gz") == 1).sum() for name in split["val"]]
    dice = np.mean([2 * size / (2 * size + 1) for size in sizes])
    assert found["postprocess"]["a"]["dice"]["none"] == pytest.approx(dice)
    assert found["postprocess"]["a"]["scans"] == len(split["val"]) == 2
    assert found["postprocess"]["b"]["dice"]["largest"] == pytest.approx(2 / 3)
    for name in split["test"]:
        reference = loaded(tmp_path / f"labels/{name}.nii.gz")
        np.testing.assert_array_equal(loaded(out / f"predictions/{name}.nii.gz"), reference)
    line = "a: largest (mean Dice of 2 validation scans: none"
    assert line in (out / "log.txt").read_text() and line in capsys.readouterr().err
    assert "chosen on the validation cases alone: a: largest." in (out / "report.html").read_text()
    assert "postprocess: auto" in (out / "config.yaml").read_text()
    # What the training labels show stands beside it.
    trained = [loaded(tmp_path / f"labels/{name}.nii.gz") for name in split["train"]]
    for index, parts in ((1, 1), (2, 2)):
        volumes = [float((label == index).sum() * 2.5) for label in trained]
        ranges = found["ranges"]["volume"]
        assert (ranges["least"][index], ranges["most"][index]) == (min(volumes), max(volumes))
        assert ranges["parts"][index] == parts
    # And bin/predict does the same.
    assert predict(["--run", str(out), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "again")]) == 0
    again = masks(tmp_path / "again")
    assert len(again) == PATIENTS
    assert masks(out / "predictions") == {name: again[name] for name in masks(out / "predictions")}


def test_a_run_that_was_stopped_after_choosing_goes_on_with_the_same(
    study: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out = str(study()), str(tmp_path / "run")
    with monkeypatch.context() as patched:

        def stop(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt("SIGTERM")

        patched.setattr(folds, "predict_and_count", stop)
        assert run_pipeline([config, "--out", out]) == 3
    kept = (tmp_path / "run/model.json").read_bytes()
    monkeypatch.setattr(choosing, "choose_postprocess", lambda *_: pytest.fail("it was chosen before"))
    capsys.readouterr()
    assert run_pipeline([config, "--out", out, "--resume"]) == 0
    assert "chosen on validation cases alone before the run was stopped" in capsys.readouterr().err
    assert (tmp_path / "run/model.json").read_bytes() == kept
    for path in (tmp_path / "run/predictions").iterdir():
        np.testing.assert_array_equal(loaded(path), loaded(tmp_path / "labels" / path.name))


def test_each_fold_chooses_and_their_majority_predicts(study: Callable[..., Path], tmp_path: Path) -> None:
    config, out = study(splits={"kind": "folds", "folds": 2}, data={"fold": "all"}), tmp_path / "run"
    assert run_pipeline([str(config), "--out", str(out)]) == 0
    for number in range(2):
        found = json.loads((out / f"fold_{number}/model.json").read_text())
        assert found["postprocess"]["a"]["scans"] == len(json.loads((out / "split.json").read_text())[number]["val"])
    report = (out / "report.html").read_text()
    assert all(f"chosen on the validation cases alone, fold {number}: " in report for number in range(2))
    # Of each fold's validation cases, one alone could choose nothing.
    chosen = [json.loads((out / f"fold_{n}/model.json").read_text())["postprocess"]["a"]["chosen"] for n in range(2)]
    assert predict(["--run", str(out), "--images", str(tmp_path / "images"), "--out", str(tmp_path / "all")]) == 0
    stray = any(loaded(path)[10, 10].any() for path in (tmp_path / "all").glob("*.nii.gz"))
    assert stray == (chosen != ["largest", "largest"])


def test_nothing_is_chosen_unasked(study: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_pipeline([str(study()), "--out", str(out), "--set", "inference.postprocess={}"]) == 0
    assert json.loads((out / "model.json").read_text())["postprocess"] is None
    assert "chosen on validation" not in (out / "log.txt").read_text()
