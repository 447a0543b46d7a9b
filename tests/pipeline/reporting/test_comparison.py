"""The page of a comparison: self-contained, escaped, with the figures of the comparison."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.evaluation.comparison import Comparison, compare
from pipeline.evaluation.matching import match
from pipeline.evaluation.stored import Source, Stored
from pipeline.reporting.comparison import ComparisonContent, render_comparison
from pipeline.reporting.content import PHANTOM
from pipeline.reporting.regressions import Picture
from tests.pipeline.reporting.pages import Page

CLASSES = ("background", "bone", "<script>alert(1)</script>")


def stored(name: str, seed: int, patients: int = 7, better: float = 0.0) -> Stored:
    """An evaluation of one case a patient, without files; a higher `better` has a higher Dice."""
    rng = np.random.default_rng(seed)
    reference = np.tile([800, 100, 50], (patients, 1))
    true = (reference * (0.5 + better + 0.1 * rng.random((patients, 3)))).astype(int)
    names = tuple(f"c{index}" for index in range(patients))
    far = np.where(np.arange(3) > 0, rng.random((patients, 3)) * 9, np.nan)
    return Stored(name, Source(Path("/nowhere") / name, None), CLASSES, (0, 1, 2), names, names, names, reference,
                  reference, true, far, far / 10, "mm", 2.0, 200, 0, 0.95, {})  # fmt: skip


@pytest.fixture
def compared(make_example: Callable[..., Any]) -> Callable[..., tuple[Comparison, ComparisonContent]]:
    def make(*others: Stored, synthetic: bool = False) -> tuple[Comparison, ComparisonContent]:
        first = stored("the first", 0)
        found = compare([match(first, other) for other in others])
        mask = np.zeros((8, 6), dtype=np.uint8)
        mask[2:5, 2:4] = 1
        shown = make_example(mask, np.roll(mask, 1, 0), dice=dict.fromkeys(CLASSES, 0.25))
        pictures = [
            [Picture(one, (shown, shown) if index == 0 else None, "" if index == 0 else "No picture: <it> is gone.")
             for index, one in enumerate(pair.regressions)]
            for pair in found.pairs
        ]  # fmt: skip
        return found, ComparisonContent(found, pictures, synthetic, [first, *others], "bin/compare a b", "1.2.3")

    return make


def test_the_page_is_whole_and_loads_nothing(compared: Callable[..., Any]) -> None:
    found, content = compared(stored("the <other>", 1, better=-0.2))
    text = render_comparison(content)
    page = Page(text)
    assert "<script" not in text
    policy = next(attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    for _, attrs in page.tags:
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:image/png;base64,"))
        assert not any(name.startswith("on") for name in attrs)
    assert PHANTOM not in page.text
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert {attrs["href"][1:] for tag, attrs in page.tags if tag == "a"} <= set(ids)
    assert len(found.pairs[0].regressions) == 10


def test_the_verdict_comes_first_and_the_tables_hold_the_figures(compared: Callable[..., Any]) -> None:
    found, content = compared(stored("other", 1, better=-0.2))
    page = Page(render_comparison(content))
    assert page.text.index("other is worse than the first: mean foreground Dice") < page.text.index("cases missed")
    assert len(page.tables) == 5  # three metrics, regressions, evaluations
    for table, (metric, rows) in zip(page.tables, found.pairs[0].rows.items(), strict=False):
        mean, *classes = rows
        for cells, row in zip(table[1:], (*classes, mean), strict=True):
            assert f"{row.p_holm:.3f}" in cells[4]
            assert cells[5].split() == [str(row.wins), "/", str(row.ties), "/", str(row.losses)]
            if metric != "hd95":
                assert [float(cell.split()[0].replace("−", "-")) for cell in cells[1:4]] == pytest.approx(
                    [row.first, row.other, row.difference], abs=5.1e-4
                )
    falls = page.tables[3][1:]
    assert [cells[0].strip() for cells in falls] == [one.case for one in found.pairs[0].regressions]
    assert [float(cells[5].replace("−", "-")) for cells in falls] == pytest.approx(
        [one.difference for one in found.pairs[0].regressions], abs=5.1e-4
    )
    assert [cells[-1].strip() for cells in falls] == ["below", *["–"] * 9]
    assert page.text.count("No picture: <it> is gone.") == 9


def test_pictures_are_pictures(compared: Callable[..., Any]) -> None:
    _, content = compared(stored("other", 1, better=-0.2), synthetic=True)
    page = Page(render_comparison(content))
    images = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert len(images) == 2
    for source in images:
        picture = imread(BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
        assert min(picture.shape[:2]) > 100 and picture[..., :3].std() > 0.05
    assert PHANTOM in page.text


def test_several_evaluations_each_have_their_part(compared: Callable[..., Any]) -> None:
    _, content = compared(stored("worse", 1, better=-0.2), stored("better", 2, better=0.2))
    page = Page(render_comparison(content))
    assert ("h1", "2 evaluations compared with the first") in page.words
    assert [text for tag, text in page.words if tag == "h2"][:2] == ["B: worse", "C: better"]
    assert "worse is worse than the first" in page.text and "better is better than the first" in page.text
    assert "In no case did the Dice of a class fall by 0.001 or more." in page.text


def test_what_is_left_out_is_said(compared: Callable[..., Any]) -> None:
    other = replace(stored("other", 1), unit=None, tolerance=None)
    page = Page(render_comparison(compared(other.of(range(6)))[1]))
    assert "Not compared" in page.text
    assert "1 case only in the first, left out: c6." in page.text
    assert "Distances are left out: other measured none." in page.text
    assert "HD95" not in [cell for table in page.tables for row in table for cell in row]
