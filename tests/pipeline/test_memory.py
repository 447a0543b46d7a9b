"""Free memory by the kernel's own files, written here by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import memory
from pipeline.memory import Release, available_bytes, thread_count

MB = 2**20


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def seen(tmp_path: Path, membership: str, groups: dict[str, str], available_kb: int | None = 4096) -> int | None:
    if available_kb is not None:
        write(tmp_path / "proc", {"meminfo": f"MemTotal: 9 kB\nMemAvailable:  {available_kb} kB\nCached: 5 kB\n"})
    write(tmp_path / "proc", {"self/cgroup": membership})
    write(tmp_path / "cgroup", groups)
    return available_bytes(tmp_path / "proc", tmp_path / "cgroup")


def test_without_groups_the_kernel_decides(tmp_path: Path) -> None:
    assert seen(tmp_path, "0::/\n", {}) == 4 * MB


def test_nothing_is_known_outside_of_linux(tmp_path: Path) -> None:
    assert available_bytes(tmp_path, tmp_path) is None


STAT = "anon 5\ninactive_file 7\nactive_file 4\n"
V2 = {"memory.max": str(3 * MB), "memory.current": str(2 * MB), "memory.stat": STAT}
NO_LIMIT = {"memory.max": "max\n", "memory.current": "9"}
V1 = {"memory.limit_in_bytes": str(2 * MB), "memory.usage_in_bytes": str(MB),
      "memory.stat": "inactive_file 1\nactive_file 1\ntotal_inactive_file 30\ntotal_active_file 12\n"}  # fmt: skip
V1_TOP = {"memory.limit_in_bytes": "9223372036854771712", "memory.usage_in_bytes": "1"}


def at(path: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{path}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("membership", "groups", "expected"),
    [
        # Version 2, in a container: the group is the top. 3 MB - 2 MB, and 11 bytes of files that can be given up.
        ("0::/", V2, MB + 11),
        # A group of its own below an unlimited one, and the other way round.
        ("0::/a/b", {**at("a/b", V2), **at("a", NO_LIMIT)}, MB + 11),
        ("0::/a/b", {**at("a", V2), **at("a/b", NO_LIMIT)}, MB + 11),
        # The host's path, which a container does not see: the top counts.
        ("0::/docker/0123", V2, MB + 11),
        # Over its limit: nothing is left, not less than nothing.
        ("0::/", {"memory.max": "5", "memory.current": "9"}, 0),
        # More than the kernel has.
        ("0::/", {"memory.max": str(9 * MB), "memory.current": "0"}, 4 * MB),
        # Version 1, among other controllers; its usage counts the groups below it, and so must the files.
        ("12:cpuset:/x\n5:cpu,memory:/job\n1:name=systemd:/y", at("memory", {**at("job", V1), **V1_TOP}), MB + 42),
        # A limit without a usage says nothing.
        ("0::/", {"memory.max": "5"}, 4 * MB),
    ],
)  # fmt: skip
def test_the_least_that_any_group_leaves(
    tmp_path: Path, membership: str, groups: dict[str, str], expected: int
) -> None:
    assert seen(tmp_path, membership, groups) == expected


def test_a_group_counts_where_the_kernel_is_silent(tmp_path: Path) -> None:
    assert seen(tmp_path, "0::/", V2, available_kb=None) == MB + 11


def test_this_machine_has_some() -> None:
    free = available_bytes()
    assert free is None or 10 * MB < free < 2**50


@pytest.mark.parametrize(
    ("free", "each", "most", "reserved", "expected"),
    [
        (1000, 100, None, 0, 6), (1000, 100, 4, 0, 4), (599, 100, None, 0, 5), (600, 100, None, 0, 6),
        (1000, 100, None, 700, 3), (1000, 100, None, 2000, 1), (0, 100, None, 0, 1), (1000, 0, None, 0, 6),
        (None, 100, 4, 0, 4), (None, 100, None, 0, 6),
    ],
)  # fmt: skip
def test_threads_by_cores_and_memory(
    monkeypatch: pytest.MonkeyPatch, free: int | None, each: int, most: int | None, reserved: int, expected: int
) -> None:
    monkeypatch.setattr(memory.os, "cpu_count", lambda: 6)
    monkeypatch.setattr(memory, "available_bytes", lambda: free)
    assert thread_count(each, most, reserved) == expected


def test_freed_memory_is_released_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(memory, "release_freed", lambda: calls.append("release"))
    release = Release(every=10)
    for _ in range(25):
        release(1)
        calls.append(".")
    assert "".join(calls) == "." * 9 + "release" + "." * 10 + "release" + "." * 6
