"""Programs that are measured: what they answer, what they hold, and how they end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks.workers import Unmeasured, Worker, family, run_command

MODULE = "tests.benchmarks.slow_program"


def test_a_program_is_made_ready_once_and_timed_each_time() -> None:
    with Worker(sys.executable, MODULE, "nap", seconds=0.05) as worker:
        first, second = worker(), worker()
    assert 0.05 <= first.seconds < 5
    assert (first.result, second.result) == (1, 2)


def test_what_a_program_prints_is_no_answer() -> None:
    with Worker(sys.executable, MODULE, "talk") as worker:
        assert worker().result == "said"


def test_a_program_that_waits_for_its_turn_does_nothing() -> None:
    with Worker(sys.executable, MODULE, "ahead") as worker:
        before = worker().result
        time.sleep(0.5)
        assert worker().result - before < 20, "its thread counted while others were measured"


def test_a_program_may_time_itself() -> None:
    with Worker(sys.executable, MODULE, "own_time") as worker:
        assert worker().seconds == 12.5


def test_a_fault_is_told_with_its_last_line() -> None:
    with (
        Worker(sys.executable, MODULE, "fails") as worker,
        pytest.raises(Unmeasured, match="ValueError: no such thing"),
    ):
        worker()
    with pytest.raises(Unmeasured, match="KeyError"):
        Worker(sys.executable, MODULE, "unknown")
    with pytest.raises(Unmeasured, match="No module named"):
        Worker(sys.executable, "benchmarks.no_such_module", "x")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the kernel does not show memory")
def test_memory_is_that_of_the_program_and_not_of_this_one() -> None:
    held = bytearray(os.urandom(1)) * 300_000_000  # a child would begin with it, by getrusage
    with Worker(sys.executable, MODULE, "hold", megabytes=80) as worker:
        sample = worker()
    assert 80e6 < sample.peak_bytes < 200e6
    code = "import time; held = bytearray(b'1') * 90_000_000; time.sleep(0.4)"
    single = run_command([sys.executable, "-c", code])
    assert 90e6 < single.peak_bytes < 200e6
    both = run_command([sys.executable, "-c", f"import subprocess, sys; code = {code!r}; "
                        "p = subprocess.Popen([sys.executable, '-c', code]); exec(code); p.wait()"])  # fmt: skip
    assert 180e6 < both.peak_bytes < 300e6
    assert len(held) == 300_000_000


def test_a_command_gives_its_output_and_its_code_is_looked_at() -> None:
    assert run_command([sys.executable, "-c", "print('yes')"]).result == "yes\n"
    assert run_command([sys.executable, "-c", "raise SystemExit(2)"], (2,)).seconds > 0
    with pytest.raises(Unmeasured, match=r"exit code 1\nTraceback[^$]*ZeroDivisionError"):
        run_command([sys.executable, "-c", "1 / 0"])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel does not show processes")
def test_nothing_that_a_program_started_is_left() -> None:
    with Worker(sys.executable, MODULE, "parent") as worker:
        child = int(worker().result)
        assert child in family(os.getpid())
    stat = Path(f"/proc/{child}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":  # ended, and nobody asked how
            return
        time.sleep(0.05)
    pytest.fail("it is still there")
