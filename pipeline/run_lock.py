"""A run's folder is written by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import RunError
from pipeline.run_content import LOCK, UNFINISHED

__all__ = ["sole_process"]


@contextmanager
def sole_process(folder: Path) -> Iterator[None]:
    """Keep other processes from a run's folder, and clear away what a killed one left half written.

    The lock goes with its process, however that ends. Where the file system has no locks, nothing is kept or cleared.

    Raises
    ------
    RunError
        When another process is at work there.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError("another process is at work on this run", where=str(folder),
                       remedy="Let it end or stop it first; --resume goes on then") from None  # fmt: skip
    except (OSError, NotImplementedError):
        yield
        return
    try:
        for left in folder.rglob(f"{UNFINISHED}*"):
            with suppress(OSError):
                left.unlink()
        yield
    finally:
        lock.release()
