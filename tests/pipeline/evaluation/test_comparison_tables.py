"""comparison.csv and the table of the terminal hold the figures of the comparison."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.evaluation.comparison import Comparison, compare
from pipeline.evaluation.comparison_tables import COLUMNS, comparison_csv, comparison_table
from pipeline.evaluation.matching import match
from pipeline.terminal import width_of

Make = Callable[..., Any]
WIDE = ("background", "a class of a very long name indeed", "胆嚢と肝臓と脾臓と膵臓")


@pytest.fixture
def three(draw_masks: Make, store: Make) -> Comparison:
    first, *others = (store(name, draw_masks(seed), classes=WIDE) for seed, name in enumerate(("a", "b", "c" * 90)))
    return compare([match(first, other) for other in others])


def test_every_row_of_the_comparison_is_in_the_csv(three: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_csv(three))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2 * 3 * 3  # evaluations, metrics, classes and their mean
    for pair in three.pairs:
        for metric in ("dice", "hd95", "surface_dice"):
            mine = [row for row in rows if row["compared"] == pair.name and row["metric"] == metric]
            assert [row["class"] for row in mine] == ["foreground", *WIDE[1:]]
            assert [row["class_id"] for row in mine] == ["", "1", "2"]
            for text, row in zip(mine, pair.rows[metric], strict=True):
                assert row.interval is not None
                assert float(text["difference"]) == pytest.approx(row.difference, abs=1e-9)
                assert float(text["low"]) == pytest.approx(row.interval[0], abs=1e-9)
                assert float(text["p_holm"]) == pytest.approx(row.p_holm)
                assert [int(text[key]) for key in ("wins", "losses", "ties")] == [row.wins, row.losses, row.ties]
                assert text["unit"] == ("pixels" if metric == "hd95" else "")
            assert (mine[0]["missed_first"], mine[1]["missed_first"]) == ("", str(pair.counts[0].missed[0]))


@pytest.mark.parametrize("width", [80, 100])
def test_no_line_of_the_terminal_is_too_wide(three: Comparison, width: int) -> None:
    lines = comparison_table(three, width=width).splitlines()
    assert max(map(width_of, lines)) <= width
    assert sum("W/L/T" in line for line in lines) > 6


def test_counts_that_have_no_room_are_left_to_the_other_files(draw_masks: Make, store: Make) -> None:
    first, other = store("a", draw_masks(1)), store("b", draw_masks(2))
    found = compare([match(first, other)])
    assert "missed  spur." in comparison_table(found)
    counts = [replace(one, missed=(123456, 123456)) for one in found.pairs[0].counts]
    text = comparison_table(replace(found, pairs=[replace(found.pairs[0], counts=counts)]))
    assert "missed  spur." not in text
    assert max(map(width_of, text.splitlines())) <= 80


def test_the_figures_stand_in_the_table(draw_masks: Make, store: Make) -> None:
    first, other = store("a", draw_masks(1)), store("b", draw_masks(2, errors=0.5))
    found = compare([match(first, other)])
    lines = comparison_table(found).splitlines()
    start = lines.index("Dice | A: a | B: b")
    assert lines[start + 2].split()[:4] == ["class", "A", "B", "B"]
    mean, bone, rectum = found.pairs[0].rows["dice"]
    for row, line in ((bone, lines[start + 4]), (rectum, lines[start + 5]), (mean, lines[start + 7])):
        name, one, two, difference, _, p, signs, number = line.split()[:8]
        assert (name, number) == (row.name, str(row.n_patients))
        assert (one, two) == (f"{row.first:.3f}", f"{row.other:.3f}")
        assert difference == f"{row.difference:+.3f}".replace("-", "−")
        assert (p, signs) == (f"{row.p_holm:.3f}", f"{row.wins}/{row.losses}/{row.ties}")
    missed, spurious = lines[start + 4].split()[8:]
    assert (missed, spurious) == tuple(
        f"{a}→{b}" for a, b in (found.pairs[0].counts[0].missed, found.pairs[0].counts[0].spurious)
    )
