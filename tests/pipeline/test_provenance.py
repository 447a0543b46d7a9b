"""Where results came from: complete, and of this checkout alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from pipeline import provenance as module
from pipeline.provenance import git_commit, own_version, peak_memory_bytes, provenance


def test_provenance_is_complete_and_ready_for_json() -> None:
    started = time.time() - 5
    found = provenance(["bin/run", "a b"], seed=3, device="cpu (2 threads)", dataset={"cases": 4}, started=started)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["format"] == 1
    assert (found["command"], found["seed"], found["device"]) == (["bin/run", "a b"], 3, "cpu (2 threads)")
    assert found["dataset"] == {"cases": 4}
    assert {"python", "slicewise", "torch", "monai", "numpy", "nibabel"} <= found["versions"].keys()
    assert all(re.match(r"\d+\.\d+", version) for version in found["versions"].values())
    assert 4.9 < found["wall_seconds"] < 60
    stamp = time.strptime(found["started"], "%Y-%m-%dT%H:%M:%S%z")
    assert abs(time.mktime(stamp) - started) < 2 or stamp.tm_gmtoff is not None
    assert found["peak_memory_bytes"] > 10_000_000
    assert found["cpus"] == os.cpu_count()
    assert found["platform"]


def test_peak_memory_is_in_bytes() -> None:
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("the kernel's own count of the peak is on Linux only")
    found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
    assert found
    assert peak_memory_bytes() == pytest.approx(int(found[1]) * 1024, rel=0.02)


def test_the_version_is_that_of_setup_cfg(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    text = (Path(module.__file__).parents[1] / "setup.cfg").read_text()
    written = re.search(r"^version = (.+)$", text, re.MULTILINE)
    assert written

    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    assert own_version() == written[1]
    monkeypatch.setattr(metadata, "version", lambda name: f"9.9 of {name}")
    assert own_version() == "9.9 of slicewise"


def test_the_commit_is_that_of_the_checkout_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_commit(tmp_path) is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path / "repo"), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (tmp_path / "repo" / "inner").mkdir(parents=True)
    git("init", "-q")
    assert git_commit(tmp_path / "repo") is None, "no commit yet"
    (tmp_path / "repo" / "file").write_text("1")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert git_commit(tmp_path / "repo") == commit
    (tmp_path / "repo" / "untracked").touch()
    assert git_commit(tmp_path / "repo") == commit
    (tmp_path / "repo" / "file").write_text("2")
    assert git_commit(tmp_path / "repo") == f"{commit}+changes"
    assert git_commit(tmp_path / "repo" / "inner") is None, "somebody else's repository around an installed copy"
    monkeypatch.setenv("PATH", "")
    assert git_commit(tmp_path / "repo") is None
