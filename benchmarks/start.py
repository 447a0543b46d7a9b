"""What one waits for before anything happens: help, the answer to a typo, the first training step. Whole commands."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.frame import OWN, PEER, Setting, Table, Ways, measure
from benchmarks.hippocampus import HOW_TO_HAVE_IT, Source, training_source
from benchmarks.train import monai_job
from benchmarks.workers import ROOT, Sample, run_command

RUN = ROOT / "bin" / "run_pipeline"


def tables(setting: Setting, limits: dict[str, Any]) -> Iterator[Table | str]:
    """Measure; each table."""
    yield _help(setting)
    yield _typo(setting)
    yield _first_step(setting, training_source(setting))


def _help(setting: Setting) -> Table:
    with Ways() as ways:
        ways.command(("bin/run_pipeline --help", OWN, 1), lambda: run_command([sys.executable, RUN, "--help"]))
        if setting.peers.has("nnunet"):
            program = setting.peers.program("nnunet", "nnUNetv2_train")
            ways.command(("nnUNetv2_train --help", PEER, 1), lambda: run_command([program, "--help"]))
        if setting.peers.has("monai"):
            python = setting.peers.python["monai"]
            imported = [python, "-c", "import monai"]
            ways.command(("python -c 'import monai'", PEER, 1), lambda: run_command(imported), compares=False)
        notes = setting.peers.missing(["monai", "nnunet"])
        return measure("start: help", "s", ways.all, setting, notes)[0]


def _typo(setting: Setting) -> Table:
    """A key that is not known, beside a dataset that nnU-Net does not know: it has no config to mistype."""
    folder = setting.folder / "nnunet"
    folders = {f"nnUNet_{part}": str(folder / part) for part in ("raw", "preprocessed", "results")}
    for path in folders.values():
        Path(path).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, RUN, ROOT / "configs" / "phantom.yaml", "--set", "training.epoch=5"]
    with Ways() as ways:
        ways.command(("bin/run_pipeline, a key mistyped", OWN, 1), lambda: run_command(command, (2,)))
        if setting.peers.has("nnunet"):
            other = [setting.peers.program("nnunet", "nnUNetv2_train"), "999", "2d", "0", "-device", "cpu"]
            mistaken = ("nnUNetv2_train, no such dataset", PEER, 1)
            ways.command(mistaken, lambda: run_command(other, (1,), **folders), compares=False)
        notes = setting.peers.missing(["nnunet"])
        return measure("start: the answer to a mistake", "s", ways.all, setting, notes)[0]


def _first_step(setting: Setting, source: Source) -> Table:
    """From the folder of pairs: every file read, checked and prepared, and one batch learnt."""
    with Ways() as ways:
        ways.command(("this project: files checked, prepared", OWN, 1), lambda: _own(source, "ram"))
        ways.command(("this project: a second start, data.cache=disk", OWN, 1), lambda: _own(source, "disk"))
        if setting.peers.has("monai"):
            job = json.dumps({"job": "train", "with": monai_job(source, 1)})
            monai = [setting.peers.python["monai"], "-m", "benchmarks.peers.monai_train", job]
            ways.command(("MONAI: the program of --only train", PEER, 1), lambda: run_command(monai))
        if setting.peers.has("nnunet") and source.is_hippocampus:
            ways.command(("nnU-Net: planned, preprocessed, begun", PEER, 1), lambda: _nnunet(setting, source))
        notes = setting.peers.missing(["monai", "nnunet"])
        if setting.peers.has("nnunet") and not source.is_hippocampus:
            notes.append(HOW_TO_HAVE_IT)
        return measure(f"start: to the first training step, {source.name}", "s", ways.all, setting, notes)[0]


def _own(source: Source, cache: str) -> Sample:
    out = source.config.parent / f"run-{cache}"
    shutil.rmtree(out, ignore_errors=True)
    return run_command([sys.executable, "-m", "benchmarks.own.first_step", source.config, "--out", out,
                        "--set", f"data.cache={cache}"])  # fmt: skip


def _nnunet(setting: Setting, source: Source) -> Sample:
    root = setting.folder / "nnunet-first"
    shutil.rmtree(root, ignore_errors=True)
    job = {"job": "train", "with": {"root": str(root), "data": str(source.data), "steps": 1}}
    return run_command([setting.peers.python["nnunet"], "-m", "benchmarks.peers.nnunet_train", json.dumps(job)])
