"""Cases counted beside their prediction: the same figures whoever counts, in order, and nothing left running."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from pipeline.commands import counting
from pipeline.commands.counting import CountingRules, PredictedCase, count_case, count_cases
from pipeline.errors import Fault
from pipeline.evaluation.confusion import CaseCounts
from transforms.nifti import ReadOptions

ROOT = Path(__file__).parents[3]
RULES = CountingRules(ReadOptions(), 3, knows_spacing=True, tolerance=1.0)
SPACING = (1.0, 2.0, 3.0)


@pytest.fixture
def predicted(tmp_path: Path, write_nifti: Callable[..., Path], make_case: Callable[..., Any]) -> list[PredictedCase]:
    """Six volumes of one block each; the prediction of case n is n voxels too long along the first axis."""
    found = []
    for number in range(6):
        label = np.zeros((12, 6, 4), dtype=np.uint8)
        label[1:5, 1:5, 1:3] = 1
        mask = label.copy()
        mask[5 : 5 + number, 1:5, 1:3] = 1
        path = write_nifti(tmp_path / f"c{number}.nii.gz", label, SPACING)
        found.append(PredictedCase(make_case(f"c{number}", f"p{number}", label=path), mask, 2))
    return found


def figures(counts: list[CaseCounts]) -> list[Any]:
    told = []
    for one in counts:
        assert one.distances is not None
        hd95, near = (one.distances.figures[name].tolist() for name in ("hd95", "surface_dice"))
        told.append((one.case, one.patient, one.slices.tallies.tolist(), one.voxel_volume_mm3, str(hd95), str(near)))
    return told


def nothing(*_: Any) -> None:
    return None


def test_one_case_by_hand(predicted: list[PredictedCase]) -> None:
    found = count_case(predicted[2], RULES)
    assert (found.case, found.scan, found.patient) == ("c2", "c2", "p2")
    assert found.slices.tallies.shape == (4, 3, 3)
    assert found.slices.tallies[:, :, 1].tolist() == [[0, 0, 0], [16, 16, 24], [16, 16, 24], [0, 0, 0]]
    assert found.voxel_volume_mm3 == 6.0
    assert found.distances is not None
    assert (found.distances.unit, found.distances.tolerance, found.distances.rank) == ("mm", 1.0, 3)
    # The far end of the prediction lies two voxels of 1 mm from that of the label.
    assert math.isnan(found.distances.figures["hd95"][0]) and found.distances.figures["hd95"][1] == 2.0
    assert math.isnan(found.distances.figures["hd95"][2])


def test_without_spacing_distances_are_in_pixels_and_volumes_unknown(predicted: list[PredictedCase]) -> None:
    found = count_case(predicted[3], CountingRules(ReadOptions(), 3, knows_spacing=False, tolerance=1.0))
    assert found.voxel_volume_mm3 is None and found.distances is not None
    assert found.distances.unit == "pixels" and found.distances.figures["hd95"][1] == 3.0


def test_a_slice_has_distances_in_its_plane_and_no_volume(
    tmp_path: Path, write_nifti: Callable[..., Path], make_case: Callable[..., Any]
) -> None:
    label = np.zeros((8, 8), dtype=np.uint8)
    label[2:4, 2:4] = 1
    path = write_nifti(tmp_path / "s.nii.gz", label, (1.0, 2.5))
    found = count_case(PredictedCase(make_case("s", label=path), np.roll(label, 2, 1), -1), RULES)
    assert found.voxel_volume_mm3 is None and len(found.slices) == 1 and found.distances is not None
    assert found.distances.rank == 2 and found.distances.figures["hd95"][1] == 5.0


def test_processes_give_the_same_in_the_same_order(
    predicted: list[PredictedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[CaseCounts] = []
    expected = count_cases(iter(predicted), 6, RULES, 1, alone.append, pytest.fail)
    assert figures(alone) == figures(expected) and [one.case for one in expected] == [f"c{n}" for n in range(6)]
    monkeypatch.setattr(counting, "_PATIENCE_S", 0.0)
    submitted = watched(monkeypatch)
    done: list[CaseCounts] = []
    found = count_cases(iter(predicted), 6, RULES, 2, done.append, pytest.fail)
    assert submitted == ["c2", "c3", "c4", "c5"], "after two, it is known how long one takes"
    assert figures(found) == figures(done) == figures(expected)


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of cases that are given to other processes."""
    submitted: list[str] = []
    submit = counting._Processes.submit

    def note(self: counting._Processes, one: PredictedCase) -> Future[CaseCounts] | None:
        submitted.append(one.case.id)
        return submit(self, one)

    monkeypatch.setattr(counting._Processes, "submit", note)
    return submitted


@pytest.mark.parametrize(("workers", "patience"), [(1, 0.0), (4, 3600.0)])
def test_no_process_is_started_for_little(
    predicted: list[PredictedCase], monkeypatch: pytest.MonkeyPatch, workers: int, patience: float
) -> None:
    monkeypatch.setattr(counting, "_PATIENCE_S", patience)
    submitted = watched(monkeypatch)
    assert len(count_cases(iter(predicted), 6, RULES, workers, nothing, pytest.fail)) == 6
    assert submitted == []


class Pool:
    """Stands in for the pool: nothing is counted until it is asked for; from the third case on it is broken."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.submitted = 0

    def submit(self, count: Callable[..., CaseCounts], *arguments: Any) -> Future[CaseCounts]:
        self.submitted += 1
        if self.submitted > 4:
            raise BrokenProcessPool
        future: Future[CaseCounts] = Future()
        if self.submitted > 2:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(count(*arguments))
        return future

    def shutdown(self, **_: Any) -> None:
        pass


def test_where_a_process_is_killed_this_one_goes_on_and_says_so(
    predicted: list[PredictedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(counting, "ProcessPoolExecutor", Pool)
    twice = [*predicted, *predicted]
    expected = count_cases(iter(twice), 12, RULES, 1, nothing, pytest.fail)
    said: list[str] = []
    assert figures(count_cases(iter(twice), 12, RULES, 2, nothing, said.append)) == figures(expected)
    assert len(said) == 1 and "killed" in said[0]


def test_few_masks_wait(predicted: list[PredictedCase], monkeypatch: pytest.MonkeyPatch) -> None:
    """The predictor is not asked for more masks than are counted soon."""
    monkeypatch.setattr(counting, "_PATIENCE_S", 0.0)
    counted: list[CaseCounts] = []
    ahead: list[int] = []

    class Slow(Pool):
        def submit(self, count: Callable[..., CaseCounts], *arguments: Any) -> Future[CaseCounts]:
            future: Future[CaseCounts] = Future()
            monkeypatch.setattr(future, "done", lambda: False)
            future.set_result(count(*arguments))
            return future

    def coming() -> Iterator[PredictedCase]:
        for number in range(30):
            ahead.append(number - len(counted))
            yield predicted[number % 6]

    monkeypatch.setattr(counting, "ProcessPoolExecutor", Slow)
    found = count_cases(coming(), 30, RULES, 2, counted.append, pytest.fail)
    assert [one.case for one in found] == [f"c{number % 6}" for number in range(30)]
    assert max(ahead) == counting._AHEAD * 2, "for each of the two processes"


def test_a_label_that_went_bad_is_named_wherever_it_is_read(
    predicted: list[PredictedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_PATIENCE_S", 0.0)
    bad = predicted[4].case.label
    assert bad is not None
    bad.write_bytes(bad.read_bytes()[:50])
    before = multiprocessing.active_children()
    with pytest.raises(Fault, match=r"c4\.nii\.gz"):
        count_cases(iter(predicted), 6, RULES, 2, nothing, pytest.fail)
    assert ended(before)


class Late:
    """Takes a minute to arrive in another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return time.sleep, (60,)


def test_an_interrupt_ends_the_processes_at_once(
    predicted: list[PredictedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_PATIENCE_S", 0.0)
    before = multiprocessing.active_children()

    def coming() -> Iterator[PredictedCase]:
        yield from predicted[:2]
        yield PredictedCase(predicted[2].case, cast(np.ndarray, Late()), 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count_cases(coming(), 6, RULES, 2, nothing, pytest.fail)
    assert ended(before)


def ended(before: list[Any], patience: float = 10.0) -> bool:
    """Whether no process is left but those of before."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if set(multiprocessing.active_children()) <= set(before):
            return True
        time.sleep(0.02)
    return False


_PROGRAM = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from pipeline.commands.counting import _follow
if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_follow)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_signals_are_left_to_the_first_process_and_its_end_is_followed(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        os.kill(worker, number)
    time.sleep(0.1)
    assert alive(worker)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(worker), "a worker whose parent was killed ends"


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_what_the_processes_import_is_light() -> None:
    code = "import sys, pipeline.commands.counting; print({'torch', 'monai', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
