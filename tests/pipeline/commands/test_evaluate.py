"""bin/evaluate: two folders of masks to tables, a summary and exit codes."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.commands.evaluate import main

ROOT = Path(__file__).parents[3]
Writer = Callable[..., Path]
Scored = Callable[..., int]


@pytest.fixture
def masks(tmp_path: Path, write_nifti: Writer) -> Path:
    """A folder with predictions P and labels L of four volumes of two patients, values 0 to 2; 1 x 2 x 3 mm."""
    rng = np.random.default_rng(0)
    for name in ("p1_a", "p1_b", "p2_a", "p2_b"):
        for side in "PL":
            mask = rng.integers(0, 3, size=(4, 5, 6), dtype=np.uint8)
            write_nifti(tmp_path / side / f"{name}.nii.gz", mask, (1.0, 2.0, 3.0))
    return tmp_path


@pytest.fixture
def score(masks: Path) -> Scored:
    """``bin/evaluate`` on these folders, in this process."""

    def run(*more: str) -> int:
        folders = ["--predictions", f"{masks / 'P'}", "--labels", f"{masks / 'L'}", "--out", f"{masks / 'out'}"]
        return main([*folders, "--workers", "1", *more])

    return run


def summary(masks: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((masks / "out/summary.json").read_text())
    return content


def rows(masks: Path, name: str) -> list[dict[str, str]]:
    with (masks / "out" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def load(masks: Path, name: str) -> list[np.ndarray]:
    """Label and prediction of a case, read by another library's own means."""
    import nibabel as nib

    return [np.asarray(nib.load(masks / side / f"{name}.nii.gz").dataobj) for side in "LP"]  # type: ignore[attr-defined]


def test_what_is_written_equals_a_recount(score: Scored, masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score() == 0
    assert {path.name for path in (masks / "out").iterdir()} == {
        "cases.csv", "scans.csv", "patients.csv", "summary.json", "provenance.json",
    }  # fmt: skip
    found = summary(masks)
    assert found["classes"] == ["0", "1", "2"]
    assert found["distances"] == {"unit": "mm", "tolerance": 2.0, "n_2d": 0, "n_3d": 4}
    dice = []
    for row in rows(masks, "cases.csv"):
        label, prediction = (mask == int(row["class_id"]) for mask in load(masks, row["case"]))
        assert float(row["dice"]) == pytest.approx(2 * (label & prediction).sum() / (label.sum() + prediction.sum()))
        assert float(row["reference_ml"]) == pytest.approx(label.sum() * 6 / 1000)
        assert (row["hd95"] == "") is (row["class_id"] == "0")
        dice.append(float(row["dice"]))
    assert found["mean"]["2"]["Dice"] == pytest.approx(np.mean(dice[2::3]), abs=1e-9)
    first = found["metric_per_case"][0]
    assert (first["prediction_file"], first["reference_file"]) == tuple(
        str(masks / side / "p1_a.nii.gz") for side in "PL"
    )
    source = json.loads((masks / "out/provenance.json").read_text())
    assert source["command"][0] == "bin/evaluate"
    assert source["dataset"]["cases"] == 4
    shown = capsys.readouterr().out
    assert "24 slices of 4 scans of 4 patients" in shown
    assert "HD95" in shown
    assert max(map(len, shown.split("Results:")[0].splitlines()[1:])) <= 100
    assert "--patient says which belong together" in shown


def test_distances_equal_another_library(score: Scored, masks: Path) -> None:
    surface_distance = pytest.importorskip("surface_distance")
    assert score("--tolerance", "1.5") == 0
    compared = 0
    for row in rows(masks, "cases.csv"):
        if row["class_id"] == "0":
            continue
        label, prediction = (mask == int(row["class_id"]) for mask in load(masks, row["case"]))
        distances = surface_distance.compute_surface_distances(label, prediction, (1.0, 2.0, 3.0))
        assert float(row["hd95"]) == pytest.approx(surface_distance.compute_robust_hausdorff(distances, 95), rel=1e-5)
        expected = surface_distance.compute_surface_dice_at_tolerance(distances, 1.5)
        assert float(row["surface_dice"]) == pytest.approx(expected, rel=1e-5)
        compared += 1
    assert compared == 8


def test_patients_and_names(score: Scored, masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("--patient", "^(p.)", "--classes", "background, bone ,rectum") == 0
    assert [(row["patient"], row["class"]) for row in rows(masks, "patients.csv")] == [
        (patient, name) for patient in ("p1", "p2") for name in ("background", "bone", "rectum")
    ]
    assert len(rows(masks, "scans.csv")) == 12
    assert "--patient" not in capsys.readouterr().out


def test_scans_pool_slices(tmp_path: Path, write_nifti: Writer) -> None:
    made = np.eye(3, 4, dtype=np.uint8)
    for name in ("w1_s1", "w1_s2", "w2_s1"):
        for side in "PL":
            write_nifti(tmp_path / side / f"{name}.nii", made, (1.0, 1.0))
    folders = ["--predictions", str(tmp_path / "P"), "--labels", str(tmp_path / "L"), "--out", str(tmp_path / "out")]
    assert main([*folders, "--scan", "^(w.)"]) == 0
    found = [row for row in rows(tmp_path, "scans.csv") if row["class"] == "1"]
    assert [(row["scan"], row["slices"], row["hd95"]) for row in found] == [("w1", "2", "0"), ("w2", "1", "0")]


def test_a_bad_file_stops_no_other(score: Scored, masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (masks / "P/p1_b.nii.gz", masks / "L/p2_a.nii.gz"):
        content = bytearray(path.read_bytes())
        content[-20] ^= 16
        path.write_bytes(content)
    assert score() == 2
    failed = rows(masks, "failures.csv")
    assert [(row["case"], Path(row["file"]).parent.name) for row in failed] == [("p1_b", "P"), ("p2_a", "L")]
    assert all(row["what"] and row["remedy"] for row in failed)
    assert {row["case"] for row in rows(masks, "cases.csv")} == {"p1_a", "p2_b"}
    said = capsys.readouterr()
    assert "2 of 4 cases could not be scored" in said.err
    assert str(masks / "P/p1_b.nii.gz") in said.err
    assert "Without 2 cases" in said.out
    assert "Traceback" not in said.err


def test_when_nothing_can_be_scored(score: Scored, masks: Path) -> None:
    for path in (masks / "P").iterdir():
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert score() == 2
    assert len(rows(masks, "failures.csv")) == 4
    assert not (masks / "out/summary.json").exists()


def test_missing_predictions(score: Scored, masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (masks / "P/p1_a.nii.gz").rename(masks / "P/other.nii.gz")
    assert score() == 2
    assert "1 of 4 labels have no prediction" in capsys.readouterr().err
    assert not (masks / "out").exists()
    assert score("--missing", "count") == 0
    said = capsys.readouterr()
    assert "1 predictions have no label and are not scored: other.nii.gz" in said.err
    assert "1 predictions are missing and count as empty" in said.out
    assert summary(masks)["missing_predictions"] == ["p1_a"]
    missed = [row for row in rows(masks, "cases.csv") if row["case"] == "p1_a"]
    assert [(row["outcome"], row["dice"]) for row in missed[1:]] == [("missed", "0"), ("missed", "0")]
    assert float(missed[1]["hd95"]) == pytest.approx(np.linalg.norm([4, 10, 18]))
    assert summary(masks)["metric_per_case"][0]["prediction_file"] is None


def test_results_are_not_replaced_unasked(score: Scored, masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score() == 0
    (masks / "out/failures.csv").write_text("old")
    before = (masks / "out/cases.csv").stat().st_mtime_ns
    assert score() == 2
    assert "--replace" in capsys.readouterr().err
    assert (masks / "out/cases.csv").stat().st_mtime_ns == before
    assert score("--replace") == 0
    assert not (masks / "out/failures.csv").exists()


def test_replaced_results_are_gone_when_every_case_fails(score: Scored, masks: Path) -> None:
    assert score() == 0
    kept = masks / "out/notes.txt"
    kept.write_text("mine")
    for path in (masks / "P").iterdir():
        path.write_bytes(b"no mask")
    assert score("--replace") == 2
    assert {path.name for path in (masks / "out").iterdir()} == {"failures.csv", "notes.txt"}


def test_a_result_that_cannot_be_removed(score: Scored, masks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (masks / "out/summary.json").mkdir(parents=True)
    assert score("--replace") == 2
    said = capsys.readouterr().err
    assert "summary.json: cannot be removed" in said
    assert "Traceback" not in said


def test_results_stand_while_the_folders_do_not_pair(score: Scored, masks: Path) -> None:
    assert score() == 0
    (masks / "P/p1_a.nii.gz").unlink()
    assert score("--replace") == 2
    assert summary(masks)["n_cases"] == 4


def test_an_out_that_cannot_be_a_folder(masks: Path, score: Scored, capsys: pytest.CaptureFixture[str]) -> None:
    (masks / "out").write_text("a file")
    assert score() == 2
    assert "--out" in capsys.readouterr().err


def test_gaps_between_values_keep_the_files_numbers(masks: Path, score: Scored, write_nifti: Writer) -> None:
    for side in "PL":
        for path in (masks / side).iterdir():
            mask = load(masks, path.name.removesuffix(".nii.gz"))["LP".index(side)]
            write_nifti(path, np.array([0, 2, 255], dtype=np.uint8)[mask], (1.0, 2.0, 3.0))
    assert score() == 0
    assert summary(masks)["class_ids"] == [0, 2, 255]
    assert {row["class_id"] for row in rows(masks, "cases.csv")} == {"0", "2", "255"}
    assert set(summary(masks)["mean"]) == {"2", "255"}
    assert score("--replace", "--label-map", "255=1", "--prediction-map", "255=1,2=0") == 0
    assert summary(masks)["class_ids"] == [0, 1, 2]
    assert summary(masks)["mean"]["2"]["n_pred"] == 0


def test_pixels_where_affines_mean_nothing(masks: Path, score: Scored) -> None:
    assert score("--ignore-affine") == 0
    assert summary(masks)["distances"]["unit"] == "pixels"
    assert rows(masks, "cases.csv")[0]["reference_ml"] == ""


def hipmri_slices(tmp_path: Path, write_nifti: Writer, number: str = "_slice_0") -> list[str]:
    """Arguments for a square of 6 x 6 pixels of 2 x 3 mm, and one that is two pixels off."""
    mask = np.zeros((20, 20), dtype=np.uint8)
    mask[5:11, 5:11] = 1
    write_nifti(tmp_path / f"L/case_040_week_0{number}.nii.gz", mask, (2.0, 3.0))
    write_nifti(tmp_path / f"P/case_040_week_0{number}.nii.gz", np.roll(mask, 2, axis=0), (2.0, 3.0))
    return ["--predictions", str(tmp_path / "P"), "--labels", str(tmp_path / "L"), "--out", str(tmp_path / "out")]


def test_slices_of_hipmri_are_in_pixels(
    tmp_path: Path, write_nifti: Writer, make_config: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = hipmri_slices(tmp_path, write_nifti)
    assert main([*folders, "--classes", "background,organ"]) == 0
    assert summary(tmp_path)["distances"]["unit"] == "pixels"
    assert [row["hd95"] for row in rows(tmp_path, "cases.csv")] == ["", "2"]
    assert "HipMRI's 2D slices by their names, whose affine is undocumented" in capsys.readouterr().err
    assert main([*folders, "--classes", "background,organ", "--ignore-affine", "--replace"]) == 0
    assert "warning" not in capsys.readouterr().err
    changes = {"layout": "hipmri", "patient": None, "spacing_mm": [2.0, 3.0]}
    config = make_config(data=changes)
    assert main([*folders, "--config", str(config.path), "--replace"]) == 0
    assert summary(tmp_path)["distances"]["unit"] == "mm"
    assert "warning" not in capsys.readouterr().err


def test_other_names_are_in_mm(tmp_path: Path, write_nifti: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*hipmri_slices(tmp_path, write_nifti, ""), "--classes", "background,organ"]) == 0
    assert summary(tmp_path)["distances"]["unit"] == "mm"
    assert [row["hd95"] for row in rows(tmp_path, "cases.csv")] == ["", "4"]
    assert "warning" not in capsys.readouterr().err


@pytest.fixture
def nested(tmp_path: Path, write_nifti: Writer) -> Path:
    """A dataset of two patients' folders, and flat predictions and labels as a run names them."""
    for patient in ("p01", "p02"):
        for week in ("week1", "week2"):
            mask = np.eye(4, dtype=np.uint8)[..., np.newaxis].repeat(2, axis=2)
            for side in ("images", "labels"):
                write_nifti(tmp_path / "data" / side / patient / f"{week}.nii.gz", mask)
            for side in "PL":
                write_nifti(tmp_path / side / f"{patient}_{week}.nii.gz", mask)
    return tmp_path


NESTED = {"root": "data", "images": "images", "labels": "labels", "patient": "^([^/]+)/"}


def test_nested_folders_say_whose_flat_predictions_are(
    nested: Path, make_config: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--predictions", str(nested / "P"), "--labels", str(nested / "L"), "--out", str(nested / "out")]
    config = ["--config", str(make_config(data=NESTED).path)]
    assert main([*folders, *config]) == 0
    found = [(row["patient"], row["scans"]) for row in rows(nested, "patients.csv") if row["class_id"] == "0"]
    assert found == [("p01", "2"), ("p02", "2")]
    (nested / "data").rename(nested / "elsewhere")
    capsys.readouterr()
    assert main([*folders, *config, "--replace"]) == 2
    said = capsys.readouterr().err
    assert "names that are not understood: p01_week1.nii.gz" in said
    assert "data.root" in said
    assert "--patient REGEX" in said
    assert main([*folders, *config, "--replace", "--patient", "^(p..)_"]) == 0
    assert summary(nested)["n_patients"] == 2


def test_classes_from_a_config(masks: Path, score: Scored, make_config: Callable[..., Any]) -> None:
    config = make_config(evaluation={"tolerance_mm": 1.0, "resamples": 100})
    assert score("--config", str(config.path)) == 0
    found = summary(masks)
    assert found["classes"] == ["background", "a", "b"]
    assert (found["n_patients"], found["bootstrap"]["resamples"], found["distances"]["tolerance"]) == (2, 100, 1.0)


def test_order_of_the_processes_changes_nothing(
    masks: Path, score: Scored, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score() == 0
    before = summary(masks)
    monkeypatch.setattr("pipeline.evaluation.scoring._PATIENCE_S", 0.0)
    assert score("--replace", "--workers", "2") == 0
    assert summary(masks) == before


@pytest.mark.parametrize(("workers", "words"), [("0", "got 0"), ("x", "invalid int")])
def test_workers(score: Scored, workers: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = score("--workers", workers)
    except SystemExit as stop:
        code = int(str(stop.code))
    assert code == 2
    assert words in capsys.readouterr().err


def test_ctrl_c_ends_in_3(masks: Path, score: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("pipeline.evaluation.scoring.score_pair", stop)
    assert score() == 3
    assert not (masks / "out/summary.json").exists()


def test_no_torch_is_imported(masks: Path) -> None:
    code = (
        "import sys; from pipeline.commands.evaluate import main; code = main(sys.argv[1:]); "
        "print(code, *sorted({'torch', 'monai', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    folders = ["--predictions", str(masks / "P"), "--labels", str(masks / "L"), "--out", str(masks / "out")]
    done = subprocess.run([sys.executable, "-c", code, *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0"
