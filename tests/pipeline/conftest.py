"""A finished run of which every prediction is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
