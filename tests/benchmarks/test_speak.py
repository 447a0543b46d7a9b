"""The clock of a measured program: a GPU's own events where there is one, after everything before has ended."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.peers import speak


class FakeGpu:
    """Stands in for torch.cuda: its clock goes on by a second with each event."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def synchronize(self) -> None:
        self.calls.append("synchronize")

    def max_memory_allocated(self) -> int:
        return 123

    def Event(self, enable_timing: bool) -> Any:
        assert enable_timing
        gpu = self

        class Event:
            at = 0.0

            def record(self) -> None:
                gpu.calls.append("record")
                self.at = float(len(gpu.calls))

            def elapsed_time(self, other: Event) -> float:
                return 1e3 * (other.at - self.at)

        return Event()


def test_a_gpu_keeps_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = FakeGpu()
    monkeypatch.setattr(speak, "cuda_in_use", lambda: gpu)

    def work() -> int:
        gpu.calls.append("work")
        return 7

    found = speak.measured(work)
    assert gpu.calls == ["synchronize", "record", "work", "record", "synchronize"]
    assert found["seconds"] == pytest.approx(2.0)
    assert (found["result"], found["device_peak_bytes"]) == (7, 123)


def test_without_one_it_is_the_clock_on_the_wall() -> None:
    found = speak.measured(lambda: 7)
    assert 0 < found["seconds"] < 1 and found["result"] == 7 and "device_peak_bytes" not in found


def test_cores_are_those_that_may_be_used() -> None:
    assert speak.cores_allowed() >= 1
