"""bin/compare: from folders to a page, a table and exit codes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.commands.compare import main, names_of
from pipeline.commands.compared_files import is_synthetic, open_shelf
from pipeline.commands.evaluate import main as evaluate
from pipeline.evaluation.stored import Source, read_evaluation

Writer = Callable[..., Path]
Make = Callable[..., Any]


@pytest.fixture
def scores(tmp_path: Path, write_nifti: Writer, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with scores `a` and `b` of seven volumes, a patient each; b is worse. Masks in P_a, P_b, labels in L."""
    rng = np.random.default_rng(0)
    for index in range(7):
        label = np.zeros((6, 8, 4), dtype=np.uint8)
        label[1:5, 1:5, 1:3], label[1:3, 5:7, 1:4] = 1, 2
        write_nifti(tmp_path / "L" / f"p{index}.nii.gz", label, (1.0, 1.0, 3.0))
        for name, share in (("a", 0.05), ("b", 0.3)):
            noisy = np.where(rng.random(label.shape) < share, rng.integers(0, 3, label.shape), label)
            write_nifti(tmp_path / f"P_{name}" / f"p{index}.nii.gz", noisy.astype(np.uint8), (1.0, 1.0, 3.0))
    for name in "ab":
        score(tmp_path, name)
    capsys.readouterr()
    return tmp_path


def score(folder: Path, name: str, *more: str) -> None:
    arguments = ["--predictions", f"{folder}/P_{name}", "--labels", f"{folder}/L", "--out", f"{folder}/{name}"]
    assert evaluate([*arguments, "--workers", "1", "--replace", *more]) == 0


def compare(folder: Path, *names: str, out: str = "out", more: tuple[str, ...] = ()) -> int:
    return main([*(f"{folder}/{name}" for name in names), "--out", f"{folder}/{out}", *more])


def test_two_scores_become_a_page_and_a_table(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(scores, "a", "b") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("b is worse than a: mean foreground Dice 0.")
    assert max(map(len, shown.split("Results:")[0].splitlines())) <= 80
    assert {path.name for path in (scores / "out").iterdir()} == {"comparison.html", "comparison.csv"}
    with (scores / "out/comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    means = {}
    for name in "ab":
        with (scores / name / "patients.csv").open(newline="") as file:
            means[name] = [float(row["dice"]) for row in csv.DictReader(file) if row["class"] == "1"]
    (one,) = (row for row in rows if row["metric"] == "dice" and row["class"] == "1")
    assert float(one["difference"]) == pytest.approx(np.mean(means["b"]) - np.mean(means["a"]), abs=1e-8)
    assert float(one["p"]) == 2 / 2**7
    assert (one["first"], one["compared"], one["losses"]) == ("a", "b", "7")
    page = (scores / "out/comparison.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 20  # ten regressions, two pictures each
    assert page.count("The image is not known: outlines alone.") == 10


def test_results_are_not_lost_unasked(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(scores, "a", "b") == 0
    before = (scores / "out/comparison.html").read_bytes()
    assert compare(scores, "b", "a") == 2
    assert "results are there already: comparison.csv, comparison.html" in capsys.readouterr().err
    assert (scores / "out/comparison.html").read_bytes() == before
    assert compare(scores, "b", "a", more=("--replace",)) == 0
    assert (scores / "out/comparison.html").read_bytes() != before


def test_the_default_folder_is_named_after_both(scores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(scores)
    assert main(["a", "b"]) == 0
    assert (scores / "compare/a-vs-b/comparison.html").is_file()


def test_masks_that_were_moved_are_found_and_others_told(scores: Path) -> None:
    (scores / "P_b").rename(scores / "b" / "predictions")  # where bin/evaluate --run has them
    (scores / "P_a" / "p0.nii.gz").unlink()
    shutil.copy(scores / "L" / "p1.nii.gz", scores / "P_a" / "p1.nii.gz")
    assert compare(scores, "a", "b") == 0
    page = (scores / "out/comparison.html").read_text(encoding="utf-8")
    assert "the prediction of a is not found" in page
    assert "the file was changed, or its values were renamed" in page
    assert page.count("data:image/png;base64,") > 0


def test_all_that_is_wrong_is_told_at_once(scores: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scores / "b" / "summary.json").write_text("{")
    assert compare(scores, "a", "b", "nowhere", "a") == 2
    told = capsys.readouterr().err
    for part in ("b/summary.json: not JSON", "nowhere: no such folder", "a: given twice", "3 errors."):
        assert part in told
    assert not (scores / "out").exists()
    assert compare(scores, "a") == 2
    assert "one evaluation alone. Name two or more" in capsys.readouterr().err


def test_other_labels_are_refused(scores: Path, write_nifti: Writer, capsys: pytest.CaptureFixture[str]) -> None:
    write_nifti(scores / "L" / "p3.nii.gz", np.ones((6, 8, 4), dtype=np.uint8), (1.0, 1.0, 3.0))
    score(scores, "b")
    capsys.readouterr()
    assert compare(scores, "a", "b") == 2
    assert "the labels of 1 of 7 shared cases differ: p3, 0: " in capsys.readouterr().err


def test_the_images_of_runs_are_found_by_their_config(scores: Path, write_nifti: Writer, make_config: Make) -> None:
    from pipeline.config.resolved import resolved_text

    config = make_config(data={"label_map": {3: 0}})
    for name in "ab":
        run = scores / f"run_{name}"
        run.mkdir()
        (run / "config.yaml").write_text(resolved_text(config), encoding="utf-8")
        (scores / name).rename(run / "evaluation")
        (run / "evaluation" / "provenance.json").rename(run / "provenance.json")
    shutil.copytree(scores / "L", scores / "labels")
    for index in range(7):
        write_nifti(scores / "images" / f"p{index}.nii.gz", np.random.default_rng(1).random((6, 8, 4)), (1.0, 1.0, 3.0))
    assert compare(scores, "run_a", "run_b/evaluation") == 0
    page = (scores / "out/comparison.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 20
    assert "The image is not known" not in page
    assert "run_b is worse than run_a" in page


def test_the_images_that_were_predicted_are_found(scores: Path, write_nifti: Writer) -> None:
    path = scores / "b" / "provenance.json"  # as bin/evaluate --run writes it
    source = json.loads(path.read_text())
    source["dataset"]["images"] = str(scores / "images")
    path.write_text(json.dumps(source))
    for index in range(4):
        write_nifti(scores / "images" / f"p{index}.nii", np.ones((6, 8, 4), dtype=np.float32), (1.0, 1.0, 3.0))
    assert compare(scores, "a", "b") == 0
    with (scores / "out/comparison.html").open(encoding="utf-8") as file:
        page = file.read()
    assert 0 < page.count("The image is not known") < 10


@pytest.mark.parametrize(("paths", "names"), [
    (["/x/a", "/x/b"], ["a", "b"]),
    (["/r/hip/001", "/r/hip/002"], ["hip/001", "hip/002"]),
    (["/r/hip/001/fold_0", "/x/scores"], ["hip/001/fold_0", "scores"]),
    (["/x/a/scores", "/x/b/scores", "/y/c"], ["a/scores", "b/scores", "c"]),
    (["/a", "/b/a"], ["a", "b/a"]),
])  # fmt: skip
def test_names_tell_evaluations_apart(paths: list[str], names: list[str]) -> None:
    assert names_of([Source(Path(path), None) for path in paths]) == names
    assert names_of([Source(Path(path) / "evaluation", Path(path)) for path in paths]) == names


@pytest.mark.parametrize("content", ["{", '{"dataset": [1]}', '{"dataset": {"images": 3, "labels": null}}'])
def test_a_damaged_provenance_keeps_no_file_from_being_found(scores: Path, content: str) -> None:
    (scores / "a" / "provenance.json").write_text(content)
    shelf = open_shelf(read_evaluation(Source(scores / "a", None), "a"))
    assert shelf.prediction("p0") == scores / "P_a" / "p0.nii.gz"
    assert shelf.label("p0") == scores / "L" / "p0.nii.gz"
    assert shelf.image("p0") is None
    assert not is_synthetic(shelf)
    (scores / "PHANTOM.json").write_text('{"format": 1, "synthetic": true, "spec": {}, "note": ""}')
    assert is_synthetic(shelf)
