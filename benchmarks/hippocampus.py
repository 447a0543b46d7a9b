"""The dataset that training is measured on: hippocampus, where HIPPOCAMPUS names its folder; else a phantom."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchmarks.frame import Setting
from benchmarks.volumes import CLASSES, write_pairs
from benchmarks.workers import ROOT

HOW_TO_HAVE_IT = (
    "nnU-Net is trained on hippocampus alone, whose plan suits a CPU: set HIPPOCAMPUS to the folder of images/, "
    "labels/ and splits_final.json"
)


@dataclass(frozen=True)
class Source:
    """Pairs, and the config that trains on them.

    Attributes
    ----------
    name
        What they are.
    data
        Holds ``images/`` and ``labels/``.
    config
        Its YAML.
    classes
        Of the labels.
    size
        (H, W) of a prepared slice.
    resize
        Whether slices are resized to it; else they are padded, or cropped.
    context
        Neighbours on each side.
    widths
        Of the network.
    """

    name: str
    data: Path
    config: Path
    classes: list[str]
    size: tuple[int, int]
    resize: bool
    context: int
    widths: list[int]

    @property
    def is_hippocampus(self) -> bool:
        """Whether nnU-Net is trained as well."""
        return not self.resize


def hippocampus() -> Path | None:
    """The folder that HIPPOCAMPUS names; None where it names none."""
    folder = os.environ.get("HIPPOCAMPUS", "")
    return Path(folder).resolve() if folder and (Path(folder) / "images").is_dir() else None


def training_source(setting: Setting) -> Source:
    """Some cases of the dataset, copied or written into the part's folder, and a config for them."""
    folder, found = setting.folder, hippocampus()
    path = folder / "train.yaml"
    if found is None:
        write_pairs(folder / "data", setting.sized(4, 1), (256, 144, 60))
        path.write_text(_PHANTOM.format(base=ROOT / "configs" / "hipmri.yaml"), encoding="utf-8")
        return Source("phantom", folder / "data", path, CLASSES, (256, 128), True, 0, [24, 48, 96, 192])
    names = json.loads((found / "splits_final.json").read_text())[0]["train"][: setting.sized(1000, 12)]
    for side in ("images", "labels"):
        (folder / "data" / side).mkdir(parents=True)
        for name in names:
            shutil.copy(found / side / f"{name}.nii.gz", folder / "data" / side)
    path.write_text(_HIPPOCAMPUS.format(base=ROOT / "configs" / "hippocampus.yaml"), encoding="utf-8")
    classes = ["background", "anterior", "posterior"]
    return Source("hippocampus", folder / "data", path, classes, (48, 64), False, 1, [32, 64, 128, 256])


_HIPPOCAMPUS = """
extends: {base}
name: benchmark
data: {{root: data}}
splits: {{kind: holdout, file: null, test: 0.01}}
"""
_PHANTOM = """
extends: {base}
name: benchmark
data:
  layout: folders
  root: data
  images: images
  labels: labels
  axis: 2
  stand_in: null
splits: {{kind: holdout, test: 0.01}}
"""
