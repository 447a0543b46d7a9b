"""A folder of volumes to masks: bin/predict as it is typed, beside nnUNetv2_predict and the bare network.

nnU-Net's network has as many multiply-adds a slice, mirrors nothing, and its command works with as many processes as
there are cores. The bare network sees as many slices of the same shape, in batches of the same size: what is between
it and bin/predict is starting, reading, preparing, the way back to the image's grid, and writing. Measured on large
slices of few volumes, and on small slices of many.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frame import LIMIT, OWN, PEER, Setting, Table, Ways, failed, measure
from benchmarks.own.predict import BATCH, make_run, multiply_adds_of
from benchmarks.peers.speak import cores_allowed
from benchmarks.tables import figure
from benchmarks.volumes import CLASSES, phantom_volume, save
from benchmarks.workers import ROOT, Sample, Unmeasured, Worker, run_command

SPACING_MM = (1.7, 1.6, 2.0)
_READ: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": ["image", "label"], "image_only": True},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
]
_RESIZE: dict[str, Any] = {"_target_": "Resized", "keys": ["image", "label"], "spatial_size": [256, 128],
                           "mode": ["bilinear", "nearest"]}  # fmt: skip
_PAD: dict[str, Any] = {"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": [48, 64]}
_REST: list[dict[str, Any]] = [
    {"_target_": "NormalizeIntensityd", "keys": "image"}, {"_target_": "ToTensord", "keys": ["image", "label"]},
]  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """Volumes of one kind, and what predicts them.

    Attributes
    ----------
    name
        What they are.
    volumes
        How many; with ``--quick`` the second number.
    make
        Image (float32) and mask (uint8) (X, Y, Z), of the number of a volume.
    size
        Height and width of a slice once it is prepared.
    context
        Neighbouring slices on each side that the network sees.
    classes, widths, prepare
        Of the config: the classes, the network's channels and the prepare chain.
    """

    name: str
    volumes: tuple[int, int]
    make: Callable[[int], tuple[np.ndarray, np.ndarray]]
    size: tuple[int, int]
    context: int
    classes: list[str]
    widths: list[int]
    prepare: list[dict[str, Any]]

    def config(self) -> dict[str, Any]:
        """Of the run that predicts."""
        return {
            "name": "benchmark",
            "data": {"layout": "folders", "root": ".", "classes": self.classes, "context": self.context, "axis": 2},
            "splits": {"kind": "holdout"},
            "transforms": {"prepare": self.prepare},
            "network": {"_target_": "UNet", "channels": self.widths},
            "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
            "inference": {"batch_size": BATCH},
        }


def small_volume(number: int) -> tuple[np.ndarray, np.ndarray]:
    """About 35 x 50 x 35 voxels, as those of the hippocampus dataset; no two sizes need be alike."""
    rng = np.random.default_rng(number)
    shape = [int(rng.integers(side - 4, side + 5)) for side in (35, 50, 35)]
    return rng.integers(1, 200, shape).astype(np.float32), rng.integers(0, 3, shape).astype(np.uint8)


KINDS = (
    Kind("large slices", (4, 1), phantom_volume, (256, 128), 0, CLASSES, [24, 48, 96, 192],
         [*_READ, _RESIZE, *_REST]),  # as configs/hipmri.yaml
    Kind("many small volumes", (60, 8), small_volume, (48, 64), 1, ["background", "anterior", "posterior"],
         [32, 64, 128, 256], [*_READ, *_REST[:1], _PAD, *_REST[1:]]),  # as configs/hippocampus.yaml, but not mirrored
)  # fmt: skip


def tables(setting: Setting, limits: dict[str, Any]) -> Iterator[Table | str]:
    """Measure; a table a kind."""
    for number, kind in enumerate(KINDS):
        yield _table(kind, setting, setting.folder / str(number))


def _table(kind: Kind, setting: Setting, folder: Path) -> Table:
    count = kind.volumes[setting.quick]
    slices = write_volumes(kind, count, folder, every=setting.sized(1, 5))
    run = make_run(folder / "model", kind.config(), axis=2)
    channels = 2 * kind.context + 1
    with Ways() as ways:
        ways.command(("bin/predict, as it is typed", OWN, slices), lambda: _predict(run, folder, count))
        notes = _add_nnunet(ways, kind, run, folder, setting, count, slices)
        ways.worker(("the bare network", LIMIT, slices), (sys.executable, "benchmarks.own.predict", "bare"),
                    run=str(run), channels=channels, size=kind.size, slices=slices)  # fmt: skip
        notes += [*ways.notes, *setting.peers.missing(["nnunet"])]
        title = f"predict, {kind.name}: {count} volumes, {slices} slices of {kind.size[0]} x {kind.size[1]}"
        return measure(title, "slices", ways.all, setting, notes)[0]


def write_volumes(kind: Kind, count: int, folder: Path, every: int = 1) -> int:
    """Images for both, under the names that each wants; masks for nnU-Net's plan. Gives how many slices there are.

    Of large slices, one of so many as `every` is kept.
    """
    slices = 0
    for number in range(count):
        image, mask = kind.make(number)
        if image.shape[2] >= 60:
            image, mask = image[:, :, ::every], mask[:, :, ::every]
        slices += image.shape[2]
        name = f"scan_{number:03d}"
        save(folder / "images" / f"{name}.nii.gz", image, SPACING_MM)
        save(folder / "labels" / f"{name}.nii.gz", mask, SPACING_MM)
        (folder / "imagesTs").mkdir(exist_ok=True)
        shutil.copy(folder / "images" / f"{name}.nii.gz", folder / "imagesTs" / f"{name}_0000.nii.gz")
    return slices


def _predict(run: Path, folder: Path, count: int) -> Sample:
    out = folder / "masks"
    shutil.rmtree(out, ignore_errors=True)
    sample = run_command([sys.executable, ROOT / "bin" / "predict", "--run", run, "--images", folder / "images",
                          "--out", out])  # fmt: skip
    assert len(list(out.glob("*.nii.gz"))) == count
    return sample


def _add_nnunet(
    ways: Ways, kind: Kind, run: Path, folder: Path, setting: Setting, count: int, slices: int
) -> list[str]:  # fmt: skip
    """Make nnU-Net's model and add its command; gives what is to be said of it."""
    if not setting.peers.has("nnunet"):
        return []
    root = folder / "nnunet"
    own = multiply_adds_of(run, 2 * kind.context + 1, kind.size)
    name = "nnUNetv2_predict, as it is typed"
    try:
        with Worker(setting.peers.python["nnunet"], "benchmarks.peers.nnunet_predict", "model", root=str(root),
                    data=str(folder), classes=kind.classes, wanted=own) as worker:  # fmt: skip
            made = worker().result
    except Unmeasured as failure:
        return [failed(name, failure)]
    program = setting.peers.program("nnunet", "nnUNetv2_predict")
    ways.command((name, PEER, slices), lambda: _nnunet(program, root, folder, count))
    return [f"nnU-Net's network has {figure(made['multiply_adds'] / 1e6)} million multiply-adds a patch of "
            f"{made['patch'][0]} x {made['patch'][1]} (widths {made['features']}), this project's "
            f"{figure(own / 1e6)} million a slice; neither was trained, neither mirrors"]  # fmt: skip


def _nnunet(program: Path, root: Path, folder: Path, count: int) -> Sample:
    import torch

    out = folder / "masks-nnunet"
    shutil.rmtree(out, ignore_errors=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    folders = {f"nnUNet_{part}": str(root / part) for part in ("raw", "preprocessed", "results")}
    sample = run_command([
        program, "-i", folder / "imagesTs", "-o", out, "-d", "1", "-c", "2d", "-f", "0", "--disable_tta",
        "-device", device, "-npp", cores_allowed(), "-nps", cores_allowed(),
    ], **folders)  # fmt: skip
    assert len(list(out.glob("*.nii.gz"))) == count
    return sample
