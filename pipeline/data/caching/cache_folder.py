"""The folder that holds prepared slices between runs: one builds a store, others wait for it, none sees half of one.

Below ``<cache>/slices``, ``<key>/`` is a store (see `pipeline.data.caching.store`), ``<key>.lock`` is held by who
builds it, and ``<key>.part-...`` is being built, or was left by a process that was killed; the next builder clears it
away.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.data.caching.store import DamagedStore, Store, read_store
from pipeline.errors import RunError
from pipeline.memory import in_words

_FULL = {errno.ENOSPC, errno.EDQUOT}
_PART = ".part-"
Say = Callable[[str], None]


def open_store(
    folder: Path, key: str, classes: int, build: Callable[[Path], None], needed: Callable[[], int], say: Say,
    outdated: Callable[[Store], str] = lambda store: "",
) -> Store:  # fmt: skip
    """The store of a key, built when it is not there, not whole, or outdated.

    Parameters
    ----------
    folder
        ``<cache>/slices``; made when it is not there.
    key
        What the store's content follows from.
    classes
        How many classes there are.
    build
        Writes a store into the empty folder that it is given.
    needed
        About how many bytes it will take.
    say
        Takes what the user should know: a damaged or outdated store, another process that builds.
    outdated
        What is wrong with a store that is whole: its key may not see all that it follows from.

    Raises
    ------
    RunError
        When the disk is full, or the folder cannot be written.
    """
    store = _fit(folder / key, classes, outdated, say)
    if store is not None:
        return store
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, key, say) as alone:
            # Another process may have built it meanwhile.
            store = _fit(folder / key, classes, outdated, lambda line: None)
            if store is None:
                if alone:
                    _clear_leftovers(folder, key)
                _build(folder, key, build, needed())
                store = read_store(folder / key, classes)
    except OSError as error:
        raise _disk_fault(folder, error) from error
    except DamagedStore as error:
        raise RunError(f"what was just written there reads differently: {error}", where=str(folder / key),
                       remedy="Check the disk, or name another one with data.cache_folder") from error  # fmt: skip
    return store


def folder_bytes(folder: Path) -> int:
    """The bytes of all files in a folder and below it."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # somebody else's, just removed
                total += (Path(parent) / name).lstat().st_size
    return total


def _fit(path: Path, classes: int, outdated: Callable[[Store], str], say: Say) -> Store | None:
    try:
        store = read_store(path, classes)
    except FileNotFoundError:
        return None
    except DamagedStore as damage:
        say(f"warning: {path} is damaged, and is built again: {damage}")
        return None
    if what := outdated(store):
        say(f"warning: {path} is outdated, and is built again: {what}")
        return None
    return store


@contextmanager
def _locked(folder: Path, key: str, say: Say) -> Iterator[bool]:
    """Hold the lock of a key; gives whether it could be held: some network file systems know no locks."""
    lock = FileLock(folder / f"{key}.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is preparing these slices in {folder}: waiting for it")
            lock.acquire()
        alone = True
    except (OSError, NotImplementedError) as error:
        if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno in {*_FULL, errno.EROFS}):
            raise
        say(f"warning: {folder} cannot be locked ({error}): processes that start together each prepare their own copy")
        alone = False
    try:
        yield alone
    finally:
        if alone:
            lock.release()


def _clear_leftovers(folder: Path, own: str) -> None:
    """Remove what killed processes left: unfinished stores whose lock nobody holds; ours is held by us."""
    for part in folder.glob(f"*{_PART}*"):
        key = part.name.split(_PART)[0]
        if key == own:
            shutil.rmtree(part, ignore_errors=True)
            continue
        with suppress(OSError, NotImplementedError, Timeout), FileLock(folder / f"{key}.lock", timeout=0):
            shutil.rmtree(part, ignore_errors=True)


def _build(folder: Path, key: str, build: Callable[[Path], None], needed: int) -> None:
    if (folder / key).exists():
        shutil.rmtree(folder / key)  # damaged or outdated; who has it open keeps what is mapped
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise _full(folder, needed, free)
    fresh = folder / f"{key}{_PART}{os.getpid()}-{secrets.token_hex(4)}"
    fresh.mkdir()
    try:
        build(fresh)
        with suppress(FileExistsError):
            _rename(fresh, folder / key)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _full(folder, needed, shutil.disk_usage(folder).free) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _rename(fresh: Path, path: Path) -> None:
    """Give a folder its name, for good.

    Raises
    ------
    FileExistsError
        When another process, which could not be locked out, was first.
    """
    try:
        os.rename(fresh, path)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            raise FileExistsError(str(path)) from error
        raise
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _full(folder: Path, needed: int, free: int) -> RunError:
    return RunError(
        f"the prepared slices need about {in_words(needed)} ({needed} bytes) of disk, and {in_words(free)} "
        f"({free} bytes) are free", where=str(folder),
        remedy="Free some space (older stores in it may be deleted), name another folder with data.cache_folder, or "
        "use --set data.cache=none",
    )  # fmt: skip


def _disk_fault(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot be written ({error.strerror or error})", where=str(error.filename or folder),
        remedy="Mend its rights, or name a folder that you may write to with data.cache_folder",
    )  # fmt: skip
