"""Progress as plain lines where there is no terminal, and as a bar where there is one."""

from __future__ import annotations

import io
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from pipeline import progress
from pipeline.progress import Progress, stage
from pipeline.terminal import speaking


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=50.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_line_every_ten_seconds_and_one_at_the_end(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage("read", 30, "slices") as told:
        for _ in range(25):
            clock.now += 1
            told.advance()
    out, err = capsys.readouterr()
    assert out == "", "standard output is for results"
    assert err.splitlines() == [
        "read: 10/30 slices, 1 slices/s",
        "read: 20/30 slices, 1 slices/s",
        "read: 25/30 slices, 1 slices/s",
    ]


def test_a_last_line_that_says_nothing_new_is_left_out(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage("read", 20, "slices") as told:
        for _ in range(20):
            clock.now += 1
            told.advance()
        clock.now += 3  # something else is done, such as writing a checkpoint
    assert capsys.readouterr().err.splitlines() == ["read: 10/20 slices, 1 slices/s", "read: 20/20 slices, 1 slices/s"]
    with stage("train", None, "slices") as told:
        clock.now += 10
        told.advance(20, loss="0.5")
        told.advance(0, loss="0.4")
    assert capsys.readouterr().err.splitlines() == [
        "train: 20 slices, 2 slices/s, loss 0.5", "train: 20 slices, 2 slices/s, loss 0.4",
    ]  # fmt: skip
    with stage("train", 20, "slices", 20):
        clock.now += 1
    assert capsys.readouterr().err == "train: 20/20 slices, 0 slices/s\n", "what was done before is told once"


@pytest.mark.parametrize(
    ("count", "seconds", "shown"), [(1, 4, "0.25"), (1, 300, "0.0033"), (99, 10, "9.9"), (1234, 1, "1234"), (0, 1, "")]
)
def test_rates_have_digits_that_matter(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str], count: int, seconds: float, shown: str
) -> None:
    told = Progress("read", None, "cases")
    clock.now += seconds
    if count:
        told.advance(count)
    told.close()  # the line is told by either of the two
    assert capsys.readouterr().err == (f"read: {count} cases, {shown} cases/s\n" if count else "")


def test_figures_are_told_with_the_latest_values(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    told = Progress("train", None, "slices")
    told.advance(5, loss="0.9", best_dice="0.1")
    clock.now += 10
    told.advance(5, loss="0.4")
    assert capsys.readouterr().err == "train: 10 slices, 1 slices/s, loss 0.4, best dice 0.1\n"
    told.write("epoch 1")
    assert capsys.readouterr().err == "epoch 1\n"


def test_the_last_line_comes_after_an_error_too(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), stage("read", 3, "cases") as told:
        clock.now += 2
        told.advance()
        raise ZeroDivisionError
    assert capsys.readouterr().err == "read: 1/3 cases, 0.5 cases/s\n"


def test_threads_may_count(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(int):
        def __radd__(self, other: int) -> int:
            time.sleep(0.002)  # another thread has its turn between the reading of a sum and the writing
            return int(self) + int(other)

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    told = Progress("read", None, "cases")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(told.advance, [Slow(1)] * 40))
    assert told.done == 40


def test_the_share_of_a_budget(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    with stage("train", None, "slices", 0, share=0.25) as told:
        clock.now += 10
        told.advance(20, 0.5, loss="0.5")
        told.advance(4, 1.2)
    assert capsys.readouterr().err.splitlines() == [
        "train: 50% of the budget, 20 slices, 2 slices/s, loss 0.5",
        "train: 100% of the budget, 24 slices, 2.4 slices/s, loss 0.5",
    ]


def test_nothing_is_shown_where_it_is_to_be_quiet(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    with speaking("quiet"), stage("read", 20, "slices") as told:
        clock.now += 20
        told.advance(10)
        told.write("epoch 1")
        told.write("warning: a file is odd")
    assert terminal.getvalue() == "\x1b[33mwarning:\x1b[0m a file is odd\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [7, None])
def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, total: int | None) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with stage("predict", total, "slices") as told:
        told.advance(3, loss="0.25")
        told.write("epoch 1")
        told.advance(4)
    text = terminal.getvalue()
    assert "epoch 1\n" in text
    last = text.split("\r")[-1].rstrip("\n")
    assert last.startswith("predict            100%|" if total else "predict            7 slices, ")
    assert last.endswith("took 0:00, loss 0.25")
    assert "slices/s, loss" not in text, "no plain lines besides"


@pytest.mark.parametrize(
    ("before", "share", "seconds", "left"),
    [
        (0.0, 0.25, 30, "1:30 left"),  # a quarter in 30 s
        (0.5, 0.75, 60, "1:00 left"),  # gone on with from the half
        (0.0, 0.5, 7200, "2:00:00 left"),
    ],
)
def test_the_time_left_of_a_budget(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, before: float, share: float, seconds: float, left: str
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    told = Progress("train", None, "slices", 0, before)
    clock.now += seconds
    told.advance(600, share)
    assert f"{share:.0%}|" in terminal.getvalue() and terminal.getvalue().endswith(f", {left}")
    told.close()
    assert "left" not in terminal.getvalue().split("\r")[-1]


def test_the_time_left_of_a_total_counts_this_session_alone(
    clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    told = Progress("train", 100, "slices", before=40)
    clock.now += 10
    told.advance(20)  # 2 a second; 40 are left
    assert terminal.getvalue().endswith("60/100 slices, 2/s, 0:20 left")
    told.close()
