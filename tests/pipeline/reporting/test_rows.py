from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.data.statistics import SideStatistics
from pipeline.reporting import wording
from pipeline.reporting.content import ReportContent
from pipeline.reporting.rows import class_rows, dataset_rows, side_table, unit_table

CLASSES = ("background", "bone", "rectum")
NONE_MEASURED = {"distances": None}
Make = Callable[..., ReportContent]


def rows(scores: dict[str, tuple[float | None, float | None]], outcomes: dict[str, str]) -> list[dict[str, object]]:
    """Rows of cases with their Dice of bone and rectum; `outcomes` of the rectum where it is not present."""
    return [
        {"case": case, "class": name, "slices": 1, "dice": value, "outcome": outcome}
        for case, (bone, rectum) in scores.items()
        for name, value, outcome in (
            ("background", 1.0, "present"), ("bone", bone, "present"), ("rectum", rectum, outcomes.get(case, "present"))
        )
    ]  # fmt: skip


def test_units_are_sorted_worst_first() -> None:
    scores = {"a": (0.9, 0.7), "b": (0.6, 0.0), "c": (0.5, None), "d": (None, None), "e": (0.0, None)}
    table = unit_table(
        rows(scores, {"b": "missed", "c": "spurious", "d": "both_empty"}), "case", CLASSES, NONE_MEASURED
    )
    # Means: a (0.9 + 0.7) / 2, b (0.6 + 0) / 2, c and e of bone only, d none.
    assert [(row["name"], row["mean"]) for row in table.rows] == [
        ("e", "0.000"), ("b", "0.300"), ("c", "0.500"), ("a", "0.800"), ("d", "–"),
    ]  # fmt: skip
    cells = {row["name"]: row["cells"] for row in table.rows}
    assert cells["b"] == [("0.600", "", ""), ("0.000", "missed", "")]
    assert cells["c"] == [("0.500", "", ""), ("–", "spurious", "")]
    assert cells["d"] == [("–", "", ""), ("–", "", "")]


@pytest.mark.parametrize(("n_classes", "shown"), [(2, 600), (101, 200), (1001, 50)])
def test_long_tables_are_capped(n_classes: int, shown: int) -> None:
    classes = ("background", *(f"c{index}" for index in range(1, n_classes)))
    many = [
        {"case": f"case_{number}", "class": name, "slices": 1, "dice": number / 1000, "outcome": "present"}
        for number in range(700)
        for name in classes
    ]
    table = unit_table(many, "case", classes, NONE_MEASURED)
    assert (len(table.rows), table.total) == (shown, 700)
    assert table.rows[0]["name"] == "case_0"


def test_class_rows_end_with_the_mean_and_the_background(make_content: Make) -> None:
    content = make_content()
    found = class_rows(content)
    assert [(row["name"], row["kind"]) for row in found] == [
        ("bone", "class"), ("rectum", "class"), ("mean of 2", "mean"), ("background", "background"),
    ]  # fmt: skip
    # 3 patients with 4 slices each: rectum missed in the first, spurious in the two after it.
    assert found[1]["counts"] == ["3", "6", "0"]
    assert [score.n for score in found[1]["scores"]] == ["6", "3", "3"]
    assert found[2]["counts"] == []
    assert all(row["distances"] == [] for row in found), "none was measured"


def test_dataset_rows_by_hand(make_content: Make, make_side: Callable[..., SideStatistics]) -> None:
    given = {"slices_with": [200, 50, 1], "voxels": [9000, 950, 50], "patients_with": [3, 2, 1]}
    found_there = {name: np.array(values) for name, values in given.items()}
    sides = make_side("test", 3, slices=200, **found_there), make_side("rest", 3, slices=0, voxels=np.zeros(3))
    found = dataset_rows(make_content(dataset=sides))
    assert [row["splits"][0] for row in found] == [
        ("200", "100 %", "3 patients", "90 %"), ("50", "25 %", "2 patients", "9.5 %"),
        ("1", "0.50 %", "1 patient", "0.50 %"),
    ]  # fmt: skip
    assert found[0]["splits"][1] == ("300", "–", "2 patients", "–")


def test_the_table_of_splits_shows_what_is_known(make_content: Make, make_side: Callable[..., SideStatistics]) -> None:
    plain = side_table(make_content())
    assert [head for head, _ in plain] == ["split", "patients", "scans", "cases", "slices", "size", "intensity"]
    assert [cells[1] for _, cells in plain] == [
        ["test"], ["2"], ["3"], ["4"], ["1,200"], ["12 x 8"], ["-5 to 1234", "image means 3"],
    ]  # fmt: skip
    sides = make_side("train", 3, orientations=("LAS", "RAS")), make_side("test", 3, mean_high=4.25)
    full = dict(side_table(make_content(dataset=sides, knows_spacing=True)))
    assert full["size"] == [["12 x 8", "1.5 x 2 mm", "LAS RAS"], ["12 x 8", "1.5 x 2 mm"]]
    assert full["intensity"][1] == ["-5 to 1234", "image means 3 to 4.25"]


def test_units_have_distances_with_their_unit() -> None:
    def row(case: str, name: str, dice: float | None, hd95: float | None, outcome: str) -> dict[str, object]:
        return {"case": case, "class": name, "slices": 1, "dice": dice, "hd95": hd95, "outcome": outcome}

    found = [
        row("a", "background", 1.0, None, "present"), row("a", "bone", 0.9, 1.5, "present"),
        row("a", "rectum", 0.0, 20.0, "missed"), row("b", "background", 1.0, None, "present"),
        row("b", "bone", 0.8, 2.0, "present"), row("b", "rectum", None, None, "spurious"),
    ]  # fmt: skip
    summary = {"distances": {"unit": "pixels", "tolerance": 2.0, "n_2d": 2, "n_3d": 0}}
    table = unit_table(found, "case", CLASSES, summary)
    assert [row["distance"] for row in table.rows] == ["10.8 px", "2.00 px"]  # (1.5 + 20) / 2
    assert table.rows[0]["cells"] == [("0.900", "", "1.50 px"), ("0.000", "missed", "20.0 px")]
    assert table.rows[1]["cells"] == [("0.800", "", "2.00 px"), ("–", "spurious", "")]


@pytest.mark.parametrize("write", [wording.rate, wording.count, wording.distance, wording.duration])
@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_no_number_is_a_dash(write: Callable[[float | None], str], nothing: float | None) -> None:
    assert write(nothing) == "–"
