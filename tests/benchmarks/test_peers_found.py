"""Peers that are there, and the sentence about those that are not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.peers_found import DEFAULT_PYTHON, find_peers, how_to_install
from benchmarks.workers import ROOT
from pipeline.errors import ConfigError


def test_monai_is_ours_and_nnunet_never_is(tmp_path: Path) -> None:
    peers = find_peers(["monai", "nnunet"], tmp_path / "no" / "bin" / "python")
    assert peers.has("monai") and peers.python["monai"] == sys.executable and peers.versions["monai"]
    assert not peers.has("nnunet")
    (said,) = peers.missing(["monai", "nnunet", "surface-distance"])
    assert said.startswith("nnU-Net is not installed in ") and f"{tmp_path}/no/bin/pip install -r" in said


def test_a_peer_that_was_not_asked_for_is_not_missed(tmp_path: Path) -> None:
    assert find_peers([], tmp_path / "python").missing(["nnunet"]) == []


def test_the_command_that_installs_them_can_be_typed() -> None:
    said = how_to_install(DEFAULT_PYTHON)
    assert "python3 -m venv .venv-peers && .venv-peers/bin/pip install -r benchmarks/requirements-peers.txt" in said
    assert (ROOT / "benchmarks" / "requirements-peers.txt").is_file()


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    with pytest.raises(ConfigError, match="no Python that runs"):
        find_peers(["nnunet"], path)
