"""What the parts make of figures and files, without the programs that they measure."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.accuracy import NNUNET, OURS, Point, plot, tables, text
from benchmarks.evaluate import same_as_nnunet, write_cases
from benchmarks.frame import Setting
from benchmarks.hippocampus import training_source
from benchmarks.own.predict import make_run, multiply_adds_of
from benchmarks.peers.nnunet_data import DATASET, set_folders, write_raw
from benchmarks.peers_found import Peers
from benchmarks.predict import KINDS, small_volume, write_volumes
from benchmarks.volumes import CLASSES, phantom_volume, write_pairs
from benchmarks.workers import Unmeasured, run_command
from pipeline.config.load import load_config
from pipeline.errors import ConfigError
from transforms.nifti import read_label, read_nifti


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(1, True, Peers({}, {}, (), tmp_path / "python"), tmp_path)


def test_volumes_keep_what_is_in_them() -> None:
    image, mask = phantom_volume(0, (64, 36, 15))
    assert image.shape == mask.shape == (64, 36, 15)
    assert set(np.unique(mask)) == set(range(6))
    whole, _ = phantom_volume(0)
    assert set(np.unique(image)) <= set(np.unique(whole))


def test_pairs_are_written_on_one_grid(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2, (32, 20, 6), (1.5, 1.0, 3.0))
    for number in range(2):
        image, label = (tmp_path / side / f"scan_{number:03d}.nii.gz" for side in ("images", "labels"))
        assert read_nifti(image).spacing_mm == read_label(label).spacing_mm == (1.5, 1.0, 3.0)
        assert read_nifti(image).array.shape == read_label(label).array.shape == (32, 20, 6)


def test_predictions_are_near_their_labels_and_not_the_same(tmp_path: Path) -> None:
    write_cases(tmp_path, 2, (64, 64, 24))
    for number in range(2):
        label, prediction = (read_label(tmp_path / side / f"case_{number}.nii.gz").array
                             for side in ("labels", "predictions"))  # fmt: skip
        shared = (label == prediction).mean()
        assert 0.7 < shared < 1


def test_figures_that_differ_from_nnunets_stop_the_benchmark(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    ours.write_text(json.dumps({"mean": {"1": {"Dice": 0.5, "TP": 3}}}))
    theirs.write_text(ours.read_text())
    assert same_as_nnunet(ours, theirs) == 2
    theirs.write_text(json.dumps({"mean": {"1": {"Dice": 0.5 + 1e-6, "TP": 3}}}))
    with pytest.raises(AssertionError, match="Dice"):
        same_as_nnunet(ours, theirs)


def test_nnunet_gets_its_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", "before")
    write_pairs(tmp_path / "data", 2, (16, 12, 4))
    set_folders(tmp_path / "nnunet")
    raw = write_raw(tmp_path / "nnunet", tmp_path / "data", ["background", "a", "b"], only=["scan_001"])
    assert raw == tmp_path / "nnunet" / "raw" / DATASET
    assert [path.name for path in sorted(raw.rglob("*.nii.gz"))] == ["scan_001_0000.nii.gz", "scan_001.nii.gz"]
    about = json.loads((raw / "dataset.json").read_text())
    assert about["labels"] == {"background": 0, "a": 1, "b": 2} and about["numTraining"] == 1


@pytest.mark.parametrize("with_hippocampus", [False, True])
def test_training_has_a_config_that_loads(
    with_hippocampus: bool, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HIPPOCAMPUS", raising=False)
    if with_hippocampus:
        write_pairs(tmp_path / "set", 3, (16, 12, 4))
        split = [{"train": ["scan_000", "scan_002"], "val": ["scan_001"]}]
        (tmp_path / "set" / "splits_final.json").write_text(json.dumps(split))
        monkeypatch.setenv("HIPPOCAMPUS", str(tmp_path / "set"))
    source = training_source(setting)
    assert source.is_hippocampus is with_hippocampus
    config = load_config(source.config, (), {})
    settings = config.settings
    assert config.locate(settings.data.root) == source.data
    assert settings.data.context == source.context and list(settings.network["channels"]) == source.widths
    assert list(settings.data.classes) == source.classes
    names = {path.name for path in (source.data / "images").iterdir()}
    assert names == {path.name for path in (source.data / "labels").iterdir()}
    if with_hippocampus:
        assert names == {"scan_000.nii.gz", "scan_002.nii.gz"}, "fold 0 trains on these"


def test_a_run_that_was_never_trained_can_be_measured(tmp_path: Path) -> None:
    kind = KINDS[1]
    slices = write_volumes(kind, 2, tmp_path)
    assert slices == sum(small_volume(number)[0].shape[2] for number in range(2))
    assert {path.name for path in (tmp_path / "imagesTs").iterdir()} == {f"scan_00{n}_0000.nii.gz" for n in range(2)}
    run = make_run(tmp_path / "model", kind.config(), axis=2)
    one, four = (multiply_adds_of(run, 3, size) for size in ((16, 16), (32, 32)))
    assert four == 4 * one > 0


def test_a_run_is_ended_after_its_first_step(tmp_path: Path, make_config: Callable[..., Any]) -> None:
    write_pairs(tmp_path, 6, (16, 12, 4))
    data = {"images": "images", "labels": "labels", "classes": CLASSES, "patient": "^(.+)$", "axis": 2}
    config = make_config(data=data)
    run_command([sys.executable, "-m", "benchmarks.own.first_step", config.path, "--out", tmp_path / "run"])
    assert (tmp_path / "run" / "split.json").exists()
    assert not (tmp_path / "run" / "report.html").exists() and not list((tmp_path / "run" / "checkpoints").glob("*.pt"))
    with pytest.raises(Unmeasured, match="exit code 1"):  # it ended without a step
        run_command([sys.executable, "-m", "benchmarks.own.first_step", tmp_path / "none.yaml"])


POINTS = [
    Point(OURS, 60, 75, 0.85, 0.83, 0.87, {"anterior": 0.86, "posterior": 0.84}, 10**9),
    Point(NNUNET, 60, 90, 0.80, 0.78, 0.82, {"anterior": 0.81, "posterior": 0.79}, 2 * 10**9),
    Point(OURS, 180, 200, 0.88, 0.87, 0.89, {"anterior": 0.89, "posterior": 0.87}, 10**9),
]


def test_accuracy_is_told_and_drawn() -> None:
    said = text(POINTS, ["nnU-Net 2D, 180 s failed"])
    assert "this project   budget    60 s   wall     75 s   Dice 0.850 (0.830 to 0.870)" in said
    assert "anterior 0.860, posterior 0.840   1.00 GB" in said and said.endswith("  nnU-Net 2D, 180 s failed\n")
    image = Image.open(io.BytesIO(plot(POINTS)))
    assert image.format == "PNG" and image.width > 900
    assert Image.open(io.BytesIO(plot(POINTS[:1]))).size == image.size


def test_accuracy_needs_its_dataset(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIPPOCAMPUS", raising=False)
    with pytest.raises(ConfigError, match="HIPPOCAMPUS"):
        tables(setting, {})
