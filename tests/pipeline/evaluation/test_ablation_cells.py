"""What is read of a finished run: by hand, and what is damaged."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RunError
from pipeline.evaluation.ablation_cells import has_validation, parts_of, read_cell


def test_figures_are_read_from_the_files(tmp_path: Path, write_cell: Callable[..., None]) -> None:
    write_cell(tmp_path)
    found = read_cell(tmp_path)
    assert (found.prepared_dice, found.steps, found.training_seconds) == (0.75, 40, 75.5)
    assert found.peak_memory_bytes == 3 * 2**29
    assert found.test.classes == ("bone", "rectum") and found.test.patients == ("p1", "p2", "p3", "p10")
    assert found.test.units[:2] == ((0, "p1", "w0"), (0, "p1", "w1"))
    assert found.test.dice.shape == (8, 2)
    assert np.argwhere(np.isnan(found.test.dice)).tolist() == [[0, 1]], "the scan without the last class"
    for row in csv.DictReader((tmp_path / "validation/scans.csv").open()):
        if row["class"] != "background" and row["dice"]:
            at = found.validation.units.index((0, row["patient"], row["scan"]))
            assert found.validation.dice[at, found.test.classes.index(row["class"])] == float(row["dice"])
    columns = [column[~np.isnan(column)] for column in found.validation.dice.T]
    assert found.validation_dice == pytest.approx(np.mean([column.mean() for column in columns]))


def test_folds_are_read_together(tmp_path: Path, write_cell: Callable[..., None]) -> None:
    write_cell(tmp_path)
    for number in (0, 1, 10, 2):
        write_cell(tmp_path / f"fold_{number}", seed=number)
    (tmp_path / "fold_10/history.csv").write_text("epoch,step,validation_dice\n1,3,0.35\n")
    shutil.rmtree(tmp_path / "validation")
    assert [part.name for part in parts_of(tmp_path)] == ["fold_0", "fold_1", "fold_2", "fold_10"]
    found = read_cell(tmp_path)
    assert found.prepared_dice == pytest.approx((3 * 0.75 + 0.35) / 4) and found.steps == 3 * 40 + 3
    assert found.validation.dice.shape == (4 * 4, 2) and found.test.dice.shape == (8, 2)
    assert [unit[0] for unit in found.validation.units[::4]] == [0, 1, 2, 3]
    assert found.validation.patients == ("v1", "v2")
    assert has_validation(tmp_path)
    (tmp_path / "fold_1/validation/summary.json").unlink()
    assert not has_validation(tmp_path)


@pytest.mark.parametrize("name", ["history.csv", "provenance.json", "evaluation/scans.csv", "validation/scans.csv"])
@pytest.mark.parametrize("damage", ["gone", "cut off"])
def test_damage_is_told(tmp_path: Path, write_cell: Callable[..., None], name: str, damage: str) -> None:
    write_cell(tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text()[:25])
    if damage == "gone":
        path.unlink()
    with pytest.raises(RunError, match="Remove this folder"):
        read_cell(tmp_path)
