"""What a report says of distances, against the fixture's: HD95 of class k in a slice is patient + index + k mm."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from pipeline.reporting.content import ReportContent
from pipeline.reporting.distances import (
    class_cells,
    distance_heads,
    distance_sentence,
    distance_terms,
    mean_cells,
    unit_of,
)
from pipeline.reporting.report import render_report
from pipeline.reporting.rows import class_rows
from pipeline.reporting.wording import distance

Make = Callable[..., ReportContent]
NOTHING: dict[str, Any] = {"distances": None}


class Tables(HTMLParser):
    """The tables of a page, cell by cell, and all that it says."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")
        self.inside = tag in {"td", "th"} or (self.inside and tag in {"b", "small", "br", "span"})

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        words = " ".join(data.split())
        if words:
            self.text += f" {words}"
            if self.inside:
                self.tables[-1][-1][-1] = f"{self.tables[-1][-1][-1]} {words}".strip()


def test_cells_by_hand(make_content: Make) -> None:
    content = make_content(distances=True)
    summary = content.summary
    # Four slices a patient. Bone (k = 1): patient + (0 + 1 + 2 + 3) / 4 + 1 = 2.5, 3.5 and 4.5; missed nowhere.
    bone, near = class_cells(summary, content.cases, "bone", in_mean=True)
    assert (bone.mean, bone.n, bone.missed) == ("3.50", "3", "")
    assert re.fullmatch(r"[234]\.\d\d–[234]\.\d\d", bone.interval)
    assert (near.mean, near.interval, near.n) == ("0.800", "0.800–0.800", "3")
    # Rectum (k = 2): missed in slice 0 (99 mm), not in the reference of 1 and 2, patient + 3 + 2 in slice 3.
    rectum, near = class_cells(summary, content.cases, "rectum", in_mean=True)
    assert rectum.mean == distance(sum((99 + patient + 5) / 2 for patient in range(3)) / 3) == "52.5"
    assert (rectum.n, rectum.missed) == ("3", "3 missed")
    assert near.mean == "0.400" and near.missed == "", "the misses stand once"
    assert [one.mean for one in mean_cells(summary)] == ["28.0", "0.600"]
    for level in ("slice", "patient"):  # the figures are those per scan
        for figures in summary["levels"][level]["classes"].values():
            figures["hd95"] = figures["surface_dice"] = {"mean": 0.5, "interval": None, "n": 1}
    assert class_cells(summary, content.cases, "bone", in_mean=True)[0] == bone
    assert [one.n for one in mean_cells(summary)] == ["", ""]
    assert [(one.mean, one.n) for one in class_cells(summary, content.cases, "background", in_mean=False)] == [
        ("–", ""), ("–", ""),
    ]  # fmt: skip
    assert [[cell.mean for cell in row["distances"]] for row in class_rows(content)] == [
        ["3.50", "0.800"], ["52.5", "0.400"], ["28.0", "0.600"], ["–", "–"],
    ]  # fmt: skip


def test_the_page_shows_them_and_says_what_they_are(make_content: Make) -> None:
    page = Tables(render_report(make_content(distances=True)))
    head, bone, rectum, mean, background = page.tables[0]
    assert head[4:6] == ["HD95, mm per scan", "surface Dice at 2 mm"]
    assert bone[4].startswith("3.50 ") and bone[4].endswith(" n 3")
    assert rectum[4].startswith("52.5 ") and rectum[4].endswith(" n 3 3 missed")
    assert mean[4].startswith("28.0 ") and background[4:6] == ["–", "–"]
    assert len({len(row) for row in (head, bone, rectum, background)}) == 1
    assert len(mean) == len(head) - 2, "three counts in one cell"
    for said in ("image's diagonal", "mean over its slices", "within 2 mm of the other", "Dice and HD95 of each case",
                 "a mean HD95 of 28.0 mm, and a surface Dice of 0.600 at 2 mm"):  # fmt: skip
        assert said in page.text
    cases = next(table for table in page.tables if table[0][0] == "case")
    row = next(row for row in cases if row[0] == "case_2_0")
    assert row[3].split()[1:] == ["3.00", "mm"]  # bone: 2 + 0 + 1
    assert row[4] == "0.000 99.0 mm missed"
    assert row[2].split()[1:] == ["51.0", "mm"]
    spurious = next(row for row in cases if row[0] == "case_2_1")
    assert spurious[4] == "– spurious"
    patients = next(table for table in page.tables if table[0][0] == "patient")
    assert next(row for row in patients if row[0] == "p0")[3].split()[1:] == ["2.50", "mm"]


def test_without_distances_nothing_is_said_of_them(make_content: Make) -> None:
    page = Tables(render_report(make_content()))
    for word in ("HD95", "surface Dice", "diagonal"):
        assert word not in page.text
    assert len(page.tables[0][0]) == 7
    assert (unit_of(NOTHING), distance_heads(NOTHING), distance_sentence(NOTHING), distance_terms(NOTHING)) == (
        "", [], "", "",
    )  # fmt: skip


def test_no_reference_with_a_class_has_no_sentence(make_content: Make) -> None:
    summary = make_content(n_patients=1, distances=True).summary
    assert distance_sentence(summary) != ""
    summary["levels"]["scan"]["foreground"]["hd95"] |= {"mean": None, "interval": None}
    assert distance_sentence(summary) == ""


@pytest.mark.parametrize(
    ("measured", "said", "unsaid"),
    [
        (
            {"unit": "mm", "n_2d": 0, "n_3d": 3},
            ["in volumes", "in mm;", "within 1.5 mm", "how many volumes"],
            ["2D", "pixels"],
        ),
        (
            {"unit": "mm", "n_2d": 4, "n_3d": 0},
            ["plane of 2D slices", "mean over its slices", "how many slices"],
            ["in volumes"],
        ),
        (
            {"unit": "mm", "n_2d": 1, "n_3d": 2},
            ["in 1 2D slice,", "in 2 volumes", "how many cases"],
            ["not to be compared"],
        ),
        ({"unit": "pixels", "n_2d": 4, "n_3d": 0}, ["pixels (px)", "not known", "within 1.5 px"], [" mm"]),
    ],
)
def test_terms_say_the_unit_and_what_was_measured(measured: dict[str, Any], said: list[str], unsaid: list[str]) -> None:
    summary = {"distances": {"tolerance": 1.5, **measured}}
    text = distance_terms(summary)
    assert all(part in text for part in said), text
    assert not any(part in text for part in unsaid), text
    unit = "px" if measured["unit"] == "pixels" else "mm"
    assert distance_heads(summary) == [(f"HD95, {unit}", "per scan"), ("surface Dice", f"at 1.5 {unit}")]


def test_misses_that_were_not_measured_are_in_no_mean(make_content: Make) -> None:
    content = make_content(distances=True)
    for row in content.cases:  # a case that was not measured has no distance, and its miss is in no mean
        if row["case"] == "case_0_0":
            row["hd95"] = None
    assert class_cells(content.summary, content.cases, "rectum", in_mean=True)[0].missed == "2 missed"


def test_digits_of_a_distance() -> None:
    values = [0.0, 0.049, 9.994, 9.996, 123.46]
    assert [distance(value) for value in values] == ["0.00", "0.05", "9.99", "10.0", "123.5"]
