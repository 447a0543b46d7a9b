"""The validation cases of every fold are scored by that fold's network, on data that are those of the run."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.commands.validation_scores import main
from pipeline.evaluation.ablation_cells import has_validation, read_cell

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def folds(tmp_path: Path, write_nifti: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two folds of six patients, without its plots."""
    from pipeline.commands import run_pipeline

    outcome = importlib.import_module("pipeline.commands.outcome")
    monkeypatch.setattr(outcome, "save_plots", lambda content, folder: [])
    monkeypatch.setattr(outcome, "render_report", lambda content: "not drawn")
    rng = np.random.default_rng(0)
    for number in range(6):
        label = np.zeros((16, 16, 2), dtype=np.uint8)
        label[2:12, 3 : 8 + number] = 1
        write_nifti(tmp_path / f"images/p{number}.nii.gz", (label + 0.2 * rng.random(label.shape)).astype(np.float32))
        write_nifti(tmp_path / f"labels/p{number}.nii.gz", label)
    values = {
        "data.images": tmp_path / "images", "data.labels": tmp_path / "labels", "network.channels": "[4, 8]",
        "training.epochs": 2, "training.threads": 1, "splits.kind": "folds", "splits.folds": 2, "data.fold": "all",
        "splits.validation": 0.3, "evaluation.resamples": 100,
    }  # fmt: skip
    given = [f"--set={key}={value}" for key, value in values.items()]
    assert run_pipeline.main([str(CHECKOUT / "configs/folders.yaml"), *given, "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def test_folds_are_scored_apart_and_changed_data_are_refused(folds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not has_validation(folds)
    assert main([str(folds)]) == 0
    assert has_validation(folds)
    split = json.loads((folds / "split.json").read_text())
    kept = []
    for number, part in enumerate(split):
        rows = list(csv.DictReader((folds / f"fold_{number}/validation/scans.csv").open()))
        assert {row["patient"] for row in rows} == set(part["val"])
        history = list(csv.DictReader((folds / f"fold_{number}/history.csv").open()))
        kept.append(max(float(row["validation_dice"]) for row in history))
        of_class = [float(row["dice"]) for row in rows if row["class"] == "foreground"]
        assert np.mean(of_class) == pytest.approx(kept[-1], abs=1e-6), "nothing is resampled or padded"
        files = json.loads((folds / f"fold_{number}/validation/summary.json").read_text())["metric_per_case"]
        assert {one["prediction_file"] for one in files} == {None}, "no mask is kept"
    found = read_cell(folds)
    assert found.prepared_dice == pytest.approx(np.mean(kept))
    assert len(found.validation.units) == sum(len(part["val"]) for part in split)
    image = folds.parent / "images/p0.nii.gz"
    array = np.asarray(nib.load(image).dataobj)
    nib.save(nib.Nifti1Image(array + 1, np.eye(4)), image)
    assert main([str(folds)]) == 2
    assert "not those that the run was started with" in capsys.readouterr().err
