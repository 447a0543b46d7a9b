"""Colours on terminals alone, no line wider than they are, and as much said as was asked for."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.terminal import Voice, detail, has_colour, say, speaking, tell, width_of, writing_through

ROOT = Path(__file__).resolve().parents[2]
STAGES = """
import sys
import pipeline.progress
from pipeline.commands.arguments import guarded
from pipeline.errors import DataError
from pipeline.progress import stage
from pipeline.runs import RunLog
from pathlib import Path

pipeline.progress._SECONDS_BETWEEN_DRAWINGS = 0.0

def body():
    log = RunLog(Path(sys.argv[1]))
    for name in ("prepare train", "prepare validation, fold 10 (11 of 100)"):
        with stage(name, 300, "cases") as progress:
            for _ in range(300):
                progress.advance()
    log.say("warning: " + "the figures are to be read with care, " * 5)
    with stage("train, fold 10 (11 of 100)", None, "slices", 0, 0.0) as progress:
        for step in range(300):
            progress.advance(1000, step / 300, loss="123456.789", best_Dice="0.873")
            if step % 100 == 0:
                progress.write("epoch 100  loss 123.4567  validation: loss 123.4567, Dice 0.1234 (best)")
        log("a line of the log")
    raise DataError("holds 7, which is no class", where="/data/labels/p001.nii.gz", remedy="Name it in data.classes")

sys.exit(guarded(body, show_traceback=False, voice=sys.argv[2]))
"""


class Stream:
    def __init__(self, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def in_terminal(arguments: list[str], columns: int, **environment: str) -> tuple[str, int]:
    """What a command writes to a terminal of so many columns, and its exit code."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(arguments, cwd=ROOT, stdin=side, stdout=side, stderr=side, env=clean(environment))
    os.close(side)
    written = bytearray()
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not part:
            break
        written += part
    os.close(main)
    return written.decode(), process.wait()


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what says something of colours, and with this."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, "TERM": "xterm", **environment}


def lines_on_screen(written: str) -> list[str]:
    """Every line that was ever shown, without its colours."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", written)
    return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


@pytest.mark.parametrize(
    ("environment", "on_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"TERM": "xterm-256color"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),  # https://no-color.org: present and not empty
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_who_gets_colours(environment: dict[str, str], on_terminal: bool, elsewhere: bool) -> None:
    assert has_colour(Stream(True), environment) is on_terminal  # type: ignore[arg-type]
    assert has_colour(Stream(False), environment) is elsewhere  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [80, 120])
def test_no_line_is_wider_than_the_terminal(tmp_path: Path, columns: int) -> None:
    written, code = in_terminal([sys.executable, "-c", STAGES, str(tmp_path / "log.txt"), "normal"], columns)
    lines = lines_on_screen(written)
    assert code == 2
    assert max(map(width_of, lines)) <= columns
    ends = [line for line in lines if "took " in line]
    assert next(line.split("|")[0].rstrip() for line in dict.fromkeys(ends)) == "prepare train      100%"
    assert any("best Dice 0.873" in line for line in ends) == (columns == 120), "as many figures as there is room for"
    assert "300/300 cases" in written and "left" in written
    assert "\x1b[33mwarning:\x1b[0m the figures" in written
    assert "\x1b[1;31merror:\x1b[0m /data/labels/p001.nii.gz: holds 7" in written
    assert "a line of the log" not in written
    assert "\x1b" not in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours(tmp_path: Path, variables: dict[str, str]) -> None:
    arguments = [sys.executable, "-c", STAGES, str(tmp_path / "log.txt"), "normal"]
    written, _ = in_terminal(arguments, 80, **variables)
    assert "error: /data/labels" in written and "warning: the figures" in written
    assert not re.search(r"\x1b\[[0-9;]*m", written)


def test_quiet_on_a_terminal(tmp_path: Path) -> None:
    written, code = in_terminal([sys.executable, "-c", STAGES, str(tmp_path / "log.txt"), "quiet"], 80)
    assert code == 2
    assert [line[:8] for line in lines_on_screen(written) if line[:2] != "  "] == ["warning:", "error: /"]
    assert "a line of the log" in (tmp_path / "log.txt").read_text(), "the log is told all the same"


@pytest.mark.parametrize("voice", ["normal", "verbose", "quiet"])
def test_a_pipe_gets_plain_lines(tmp_path: Path, voice: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STAGES, str(tmp_path / "log.txt"), voice],
        cwd=ROOT, env=clean({}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    assert ("Traceback" in done.stderr) == ("a line of the log" in done.stderr) == (voice == "verbose")
    assert ("epoch 100" in done.stderr) == (voice != "quiet")
    assert "error: /data/labels/p001.nii.gz: holds 7, which is no class. Name it in data.classes." in done.stderr
    assert "warning: the figures" in done.stderr


@pytest.mark.parametrize(
    ("voice", "told"),
    [("quiet", ["warning: b", "d"]), ("normal", ["a", "warning: b", "d"]), ("verbose", ["a", "warning: b", "c", "d"])],
)
def test_what_each_voice_tells(voice: Voice, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with speaking(voice):
        say("a")
        say("warning: b")
        detail("c")
        tell("d")
    assert capsys.readouterr().err.splitlines() == told
    detail("afterwards")
    assert capsys.readouterr().err == ""


def test_lines_go_through_what_draws_a_bar() -> None:
    lines: list[str] = []
    with writing_through(lines.append):
        say("one\ntwo")
    assert lines == ["one", "two"]


def test_wide_and_combining_letters() -> None:
    assert [width_of(text) for text in ("liver", "肝臓", "e\u0301")] == [5, 4, 1]
