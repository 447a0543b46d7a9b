"""Finished runs: one of which every prediction is known beforehand, and the files of one for an ablation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_PLUGIN = '''
import torch
from torch import nn


class Truthful(nn.Module):
    """Logits for the class that the image's intensity, rounded and moved by the weight, names."""

    def __init__(self, in_channels, out_channels, step=0):
        super().__init__()
        self.classes, self.step = out_channels, step
        self.move = nn.Parameter(torch.zeros(1))

    def forward(self, image):
        named = (image[:, (image.shape[1] // 2 + self.step) % image.shape[1]] + self.move).round().long() % self.classes
        return 20.0 * nn.functional.one_hot(named, self.classes).permute(0, 3, 1, 2).float()
'''


@pytest.fixture
def make_run(tmp_path: Path, make_config: Callable[..., Any]) -> Callable[..., Path]:
    """A function that writes the folder of a finished run, whose network is always right where `move` is 0."""

    def make(name: str = "run", move: float = 0.0, step: int = 0, **more: Any) -> Path:
        """`more` are sections of the config, or values of its model.json."""
        from pipeline.config.resolved import resolved_text
        from pipeline.networks.build import build_network
        from pipeline.training.checkpoint import save_checkpoint

        plugin = tmp_path / "truthful.py"
        plugin.write_text(_PLUGIN, encoding="utf-8")
        facts: dict[str, Any] = {
            "channels": 1,
            "channels_in_file": 1,
            "volumes": True,
            "axis": 2,
            "knows_spacing": True,
        }
        facts |= {"ranges": {}, "postprocess": None}
        facts |= {key: more.pop(key) for key in list(more) if key in facts}
        network = {"_target_": "truthful.Truthful", "step": step}
        config = make_config(plugins=[str(plugin)], network=network, **more)
        folder = tmp_path / name
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text(resolved_text(config), encoding="utf-8")
        (folder / "model.json").write_text(json.dumps({"format": 2, **facts}), encoding="utf-8")
        channels = int(facts["channels"]) * (2 * config.settings.data.context + 1)
        built = build_network(config.settings.network, channels, len(config.settings.data.classes))
        state = {key: value + move for key, value in built.state_dict().items()}
        save_checkpoint(folder / "checkpoints" / "best.pt", {"network": state})
        return folder

    return make


@pytest.fixture(scope="session")
def write_cell() -> Callable[..., None]:
    """A function that writes what a finished run of an ablation leaves: its figures, without a network or masks."""
    from pipeline.evaluation import tables
    from pipeline.evaluation.ablation_cells import VALIDATION
    from pipeline.evaluation.aggregation import evaluate
    from pipeline.evaluation.confusion import CaseCounts, SliceCounts

    def scored(folder: Path, patients: Sequence[str], skill: int, seed: int, classes: tuple[str, ...]) -> None:
        """Each patient has two scans; the reference of the first patient's first scan lacks the last class."""
        rng, counts = np.random.default_rng(seed), []
        for patient in patients:
            for week in range(2):
                confusion = rng.integers(1, 9, (1, len(classes), len(classes))) + skill * np.eye(
                    len(classes), dtype=int
                )
                if patient == patients[0] and not week:
                    confusion[:, -1] = 0
                names = f"{patient}_w{week}", f"w{week}", patient
                counts.append(CaseCounts(*names, SliceCounts.of(confusion)))
        found = evaluate(counts, classes, resamples=200, seed=3)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scans.csv").write_text(tables.scans_csv(found), encoding="utf-8")
        (folder / "summary.json").write_text(tables.summary_json(found), encoding="utf-8")

    def write(
        folder: Path, *, skill: int = 20, seed: int = 0, test: Sequence[str] = ("p1", "p2", "p3", "p10"),
        classes: tuple[str, ...] = ("background", "bone", "rectum"), validation: Sequence[str] = ("v1", "v2"),
        **provenance: Any,
    ) -> None:  # fmt: skip
        scored(folder / "evaluation", test, skill, seed, classes)
        if validation:
            scored(folder / VALIDATION, validation, skill, seed + 100, classes)
        rows = "epoch,step,validation_dice\n1,10,0.25\n2,20,\n3,30,0.75\n4,40,0.5\n"
        (folder / "history.csv").write_text(rows, encoding="utf-8")
        source = {
            "training_seconds": 75.5, "wall_seconds": 90.0, "peak_memory_bytes": 3 * 2**29, "resumed": False,
            "dataset": {"fingerprint": "f1", "synthetic": False}, "git_commit": "c1", "device": "CPU",
            "versions": {"torch": "2"}, **provenance,
        }  # fmt: skip
        (folder / "provenance.json").write_text(json.dumps(source), encoding="utf-8")
        (folder / "report.html").write_text("a report", encoding="utf-8")

    return write
