"""What bin/benchmark writes: a page with the machine, the versions and the command, and every value."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.frame import OWN, PEER, Row, Table
from benchmarks.session import Results, results_page, write_results

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
    values = json.loads((tmp_path / "results.json").read_text())
    assert values["parts"]["train"][0]["rows"][0]["seconds"] == [1.0, 2.0]
    assert values["quick"] is True and values["command"] == ["bin/benchmark", "--out", "a folder"]
    assert (tmp_path / "RESULTS.md").read_text().startswith("# What bin/benchmark measured\n")


def test_a_plot_stands_where_its_part_is(tmp_path: Path) -> None:
    for name in ("leaks.png", "cache.png"):
        (tmp_path / name).touch()
    write_results(results(quick=False), tmp_path)
    page = (tmp_path / "RESULTS.md").read_text()
    assert "![leaks](leaks.png)" in page and page.count("![") == 1
