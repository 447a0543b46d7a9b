"""A run that was never trained, for bin/predict; and its bare network, asked again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers.speak import serve
from pipeline.threads import wait_briefly

BATCH = 32


def make_run(folder: Path, config: dict[str, Any], axis: int) -> Path:
    """Write the folder of a finished run whose weights are the first ones; gives it."""
    import torch

    from pipeline.config.load import load_config
    from pipeline.config.resolved import resolved_text
    from pipeline.networks.build import build_network
    from pipeline.runs import write_json, write_text
    from pipeline.training.checkpoint import save_checkpoint

    folder.mkdir(parents=True)
    (folder / "made.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    loaded = load_config(folder / "made.yaml", (), {})
    run = folder / "run"
    (run / "checkpoints").mkdir(parents=True)
    write_text(run / "config.yaml", resolved_text(loaded))
    facts = {"channels": 1, "channels_in_file": 1, "volumes": True, "axis": axis, "knows_spacing": True}
    write_json(run / "model.json", {"format": 1, **facts})
    torch.manual_seed(0)
    data = loaded.settings.data
    network = build_network(loaded.settings.network, 2 * data.context + 1, len(data.classes))
    save_checkpoint(run / "checkpoints" / "best.pt", {"network": network.state_dict()})
    return run


def multiply_adds_of(run: Path, channels: int, size: Sequence[int]) -> int:
    """Of one slice through a run's network, as it predicts."""
    import torch

    from pipeline.commands.predicting import load_networks
    from pipeline.inference.trained import find_model
    from pipeline.networks.measure import multiply_adds

    (network,) = load_networks(find_model([run]), torch.device("cpu"))
    return multiply_adds(network, torch.zeros(1, channels, *size))


def bare(run: str, channels: int, size: Sequence[int], slices: int) -> Callable[[], Any]:
    """Make ready to pass as many slices of noise through the network as the volumes have, in batches."""
    import torch

    from pipeline.commands.predicting import load_networks
    from pipeline.inference.trained import find_model
    from pipeline.networks.apply import chunks
    from pipeline.training.device import choose_device, tune_cpu

    tune_cpu(None)
    device = choose_device("auto")
    (network,) = load_networks(find_model([Path(run)]), device)
    batches = [torch.randn(part.stop - part.start, channels, *size) for part in chunks(slices, BATCH)]

    @torch.inference_mode()
    def once() -> None:
        for batch in batches:
            logits = network(batch.to(device).contiguous(memory_format=torch.channels_last))
            float(logits[0, 0, 0, 0])  # waits for the device

    return once


if __name__ == "__main__":
    wait_briefly()  # as bin/predict does
    serve({"bare": bare})
