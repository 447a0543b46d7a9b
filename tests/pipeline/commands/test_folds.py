"""All folds in one run: each patient predicted by the network that did not see him or her, and pooled."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

import pipeline.commands.folds
import pipeline.commands.stages
import pipeline.commands.watching
from pipeline.commands import folds
from pipeline.evaluation.confusion import CaseCounts, count_slices
from pipeline.evaluation.distances import case_distances
from pipeline.evaluation.surfaces import surface_figures
from pipeline.training.checkpoint import load_checkpoint, save_checkpoint

CHECKOUT = Path(__file__).parents[3]
SIX = 6
TINY = {
    "network.channels": "[4, 8]", "training.batch_size": 4, "training.epochs": 2, "training.ema": 0.9,
    "splits.kind": "folds", "splits.folds": 3, "data.fold": "all",
}  # fmt: skip


class Study:
    """Six patients with a bright square each, and ``bin/run_pipeline`` on them in three folds."""

    def __init__(self, root: Path, write_nifti: Callable[..., Path]) -> None:
        self.root = root
        generator = np.random.default_rng(0)
        for number in range(SIX):
            label = np.zeros((16, 16, 3), dtype=np.uint8)
            label[number : number + 8, 4:12, 1:] = 1
            image = (3 * label + generator.normal(size=label.shape)).astype(np.float32)
            write_nifti(root / f"images/p{number}.nii.gz", image, (1.0, 1.0, 2.5))
            write_nifti(root / f"labels/p{number}.nii.gz", label, (1.0, 1.0, 2.5))

    def run(self, *arguments: Any, **overrides: Any) -> int:
        """``data.images`` and the like as data__images."""
        from pipeline.commands.run_pipeline import main

        folders = {f"data.{name}": self.root / name for name in ("images", "labels")}
        values = {**TINY, **folders, **{key.replace("__", "."): value for key, value in overrides.items()}}
        settings = [f"--set={key}={value}" for key, value in values.items()]
        return main([str(CHECKOUT / "configs/folders.yaml"), *settings, *map(str, arguments)])


@pytest.fixture
def study(tmp_path: Path, write_nifti: Callable[..., Path]) -> Study:
    return Study(tmp_path, write_nifti)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, write_nifti: Callable[..., Path]) -> Study:
    """A study whose run of all folds is in ``whole/``, with what it said in out.txt and err.txt."""
    study = Study(tmp_path_factory.mktemp("study"), write_nifti)
    said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said[0]), contextlib.redirect_stderr(said[1]):
        assert study.run("--out", study.root / "whole") == 0
    for name, text in zip(("out.txt", "err.txt"), said, strict=True):
        (study.root / name).write_text(text.getvalue())
    return study


def weights(folder: Path, name: str = "best.pt") -> dict[str, torch.Tensor]:
    saved = torch.load(folder / "checkpoints" / name, weights_only=True)
    network: dict[str, torch.Tensor] = saved["network"]
    return network


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def masks(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "predictions").iterdir()}


def test_each_patient_is_predicted_by_the_network_that_did_not_see_him(finished: Study, tmp_path: Path) -> None:
    whole = finished.root / "whole"
    out, err = ((finished.root / name).read_text() for name in ("out.txt", "err.txt"))
    folds = json.loads((whole / "split.json").read_text())
    assert [len(fold["test"]) for fold in folds] == [2, 2, 2]
    assert sorted(name for fold in folds for name in fold["test"]) == [f"p{number}" for number in range(SIX)]
    assert "split: 3 folds, which test 6 cases" in err
    assert "fold 1 (2 of 3): 3 train, 1 validation, 2 test cases" in err
    assert "train, fold 1 (2 of 3)" in err
    # A fold by itself, from the config in its folder, is the same to the bit: weights, masks, figures.
    from pipeline.commands.run_pipeline import main

    alone = tmp_path / "alone"
    assert main([str(whole / "fold_1/config.yaml"), "--out", str(alone)]) == 0
    assert json.loads((alone / "split.json").read_text()) == [folds[1]]
    assert same(weights(alone), weights(whole / "fold_1"))
    assert not same(weights(alone), weights(whole / "fold_0"))
    assert masks(alone) == {f"{name}.nii.gz": masks(whole)[f"{name}.nii.gz"] for name in folds[1]["test"]}
    for name in ("cases.csv", "scans.csv", "patients.csv"):
        text = (alone / "evaluation" / name).read_text()
        assert text == (whole / "fold_1/evaluation" / name).read_text()
        assert set(text.splitlines()) < set((whole / "evaluation" / name).read_text().splitlines()), "and pooled"
    assert json.loads((whole / "fold_1/split.json").read_text()) == [folds[1]]
    one, other = (json.loads((folder / "evaluation/summary.json").read_text()) for folder in (whole, alone))
    assert one["n_patients"] == SIX and other["n_patients"] == 2
    found = one["folds"]["each"][1]
    assert found["dice"]["scan"]["foreground"] == other["levels"]["scan"]["foreground"]["dice"]["mean"]
    assert found["n_patients"] == 2
    history = list(csv.DictReader((whole / "fold_1/history.csv").open()))
    assert len(history) == 2
    assert found["best_epoch"] == int(max(history, key=lambda row: float(row["validation_dice"]))["epoch"])
    assert {path.name for path in (whole / "predictions").iterdir()} == {f"p{n}.nii.gz" for n in range(SIX)}
    for fold in range(3):
        assert len((whole / f"fold_{fold}/log.txt").read_text().splitlines()) >= 4
        assert not (whole / f"fold_{fold}/predictions").exists()
    assert json.loads((whole / "provenance.json").read_text())["folds"] == 3
    assert "Dice per scan of each fold" in out and "Dice over 3 folds" in out
    report = (whole / "report.html").read_text()
    assert "cross-validated in 3 folds" in report and "standard deviation" in report
    assert (whole / "plots/loss_plot.png").stat().st_size > 0


def test_a_run_stopped_in_its_second_fold_goes_on_to_the_same_result(
    finished: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, stopped = finished.root / "whole", tmp_path / "stopped"
    written = pipeline.commands.watching.write_history

    def then_stop(folder: Path, history: Any) -> None:
        written(folder, history)
        if folder.name == "fold_1" and len(history) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(pipeline.commands.watching, "write_history", then_stop)
        assert finished.run("--out", stopped) == 3
    said = capsys.readouterr().err
    assert f"--resume --out {stopped}" in said and "SIGTERM" in said, "the run's folder, not the fold's"
    assert not (stopped / "fold_2").exists() and not (stopped / "report.html").exists()
    kept = stopped / "fold_0/checkpoints/last.pt"
    before = kept.stat().st_mtime_ns
    assert finished.run("--out", stopped, "--resume") == 0
    said = capsys.readouterr().err
    assert "fold 0 (1 of 3): was trained and tested before" in said
    assert "train, fold 0" not in said and "predict, fold 0" not in said
    assert kept.stat().st_mtime_ns == before, "a finished fold is not trained again"
    for fold in range(3):
        for name in ("best.pt", "last.pt"):
            assert same(weights(whole / f"fold_{fold}", name), weights(stopped / f"fold_{fold}", name))
    assert masks(whole) == masks(stopped)
    for name in ("cases.csv", "scans.csv", "patients.csv"):
        assert (whole / "evaluation" / name).read_text() == (stopped / "evaluation" / name).read_text()
    one, other = (json.loads((folder / "evaluation/summary.json").read_text()) for folder in (whole, stopped))
    assert one["folds"] == other["folds"] and one["levels"] == other["levels"]
    assert one["distances"] == other["distances"] == {"unit": "mm", "tolerance": 2.0, "n_2d": 0, "n_3d": SIX}
    assert finished.run("--out", stopped, "--resume") == 2  # it is finished


def mask_of(folder: Path, name: str) -> np.ndarray:
    image: Any = nib.load(folder / f"{name}.nii.gz")
    return np.asarray(image.dataobj)


def test_distances_are_those_of_the_masks_in_every_fold_and_pooled(finished: Study) -> None:
    whole = finished.root / "whole"
    rows = list(csv.DictReader((whole / "evaluation/cases.csv").open()))
    pooled = {row["case"]: row for row in rows if row["class"] != "background"}
    assert len(pooled) == SIX
    for name, row in pooled.items():
        label, mask = mask_of(finished.root / "labels", name), mask_of(whole / "predictions", name)
        expected = surface_figures(label, mask, [1], (1.0, 1.0, 2.5), 2.0)
        assert float(row["hd95"]) == pytest.approx(expected.hd95[0])
        assert float(row["surface_dice"]) == pytest.approx(expected.surface_dice[0])
    for fold, tested in enumerate(json.loads((whole / "split.json").read_text())):
        saved = torch.load(whole / f"fold_{fold}/checkpoints/counts.pt", weights_only=True)["counts"]
        for one in saved:
            assert one["distances"]["figures"]["hd95"][1].item() == pytest.approx(float(pooled[one["case"]]["hd95"]))
        assert {one["case"] for one in saved} == set(tested["test"])
    assert "HD95" in (whole / "report.html").read_text()


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def test_counts_of_a_version_without_distances_are_made_anew(
    finished: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished.root / "whole", tmp_path / "run")
    (tmp_path / "run/report.html").unlink()
    kept = tmp_path / "run/fold_1/checkpoints/counts.pt"
    less = tmp_path / "run/fold_2/checkpoints/counts.pt"
    saved = torch.load(kept, weights_only=True)
    torch.save({**saved, "counts": [without(one, "distances") for one in saved["counts"]]}, kept)
    saved = torch.load(less, weights_only=True)
    for one in saved["counts"]:
        one["distances"]["figures"] = without(one["distances"]["figures"], "assd")
    torch.save(saved, less)
    before = (tmp_path / "run/evaluation/cases.csv").read_text()
    assert finished.run("--out", tmp_path / "run", "--resume") == 0
    assert (tmp_path / "run/evaluation/cases.csv").read_text() == before
    said = capsys.readouterr().err
    assert "predict, fold 1" in said and "predict, fold 2" in said and "predict, fold 0" not in said
    assert "distances" in torch.load(kept, weights_only=True)["counts"][0]


@pytest.mark.parametrize("with_distances", [True, False])
def test_counts_survive_a_checkpoint(tmp_path: Path, with_distances: bool) -> None:
    reference, prediction = np.array([[0, 1, 1, 2, 0]]), np.array([[0, 1, 1, 1, 0]])
    distances = case_distances(reference, prediction, 3, (1.5, 2.0), 1.0) if with_distances else None
    counts = CaseCounts("c", "s", "p", count_slices(reference, prediction, 3), None, distances)
    save_checkpoint(tmp_path / "counts.pt", {"counts": [folds._plain(counts)]})
    (back,) = [folds._counts(one) for one in load_checkpoint(tmp_path / "counts.pt")["counts"]]
    assert (back.case, back.scan, back.patient, back.voxel_volume_mm3) == ("c", "s", "p", None)
    np.testing.assert_array_equal(back.slices.tallies, counts.slices.tallies)
    np.testing.assert_array_equal(back.slices.confusion, counts.slices.confusion)
    assert (back.distances is None) is not with_distances
    if back.distances is not None and distances is not None:
        assert (back.distances.unit, back.distances.tolerance, back.distances.rank) == ("mm", 1.0, 2)
        assert list(back.distances.figures) == list(distances.figures)
        for name, values in back.distances.figures.items():
            np.testing.assert_array_equal(values, distances.figures[name])  # NaN equals NaN here
            assert values.dtype == np.float64


def test_a_folds_memory_is_free_before_the_next(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = pipeline.commands.folds.prepare
    banks: list[weakref.ref[Any]] = []
    alive: list[int] = []

    def watched(*arguments: Any, **more: Any) -> Any:
        alive.append(sum(one() is not None for one in banks))
        bank = prepare(*arguments, **more)
        banks.append(weakref.ref(bank))
        return bank

    monkeypatch.setattr(pipeline.commands.folds, "prepare", watched)
    assert study.run("--out", tmp_path / "run") == 0
    assert alive == [0, 1] * 3  # training slices, then those of validation beside them


def test_a_leak_in_any_fold_is_told_before_training(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("images", "labels"):
        (tmp_path / name / "p5.nii.gz").write_bytes((tmp_path / name / "p0.nii.gz").read_bytes())
    assert study.run("--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert "p0.nii.gz" in said and "p5.nii.gz" in said and "splits.allow_leakage" in said
    assert "prepare" not in said
    assert not list((tmp_path / "run").glob("fold_*"))
    # The refused start left nothing to keep: the folder may be used again.
    assert study.run("--out", tmp_path / "run", splits__allow_leakage="true") == 0
    assert "same image" in (tmp_path / "run/report.html").read_text()


def test_patients_too_few_for_the_folds_are_told_before_any_file_is_read(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images/p0.nii.gz").write_bytes(b"no image")
    assert study.run("--out", tmp_path / "run", splits__folds=7) == 2
    said = capsys.readouterr().err
    assert "6 patients are too few: 7 folds" in said and "no image" not in said
    assert not (tmp_path / "run").exists()


def test_other_data_or_other_folds_are_not_gone_on_with(
    finished: Study, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished.root / "whole", tmp_path / "run")
    (tmp_path / "run/report.html").unlink()  # as if it had been stopped before its report
    shutil.rmtree(tmp_path / "images")
    shutil.copytree(finished.root / "images", tmp_path / "images")
    here = {"data__images": finished.root / "images", "data__labels": finished.root / "labels"}
    assert study.run("--out", tmp_path / "run", "--resume", **here, splits__folds=2) == 2
    assert "splits.folds" in capsys.readouterr().err
    assert study.run("--out", tmp_path / "run", "--resume", **here) == 0, "nothing but the report was left to do"
    text = (tmp_path / "run/config.yaml").read_text()
    (tmp_path / "run/config.yaml").write_text(text.replace(str(finished.root), str(tmp_path)))
    (tmp_path / "run/report.html").unlink()
    image: Any = nib.load(tmp_path / "images/p5.nii.gz")
    nib.save(nib.Nifti1Image(image.get_fdata(dtype=np.float32) + 1, image.affine), tmp_path / "images/p5.nii.gz")
    assert study.run("--out", tmp_path / "run", "--resume") == 2
    assert "not those that the run was started with" in capsys.readouterr().err


def test_counts_in_another_form_are_not_read(tmp_path: Path) -> None:
    """A version that kept a confusion matrix a slice wrote them under another name."""
    reference = np.array([[0, 1]])
    distances = case_distances(reference, reference, 2, None, 1.0)
    saved = folds._plain(CaseCounts("c", "s", "p", count_slices(reference, reference, 2), None, distances))
    assert folds._measured(saved)
    old = {**without(saved, "slices"), "confusion": torch.tensor([[[1, 0], [0, 1]]])}
    assert not folds._measured(old)
