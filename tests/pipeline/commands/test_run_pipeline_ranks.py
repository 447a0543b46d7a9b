"""bin/run_pipeline in two processes: the run that one process makes, and one end for both."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml

from pipeline.commands.run_pipeline import main

CHECKOUT = Path(__file__).parents[3]
PLUGIN = """
import os


class Fragiled:
    def __init__(self, keys):
        self.keys = keys

    def __call__(self, data):
        if os.environ.get("RANK") == "1":
            raise ValueError("this process has no luck")
        return data
"""


@pytest.fixture
def dataset(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    """Eight patients of four slices each, in which each class has an intensity of its own."""
    random = np.random.default_rng(0)
    for patient in range(8):
        coarse = random.integers(0, 3, (4, 4, 4))
        label = coarse.repeat(4, 0).repeat(4, 1)
        image = label + 0.1 * random.standard_normal(label.shape)
        spacing = (1.0, 1.0, 3.0)
        write_nifti(tmp_path / "data" / "images" / f"p{patient}.nii.gz", image, spacing, np.float32)
        write_nifti(tmp_path / "data" / "labels" / f"p{patient}.nii.gz", label, spacing, np.uint8)
    return tmp_path / "data"


def written(folder: Path, config: dict[str, Any], **changes: Any) -> Path:
    path = folder / f"tiny-{len(list(folder.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump({**config, **changes}), encoding="utf-8")
    return path


@pytest.fixture
def config(dataset: Path) -> dict[str, Any]:
    chain = (
        {"_target_": name, "keys": ["image", "label"]} for name in ("LoadImaged", "EnsureChannelFirstd", "ToTensord")
    )
    return {
        "name": "tiny",
        "data": {
            "layout": "folders", "root": str(dataset), "classes": ["background", "a", "b"], "fold": "all",
            "cache": "disk",
        },
        "splits": {"kind": "folds", "folds": 2, "validation": 0.25},
        "transforms": {"prepare": list(chain)},
        "network": {"_target_": "UNet", "channels": [8, 16]},
        "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
        "training": {
            "epochs": 30, "batch_size": 6, "device": "cpu", "learning_rate": 0.01, "validate_every": 30,
            "precision": "float32", "threads": 1,
        },
        "evaluation": {"resamples": 100},
    }  # fmt: skip


def last_dice(fold: Path) -> float:
    return float(list(csv.DictReader((fold / "history.csv").open()))[-1]["validation_dice"])


def masks(folder: Path) -> dict[str, np.ndarray]:
    opened: dict[str, Any] = {path.name: nib.load(path) for path in (folder / "predictions").iterdir()}
    return {name: np.asanyarray(image.dataobj) for name, image in opened.items()}


def test_two_processes_make_the_run_of_one(tmp_path: Path, config: dict[str, Any], capfd: Any) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([str(written(tmp_path, config)), "--out", str(one), "--set", "data.cache=ram"]) == 0
    capfd.readouterr()
    path = written(tmp_path, config)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    done = subprocess.run(
        [*command, str(CHECKOUT / "bin/run_pipeline"), str(path), "--out", str(two)], cwd=CHECKOUT, timeout=150,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    for fold in ("fold_0", "fold_1"):
        assert last_dice(one / fold) > 0.95, "not learnt well: any other would be as near"
        assert last_dice(two / fold) == pytest.approx(last_dice(one / fold), abs=0.01)
        assert (two / fold / "log-rank1.txt").stat().st_size > 0
    names = {path.relative_to(one) for path in one.rglob("*")}
    assert {path.relative_to(two) for path in two.rglob("*") if "-rank1" not in path.name} == names
    assert masks(two).keys() == masks(one).keys() == {f"p{number}.nii.gz" for number in range(8)}
    rows = [list(csv.DictReader((run / "evaluation" / "cases.csv").open())) for run in (one, two)]
    assert [(row["case"], row["class"]) for row in rows[0]] == [(row["case"], row["class"]) for row in rows[1]]
    assert json.loads((one / "provenance.json").read_text())["processes"] == 1
    assert json.loads((two / "provenance.json").read_text())["processes"] == 2
    assert done.stdout.count("Report: ") == 1 and done.stdout.count("HD95") == 2, "the table comes once"
    assert done.stderr.count("8 cases -> ") == 1 and done.stderr.count("check: 8/8") == 1
    assert done.stderr.count("it may be deleted when nothing runs") == 4, "two sides of two folds, of one process"

    # One process goes on with what two began: the second fold was trained, but not yet tested.
    before = masks(two)
    (two / "report.html").unlink()
    (two / "fold_1" / "checkpoints" / "counts.pt").unlink()
    assert main([str(path), "--out", str(two), "--resume"]) == 0
    after = masks(two)
    assert after.keys() == before.keys() and all(np.array_equal(after[name], before[name]) for name in after)
    assert "resumed at step" in (two / "fold_1" / "log.txt").read_text()
    assert rows[1] == list(csv.DictReader((two / "evaluation" / "cases.csv").open()))


def test_a_fault_of_one_process_ends_both_and_is_told_once(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "mine.py").write_text(PLUGIN, encoding="utf-8")
    chain = [*config["transforms"]["prepare"], {"_target_": "mine.Fragiled", "keys": "image"}]
    path = written(tmp_path, config, plugins=["mine.py"], transforms={"prepare": chain})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(CHECKOUT / "bin/run_pipeline"), str(path), "--set", "data.cache=ram"]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [2, 2], said
    assert "error:" not in said[0][1] and "Traceback" not in said[0][1]
    assert said[1][1].startswith("process 1 of 2, counted from 0:\nerror: ")
    assert "this process has no luck" in said[1][1] and said[1][1].count("error:") == 1
    assert not list((tmp_path / "runs" / "tiny").glob("0*")), "a run that was never trained is not kept"
