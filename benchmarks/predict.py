"""Predicting a folder: everything that bin/predict does to it once the network is loaded, against the bare network.

The bare network sees the same slices, prepared beforehand, in batches of the same size; what is between the two is
reading, preparing, the way back to the image's grid, and writing.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from torch import nn

from benchmarks.turns import table, take_turns
from pipeline.commands.predicting import load_networks, predict_cases
from pipeline.commands.prediction_job import Job
from pipeline.config.load import load_config
from pipeline.config.resolved import resolved_text
from pipeline.data.phantom.writing import scan_volume
from pipeline.inference.folder import find_images
from pipeline.inference.ledger import Ledger, sources_of
from pipeline.inference.trained import find_model
from pipeline.networks.apply import chunks
from pipeline.networks.build import build_network
from pipeline.runs import write_json, write_text
from pipeline.training.checkpoint import save_checkpoint
from pipeline.training.device import choose_device, describe, tune_cpu

_SCANS = 2
_CLASSES = ["background", "body", "bone", "bladder", "rectum", "prostate"]
_WIDTHS = [24, 48, 96, 192]  # as configs/hipmri.yaml
_BATCH = 32
_CHAIN: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": ["image", "label"], "image_only": True},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
    {"_target_": "Resized", "keys": ["image", "label"], "spatial_size": [256, 128], "mode": ["bilinear", "nearest"]},
    {"_target_": "NormalizeIntensityd", "keys": "image"},
    {"_target_": "ToTensord", "keys": ["image", "label"]},
]


def run(rounds: int, scans: int = _SCANS, widths: list[int] | None = None) -> str:
    """Measure; returns the table."""
    tune_cpu(None)
    device = choose_device("auto")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = _job(folder, scans, widths or _WIDTHS)
        (network,) = load_networks(job.model, device)
        slices = sum(_slices(case.image) for case in job.images.cases)
        batches = [torch.randn(len(range(slices)[part]), 1, 256, 128) for part in chunks(slices, _BATCH)]
        ways = {
            "folder to masks": lambda: _predicted(job),
            "the bare network": lambda: _bare(network, batches, device),
        }
        seconds = take_turns(ways, rounds, slices)
    title = f"predict: {scans} scans of {slices // scans} slices of 256 x 128, batch {_BATCH}, {describe(device)}"
    return table(title, seconds, "slices", "folder to masks")


def _job(folder: Path, scans: int, widths: list[int]) -> Job:
    """A run that was never trained, and volumes for it."""
    values = {
        "name": "benchmark",
        "data": {"layout": "folders", "root": ".", "classes": _CLASSES},
        "splits": {"kind": "holdout"},
        "transforms": {"prepare": _CHAIN},
        "network": {"_target_": "UNet", "channels": widths},
        "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
        "inference": {"batch_size": _BATCH},
    }
    (folder / "made.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    config = load_config(folder / "made.yaml", (), {})
    made = folder / "run"
    for part in (made / "checkpoints", folder / "images", folder / "masks"):
        part.mkdir(parents=True)
    write_text(made / "config.yaml", resolved_text(config))
    facts = {"channels": 1, "channels_in_file": 1, "volumes": True, "axis": 2, "knows_spacing": True}
    write_json(made / "model.json", {"format": 1, **facts})
    torch.manual_seed(0)
    network = build_network(config.settings.network, 1, len(_CLASSES))
    save_checkpoint(made / "checkpoints" / "best.pt", {"network": network.state_dict()})
    for number in range(scans):
        image = nib.Nifti1Image(scan_volume(4 + number, 0, 0)[0].astype(np.float32), np.diag([1.7, 1.6, 2.0, 1.0]))
        nib.save(image, folder / "images" / f"scan_{number}.nii.gz")
    model = find_model([made])
    return Job(model, "benchmark", find_images(folder / "images", model), folder / "masks", (0, 1), None, (), None,
               "auto", None, None)  # fmt: skip


def _slices(path: Path) -> int:
    image: Any = nib.load(path)
    return int(image.shape[2])


def _predicted(job: Job) -> None:
    """As the command does it, its network loaded anew."""
    for path in job.masks.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    ledger = Ledger(job.masks, "0-of-1")
    with redirect_stderr(StringIO()):
        done = predict_cases(job, ledger, job.images.cases, {c.id: sources_of(c) for c in job.images.cases})
    ledger.close()
    assert done.cases == len(job.images.cases)


@torch.inference_mode()
def _bare(network: nn.Module, batches: list[torch.Tensor], device: torch.device) -> float:
    total = 0.0
    for batch in batches:
        logits = network(batch.to(device).contiguous(memory_format=torch.channels_last))
        total += float(logits[0, 0, 0, 0])  # waits for the device
    return total
