"""What is measured runs in processes of its own: programs that are asked again and again, and whole commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]
_FIRST_LOOK_S, _LAST_LOOK_S = 0.02, 1.0  # between two looks at the memory: quick ones are short, and looking costs


class Unmeasured(Exception):
    """A program that failed: what it said last."""


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes
    ----------
    seconds
        That it took.
    peak_bytes
        The most memory that its process, or a command's processes together, have held.
    device_peak_bytes
        On the GPU; None where there is none.
    result
        What it found, for comparison.
    """

    seconds: float
    peak_bytes: int
    device_peak_bytes: int | None = None
    result: Any = None


class Worker:
    """A program that speaks `benchmarks.peers.speak`: made ready once, then called as often as is wanted.

    Between two calls it is stopped, with all that it started: what loads ahead would work in another program's time,
    and have its own work done before the clock runs.

    Parameters
    ----------
    python
        The interpreter.
    module
        Such as ``benchmarks.peers.monai_read``.
    job, arguments
        What it is to make ready.

    Raises
    ------
    Unmeasured
        When it cannot, with the end of what it said.
    """

    def __init__(self, python: Path | str, module: str, job: str, /, **arguments: Any) -> None:
        self.name, self._watched = f"{module} {job}", False
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        self._process = subprocess.Popen(
            [str(python), "-m", module], cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._said, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            self._ask({"job": job, "with": arguments})
        except BaseException:
            self.close()
            raise

    def __call__(self) -> Sample:
        """Do it once; its memory is watched the first time, which does not count, for watching costs."""
        with nullcontext() if self._watched else _Memory(self._process.pid) as memory:
            answer = self._ask({"run": True})
        self._watched = True
        # With what it has started, such as the workers of a loader.
        together = max(bytes_together(self._process.pid), 0 if memory is None else memory.peak_bytes)
        peak = max(answer["peak_bytes"], together)
        return Sample(answer["seconds"], peak, answer.get("device_peak_bytes"), answer["result"])

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._signal(signal.SIGCONT)
        try:
            return self._answer(request)
        finally:
            self._signal(signal.SIGSTOP)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it has ended
            os.killpg(self._process.pid, number)

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": last_lines(self._said)}
        if "error" in answer:
            raise Unmeasured(f"{self.name}: {answer['error'].strip()}")
        return answer

    def close(self) -> None:
        """End the program, and what it has started."""
        end_group(self._process.pid)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._said):
            assert stream is not None
            with suppress(BrokenPipeError):  # what was asked last was never read
                stream.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def run_command(command: Sequence[object], codes: Sequence[int] = (0,), /, **variables: str) -> Sample:
    """Run a whole command, as it is typed; its result is what it wrote to its standard output.

    Parameters
    ----------
    command
        Program and arguments.
    codes
        Exit codes that are as they should be.
    variables
        Of the environment, added.

    Raises
    ------
    Unmeasured
        When it ends with another code, with the end of what it said.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], cwd=ROOT, env=environment() | variables, stdin=subprocess.DEVNULL,
            stdout=out, stderr=said, start_new_session=True,
        )  # fmt: skip
        try:
            with _Memory(process.pid) as memory:
                _, status, usage = os.wait4(process.pid, 0)
                seconds = time.perf_counter() - began
        finally:  # also when this program is interrupted: a signal to its group does not reach the command
            end_group(process.pid)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        if code not in codes:
            raise Unmeasured(f"{' '.join(map(str, command))}: exit code {code}\n{last_lines(said)}")
        # Where it was never looked at, what the kernel tells; that is not less than what this process holds.
        peak = memory.peak_bytes or usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        out.seek(0)
        return Sample(seconds, peak, None, out.read().decode(errors="replace"))


def end_group(leader: int) -> None:
    """End whatever a program that led a session of its own has left behind, and the program itself."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def environment() -> dict[str, str]:
    """Of a measured program: ours, without the run's own settings, and with this checkout to import from."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return kept | {"PYTHONPATH": str(ROOT), "SLICEWISE_NO_SETUP": "1", "PYTHONWARNINGS": "ignore"}


def last_lines(said: IO[bytes], most: int = 3000) -> str:
    """The end of what a program said."""
    length = said.seek(0, os.SEEK_END)
    said.seek(max(0, length - most))
    return said.read().decode(errors="replace").strip() or "it said nothing"


class _Memory:
    """Looks now and then at the memory of a process and of all that it started, together; what they share counts once.

    Where the kernel does not show it, the peak stays 0.
    """

    def __init__(self, root: int) -> None:
        self.peak_bytes, self._root = 0, root
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        pause = _FIRST_LOOK_S
        while not self._ended.wait(pause):
            # Of one process the kernel remembers the peak; of several nobody knows that of their sum.
            peak = max(_bytes_of(self._root, "status", "VmHWM:"), bytes_together(self._root))
            self.peak_bytes = max(self.peak_bytes, peak)
            pause = min(1.25 * pause, _LAST_LOOK_S)


def family(root: int) -> list[int]:
    """A process and all that it started, directly or not; nothing where the kernel does not show them."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:  # it has ended
            continue
        parents[int(path.parent.name)] = int(text.rpartition(")")[2].split()[1])
    found = [root] if root in parents else []
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found


def bytes_together(root: int) -> int:
    """What a process and those that it started hold just now, what they share counted once; 0 of one that is alone."""
    members = family(root)
    return sum(_bytes_of(one, "smaps_rollup", "Pss:") for one in members) if len(members) > 1 else 0


def _bytes_of(process: int, file: str, name: str) -> int:
    """A figure that the kernel shows of a process; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
