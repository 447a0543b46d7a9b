"""Evaluations read back: the same figures, and every kind of damage told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConfigError, DataError, Faults
from pipeline.evaluation import overlap
from pipeline.evaluation.stored import Source, Stored, find_evaluation, read_evaluation

Make = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path, draw_masks: Make, score_masks: Make, write_scores: Make) -> Path:
    return write_scores(score_masks(draw_masks(1)), tmp_path / "scores")


def read(folder: Path) -> Stored:
    return read_evaluation(Source(folder, None), "scores")


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_counts_and_distances_come_back(draw_masks: Make, store: Make) -> None:
    masks = draw_masks(1)
    found = store("a", masks, spacing=(2.0, 1.0))
    assert (found.unit, found.tolerance, found.resamples, found.seed, found.confidence) == ("mm", 2.0, 200, 3, 0.95)
    assert found.classes == ("background", "bone", "rectum")
    by_case = {case: values for (_, _, case), values in masks.items()}
    assert set(found.cases) == set(by_case)
    for index, case in enumerate(found.cases):
        reference, prediction = by_case[case]
        for place in range(3):
            one, two = reference == place, prediction == place
            assert found.reference[index, place] == one.sum()
            assert found.predicted[index, place] == two.sum()
            assert found.true[index, place] == (one & two).sum()
    assert np.isnan(found.hd95[:, 0]).all()
    assert np.isnan(found.hd95[:, 2]).sum() == 4  # patient 1 has none of it


def test_names_with_spaces_of_any_kind_come_back(store: Make) -> None:
    """The no-break space, and those of other scripts, are what a name may hold: training takes them."""
    classes = ("background", "os\u00a0femoris", "膀胱\u3000壁")
    mask = np.arange(12).reshape(3, 4) % 3
    names = ("p\u00a01", "woche\u20091", "症例\u3000一\u200b")
    found = store("a", {names: (mask, mask)}, classes=classes)
    assert (found.classes, found.patients, found.scans, found.cases) == (classes, *((name,) for name in names))


def test_counts_of_large_volumes_come_back(tmp_path: Path, folder: Path) -> None:
    # ten digits of Dice are enough for volumes of half a gigavoxel
    true, reference, predicted = 100_000_001, 234_567_890, 198_765_432
    dice = float(overlap.dice_with_empty(overlap.Tallies(*(np.array([n]) for n in (true, reference, predicted))))[0])
    row = f"x,x,x,1,{{}},{{}},{reference},{predicted},{dice:.10g}"
    head = "case,scan,patient,slices,class_id,class,reference_voxels,predicted_voxels,dice_with_empty"
    rows = [row.format(index, name) for index, name in enumerate(("background", "bone", "rectum"))]
    (folder / "cases.csv").write_text("\n".join([head, *rows]) + "\n")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "n_cases": 1}))
    found = read(folder)
    assert found.true.tolist() == [[true] * 3]
    assert np.isnan(found.hd95).all()  # of a version without distances
    assert found.files == {}


@pytest.mark.parametrize(("counts", "fits"), [
    ("10,2,0.3333333333", True),  # both of the two
    ("10,2,1", False),  # six voxels of two
    ("10,2,0.4", False),
    ("10,2,", False),
    ("0,0,", True),
    ("0,0,1", False),
    ("0,2,0", True),
])  # fmt: skip
def test_a_dice_must_be_possible(folder: Path, counts: str, fits: bool) -> None:
    rows = [f"x,x,x,{name},{counts}" for name in ("background", "bone", "rectum")]
    head = "case,scan,patient,class,reference_voxels,predicted_voxels,dice_with_empty"
    (folder / "cases.csv").write_text("\n".join([head, *rows]) + "\n")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "n_cases": 1}))
    if fits:
        read(folder)
        return
    with pytest.raises(Faults, match="does not fit its voxels"):
        read(folder)


def test_where_an_evaluation_is_found(tmp_path: Path, folder: Path) -> None:
    assert find_evaluation(folder) == Source(folder, None)
    run = tmp_path / "runs" / "x" / "001"
    run.mkdir(parents=True)
    folder.rename(run / "evaluation")
    assert find_evaluation(run) == Source(run / "evaluation", None)
    (run / "config.yaml").write_text("name: x\n")
    (run.parent / "latest").symlink_to("001")
    for path in (run, run / "evaluation", run.parent / "latest"):
        assert find_evaluation(path) == Source(run / "evaluation", run)


def test_where_there_is_none(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        find_evaluation(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is a file"):
        find_evaluation(folder / "cases.csv")
    (folder / "summary.json").unlink()
    with pytest.raises(ConfigError, match=r"there is no summary.json.*Name a run that is finished"):
        find_evaluation(folder)
    run = tmp_path / "run"
    (run / "evaluation").mkdir(parents=True)
    (run / "config.yaml").write_text("name: x\n")
    with pytest.raises(ConfigError, match="Let the run finish"):
        find_evaluation(run)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("format", 2, "format is 2, expected 1"),
        ("classes", ["a", "a", "b"], "'classes' is"),
        ("classes", ["a", "b\x1b[31m", "c"], "'classes' is"),
        ("classes", ["a", "b\x9b31m", "c"], "'classes' is"),
        ("classes", ["a", "b\ud800", "c"], "'classes' is"),
        ("class_ids", [0, 1], "'class_ids' is"),
        ("n_cases", True, "'n_cases' is True"),
        ("n_cases", 5, "holds 18 cases, but summary.json beside it speaks of 5"),
        ("distances", {"unit": "inch", "tolerance": 1}, "'distances' is"),
        ("distances", {"unit": "mm", "tolerance": float("nan")}, "'distances' is"),
        ("bootstrap", {"resamples": 10**9, "seed": 0, "confidence": 0.95}, "'bootstrap' is"),
        ("bootstrap", None, "'bootstrap' is None, expected resamples, seed and confidence"),
    ],
)
def test_a_damaged_summary_is_told(folder: Path, key: str, value: Any, told: str) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, key: value}))
    with pytest.raises(DataError) as caught:
        read(folder)
    assert told in str(caught.value)
    assert "score again with bin/evaluate" in str(caught.value)


def test_all_that_is_wrong_with_a_summary_is_told_at_once(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({"format": 1, "metric_per_case": summary["metric_per_case"]}))
    with pytest.raises(Faults) as caught:
        read(folder)
    assert len(caught.value.faults) == 4
    (folder / "summary.json").write_text(json.dumps({"metric_per_case": [], "mean": {}}))
    with pytest.raises(DataError, match="nnU-Net's own summary"):
        read(folder)
    (folder / "summary.json").write_text('{"format": 1,')
    with pytest.raises(DataError, match="not JSON"):
        read(folder)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("case,scan", "file,scan", "lacks the columns case"),
        ("\np0_w0_0,w0,p0,1,0,background,", "\np0_w0_0,w0,p0,1,0,background,x", "expected a number"),
        ("\np0_w0_0,w0,p0,1,0,background,", "\np0_w0_0,w0,p0,1,0,background,9", "does not fit its voxels"),
        ("\np0_w0_0,w0,p0,1,0,background,", "\np0_w0_0,w0,p0,1,0,background,-", "must be whole numbers"),
        ("\np0_w0_0,w0,p0,1,0,background,", "\np0_w0_0,w0,p0,1,0,bones,", "class 'bones' is not one of summary.json"),
        ("\np0_w0_0,w0,p0,1,0,background,", "\np0_w0_0,,p0,1,0,background,", "no scan"),
        ("\np0_w0_0,w0,p0,1,0,background,", "\np0\x1b_w0_0,w0,p0,1,0,background,", "control characters in case"),
        ("\np0_w0_0,w0,p0,1,1,bone,", "\np0_w0_0,w0,p1,1,1,bone,", "another scan or patient than above"),
        ("\np0_w0_0,w0,p0,1,1,bone,", "\np0_w0_0,w0,p0,1,0,background,", "stand twice"),
        ("\np0_w0_0,w0,p0,1,0,background,", '\n"p0_w0_0,w0,p0,1,0,background,', "not a CSV table"),
    ],
)
def test_a_damaged_row_is_told_with_its_line(folder: Path, old: str, new: str, told: str) -> None:
    change(folder / "cases.csv", old, new)
    with pytest.raises((DataError, Faults)) as caught:
        read(folder)
    assert told in str(caught.value)
    assert "cases.csv" in str(caught.value)


def test_a_table_that_is_cut_off_is_told(folder: Path) -> None:
    path = folder / "cases.csv"
    whole = path.read_text()
    path.write_text(whole[:-30])
    with pytest.raises(DataError, match=r"cases\.csv:55: \d+ fields, the head has 22: it may be cut off"):
        read(folder)
    path.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="1 cases have no row for some class: p4_w1_1"):
        read(folder)
    path.write_text(whole.splitlines()[0] + "\n")
    with pytest.raises(DataError, match="holds no case"):
        read(folder)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read(folder)


def test_several_damaged_rows_are_told_together(folder: Path) -> None:
    path = folder / "cases.csv"
    path.write_text(path.read_text().replace(",bone,", ",bone,x"))
    with pytest.raises(Faults) as caught:
        read(folder)
    assert len(caught.value.faults) == 8
    assert {fault.where for fault in caught.value.faults} == {f"{path}:{line}" for line in range(3, 26, 3)}
