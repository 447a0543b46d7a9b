"""A run that is killed, whenever that is, and gone on with, ends as if it had never been killed: to the bit."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

CHECKOUT = Path(__file__).parents[3]
TIMING = {"seconds", "slices_per_second", "augment_share"}
TINY = {
    "network": "{_target_: UNet, channels: [4, 8], dropout: 0.1}", "training.batch_size": 4, "training.epochs": 3,
    "training.ema": 0.8, "training.threads": 1, "training.device": "cpu", "training.learning_rate": 0.01,
    "training.checkpoint_minutes": 1e-9,  # after every step
}  # fmt: skip
FOLDS = {"splits.kind": "folds", "splits.folds": 2, "data.fold": "all", "training.epochs": 2}
KILLED = -9


class Study:
    """Six patients with a bright square each, and a process that runs ``bin/run_pipeline`` on them and dies at will."""

    def __init__(self, root: Path, write_nifti: Callable[..., Path]) -> None:
        generator = np.random.default_rng(0)
        for number in range(6):
            label = np.zeros((16, 16, 3), dtype=np.uint8)
            label[number : number + 8, 4:12, 1:] = 1
            image = (3 * label + generator.normal(size=label.shape)).astype(np.float32)
            write_nifti(root / f"images/p{number}.nii.gz", image, (1.0, 1.0, 2.5))
            write_nifti(root / f"labels/p{number}.nii.gz", label, (1.0, 1.0, 2.5))
        self.root = root
        alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.words = (root / "words.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("die_at.py"))], text=True, bufsize=1, stderr=self.words,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **alone, "PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip

    def run(self, folder: Path, event: int | None = None, **more: Any) -> tuple[int, int]:
        """Start a run, or go on with it where it has begun; gives how it ended and how many events it came to."""
        assert self.process.stdin is not None and self.process.stdout is not None
        places = {f"data.{name}": self.root / name for name in ("images", "labels")}
        settings = [f"--set={key}={value}" for key, value in {**TINY, **places, **more}.items()]
        resume = ["--resume"] if folder.exists() else []
        arguments = [str(CHECKOUT / "configs/folders.yaml"), *settings, "--out", str(folder), *resume]
        self.process.stdin.write(json.dumps({"arguments": arguments, "event": event}) + "\n")
        answer = self.process.stdout.readline()
        assert answer, self.said()
        code, count = json.loads(answer)
        assert code in (0, KILLED), self.said()
        return code, count

    def said(self) -> str:
        self.words.seek(0)
        return self.words.read()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.words.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, write_nifti: Callable[..., Path]) -> Iterator[Study]:
    study = Study(tmp_path_factory.mktemp("study"), write_nifti)
    yield study
    study.close()


def plain(value: Any) -> Any:
    """What a checkpoint holds, ready for a comparison to the bit; without what differs from clock to clock."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.stride(), value.contiguous().numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in TIMING}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return repr(value)


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run has found, by the name of the file it is in."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix == ".pt" and path.name != "last.previous.pt":  # how old that is depends on the kills
            found[name] = plain(torch.load(path, weights_only=True))
        elif path.name == "history.csv":
            rows = csv.DictReader(path.read_text().splitlines())
            found[name] = [{key: one for key, one in row.items() if key not in TIMING} for row in rows]
        elif path.name not in ("log.txt", "provenance.json"):
            written = path.read_bytes().replace(str(folder).encode(), b"RUN")
            found[name] = path.name == "last.previous.pt" or written
    return found


@pytest.mark.parametrize(("more", "kills"), [({}, 13), (FOLDS, 7)], ids=["one network", "all folds"])
def test_a_run_that_is_killed_at_random_moments_ends_as_if_it_had_not_been(
    study: Study, tmp_path: Path, more: dict[str, Any], kills: int
) -> None:
    code, events = study.run(tmp_path / "whole", **more)
    assert code == 0
    expected = outcome(tmp_path / "whole")
    assert len([name for name in expected if name.startswith("predictions/")]) == (6 if more else 1)
    moments, killed, number = random.Random(len(more)), 0, 0
    while killed < kills:
        number += 1
        folder, code = tmp_path / f"killed {number}", KILLED
        while code == KILLED:
            code, _ = study.run(folder, moments.randint(1, events) if killed < kills else None, **more)
            killed += code == KILLED
            # Killed after its last file, such a run says that it is finished when it is asked to go on.
            if (folder / "report.html").exists():
                break
        found = outcome(folder)
        assert found.keys() == expected.keys(), "nothing half written stays"
        assert [name for name in expected if found[name] != expected[name]] == []
