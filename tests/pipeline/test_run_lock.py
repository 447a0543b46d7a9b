"""One process a run; what a killed one left half written goes with the next."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline.errors import RunError
from pipeline.run_lock import sole_process

CHECKOUT = Path(__file__).parents[2]


def test_a_second_process_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from pipeline.run_lock import sole_process\n"
        "with sole_process(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=CHECKOUT)
    assert first.stdout is not None and first.stdout.readline() == b"in\n"
    with pytest.raises(RunError, match="another process is at work on this run") as fault, sole_process(tmp_path):
        pytest.fail("two processes are at work")
    assert fault.value.where == str(tmp_path) and "--resume" in fault.value.remedy
    first.kill()
    first.communicate()
    with sole_process(tmp_path):
        pass


def test_leftovers_are_cleared_and_nothing_else(tmp_path: Path) -> None:
    for name in ("checkpoints/.part-7-ab", "fold_0/checkpoints/.part-8-cd", ".part-9-ef", "checkpoints/last.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    with sole_process(tmp_path):
        left = [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]
    assert left == ["last.pt"]


def test_another_process_loses_nothing_to_who_is_refused(tmp_path: Path) -> None:
    with sole_process(tmp_path):
        (tmp_path / ".part-7-ab").write_bytes(b"being written")
        with pytest.raises(RunError), sole_process(tmp_path):
            pytest.fail("two at work")
        assert (tmp_path / ".part-7-ab").exists()


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()])
def test_without_locks_it_goes_on_and_clears_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: FileLock, **_: float) -> None:
        raise error

    (tmp_path / ".part-7-ab").touch()
    monkeypatch.setattr(FileLock, "acquire", fail)
    with sole_process(tmp_path):
        assert (tmp_path / ".part-7-ab").exists()
