"""Where results came from: versions, the commit, the command, the machine, time and memory."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["git_commit", "own_version", "peak_memory_bytes", "provenance"]

_PACKAGES = ("torch", "monai", "numpy", "nibabel", "scikit-image", "scipy", "matplotlib", "pydantic")


def provenance(
    command: Sequence[str], *, seed: int, device: str, dataset: Mapping[str, Any], started: float
) -> dict[str, Any]:
    """What is needed to say where a result came from.

    Parameters
    ----------
    command
        As it was typed.
    seed, device
        Of the run.
    dataset
        Its fingerprint and size.
    started
        `time.time` at the start.

    Returns
    -------
    dict
        Plain values, ready for JSON.
    """
    return {
        "format": 1,
        "command": list(command),
        "seed": seed,
        "device": device,
        "dataset": dict(dataset),
        "versions": {"python": platform.python_version(), "slicewise": own_version(), **_package_versions()},
        "git_commit": git_commit(Path(__file__).parents[1]),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
        "wall_seconds": round(time.time() - started, 1),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def peak_memory_bytes() -> int:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def own_version() -> str:
    """The version of Slicewise."""
    try:
        return metadata.version("slicewise")
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        found = re.search(r"^version = (\S+)", (Path(__file__).parents[1] / "setup.cfg").read_text(), re.MULTILINE)
        return found[1] if found else "unknown"


def _package_versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _PACKAGES}


def git_commit(folder: Path) -> str | None:
    """The commit that a checkout is at, with ``+changes`` when files differ from it.

    None where `folder` is not the root of a checkout: installed in an environment that lies in somebody's repository,
    the commit would be theirs.
    """
    try:
        root, commit = _git(folder, "rev-parse", "--show-toplevel", "HEAD").splitlines()
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if Path(root).resolve() != folder.resolve():
        return None
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
