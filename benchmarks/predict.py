"""Predicting a folder: everything that bin/predict does to it once the network is loaded, against the bare network.

The bare network sees as many slices of the same shape, in batches of the same size, its normalisations folded as for
prediction; what is between the two is reading, preparing, the way back to the image's grid, and writing. Measured on
large slices of few volumes, and on small slices of many.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import dataclass
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

_BATCH = 32
_READ: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": ["image", "label"], "image_only": True},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
]
_RESIZE = {
    "_target_": "Resized",
    "keys": ["image", "label"],
    "spatial_size": [256, 128],
    "mode": ["bilinear", "nearest"],
}
_PAD = {"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": [48, 64]}
_NORMALISE = {"_target_": "NormalizeIntensityd", "keys": "image"}
_TENSOR = {"_target_": "ToTensord", "keys": ["image", "label"]}


@dataclass(frozen=True)
class _Kind:
    """Volumes of one kind, and what predicts them.

    Attributes
    ----------
    title
        What they are.
    volumes
        How many.
    make
        (X, Y, Z) float32, of the number of a volume.
    axis
        That is cut into slices.
    side
        Height and width of a slice once it is prepared.
    context
        Neighbouring slices on each side that the network sees.
    classes, widths, prepare
        Of the config: the classes, the network's channels and the prepare chain.
    """

    title: str
    volumes: int
    make: Callable[[int], np.ndarray]
    axis: int
    side: tuple[int, int]
    context: int
    classes: list[str]
    widths: list[int]
    prepare: list[dict[str, Any]]

    @property
    def channels(self) -> int:
        """Of what the network sees."""
        return 2 * self.context + 1


def _small_volume(number: int) -> np.ndarray:
    """About 35 x 50 x 35 voxels, as those of the hippocampus dataset; no two sizes need be alike."""
    rng = np.random.default_rng(number)
    shape = [int(rng.integers(side - 4, side + 5)) for side in (35, 50, 35)]
    return rng.integers(0, 200, shape).astype(np.float32)


_KINDS = (
    _Kind(
        "large slices", 2, lambda number: scan_volume(4 + number, 0, 0)[0].astype(np.float32), 2, (256, 128), 0,
        ["background", "body", "bone", "bladder", "rectum", "prostate"],
        [24, 48, 96, 192], [*_READ, _RESIZE, _NORMALISE, _TENSOR],  # as configs/hipmri.yaml
    ),
    _Kind(
        "many small volumes", 60, _small_volume, 2, (48, 64), 1, ["background", "anterior", "posterior"],
        [16, 32, 64, 128], [*_READ, _NORMALISE, _PAD, _TENSOR],  # as configs/hippocampus.yaml
    ),
)  # fmt: skip


def run(rounds: int) -> str:
    """Measure; returns the tables."""
    tune_cpu(None)
    return "\n".join(_measured(kind, rounds) for kind in _KINDS)


def _measured(kind: _Kind, rounds: int) -> str:
    device = choose_device("auto")
    with tempfile.TemporaryDirectory() as name:
        job = _job(Path(name), kind)
        (network,) = load_networks(job.model, device)
        slices = sum(_slices(case.image, kind.axis) for case in job.images.cases)
        batches = [torch.randn(part.stop - part.start, kind.channels, *kind.side) for part in chunks(slices, _BATCH)]
        ways = {
            "folder to masks": lambda: _predicted(job),
            "the bare network": lambda: _bare(network, batches, device),
        }
        seconds = take_turns(ways, rounds, slices)
    height, width = kind.side
    title = (
        f"predict, {kind.title}: {kind.volumes} volumes, {slices} slices of {height} x {width}, batch {_BATCH}, "
        f"{describe(device)}"
    )  # fmt: skip
    return table(title, seconds, "slices", "folder to masks")


def _job(folder: Path, kind: _Kind) -> Job:
    """A run that was never trained, and volumes for it."""
    values = {
        "name": "benchmark",
        "data": {"layout": "folders", "root": ".", "classes": kind.classes, "context": kind.context},
        "splits": {"kind": "holdout"},
        "transforms": {"prepare": kind.prepare},
        "network": {"_target_": "UNet", "channels": kind.widths},
        "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
        "inference": {"batch_size": _BATCH},
    }
    (folder / "made.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    config = load_config(folder / "made.yaml", (), {})
    made = folder / "run"
    for part in (made / "checkpoints", folder / "images", folder / "masks"):
        part.mkdir(parents=True)
    write_text(made / "config.yaml", resolved_text(config))
    facts = {"channels": 1, "channels_in_file": 1, "volumes": True, "axis": kind.axis, "knows_spacing": True}
    write_json(made / "model.json", {"format": 1, **facts})
    torch.manual_seed(0)
    network = build_network(config.settings.network, kind.channels, len(kind.classes))
    save_checkpoint(made / "checkpoints" / "best.pt", {"network": network.state_dict()})
    for number in range(kind.volumes):
        image = nib.Nifti1Image(kind.make(number), np.diag([1.7, 1.6, 2.0, 1.0]))
        nib.save(image, folder / "images" / f"scan_{number}.nii.gz")
    model = find_model([made])
    return Job(model, "benchmark", find_images(folder / "images", model), folder / "masks")


def _slices(path: Path, axis: int) -> int:
    image: Any = nib.load(path)
    return int(image.shape[axis])


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
