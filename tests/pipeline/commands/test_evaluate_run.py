"""bin/evaluate with a run: predicted, then scored just as masks that were there already."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import stats

from pipeline.commands.evaluate import main

Maker = Callable[..., Path]
RNG = np.random.default_rng(4)
NAMES = ("p1_a", "p1_b", "p2_a")


@pytest.fixture
def data(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    """Folders `i` and `l`: images that show their labels but for some voxels; 1 x 2 x 3 mm."""
    for name in NAMES:
        shown = RNG.integers(0, 3, (4, 5, 6))
        label = np.where(RNG.random(shown.shape) < 0.2, 0, shown).astype(np.uint8)
        write_nifti(tmp_path / "i" / f"{name}.nii.gz", shown.astype(np.float32), (1.0, 2.0, 3.0))
        write_nifti(tmp_path / "l" / f"{name}.nii.gz", label, (1.0, 2.0, 3.0))
    return tmp_path


@pytest.fixture
def evaluate(data: Path) -> Callable[..., int]:
    def run(*arguments: object, labels: bool = True, out: str = "out") -> int:
        folders = ["--images", f"{data / 'i'}", "--out", f"{data / out}", "--workers", "1"]
        return main([*folders, *(["--labels", f"{data / 'l'}"] if labels else []), *map(str, arguments)])

    return run


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def loaded(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asanyarray(image.dataobj)


def test_the_tables_are_those_of_the_masks_alone(
    make_run: Maker, evaluate: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(evaluation={"tolerance_mm": 1.0})
    assert evaluate("--run", run) == 0
    said = capsys.readouterr()
    assert "predicted 3 cases (18 slices)" in said.err
    assert "18 slices of 3 scans of 2 patients" in said.out
    masks = ["--predictions", f"{data / 'out/predictions'}", "--labels", f"{data / 'l'}", "--workers", "1"]
    assert main([*masks, "--out", f"{data / 'again'}", "--config", f"{run / 'config.yaml'}"]) == 0
    for name in ("cases.csv", "scans.csv", "patients.csv", "summary.json"):
        assert (data / "out" / name).read_text() == (data / "again" / name).read_text(), name
    for row in rows(data / "out/cases.csv"):
        shown, label = (loaded(data / side / f"{row['case']}.nii.gz") == int(row["class_id"]) for side in "il")
        assert float(row["dice"]) == pytest.approx(2 * (shown & label).sum() / (shown.sum() + label.sum()))
    source = json.loads((data / "out/provenance.json").read_text())
    assert source["dataset"]["runs"] == [str(run)]
    assert source["device"].startswith("cpu")


def test_results_are_kept_until_they_may_be_replaced(
    make_run: Maker, evaluate: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    assert evaluate("--run", run) == 0
    assert evaluate("--run", run) == 2
    assert "results are there already" in capsys.readouterr().err
    assert evaluate("--run", run, "--replace") == 0
    assert "3 had been predicted before" in capsys.readouterr().err


def test_replaced_results_are_gone_when_nothing_can_be_scored(
    make_run: Maker, evaluate: Callable[..., int], data: Path
) -> None:  # fmt: skip
    run = make_run()
    assert evaluate("--run", run) == 0
    for path in (data / "i").iterdir():
        path.write_bytes(b"no image")
    assert evaluate("--run", run, "--replace") == 2
    assert not (data / "out/summary.json").exists()
    assert not (data / "out/cases.csv").exists()


def test_the_review_is_held_against_the_true_dice(
    make_run: Maker, evaluate: Callable[..., int], data: Path, write_nifti: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for number, name in enumerate(("p3_a", "p4_a", "p5_a", "p6_a")):  # smaller and smaller, less and less right
        label = np.zeros((4, 5, 6), dtype=np.uint8)
        label[:, : 4 - number] = 1
        shown = label.copy()
        shown[:, 4, :number] = 1
        write_nifti(data / "i" / f"{name}.nii.gz", shown.astype(np.float32), (1.0, 2.0, 3.0))
        write_nifti(data / "l" / f"{name}.nii.gz", label, (1.0, 2.0, 3.0))
    ranges = {
        "volume": {"always": [True, True, False], "least": [1, 500, 1], "most": [1, 600, 1e9], "parts": [0, 9, 9]}
    }
    assert evaluate("--run", make_run(ranges=ranges), "--review") == 0
    summary = json.loads((data / "out/summary.json").read_text())
    trust = {row["case"]: float(row["trust"]) for row in rows(data / "out/review.csv")}
    dice: dict[str, list[float]] = {}
    for row in rows(data / "out/cases.csv"):
        if row["class_id"] != "0" and row["dice_with_empty"]:
            dice.setdefault(row["case"], []).append(float(row["dice_with_empty"]))
    wanted = stats.spearmanr([trust[case] for case in dice], [np.mean(values) for values in dice.values()]).statistic
    found = summary["review"]["scores"]["trust"]
    assert found["rho"] == pytest.approx(wanted)
    assert (found["n"], found["n_patients"]) == (7, 6)
    assert found["interval"][0] <= found["interval"][1]
    low, high = found["interval"]
    line = f"trust  {wanted:>14.2f}  {f'{low:.2f} to {high:.2f}':>14}  7/6"
    assert line.split() in [told.split() for told in capsys.readouterr().out.splitlines()]
    assert evaluate("--run", make_run("two"), out="bare") == 0
    assert "review" not in json.loads((data / "bare/summary.json").read_text())
    assert evaluate("--run", make_run("three"), "--replace") == 0
    assert not (data / "out/review.csv").exists()


def test_a_review_finds_its_cases_where_names_share_a_part(
    make_run: Maker, evaluate: Callable[..., int], data: Path
) -> None:
    for path in (data / "l").iterdir():
        path.rename(data / "l" / f"seg-{path.name}")
    for path in (data / "i").iterdir():
        path.rename(data / "i" / path.name.replace(".nii", "_t1.nii"))
    assert evaluate("--run", make_run(), "--case", "(p._.)", "--review") == 0
    assert {row["case"] for row in rows(data / "out/cases.csv")} == set(NAMES)
    assert json.loads((data / "out/summary.json").read_text())["review"]["n_cases"] == 3


def test_without_labels(make_run: Maker, evaluate: Callable[..., int], data: Path) -> None:
    assert evaluate("--run", make_run(), labels=False) == 0
    assert not (data / "out/summary.json").exists()
    for name in NAMES:
        np.testing.assert_array_equal(
            loaded(data / f"out/predictions/{name}.nii.gz"), loaded(data / f"i/{name}.nii.gz")
        )
    (data / "i/p1_a.nii.gz").write_bytes(b"no image")
    assert evaluate("--run", make_run("two"), labels=False, out="other") == 2
    assert [row["case"] for row in rows(data / "other/failures.csv")] == ["p1_a"]


def test_what_cannot_be_predicted_or_scored(
    make_run: Maker, evaluate: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "i/p1_a.nii.gz").write_bytes(b"no image")
    (data / "l/p2_a.nii.gz").write_bytes(b"no label")
    assert evaluate("--run", make_run()) == 2
    failed = rows(data / "out/failures.csv")
    assert [(row["case"], Path(row["file"]).parent.name) for row in failed] == [("p1_a", "i"), ("p2_a", "l")]
    assert {row["case"] for row in rows(data / "out/cases.csv")} == {"p1_b"}
    said = capsys.readouterr().out
    assert "Without 1 cases that could not be predicted" in said
    assert "Without 1 cases that could not be scored" in said
    assert json.loads((data / "out/provenance.json").read_text())["dataset"]["failed"] == 2


def test_labels_that_do_not_fit_their_image(
    make_run: Maker, evaluate: Callable[..., int], data: Path, write_nifti: Callable[..., Path]
) -> None:
    write_nifti(data / "l/p1_a.nii.gz", np.ones((4, 5, 5), np.uint8), (1.0, 2.0, 3.0))
    write_nifti(data / "l/p1_b.nii.gz", np.ones((4, 5, 6), np.uint8), (1.0, 2.0, 2.5))
    write_nifti(data / "l/p2_a.nii.gz", np.full((4, 5, 6), 7, np.uint8), (1.0, 2.0, 3.0))
    assert evaluate("--run", make_run()) == 2
    told = {row["case"]: (row["what"], row["remedy"]) for row in rows(data / "out/failures.csv")}
    assert told["p1_a"][0].startswith("the image's shape (4, 5, 6) is not the label's (4, 5, 5)")
    assert told["p1_a"][1] == "Image and label must share one grid: export one of them again"
    assert told["p1_b"][0].startswith("the image's affine differs from the label's")
    assert told["p2_a"] == (
        "holds 7, expected 0 to 2", "The run knows no such class: rename the values of the labels with --label-map"
    )  # fmt: skip
    assert not (data / "out/summary.json").exists()


def test_a_stop_while_scoring_says_how_to_go_on(
    make_run: Maker, evaluate: Callable[..., int], data: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from pipeline.commands import scoring

    run = make_run()
    with monkeypatch.context() as patched:
        patched.setattr(scoring, "score_pairs", lambda *_: signal.raise_signal(signal.SIGTERM))
        assert evaluate("--run", run, "--review") == 3
    assert "SIGTERM; the same command scores again: bin/evaluate" in capsys.readouterr().err
    assert not (data / "out/summary.json").exists()
    assert evaluate("--run", run, "--review") == 0
    assert "3 had been predicted before" in capsys.readouterr().err


def test_labels_without_an_image_are_told_before_anything_is_predicted(
    make_run: Maker, evaluate: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    (data / "i/p1_b.nii.gz").rename(data / "i/p1_c.nii.gz")
    assert evaluate("--run", run) == 2
    assert "1 of 3 labels have no image" in capsys.readouterr().err
    assert not list((data / "out/predictions").glob("*.nii.gz"))
    assert evaluate("--run", run, "--missing", "count") == 0
    said = capsys.readouterr()
    assert "1 predictions have no label and are not scored: p1_c.nii.gz" in said.err
    assert json.loads((data / "out/summary.json").read_text())["missing_predictions"] == ["p1_b"]


def test_names_that_share_a_part(make_run: Maker, evaluate: Callable[..., int], data: Path) -> None:
    for path in (data / "l").iterdir():
        path.rename(data / "l" / f"seg-{path.name}")
    assert evaluate("--run", make_run()) == 2
    assert evaluate("--run", make_run("two"), "--case", "(p._.)", out="other") == 0
    assert {row["case"] for row in rows(data / "other/cases.csv")} == set(NAMES)


def test_values_of_the_labels_are_renamed_as_in_training(
    make_run: Maker, evaluate: Callable[..., int], data: Path, write_nifti: Callable[..., Path]
) -> None:
    for name in NAMES:
        shown = loaded(data / f"i/{name}.nii.gz").astype(np.uint8)
        write_nifti(data / "l" / f"{name}.nii.gz", np.array([0, 7, 9], np.uint8)[shown], (1.0, 2.0, 3.0))
    assert evaluate("--run", make_run(data={"label_map": {7: 1, 9: 2}})) == 0
    assert {row["dice"] for row in rows(data / "out/cases.csv")} == {"1"}


def test_spacing_is_believed_as_in_training(make_run: Maker, evaluate: Callable[..., int], data: Path) -> None:
    assert evaluate("--run", make_run(knows_spacing=False)) == 0
    assert json.loads((data / "out/summary.json").read_text())["distances"]["unit"] == "pixels"


def test_slices_are_counted_along_the_runs_plane(make_run: Maker, evaluate: Callable[..., int], data: Path) -> None:
    assert evaluate("--run", make_run(axis=0)) == 0
    assert {row["slices"] for row in rows(data / "out/scans.csv") if row["class_id"] == "0"} == {"4"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run", "R", "--labels", "L"], "--images: missing"),
        (["--run", "R", "--images", "I", "--classes", "a,b"], "--classes: has no meaning with --run"),
        (["--run", "R", "--images", "I", "--prediction-map", "1=2"], "--prediction-map: has no meaning"),
        (["--predictions", "P"], "--labels: missing"),
        (["--predictions", "P", "--labels", "L", "--images", "I"], "--images: needs --run"),
        (["--predictions", "P", "--labels", "L", "--mirror"], "--mirror: needs --run"),
        (["--predictions", "P", "--labels", "L", "--batch-size", "3"], "--batch-size: needs --run"),
    ],
)
def test_arguments_of_the_other_mode(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*arguments, "--out", f"{tmp_path / 'out'}"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--labels", "L"], ["--predictions", "P", "--run", "R", "--labels", "L"]])
def test_one_of_the_modes_is_chosen(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", "out"])
    assert stop.value.code == 2


def test_several_processes_do_not_score_the_same(
    make_run: Maker, evaluate: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert evaluate("--run", make_run()) == 2
    assert "bin/predict --out OUT/predictions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda data: [path.unlink() for path in (data / "l").iterdir()], "no NIfTI file in it"),
        (lambda data: (data / "l/p1_a.nii").touch(), "two files for one case: p1_a.nii and p1_a.nii.gz"),
        (lambda data: (data / "l").rename(data / "m"), "--labels"),
    ],
)
def test_folders_of_labels_that_are_refused(
    make_run: Maker, evaluate: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object], words: str,
) -> None:  # fmt: skip
    spoil(data)
    assert evaluate("--run", make_run()) == 2
    assert words in capsys.readouterr().err


def test_images_are_no_labels(
    make_run: Maker, evaluate: Callable[..., int], data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--run", make_run(), "--labels", data / "i", labels=False) == 2
    assert "the labels are the images" in capsys.readouterr().err
