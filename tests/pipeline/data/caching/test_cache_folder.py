"""One process builds a store, others wait; what is killed, damaged or too large leaves nothing that counts."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from pipeline.data.caching.cache_folder import folder_bytes, open_store
from pipeline.data.caching.store import Store, StoreWriter
from pipeline.errors import RunError

CHECKOUT = Path(__file__).parents[4]


def content(value: float) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        writer = StoreWriter(folder)
        writer.add(np.full((2, 1, 3, 2), value, np.float32), np.ones((2, 3, 2), np.uint8), np.array([[0, 1]] * 2) > 0)
        writer.finish({})

    return build


def never(folder: Path) -> None:
    raise AssertionError("was built again")


class Opener:
    """Opens the store of key "k" in a folder; remembers what was said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()

    def __call__(self, build: Callable[[Path], None] = never, needed: int = 100) -> Store:
        return open_store(self.folder, "k", 2, build, lambda: needed, self.said.append)

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()} - {"k.lock"}


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return Opener(tmp_path / "cache" / "slices")


def test_a_store_is_built_once(opened: Opener) -> None:
    assert opened(content(7)).images[0].tolist() == np.full((2, 1, 3, 2), 7).tolist()
    assert opened().images[0][0, 0, 0, 0] == 7
    assert (opened.names(), opened.said) == ({"k"}, [])


def test_a_damaged_store_is_said_and_built_again(opened: Opener) -> None:
    first = opened(content(7))
    path = opened.folder / "k" / "images-0.f32"
    damaged = bytearray(path.read_bytes())
    damaged[5] ^= 1
    path.unlink()
    path.write_bytes(damaged)
    assert opened(content(8)).images[0].min() == 8
    assert len(opened.said) == 1
    assert str(opened.folder / "k") in opened.said[0] and "images-0.f32" in opened.said[0]
    assert first.images[0].max() == 7, "who has the old one open keeps it"
    assert opened().images[0].min() == 8


PROGRAM = """
import json, sys, time
from pathlib import Path
import numpy as np
from pipeline.data.caching.cache_folder import open_store
from pipeline.data.caching.store import StoreWriter
folder, value, how = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

def build(fresh):
    writer = StoreWriter(fresh)
    writer.add(np.full((1, 1, 2, 2), value, np.float32), np.zeros((1, 2, 2), np.uint8), np.array([[True, False]]))
    print("building", flush=True)
    time.sleep(60 if how == "forever" else 0.7)
    writer.finish({})

said = []
store = open_store(folder, "k", 2, build, lambda: 10, said.append)
print(json.dumps([float(store.images[0][0, 0, 0, 0]), said]), flush=True)
"""


def started(folder: Path, value: int, how: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(value), how]
    return subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_one_builds_and_the_other_waits(opened: Opener) -> None:
    processes = [started(opened.folder, value) for value in (1, 2)]
    lines = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert sorted(len(told) for told in lines) == [1, 2], "one has built"
    values, said = zip(*(json.loads(told[-1]) for told in lines), strict=True)
    assert values[0] == values[1]
    waited = said[min((0, 1), key=lambda number: len(lines[number]))]
    assert len(waited) == 1 and "waiting" in waited[0]
    assert opened.names() == {"k"}


def test_a_killed_builder_leaves_nothing_that_counts(opened: Opener) -> None:
    process = started(opened.folder, 1, "forever")
    assert process.stdout is not None and process.stdout.readline() == "building\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (left,) = opened.names()
    assert left.startswith("k.part-")
    assert opened(content(5)).images[0].min() == 5
    assert opened.names() == {"k"}


def test_leftovers_of_other_stores_go_when_nobody_builds_them(opened: Opener) -> None:
    for name in ("dead.part-1-a", "busy.part-2-b"):
        (opened.folder / name).mkdir(parents=True)
        (opened.folder / name / "images-0.f32").write_bytes(b"half")
    with FileLock(opened.folder / "busy.lock"):
        opened(content(1))
    assert opened.names() - {"dead.lock", "busy.lock"} == {"k", "busy.part-2-b"}


def test_a_disk_too_full_is_refused_before_anything_is_built(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(RunError, match=r"12 MB \(12000000 bytes\).* 5 MB \(5000000 bytes\)") as fault:
        opened(needed=12_000_000)
    assert fault.value.where == str(opened.folder)
    assert "data.cache=none" in fault.value.remedy
    assert opened.names() == set()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_leaves_no_half_store(opened: Opener, number: int) -> None:
    def build(folder: Path) -> None:
        (folder / "images-0.f32").write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(RunError, match="are free"):
        opened(build)
    assert opened.names() == set()


def test_a_fault_while_building_leaves_no_half_store(opened: Opener) -> None:
    def build(folder: Path) -> None:
        (folder / "images-0.f32").write_bytes(b"half")
        raise RunError("of its own")

    with pytest.raises(RunError, match="of its own"):
        opened(build)
    assert opened.names() == set()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written") as fault:
        Opener(tmp_path / "file" / "slices")(content(1))
    assert "data.cache_folder" in fault.value.remedy


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError("no flock")])
def test_without_locks_it_goes_on_and_says_so(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(self: Any, *arguments: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(FileLock, "acquire", refuse)
    (opened.folder / "k.part-1-a").mkdir(parents=True)  # perhaps of a process that is building just now
    assert opened(content(3)).images[0].min() == 3
    assert len(opened.said) == 1 and "cannot be locked" in opened.said[0]
    assert opened.names() == {"k", "k.part-1-a"}


def test_without_locks_the_first_store_is_everybodys(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileLock, "acquire", lambda self, *a, **b: (_ for _ in ()).throw(OSError(errno.ENOLCK, "no")))

    def slow(folder: Path) -> None:
        opened(content(1))  # meanwhile another process comes in first
        content(2)(folder)

    assert opened(slow).images[0].min() == 1
    assert opened.names() == {"k"}


def test_what_cannot_be_read_back_is_told(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(folder: Path) -> None:
        content(1)(folder)
        (folder / "labels-0.u8").write_bytes(b"other")

    with pytest.raises(RunError, match="reads differently"):
        opened(build)


def test_waiting_ends_when_the_other_process_does(opened: Opener) -> None:
    opened.folder.mkdir(parents=True)
    process = started(opened.folder, 1, "forever")
    assert process.stdout is not None and process.stdout.readline() == "building\n"

    def stop_it(line: str) -> None:
        opened.said.append(line)
        process.kill()

    store = open_store(opened.folder, "k", 2, content(4), lambda: 10, stop_it)
    process.communicate()
    assert store.images[0].min() == 4 and "waiting" in opened.said[0]


def test_the_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "one").write_bytes(b"12345")
    (tmp_path / "a" / "b" / "two").write_bytes(b"123")
    assert folder_bytes(tmp_path) == 8
    assert folder_bytes(tmp_path / "none") == 0
