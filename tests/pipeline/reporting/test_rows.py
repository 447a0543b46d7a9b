from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from pipeline.reporting import wording
from pipeline.reporting.content import ReportContent
from pipeline.reporting.rows import class_rows, dataset_rows, unit_table

CLASSES = ("background", "bone", "rectum")


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
    table = unit_table(rows(scores, {"b": "missed", "c": "spurious", "d": "both_empty"}), "case", CLASSES)
    # Means: a (0.9 + 0.7) / 2, b (0.6 + 0) / 2, c and e of bone only, d none.
    assert [(row["name"], row["mean"]) for row in table.rows] == [
        ("e", "0.000"), ("b", "0.300"), ("c", "0.500"), ("a", "0.800"), ("d", "–"),
    ]  # fmt: skip
    cells = {row["name"]: row["cells"] for row in table.rows}
    assert cells["b"] == [("0.600", ""), ("0.000", "missed")]
    assert cells["c"] == [("0.500", ""), ("–", "spurious")]
    assert cells["d"] == [("–", ""), ("–", "")]


@pytest.mark.parametrize(("n_classes", "shown"), [(2, 600), (101, 200), (1001, 50)])
def test_long_tables_are_capped(n_classes: int, shown: int) -> None:
    classes = ("background", *(f"c{index}" for index in range(1, n_classes)))
    many = [
        {"case": f"case_{number}", "class": name, "slices": 1, "dice": number / 1000, "outcome": "present"}
        for number in range(700)
        for name in classes
    ]
    table = unit_table(many, "case", classes)
    assert (len(table.rows), table.total) == (shown, 700)
    assert table.rows[0]["name"] == "case_0"


def test_class_rows_end_with_the_mean_and_the_background(make_content: Callable[..., ReportContent]) -> None:
    content = make_content()
    found = class_rows(content)
    assert [(row["name"], row["kind"]) for row in found] == [
        ("bone", "class"), ("rectum", "class"), ("mean of 2", "mean"), ("background", "background"),
    ]  # fmt: skip
    # 3 patients with 4 slices each: rectum missed in the first, spurious in the two after it.
    assert found[1]["counts"] == ["3", "6", "0"]
    assert [score.n for score in found[1]["scores"]] == ["6", "3", "3"]
    assert found[2]["counts"] == []


def test_dataset_rows_by_hand(make_content: Callable[..., ReportContent]) -> None:
    split = {
        "split": "test", "slices": 200, "slices_with_background": 200, "slices_with_bone": 50, "slices_with_rectum": 1,
        "voxels_background": 9000, "voxels_bone": 950, "voxels_rectum": 50,
    }  # fmt: skip
    found = dataset_rows(make_content(dataset=[split, {"split": "empty", "slices": 0}]))
    assert [row["splits"][0] for row in found] == [
        ("200", "100 %", "90 %"), ("50", "25 %", "9.5 %"), ("1", "0.50 %", "0.50 %"),
    ]  # fmt: skip
    assert found[0]["splits"][1] == ("–", "–", "–")


@pytest.mark.parametrize("write", [wording.rate, wording.count, wording.duration])
@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_no_number_is_a_dash(write: Callable[[float | None], str], nothing: float | None) -> None:
    assert write(nothing) == "–"
