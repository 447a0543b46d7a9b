"""MONAI's datasets over a folder of pairs, as its tutorials have them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.speak import serve


def read(folder: str, size: Sequence[int], classes: list[str], start: str, dataset: str) -> Callable[[], Any]:
    """Make ready to read and prepare every pair, or to find what was kept of it."""
    from monai.data import CacheDataset, PersistentDataset
    from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, NormalizeIntensityd, Resized, ToTensord

    both = ["image", "label"]
    chain = Compose([
        LoadImaged(keys=both, image_only=True), EnsureChannelFirstd(keys=both),
        Resized(keys=both, spatial_size=(*size, -1), mode=["trilinear", "nearest"]),
        NormalizeIntensityd(keys="image"), ToTensord(keys=both),
    ])  # fmt: skip
    images = sorted((Path(folder) / "data" / "images").iterdir())
    files = [{"image": str(path), "label": str(path.parents[1] / "labels" / path.name)} for path in images]

    def once() -> dict[str, Any]:
        if dataset == "PersistentDataset":
            kept: Any = PersistentDataset(files, chain, cache_dir=Path(folder) / "monai")
        else:
            kept = CacheDataset(files, chain, num_workers=None, progress=False)
        return found([kept[number] for number in range(len(kept))], len(classes))

    if start == "second":
        once()
    return once


def found(samples: Sequence[Any], classes: int) -> dict[str, Any]:
    """What there is of each class."""
    import torch

    voxels = torch.zeros(classes, dtype=torch.int64)
    for sample in samples:
        voxels += torch.bincount(sample["label"].long().flatten(), minlength=classes)
    height, width, slices = samples[0]["image"].shape[1:]
    return {"voxels": voxels.tolist(), "shape": [slices, height, width]}


if __name__ == "__main__":
    serve({"read": read})
