"""What bin/benchmark writes: a page with the machine, the versions and the command, and every value."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.frame import OWN, PEER, Row, Table
from benchmarks.session import Results, earlier_calls, results_page, write_results
from pipeline.errors import ConfigError

MACHINE = {"processor": "Abacus", "cores": 2, "cores_allowed": 2, "memory_bytes": 8e9, "system": "Linux"}


def results(quick: bool) -> Results:
    rows = [Row("ours", OWN, True, [1.0, 2.0], 10**9), Row("theirs", PEER, True, [0.5, 1.0], 10**9)]
    parts: dict[str, list[Table | str]] = {
        "train": [Table("train: made up", "images", rows)],
        "leaks": ["leaks\n\n  1\n"],
    }
    command = ["bin/benchmark", "--out", "a folder"]
    return Results(command, 1_700_000_000.0, MACHINE, {}, {"Python": "3.11.9", "nnU-Net": "2.8.1"}, quick, 2, parts)


def test_the_page_says_where_its_figures_come_from() -> None:
    page = results_page(results(quick=False))
    assert "    bin/benchmark --out 'a folder'" in page
    assert "2023-11-1" in page and "Abacus, 2 cores" in page and "Python 3.11.9, nnU-Net 2.8.1" in page
    assert "| theirs | 1.50 images/s | 1.00 to 2.00 | 1.00 GB | 0.50 times as fast (0.50 to 0.50): slower |" in page
    assert page.index("## train") < page.index("## leaks")
    assert "quick" not in page and "The figures say little" in results_page(results(quick=True))


def test_every_value_is_kept(tmp_path: Path) -> None:
    write_results(results(quick=True), tmp_path)
    (values,) = json.loads((tmp_path / "results.json").read_text())["calls"]
    assert values["parts"]["train"][0]["rows"][0]["seconds"] == [1.0, 2.0]
    assert values["quick"] is True and values["command"] == ["bin/benchmark", "--out", "a folder"]
    assert (tmp_path / "RESULTS.md").read_text().startswith("# What bin/benchmark measured\n")


def test_a_plot_stands_where_its_part_is(tmp_path: Path) -> None:
    for name in ("leaks.png", "cache.png"):
        (tmp_path / name).touch()
    write_results(results(quick=False), tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "![leaks](leaks.png)" in page and page.count("![") == 1


def test_a_part_is_measured_anew_and_the_others_stay(tmp_path: Path) -> None:
    assert earlier_calls(tmp_path) == []
    first = results(quick=False)
    write_results(first, tmp_path)
    assert earlier_calls(tmp_path) == [first]
    again = replace(first, command=["bin/benchmark", "--only", "leaks"], parts={"leaks": ["leaks\n\n  2\n"]})
    write_results(again, tmp_path, earlier_calls(tmp_path))
    older, newest = earlier_calls(tmp_path)
    assert newest == again and older == replace(first, parts={"train": first.parts["train"]})
    page = (tmp_path / "RESULTS.md").read_text()
    assert page.count("by this command") == 2 and page.index("## train") < page.index("--only leaks")
    assert "  2\n" in page and "  1\n" not in page
    write_results(replace(first, machine={**MACHINE, "processor": "Other"}), tmp_path, earlier_calls(tmp_path))
    assert len(earlier_calls(tmp_path)) == 3, "another machine's figures are no newer ones of this one"


@pytest.mark.parametrize("content", ["{}", '{"format": 1}', "[]", "no JSON", '{"format": 2, "calls": [{"x": 1}]}'])
def test_results_of_something_else_are_not_written_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ConfigError, match="none of bin/benchmark's") as fault:
        earlier_calls(tmp_path)
    assert fault.value.where == str(tmp_path / "results.json")
