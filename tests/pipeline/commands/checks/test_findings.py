"""Findings as lines for people and as one value for machines."""

from __future__ import annotations

import io
import json
import sys

import pytest

from pipeline.commands.checks.findings import Findings, aligned, counted
from pipeline.errors import ConfigError, DataError, Faults
from pipeline.terminal import speaking


def filled(*, as_json: bool) -> Findings:
    findings = Findings(as_json=as_json)
    findings.section("config", "a.yaml: 2 errors")
    findings.faults(
        [Faults([ConfigError("unknown key 'x'", where="a.yaml:1: x", remedy="Remove it"), DataError("no")])]
    )
    findings.section("split", "holdout")
    findings.warning("one patient says little")
    findings.note("a hint")
    findings.note("splits.kind is holdout")
    findings.values(kind="holdout")
    return findings


def test_lines_come_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    findings = filled(as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "config      a.yaml: 2 errors",
        "  error     a.yaml:1: x: unknown key 'x'. Remove it.",
        "  error     no.",
        "split       holdout",
        "  warning   One patient says little.",
        "  note      A hint.",
        "  note      splits.kind is holdout.",
    ]
    findings.close()
    assert capsys.readouterr().out == "verdict     2 errors, 1 warning: a run would be refused\n"


def test_one_json_value_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    findings = filled(as_json=True)
    assert capsys.readouterr().out == ""
    findings.close()
    value = json.loads(capsys.readouterr().out)
    assert value["counts"] == {"error": 2, "warning": 1, "note": 2}
    assert value["findings"][0] == {"level": "error", "section": "config", "what": "unknown key 'x'",
                                    "where": "a.yaml:1: x", "remedy": "Remove it"}  # fmt: skip
    assert value["findings"][2] == {"level": "warning", "section": "split", "what": "one patient says little"}
    assert value["split"] == {"kind": "holdout"}


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [([], "nothing is wrong: a run can start"), (["warning"], "1 warning: a run can start"),
     (["note"], "nothing is wrong: a run can start"), (["warning", "warning"], "2 warnings: a run can start")],
)  # fmt: skip
def test_the_verdict(levels: list[str], verdict: str, capsys: pytest.CaptureFixture[str]) -> None:
    findings = Findings()
    findings.section("x")
    for level in levels:
        getattr(findings, level)("something")
    findings.close()
    assert capsys.readouterr().out.splitlines()[-1] == f"verdict     {verdict}"


def test_very_many_faults_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    findings = Findings()
    findings.section("files")
    findings.faults([DataError(f"fault {number}") for number in range(45)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 32 and lines[-1] == "  error     15 more; --json has them all"
    assert findings.count("error") == 45


def test_columns() -> None:
    assert aligned([("a", "b", "10"), ("long", "b", "9")], left=2) == ["a     b  10", "long  b   9"]
    assert counted(1234, "slice") == "1,234 slices"


def test_quiet_leaves_what_is_wrong_and_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    with speaking("quiet"):
        findings = filled(as_json=False)
        findings.lines(["a table"])
        findings.close()
    assert capsys.readouterr().out.splitlines() == [
        "  error     a.yaml:1: x: unknown key 'x'. Remove it.",
        "  error     no.",
        "  warning   One patient says little.",
        "verdict     2 errors, 1 warning: a run would be refused",
    ]


def test_on_a_terminal_its_lines_fit_and_have_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    filled(as_json=False)
    assert terminal.getvalue().splitlines()[:5] == [
        "\x1b[1mconfig      \x1b[0ma.yaml: 2 errors",
        "\x1b[1;31m  error     \x1b[0ma.yaml:1: x: unknown key",
        "            'x'. Remove it.",
        "\x1b[1;31m  error     \x1b[0mno.",
        "\x1b[1msplit       \x1b[0mholdout",
    ]
