"""How several processes end: a fault of one ends all, with one exit code, and is told once."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pipeline.errors import (
    EXIT_DEFECT,
    EXIT_INTERRUPTED,
    EXIT_USER,
    ConfigError,
    Elsewhere,
    Fault,
    Interrupted,
    RunError,
)

__all__ = ["Ending", "is_lost_process"]

_FIRST_SPEAKS_S = 1.0  # what all processes find wrong, the first of them is to tell
_LINGER_S = 5.0  # for the others to see that it is told, which is gone with the process that keeps it
_LOST = ("Connection closed by peer", "Connection reset by peer", "gloo/transport", "remote process exited")
_UNUSED = "Expected to have finished reduction in the prior iteration"


def is_lost_process(error: BaseException) -> bool:
    """Whether an error says that another process has gone while this one waited for it."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, RuntimeError) and (
        not names.isdisjoint({"DistNetworkError", "DistBackendError"}) or any(word in str(error) for word in _LOST)
    )


def exit_code(error: BaseException) -> int:
    """The exit code that an error ends in, see `pipeline.errors`."""
    if isinstance(error, (Interrupted, KeyboardInterrupt)):
        return EXIT_INTERRUPTED
    return EXIT_USER if isinstance(error, (Fault, MemoryError)) or is_lost_process(error) else EXIT_DEFECT


class Ending:
    """What the processes agree on when one of them cannot go on.

    The one that is first to say so tells what it was. The others, whose connections break, see that it is told, and end
    without a word.

    Parameters
    ----------
    store
        That all processes reach.
    rank, count
        Of this process, and of how many.
    """

    def __init__(self, store: Any, rank: int, count: int) -> None:
        self.store, self.rank, self.count = store, rank, count

    @contextmanager
    def told_once(self) -> Iterator[None]:
        """Where an error is raised, let it be told by one process, and all end.

        Raises
        ------
        Elsewhere
            In place of an error, where another process tells what happened.
        RunError
            When another process has gone and told nothing.
        """
        failed = True
        try:
            yield
            failed = False
        except BaseException as error:
            told = self._told(exit_code(error))
            if told is not None:
                raise Elsewhere(told) from error
            self._leave()
            if self.rank:
                print(f"process {self.rank} of {self.count}, counted from 0:", file=sys.stderr)
            fault = _explained(error)
            if fault is not None:
                raise fault from error
            raise
        finally:
            self._leave()
            if failed:
                self._part()

    def _told(self, code: int) -> int | None:
        """The exit code of the process that was first to say that it ends; None where that is this one."""
        with suppress(RuntimeError):  # the store is gone with its process
            if self.rank:
                until = time.monotonic() + _FIRST_SPEAKS_S
                while not self.store.check(["ended"]) and time.monotonic() < until:
                    time.sleep(0.02)
            who, found = self.store.compare_set("ended", "", f"{self.rank} {code}").decode().split()
            return None if int(who) == self.rank else int(found)
        return None

    def _leave(self) -> None:
        """Break the connections, which the others notice at once, and end the threads that served them.

        They end with the last that holds the group. One that is left when the interpreter ends, and waits for it to let
        go of a tensor, aborts the process: its work is done, but torchrun sees it fail.
        """
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
            gc.collect()  # of a network that averaged its gradients in it

    def _part(self) -> None:
        """Go, the first process last: it keeps the store, where torchrun does not, and the others may still look at it.

        It waits for some seconds at most: one that works on will find the store gone.
        """
        until = time.monotonic() + (0 if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else _LINGER_S)
        with suppress(RuntimeError):
            left = self.store.add("left", int(self.rank > 0))
            while not self.rank and left < self.count - 1 and time.monotonic() < until:
                time.sleep(0.02)
                left = self.store.add("left", 0)


def _explained(error: BaseException) -> Fault | None:
    """What an error of torch.distributed means; None for all others."""
    if is_lost_process(error):
        return RunError(
            "another process of this run has ended without a word: it was killed, for want of memory perhaps",
            remedy="Look at what torchrun says of it; --resume goes on with the run",
        )  # fmt: skip
    if isinstance(error, RuntimeError) and _UNUSED in str(error):
        return ConfigError("has weights that its output does not depend on: several processes cannot train it",
                           where="network", remedy="Use one process, or another network")  # fmt: skip
    return None
