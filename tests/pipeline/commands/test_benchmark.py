"""bin/benchmark: its arguments; one part through all of it, small, with the results it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.commands.benchmark import main


def test_a_part_gives_a_table_on_the_screen_and_in_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--only", "read", "--peers", "nnunet", "--quick", "--rounds", "1", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--peers-python", "/usr/bin/env"]) == 2  # no interpreter
    assert "--peers-python" in capsys.readouterr().err
    assert main(arguments) == 0
    screen = capsys.readouterr().out
    page = (tmp_path / "out" / "RESULTS.md").read_text()
    (values,) = json.loads((tmp_path / "out" / "results.json").read_text())["calls"]
    for text in (screen, page):
        assert "this project: checked, prepared" in text
        assert "nnU-Net is not installed in" in text
        assert "pip install -r benchmarks/requirements-peers.txt" in text
    first, second = values["parts"]["read"]
    assert [row["role"] for row in first["rows"]] == ["own", "own", "peer"]
    assert all(len(row["seconds"]) == 1 for table in (first, second) for row in table["rows"])
    assert values["quick"] is True and "bin/benchmark --only read" in page
    assert values["limits"]["matmul_float32_gflops"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "raed"], "Did you mean read?"),
        (["--peers", "monia"], "Did you mean monai?"),
        (["--rounds", "0"], "Give 1 or more"),
        (["--peers-python", "/no/such/python"], "no such file"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
