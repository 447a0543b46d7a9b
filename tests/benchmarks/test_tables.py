"""Tables of made-up figures, worked out by hand: a loss reads as plainly as a win."""

from __future__ import annotations

import doctest

import pytest

from benchmarks import roofline, tables
from benchmarks.frame import LIMIT, OWN, PEER, Row, Table
from benchmarks.tables import cells, comparison, limits_text, markdown, plain, terminal


def table(**seconds: list[float]) -> Table:
    """Rows `own`, `peer` and `limit`, with seconds an image."""
    roles = {"own": OWN, "peer": PEER, "limit": LIMIT, "other": OWN}
    rows = [Row(name, roles[name], name != "other", values, 2_500_000_000) for name, values in seconds.items()]
    return Table("train: made up", "images", rows, ["A note."])


@pytest.mark.parametrize(
    ("own", "peer", "said"),
    [
        ([1.0, 1.0, 1.0], [2.0, 4.0, 3.0], "3.00 times as fast (2.00 to 4.00)"),
        ([2.0, 2.0, 2.0], [1.0, 1.2, 1.4], "0.60 times as fast (0.50 to 0.70): slower"),
        ([1.0, 1.0, 1.0], [0.9, 1.1, 1.05], "no difference: 1.05 times as fast (0.90 to 1.10)"),
    ],
)
def test_ratios_are_of_the_same_round(own: list[float], peer: list[float], said: str) -> None:
    made = table(own=own, peer=peer)
    assert comparison(made, made.rows[1]) == said
    assert comparison(made, made.rows[0]) == ""


def test_a_limit_is_given_as_a_share_and_a_second_way_of_ours_not_at_all() -> None:
    made = table(own=[2.0, 2.0], limit=[1.0, 1.2], other=[5.0, 5.0])
    assert comparison(made, made.rows[1]) == "55 % of it (50 to 60)"
    assert comparison(made, made.rows[2]) == ""


def test_a_rate_is_one_over_the_seconds_and_a_command_has_seconds() -> None:
    made = table(own=[0.5, 0.25, 0.2])
    assert cells(made, made.rows[0])[:4] == ("own", "4.00 images/s", "2.00 to 5.00", "2.50 GB")
    made.unit = "s"
    assert cells(made, made.rows[0])[1:3] == ("0.250 s", "0.200 to 0.500")


def test_a_gpu_has_its_own_memory() -> None:
    made = table(own=[1.0])
    made.rows[0].device_peak_bytes = 700_000_000
    assert cells(made, made.rows[0])[3] == "2.50 GB, GPU 700 MB"


def test_all_three_forms_say_the_same() -> None:
    made = table(own=[1.0, 1.0], peer=[2.0, 2.0])
    said = "2.00 times as fast (2.00 to 2.00)"
    screen, page, values = terminal(made), markdown(made), plain(made)
    assert said in screen and said in page and "A note." in screen and "- A note." in page
    widths = {len(line) for line in screen.splitlines() if line.startswith("─")}
    assert widths == {max(len(line) for line in screen.splitlines()[:-1])}
    assert page.splitlines()[2:4] == ["| way | median | spread | peak memory | beside the first line |",
                                      "|---|---:|---:|---:|---|"]  # fmt: skip
    assert values["rows"][1]["first_is_times_as_fast"] == {"median": 2.0, "least": 2.0, "most": 2.0}
    assert "first_is_times_as_fast" not in values["rows"][0]
    assert values["rows"][1]["seconds"] == [2.0, 2.0]


def test_text_of_a_part_is_kept_as_it_is() -> None:
    assert terminal("leaks: ms an image\n\n  a  1\n") == "leaks: ms an image\n\n  a  1\n"
    assert markdown("leaks: ms an image\n\n  a  1\n") == "### leaks: ms an image\n\n```\n  a  1\n```\n"
    assert plain("x") == {"text": "x"}


def test_the_machine_in_sentences() -> None:
    machine = {"processor": "Abacus", "cores": 4, "cores_allowed": 2, "memory_bytes": 8e9, "system": "Linux"}
    limits = {"device": "cpu", "memory_gb_per_s": 12.0}
    limits |= {f"{kind}_{dtype}_gflops": 123.4 for kind in ("matmul", "convolution")
               for dtype in ("float32", "bfloat16")}  # fmt: skip
    first, second = limits_text(machine, limits)
    assert first == "Abacus, 4 cores, 2 of them allowed, 8.00 GB, Linux"
    assert "matmul 123 GFLOP/s in float32 and 123 in bfloat16" in second and second.endswith("memory 12.0 GB/s")
    assert len(limits_text(machine, {})) == 1


def test_the_examples_in_docstrings_hold() -> None:
    for module in (tables, roofline):
        failed, tried = doctest.testmod(module)
        assert tried and not failed
