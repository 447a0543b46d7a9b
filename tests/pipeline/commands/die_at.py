"""Runs ``bin/run_pipeline`` many times from one process; each run is a child that kills itself at an event of its own.

A process of its own for each run would need five seconds to import PyTorch and MONAI: 20 of them were most of the
suite's time. So this one imports all that a run needs, once, and forks. That is safe as long as no thread runs here:
one thread for every library (the environment says so), and no operation of PyTorch before the fork.

An event is a step of the optimizer, or anything that changes the disk: a file opened for writing, its content put on
the disk, a name moved or removed, a folder made. At its event the child sends itself SIGKILL, which nothing can
catch, just before the thing is done; while a file is put on the disk, with half of it written. Only
the report is not drawn, which would take most of a run's time: one word is written for it.

Reads a line of JSON a run: arguments, and ``event``, which may be null for a run that is left alone. Answers with a
line: how it ended (its exit code, or minus the signal) and how many events it came to, where it came to its end.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import sys
import threading
from typing import Any

_ALL = (
    "matplotlib.backends.backend_agg", "monai.transforms", "scipy.ndimage", "torch._dynamo", "transforms.reader",
    *(f"pipeline.commands.{name}" for name in ("folds", "intake", "outcome", "stages")),
)  # fmt: skip
_DISK = {"os.rename", "os.remove", "os.mkdir", "os.symlink", "os.link"}  # rename: os.replace, too


class Death:
    """Counts events; at the one that was chosen, the process is no more."""

    def __init__(self, event: int | None) -> None:
        self.event, self.count = event, 0
        self._lock = threading.Lock()  # masks are written by one thread while others read ahead

    def come(self, descriptor: int | None = None) -> None:
        with self._lock:
            self.count += 1
            if self.count == self.event:
                if descriptor is not None:
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

    def hear(self, name: str, arguments: tuple[Any, ...]) -> None:
        writes = name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or name in _DISK:
            self.come()

    def wait_for(self) -> None:
        from pipeline.training.step import OptimizerStep

        fsync, step = os.fsync, OptimizerStep.__call__

        def dying_fsync(descriptor: Any) -> None:
            self.come(descriptor if isinstance(descriptor, int) else descriptor.fileno())
            fsync(descriptor)

        def dying_step(*arguments: Any, **more: Any) -> Any:
            self.come()
            return step(*arguments, **more)

        os.fsync = dying_fsync  # type: ignore[assignment]
        OptimizerStep.__call__ = dying_step  # type: ignore[method-assign]
        sys.addaudithook(self.hear)


def run(arguments: list[str], event: int | None, answer: int) -> None:
    """What a child does; never comes back."""
    import torch

    from pipeline.commands.run_pipeline import main

    torch.set_num_threads(1)
    death = Death(event)
    death.wait_for()
    code = 1
    try:
        code = main(arguments)
        os.write(answer, str(death.count).encode())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Fork a child for every line; its words go to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            os.close(ours)
            run(order["arguments"], order["event"], theirs)
        os.close(theirs)
        _, status = os.waitpid(child, 0)
        count = os.read(ours, 20)
        os.close(ours)
        print(json.dumps([os.waitstatus_to_exitcode(status), int(count or 0)]), file=answers, flush=True)


if __name__ == "__main__":
    for name in _ALL:
        importlib.import_module(name)
    outcome: Any = sys.modules["pipeline.commands.outcome"]
    outcome.save_plots = lambda content, folder: outcome.write_text(folder / "loss_plot.png", "not drawn")
    outcome.render_report = lambda content: "not drawn"
    live: Any = sys.modules["pipeline.reporting.live"]
    live.drawn = lambda content: b"not drawn"
    assert threading.active_count() == 1
    gc.freeze()  # what was imported is not looked through for garbage, page after copied page, in every child
    serve()
