"""bin/benchmark: both parts run, compare the same arrays, and print ratios."""

from __future__ import annotations

import pytest

from pipeline.commands.benchmark import main


def test_read_prints_a_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "read", "--rounds", "1"]) == 0
    assert "times as fast" in capsys.readouterr().out


def test_unknown_parts_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "raed"]) == 2
    assert "raed" in capsys.readouterr().err
