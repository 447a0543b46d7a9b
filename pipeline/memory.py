"""How much memory a process may still take, and giving back what it no longer uses."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from pathlib import Path

_UNLIMITED = 2**60  # version 1 of cgroups writes a number near 2**63 where there is no limit


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The memory that can still be taken: the least of what the kernel and the control groups leave.

    Parameters
    ----------
    proc, cgroups
        Where the kernel shows itself.

    Returns
    -------
    int or None
        Bytes; None where the system does not tell, as outside of Linux.

    Notes
    -----
    A control group's usage counts the files that the kernel keeps in memory; it gives them up when memory is asked
    for, so they are free here, as they are in ``MemAvailable``.
    """
    found = [*_kernel_leaves(proc), *_groups_leave(proc / "self" / "cgroup", cgroups)]
    return max(0, min(found)) if found else None


def thread_count(bytes_each: int, most: int | None = None, reserved: int = 0) -> int:
    """How many threads may work at once, by the cores and by the memory that is free; at least one.

    Parameters
    ----------
    bytes_each
        What one thread takes at its peak; 0 where that is not known.
    most
        No more than these.
    reserved
        Bytes of the free memory that others will take.
    """
    cores = os.cpu_count() or 1
    count, free = cores if most is None else min(cores, most), available_bytes()
    if free is not None and bytes_each > 0:
        count = min(count, (free - reserved) // bytes_each)
    return max(1, count)


class Release:
    """Gives freed memory back to the kernel now and then; glibc keeps it otherwise, for a process that may not need it.

    Parameters
    ----------
    every
        Bytes between two times.
    """

    def __init__(self, every: int = 2**27) -> None:
        self.every = every
        self._since = 0

    def __call__(self, count: int) -> None:
        """Count bytes as used; several threads may."""
        self._since += count
        if self._since >= self.every:
            self._since = 0
            release_freed()


def release_freed() -> None:
    """Give all freed memory back to the kernel, where the C library has a way to."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def in_words(count: float) -> str:
    """A number of bytes with a unit.

    >>> in_words(2_340_000_000), in_words(56_000_000), in_words(900)
    ('2.3 GB', '56 MB', '1 kB')
    """
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _kernel_leaves(proc: Path) -> Iterator[int]:
    for line in _lines(proc / "meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            yield int(value.split()[0]) * 1024


def _groups_leave(membership: Path, cgroups: Path) -> Iterator[int]:
    """What is left to each control group that the process is in, and to those above it."""
    for line in _lines(membership):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names, top = ("memory.max", "memory.current"), cgroups
        elif "memory" in controllers.split(","):
            names, top = ("memory.limit_in_bytes", "memory.usage_in_bytes"), cgroups / "memory"
        else:
            continue
        # In a container the path may be the host's, and not be there; the container's own group is the top then.
        group = top / path.lstrip("/")
        for folder in [group, *(parent for parent in group.parents if parent.is_relative_to(top))]:
            left = _group_leaves(folder, *names)
            if left is not None:
                yield left


def _group_leaves(folder: Path, limit: str, usage: str) -> int | None:
    numbers = ["".join(_lines(folder / name)).strip() for name in (limit, usage)]
    if not all(number.isdecimal() for number in numbers) or int(numbers[0]) >= _UNLIMITED:
        return None  # "max", or no such file
    stat = dict(line.split()[:2] for line in _lines(folder / "memory.stat"))
    # Version 1 tells of a group alone and, as total_*, of all below it, which its usage counts.
    prefix = "total_" if "total_inactive_file" in stat else ""
    files = sum(int(stat.get(prefix + name, 0)) for name in ("inactive_file", "active_file"))
    return int(numbers[0]) - int(numbers[1]) + files


def _lines(path: Path) -> list[str]:
    """A small file of the kernel's; nothing where it is not there or may not be read."""
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
