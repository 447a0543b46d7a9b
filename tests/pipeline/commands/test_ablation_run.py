"""A process that is listened to: what it says, how it ended and why, and signals that are passed on to it once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.commands.ablation_run import CHECKOUT, Ended, Listener, run_command, validation_command


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, signal, sys, time\n{code}"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('out')", Ended(0)),
        ("print('error: a: b. Do c.', file=sys.stderr); sys.exit(2)", Ended(2, "a: b. Do c.")),
        ("print('error: a.\\nerror: b.\\n2 errors.', file=sys.stderr); sys.exit(2)", Ended(2, "a. (and 1 more)")),
        ("print('usage: x\\nsomething', file=sys.stderr); sys.exit(2)", Ended(2, "usage: x; something")),
        ("os.kill(os.getpid(), signal.SIGKILL)", Ended(2, "killed by SIGKILL, perhaps for want of memory")),
        ("os.kill(os.getpid(), signal.SIGTERM)", Ended(2, "killed by SIGTERM")),
        ("sys.exit(3)", Ended(3, "a signal")),
    ],
)  # fmt: skip
def test_how_it_ended(code: str, expected: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    assert Listener().run(python(code)) == expected
    captured = capsys.readouterr()
    assert captured.out == "", "standard output is that of the ablation"
    if "error: a." in code:
        assert "error: a.\nerror: b.\n2 errors.\n" in captured.err


def test_a_defect_is_told_by_the_end_of_its_traceback() -> None:
    """As a command itself tells it: a traceback, then a line that says that it is a defect."""
    code = f"""
sys.path.insert(0, {str(CHECKOUT)!r})
from pipeline.commands.arguments import guarded
def body():
    {{}}[3]
sys.exit(guarded(body, show_traceback=False))
"""
    ended = Listener().run(python(code))
    assert ended.code == 1 and ended.reason.startswith("a defect of Slicewise: ")
    assert ended.reason.endswith("; KeyError: 3") and ended.reason.count("defect of Slicewise") == 1
    assert "^" not in ended.reason and ended.reason.count("; ") == 2


def test_colours_that_are_forced_do_not_hide_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's own words, by the function that every command says them through."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    said = f"sys.path.insert(0, {str(CHECKOUT)!r})\nfrom pipeline.terminal import tell\ntell('error: a: b. Do c.')"
    assert Listener().run(python(f"{said}\nsys.exit(2)")) == Ended(2, "a: b. Do c.")
    assert capsys.readouterr().err == "error: a: b. Do c.\n"
    other = "sys.exit(2 * ('FORCE_COLOR' in os.environ or os.environ['NO_COLOR'] != '1'))"
    assert Listener().run(python(other)) == Ended(0), "libraries that know of these alone"


@pytest.mark.parametrize(
    ("sent", "received"),
    [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGUSR1", "SIGUSR1"), ("SIGHUP", "SIGTERM")],
)
@pytest.mark.parametrize("times", [1, 2])
def test_the_first_signal_is_passed_on_once(
    sent: str, received: str, times: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = f"""
got = []
for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP"):
    signal.signal(getattr(signal, name), lambda number, frame: got.append(signal.Signals(number).name))
open({str(tmp_path / "ready")!r}, "w").close()
while not got: time.sleep(0.01)
open({str(tmp_path / "noted")!r}, "w").close()
time.sleep(0.5)
open({str(tmp_path / "got")!r}, "w").write(" ".join(got))
sys.exit(3)
"""

    def send() -> None:
        for name in ("ready", "noted")[:times]:
            while not (tmp_path / name).exists():
                time.sleep(0.01)
            os.kill(os.getpid(), getattr(signal, sent))

    first = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may have it ignored
    before = signal.getsignal(getattr(signal, sent))
    listener, sender = Listener(), threading.Thread(target=send)
    with listener.listening():
        sender.start()
        assert listener.run(python(code)) == Ended(3, f"{sent}")
    sender.join()
    assert (tmp_path / "got").read_text() == received and listener.asked == sent
    assert capfd.readouterr().err.count(f"{sent}: the run was asked to stop, and ends when it has saved") == times - 1
    assert signal.getsignal(getattr(signal, sent)) == before
    signal.signal(signal.SIGHUP, first)


def test_a_terminal_that_is_gone_is_nothing_to_what_was_told_to_outlive_it() -> None:
    first = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    listener = Listener()
    with listener.listening():
        signal.raise_signal(signal.SIGHUP)
        assert listener.run(python("")) == Ended(0) and not listener.asked
    signal.signal(signal.SIGHUP, first)


def test_what_came_before_a_process_started_reaches_it() -> None:
    listener = Listener()
    with listener.listening():
        signal.raise_signal(signal.SIGTERM)
        assert listener.run(python("time.sleep(60)")) == Ended(3, "SIGTERM")


def test_a_run_that_finished_in_spite_of_a_signal_is_done_and_a_refused_one_is_refused() -> None:
    listener = Listener()
    listener.asked = "SIGTERM"
    ignoring = "print('error: x', file=sys.stderr); sys.exit({})"
    assert listener._ended(0, [], []) == Ended(0)
    assert listener._ended(2, ["x"], []) == Ended(2, "x")
    assert listener._ended(-9, [], []) == Ended(3, "SIGTERM") == listener._ended(1, [], [ignoring])


def test_commands() -> None:
    assert run_command("c.yaml", ("a=1", "b=[2, 3]"), Path("out"), resume=True, allow_stand_in=False) == [
        "c.yaml", "--set", "a=1", "--set", "b=[2, 3]", "--out", "out", "--resume", "--no-stand-in",
    ]  # fmt: skip
    assert run_command("c.yaml", (), Path("out"), resume=False, allow_stand_in=True) == ["c.yaml", "--out", "out"]
    assert (CHECKOUT / "bin/run_pipeline").is_file()
    assert validation_command(Path("out"))[1:] == ["-m", "pipeline.commands.validation_scores", "out"]
