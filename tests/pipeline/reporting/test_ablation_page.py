"""An ablation as text, table and page: each figure stands where it belongs, and nothing is wider than it may be."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipeline.evaluation.ablation import Difference
from pipeline.evaluation.ablation_cells import read_cell
from pipeline.evaluation.ablation_result import DONE, FAILED, STOPPED, Ablation, CellOutcome
from pipeline.reporting.ablation_files import ablation_csv, ablation_markdown, difference_text
from pipeline.reporting.ablation_page import ablation_page
from pipeline.reporting.ablation_table import ablation_table
from pipeline.reporting.content import PHANTOM
from pipeline.terminal import width_of

Make = Callable[..., Ablation]


@pytest.fixture
def make(tmp_path: Path, write_cell: Callable[..., None]) -> Make:
    """Chains with one run a seed; the last cell failed, the one before it was stopped, where that is wanted."""

    def make(
        names: tuple[str, ...] = ("pad", "half"), seeds: int = 2, *, faults: bool = False, **more: Any
    ) -> Ablation:
        cells = []
        for place, name in enumerate(names):
            for seed in map(str, range(seeds)):
                folder = tmp_path / f"{place}-{seed}"
                write_cell(folder, seed=10 * place + int(seed), skill=20 + place, **more)
                variant = f"chain={name}"
                cells.append(CellOutcome(f"{variant},seed={seed}", variant, (("chain", name), ("seed", seed)),
                                         seed if seeds > 1 else "", DONE, "", read_cell(folder)))  # fmt: skip
        if faults:
            for at, state, reason in ((-1, FAILED, "x.nii.gz: <b>bad</b> | 'file'."), (-2, STOPPED, "")):
                old = cells[at]
                cells[at] = CellOutcome(old.name, old.variant, old.choices, old.seed, state, reason)
        return Ablation("small: chain, seed varied", "bin/ablate x.yaml --vary 'a=[1, 2]'", tuple(cells))

    return make


def minus(text: str) -> str:
    """With the sign that stands before a number, which is wider than a hyphen."""
    return text.replace("-", "−")


def figures_in(text: str) -> list[str]:
    return re.findall(r"(?<![\d.])[−+]?\d\.\d{3}(?!\d)", text)


def test_the_terminal_shows_every_figure_in_its_place(make: Make) -> None:
    ablation = make()
    table = ablation_table(ablation)
    for number, one in enumerate(ablation.figures, start=1):
        expected = []
        for side in (one.sides["validation"].own, one.sides["test"].own):
            assert side.interval is not None
            expected += [f"{value:.3f}" for value in (side.mean, side.sd, *side.interval)]
        found = [line for line in table.splitlines() if line.startswith(f"{number:>2}  chain=")]
        assert figures_in(found[0].replace("–", " ")) == expected
        by_class = one.sides["test"].own.by_class
        assert figures_in(found[2]) == [f"{value:.3f}" for value in by_class.values()]
        assert found[3].split()[2:] == ["1", "min", "16", "s", "40", "1.50", "GiB"]
    difference = ablation.figures[1].sides["test"].difference
    assert difference is not None and difference.interval is not None
    last = [line for line in table.splitlines() if line.startswith(" 2  chain=")][1]
    assert figures_in(last)[3:] == [minus(f"{value:+.3f}") for value in (difference.mean, *difference.interval)]
    best = max(ablation.figures, key=lambda one: one.sides["validation"].own.mean or 0)
    assert f"Highest validation Dice: {best.sides['validation'].own.mean:.3f}, variant" in table


@pytest.mark.parametrize("seeds", [1, 2])
def test_no_line_is_wider_than_80_columns(make: Make, seeds: int) -> None:
    long = tuple(f"{'a very long name of a chain ' * 4}{number}" for number in range(3))
    classes = ("background", *(f"class number {number}" for number in range(12)))
    faulty = ablation_table(make(long, seeds, classes=classes, faults=True))
    table = ablation_table(make(long, seeds, classes=classes))
    assert max(map(len, (faulty + table).splitlines())) <= 80
    assert "n 0 " in table and "n 2 " in table, "the ends of the names, in which they differ, are there"
    heads = [line for line in table.splitlines() if "test Dice of" in line]
    assert len(heads) > 1 and sum(line.count("class") for line in heads) == 12


def test_wide_characters_take_two_columns(make: Make) -> None:
    """Every row of a block ends where its rule ends, and class names stay within ten columns."""
    table = ablation_table(make(("正規化", "pad"), 1, classes=("background", "胆嚢", "肝臓と脾臓と膵臓")))
    lines = table.splitlines()
    rules = [place for place, line in enumerate(lines) if line.startswith("──")]
    assert len(rules) == 4
    for place in rules:
        rows = [lines[place - 1], *lines[place + 1 : place + 3]]
        assert "chain=正規化" in rows[1] and "chain=pad" in rows[2]
        assert {width_of(row) for row in rows} == {width_of(lines[place])}
    assert "  肝臓…膵臓" in table and "胆嚢" in table


def test_what_failed_and_what_was_stopped_is_said(make: Make) -> None:
    table = " ".join(ablation_table(make(faults=True)).split())
    assert "2 of 4 runs done" in table
    assert (
        "failed: chain=half,seed=1: x.nii.gz: <b>bad</b> | 'file'." in table and "stopped: chain=half,seed=0" in table
    )
    assert "Highest" not in table and "less variant 1" not in table, "there is one variant to show"


def test_the_rows_of_the_csv(make: Make) -> None:
    ablation = make(faults=True)
    rows = list(csv.DictReader(io.StringIO(ablation_csv(ablation))))
    assert [row["state"] for row in rows] == [DONE, DONE, STOPPED, FAILED]
    for row, cell in zip(rows, ablation.cells, strict=True):
        assert (row["cell"], row["chain"], row["seed"]) == (cell.name, *(value for _, value in cell.choices))
        assert row["reason"] == cell.reason
        if cell.finished is None:
            assert {
                row[name] for name in ("validation_dice", "test_dice", "test_dice_bone", "steps", "wall_seconds")
            } == {""}
            continue
        scan = cell.finished.summary["levels"]["scan"]
        whole = scan["foreground"]["dice"]
        assert [float(row[name]) for name in ("test_dice", "test_low", "test_high")] == pytest.approx(
            [whole["mean"], *whole["interval"]]
        )
        assert float(row["test_dice_rectum"]) == pytest.approx(scan["classes"]["rectum"]["dice"]["mean"])
        assert float(row["validation_dice"]) == pytest.approx(cell.finished.validation_dice)
        assert (row["prepared_dice"], row["steps"], row["test_patients"]) == ("0.75", "40", "4")
        assert (row["training_seconds"], row["peak_memory_bytes"], row["wall_seconds"]) == (
            "75.5",
            str(3 * 2**29),
            "90",
        )


def cells_of(line: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_markdown_is_a_table_with_its_command(make: Make, seeds: int) -> None:
    ablation = make(("pad|odd*", "half"), seeds)
    text = ablation_markdown(ablation)
    assert "\n    bin/ablate x.yaml --vary 'a=[1, 2]'\n" in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 8, "two tables of two variants"
    assert len({len(cells_of(line)) for line in lines[:4]}) == len({len(cells_of(line)) for line in lines[4:]}) == 1
    row = dict(zip(cells_of(lines[0]), cells_of(lines[3]), strict=True))
    test = ablation.figures[1].sides["test"]
    assert row["variant"] == "chain=half" and row["test Dice"] == f"{test.own.mean:.3f}"
    assert test.difference is not None and test.difference.interval is not None
    low, high = test.difference.interval
    spread = f", sd {test.difference.sd:.3f}" if seeds == 2 else ""
    assert row["test, less 1"] == minus(f"{test.difference.mean:+.3f} ({low:+.3f} to {high:+.3f}){spread}")
    assert ("test sd" in row) == (seeds == 2)
    assert cells_of(lines[2])[1] == r"chain=pad\|odd\*"
    assert "Choose by the validation Dice" in text and "PHANTOM" not in text


def test_a_difference_without_an_interval() -> None:
    assert difference_text(None) == "–"


def test_a_difference_that_rounds_to_nothing_has_no_sign() -> None:
    assert difference_text(Difference(-0.0001, (-0.0004, 0.0002), None, {}, 4, 1)) == "0.000 (0.000 to 0.000)"


class Page(HTMLParser):
    """What a page holds; refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br", "link", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def of_tag(page: Page, tag: str, name: str, value: str) -> list[dict[str, str | None]]:
    return [given for one, given in page.tags if one == tag and value in (given.get(name) or "").split()]


def test_the_page_is_whole_and_loads_nothing(make: Make) -> None:
    ablation = make(("<script>alert(1)</script>", "half"), faults=True)
    text = ablation_page(ablation)
    page = Page(text)
    assert "default-src 'none'" in text and "<script" not in text and "alert(1)" in page.text
    assert "<b>bad</b>" in page.text, "escaped, and shown as it is"
    links = [given["href"] for tag, given in page.tags if tag == "a"]
    assert len(links) == 2 and all(link and link.endswith("/report.html") and "<" not in link for link in links)
    assert not [tag for tag, given in page.tags if "src" in given or tag == "link"]
    assert "2 of 4 runs done" in page.text and PHANTOM not in page.text
    empty = Ablation("t", "c", (CellOutcome("a", "a", (("k", "v"),)),))
    assert "0 of 1 runs done" in Page(ablation_page(empty)).text


def test_the_page_says_once_why_no_variant_is_named(
    make: Make, write_cell: Callable[..., None], tmp_path: Path
) -> None:
    ablation = make(seeds=1)
    write_cell(tmp_path / "other", validation=("v1", "v9"))
    cells = (ablation.cells[0], replace(ablation.cells[1], finished=read_cell(tmp_path / "other")))
    for given, times in ((ablation.cells, 0), (cells, 1)):
        text = Page(ablation_page(replace(ablation, cells=given))).text
        assert text.count("they were not validated on the same scans") == times
        assert ("highest validation Dice" in text) is (not times) and "Choose by the validation Dice" in text


def test_the_marks_of_the_chart_stand_at_their_figures(make: Make) -> None:
    ablation = make(dataset={"fingerprint": "f", "synthetic": True})
    page = Page(ablation_page(ablation))
    assert PHANTOM in page.text
    ticks = [float(given["x"] or 0) for given in of_tag(page, "text", "class", "tick")]
    values = [float(value) for value in re.findall(r'class="tick"[^>]*>([\d.]+)<', ablation_page(ablation))]
    scale = (values[-1] - values[0]) / (ticks[-1] - ticks[0])

    def value_at(x: str | None) -> float:
        return values[0] + (float(x or "nan") - ticks[0]) * scale

    for side in ("validation", "test"):
        dots = [given for given in of_tag(page, "circle", "class", side) if given["cx"] != "17"]  # of the key
        bars = [given for given in of_tag(page, "line", "class", side) if given["x1"] != "0"]
        own = [one.sides[side].own for one in ablation.figures]
        assert [value_at(dot["cx"]) for dot in dots] == pytest.approx([one.mean for one in own], abs=5e-4)
        drawn = [[value_at(bar["x1"]), value_at(bar["x2"])] for bar in bars]
        for bar, one in zip(drawn, own, strict=True):
            assert bar == pytest.approx(list(one.interval or ()), abs=5e-4)
    for variant in ablation.figures:
        for found in variant.sides.values():
            assert page.text.count(f"{found.own.mean:.3f}") >= 2, "beside the chart and in the table"
