"""The cells of an ablation, one after the other, each in a process of its own.

A process of its own gives a cell's memory back, and its run is to the bit that of bin/run_pipeline with the same
arguments: nothing that an earlier cell has set, threads or random state, is left in it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EXIT_DEFECT, EXIT_DONE, EXIT_INTERRUPTED, EXIT_USER

__all__ = ["CHECKOUT", "Ended", "Listener", "run_command", "validation_command"]

CHECKOUT = Path(__file__).parents[2]  # where bin/ is
_STOPS = ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
_PASSED_ON = {signal.SIGHUP: signal.SIGTERM}  # a run knows no other way to be told that its terminal is gone
_LAST_LINES = 3  # of a defect, that may say what it was, with the exception as the last
_MARKS = " ^~\n"  # below the lines of a traceback
_ERROR = "error: "
_STANDARD_ERROR = 2
_STOPPING = "the run was asked to stop, and ends when it has saved what it needs to go on"


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    code
        0, or one of the exit codes of `pipeline.errors`.
    reason
        Why, where it is not 0; one line.
    """

    code: int
    reason: str = ""


def run_command(config: str, overrides: Sequence[str], out: Path, *, resume: bool, allow_stand_in: bool) -> list[str]:
    """What is typed for a cell's run, after ``bin/run_pipeline``."""
    settings = [part for override in overrides for part in ("--set", override)]
    flags = [*(["--resume"] if resume else []), *([] if allow_stand_in else ["--no-stand-in"])]
    return [config, *settings, "--out", str(out), *flags]


def validation_command(out: Path) -> list[str]:
    """What scores the validation cases of a cell's run."""
    return [sys.executable, "-m", "pipeline.commands.validation_scores", str(out)]


class Listener:
    """Runs programs, shows what they say on standard error, and passes on a signal that asks for a stop.

    Attributes
    ----------
    asked
        The first signal that asked for a stop; empty before one has.
    """

    def __init__(self) -> None:
        self.asked = ""
        self._running: subprocess.Popen[str] | None = None
        self._passed = False  # whether the running one was told

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals; the handlers from before come back at the end. Works in the main thread only."""
        before: dict[int, Any] = {}
        try:
            for number in (getattr(signal, name) for name in _STOPS if hasattr(signal, name)):
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                    before[number] = signal.signal(number, self._note)
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, signal.SIG_DFL if old is None else old)

    def _note(self, number: int, frame: Any) -> None:
        if self.asked:
            # Not through sys.stderr, which may be in the middle of a line of the run.
            with suppress(OSError):
                os.write(_STANDARD_ERROR, f"{signal.Signals(number).name}: {_STOPPING}\n".encode())
            return
        self.asked = signal.Signals(number).name
        self._pass_on()

    def _pass_on(self) -> None:
        """Pass on the first signal, once to a process: a second one would end a training without its checkpoint."""
        if self._running is not None and self.asked and not self._passed:
            self._passed = True
            number = getattr(signal, self.asked)
            self._running.send_signal(_PASSED_ON.get(number, number))

    def run(self, command: Sequence[str]) -> Ended:
        """Run a program to its end.

        It gets no signal from the terminal, only the one that is passed on: two would stop a training at once, without
        its checkpoint.
        """
        last: deque[str] = deque(maxlen=_LAST_LINES)
        errors: list[str] = []
        self._passed = False
        with subprocess.Popen(
            command, cwd=_folder_of(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, encoding="utf-8", errors="replace", process_group=0,
            env=_without_colours(),
        ) as process:  # fmt: skip
            self._running = process
            self._pass_on()  # what came while it was started
            assert process.stderr is not None
            for line in process.stderr:
                sys.stderr.write(line)
                sys.stderr.flush()
                if line.startswith(_ERROR):
                    errors.append(line.removeprefix(_ERROR).strip())
                elif line.strip(_MARKS):
                    last.append(line.strip())
            code = process.wait()
            self._running = None
        return self._ended(code, errors, list(last))

    def _ended(self, code: int, errors: Sequence[str], last: Sequence[str]) -> Ended:
        if code == EXIT_DONE:
            return Ended(code)
        if code == EXIT_INTERRUPTED or (self.asked and code != EXIT_USER):
            return Ended(EXIT_INTERRUPTED, self.asked or "a signal")
        if code == EXIT_USER:
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            return Ended(code, f"{errors[0]}{more}" if errors else "; ".join(last))
        if code < 0:
            name = signal.Signals(-code).name
            memory = ", perhaps for want of memory" if name == "SIGKILL" else ""
            return Ended(EXIT_USER, f"killed by {name}{memory}")
        return Ended(EXIT_DEFECT, f"a defect of Slicewise: {'; '.join(last)}")


def _without_colours() -> dict[str, str]:
    """The environment of a process whose lines are read: ``FORCE_COLOR`` would put colours into a pipe as well."""
    return {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"} | {"NO_COLOR": "1"}


def _folder_of(command: Sequence[str]) -> Path | None:
    """Modules are found from the checkout; a run's own arguments are relative to where the user is."""
    return CHECKOUT if "-m" in command[:2] else None
