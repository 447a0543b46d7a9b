"""The programs that this one is measured beside: which are installed where, and how to have those that are not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workers import ROOT, environment
from pipeline.errors import ConfigError

NAMES = {"monai": "MONAI", "nnunet": "nnU-Net", "surface-distance": "surface-distance"}
_PACKAGES = {"monai": "monai", "nnunet": "nnunetv2", "surface-distance": "surface-distance"}
_REQUIREMENTS = "benchmarks/requirements-peers.txt"
DEFAULT_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
_ASK = """
import json, sys
from importlib import metadata
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Peers:
    """What is there.

    Attributes
    ----------
    python
        By peer that is there and wanted: the interpreter that imports it.
    versions
        Of those, by peer.
    asked
        The peers that are wanted.
    looked_in
        The interpreter of the peers' environment.
    """

    python: dict[str, str]
    versions: dict[str, str]
    asked: tuple[str, ...]
    looked_in: Path

    def program(self, peer: str, name: str) -> Path:
        """A command of a peer's that stands beside its interpreter."""
        return Path(self.python[peer]).parent / name

    def has(self, peer: str) -> bool:
        """Whether it can be measured."""
        return peer in self.python

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """A sentence for each of these that was asked for and is not there, with the command that installs it."""
        return [f"{NAMES[peer]} is not installed in {self.looked_in}: not measured. {how_to_install(self.looked_in)}"
                for peer in wanted if peer in self.asked and peer not in self.python]  # fmt: skip


def how_to_install(python: Path) -> str:
    """The commands that make the peers' environment."""
    folder = python.parent.parent
    shown = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    return f"To have it: python3 -m venv {shown} && {shown}/bin/pip install -r {_REQUIREMENTS}"


def find_peers(asked: Sequence[str], python: Path) -> Peers:
    """Look for peers: in their own environment, and, but for nnU-Net, in this one, which has MONAI in any case.

    MONAI is taken from here: the same version, with the same PyTorch, as this project uses itself.

    Raises
    ------
    ConfigError
        When `python` is there and is no Python.
    """
    here, there = _versions(sys.executable), _versions(str(python)) if python.exists() else {}
    pythons, versions = {}, {}
    for peer in asked:
        package = _PACKAGES[peer]
        for found, where in (here, sys.executable), (there, str(python)):
            if package in found and peer not in pythons and (peer != "nnunet" or found is there):
                pythons[peer], versions[peer] = where, found[package]
    if "nnunet" in versions and there.get("torch") != here.get("torch"):
        versions["nnunet"] += f" on PyTorch {there.get('torch')}"
    return Peers(pythons, versions, tuple(asked), python)


def _versions(python: str) -> dict[str, str]:
    try:
        command = [python, "-c", _ASK, *_PACKAGES.values(), "torch"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, json.JSONDecodeError) as error:
        raise ConfigError("is no Python that runs", where=f"--peers-python {python}",
                          remedy="Name the interpreter of the peers' environment") from error  # fmt: skip
    return found
