"""Our way from a folder of pairs to slices that can be drawn from, asked again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers.speak import serve

FOLDERS = {"images": "data/images", "labels": "data/labels"}


def read(folder: str, size: Sequence[int], classes: list[str], start: str) -> Callable[[], Any]:
    """Make ready to start on the pairs.

    `start` is ``first``: afresh each time; ``prepare``: with what the check of the files found given; or ``second``: on
    what an earlier start has kept.
    """
    from pipeline.config.load import load_config

    path = Path(folder) / "benchmark.yaml"
    path.write_text(yaml.safe_dump(config(size, classes)), encoding="utf-8")
    if start == "second":
        kept = load_config(path, ["data.cache=disk", f"data.cache_folder={Path(folder) / 'kept'}"], {})
        _prepared(kept)
        return lambda: _prepared(kept)
    afresh = load_config(path, ["data.cache=ram"], {})
    facts = facts_of(afresh) if start == "prepare" else None
    return lambda: _prepared(afresh, facts)


def config(size: Sequence[int], classes: list[str]) -> dict[str, Any]:
    """Two folders of volumes, each slice brought to a size and each volume normalised."""
    return {
        "name": "benchmark",
        "data": {"layout": "folders", "root": ".", **FOLDERS, "classes": classes, "axis": 2},
        "splits": {"kind": "holdout"},
        "transforms": {"prepare": [
            {"_target_": "LoadImaged", "keys": ["image", "label"], "image_only": True},
            {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
            {"_target_": "Resized", "keys": ["image", "label"], "spatial_size": list(size),
             "mode": ["bilinear", "nearest"]},
            {"_target_": "NormalizeIntensityd", "keys": "image"},
            {"_target_": "ToTensord", "keys": ["image", "label"]},
        ]},
        "network": {"_target_": "UNet"},
        "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
    }  # fmt: skip


def facts_of(config: Any) -> dict[str, Any]:
    """What every file holds, found by reading and checking it; or remembered."""
    from pipeline.data.caching.known_facts import take_facts
    from pipeline.data.layouts import find_cases

    return {fact.case: fact for fact in take_facts(config, tuple(find_cases(config)))}


def _prepared(config: Any, facts: dict[str, Any] | None = None) -> dict[str, Any]:
    """From the folders to every prepared slice, as a run does it; gives what there is of each class."""
    import torch

    from pipeline.data.caching.caches import prepared_slices
    from pipeline.data.caching.prepared import Preparation
    from pipeline.data.caching.slices import epoch_batches
    from pipeline.data.inspection import read_options
    from pipeline.data.layouts import find_cases
    from transforms.chain import PrepareChain

    cases, options, data = tuple(find_cases(config)), read_options(config), config.settings.data
    facts = facts_of(config) if facts is None else facts
    chain = PrepareChain(config.settings.transforms.prepare, options)
    bank = prepared_slices(config, [Preparation(chain, cases, facts, options, len(data.classes), data.context)])
    voxels, shape = torch.zeros(len(data.classes), dtype=torch.int64), []
    for indices in epoch_batches(bank, 32, 0):
        batch = bank.batch(indices)
        shape = [len(bank) // len(cases), *batch["image"].shape[2:]]
        voxels += torch.bincount(batch["label"].flatten(), minlength=len(data.classes))
    return {"voxels": voxels.tolist(), "shape": shape}


if __name__ == "__main__":
    serve({"read": read})
