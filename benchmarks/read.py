"""Reading 256 x 128 slices: this project's reader against MONAI's NibabelReader, with the same arrays and affines."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from monai.transforms import LoadImaged

from benchmarks.turns import table, take_turns
from pipeline.data.phantom.writing import PhantomSpec, write_phantom
from transforms.nifti import ReadOptions
from transforms.reader import CheckedLoadImaged

_FILES = 60


def run(rounds: int) -> str:
    """Measure; returns the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "phantom"
        write_phantom(root, PhantomSpec(train=1, validate=1, test=1, weeks=1))
        files = sorted((root / "keras_slices_train").iterdir())[:_FILES]
        ours = CheckedLoadImaged({"keys": "image"}, ReadOptions(as_slices=False))
        theirs = LoadImaged(keys="image", reader="NibabelReader", image_only=True)

        def each(load: Any) -> Any:
            return lambda: [load({"image": str(path)}) for path in files]

        _same(each(ours)(), each(theirs)())
        ways = {"ours, the whole stream checked": each(ours), "MONAI LoadImaged, NibabelReader": each(theirs)}
        seconds = take_turns(ways, rounds, len(files))
    return table(f"read: {len(files)} slices of .nii.gz to tensors, one thread", seconds, "slices", next(iter(ways)))


def _same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    for own, peer in zip(ours, theirs, strict=True):
        array = peer["image"].squeeze(-1) if peer["image"].ndim > own["image"].ndim else peer["image"]
        assert torch.equal(own["image"].as_tensor(), array.as_tensor())
        assert torch.equal(own["image"].affine, peer["image"].affine)
