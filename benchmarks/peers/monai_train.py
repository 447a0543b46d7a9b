"""A 2D segmentation program as a user of MONAI writes it after the tutorials.

CacheDataset holds the prepared slices, a DataLoader with workers applies random transforms to each sample, and MONAI's
UNet learns with DiceCELoss and AdamW; on a GPU with automatic mixed precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.peers.speak import cores_allowed, serve

BOTH = ["image", "label"]


def _prepared(data: Path, size: Sequence[int], resize: bool) -> Iterator[Any]:
    """Each volume: read, turned, normalised, and its slices brought to a size."""
    from monai.data import CacheDataset
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        LoadImaged,
        NormalizeIntensityd,
        Orientationd,
        Resized,
        ResizeWithPadOrCropd,
    )

    wanted = (*size, -1)
    fit = Resized(BOTH, wanted, mode=["trilinear", "nearest"]) if resize else ResizeWithPadOrCropd(BOTH, wanted)
    steps = Compose([
        LoadImaged(BOTH, image_only=True), EnsureChannelFirstd(BOTH), Orientationd(BOTH, axcodes="RAS"),
        NormalizeIntensityd("image"), fit,
    ])  # fmt: skip
    files = [
        {"image": str(path), "label": str(data / "labels" / path.name)} for path in sorted((data / "images").iterdir())
    ]
    volumes = CacheDataset(files, steps, num_workers=cores_allowed(), progress=False)
    yield from (volumes[number] for number in range(len(files)))


def _slices(data: Path, size: Sequence[int], resize: bool, context: int) -> list[dict[str, Any]]:
    """A sample a slice: ``image`` (2 * context + 1, H, W), the outermost slices repeated, and ``label`` (1, H, W)."""
    import torch

    found = []
    for volume in _prepared(data, size, resize):
        image, label = volume["image"].as_tensor()[0], volume["label"].as_tensor()[0]
        last = image.shape[-1] - 1
        for number in range(last + 1):
            seen = [min(max(number + step, 0), last) for step in range(-context, context + 1)]
            channels = torch.stack([image[..., place] for place in seen])
            found.append({"image": channels, "label": label[..., number][None]})
    return found


def _random() -> Any:
    """The transforms of a sample: those of configs/hippocampus.yaml, without its elastic deformation."""
    from monai.transforms import (
        Compose,
        RandAdjustContrastd,
        RandAffined,
        RandFlipd,
        RandGaussianNoised,
        RandScaleIntensityd,
    )

    return Compose([
        RandAffined(BOTH, prob=0.9, rotate_range=0.26, scale_range=0.15, shear_range=0.1, translate_range=3,
                    mode=["bilinear", "nearest"], padding_mode="border"),
        RandFlipd(BOTH, prob=0.5, spatial_axis=0), RandScaleIntensityd("image", factors=0.15, prob=0.5),
        RandAdjustContrastd("image", gamma=(0.8, 1.25), prob=0.5), RandGaussianNoised("image", std=0.1, prob=0.5),
    ])  # fmt: skip


def train(
    data: str, size: Sequence[int], resize: bool, context: int, classes: int, widths: Sequence[int], batch: int,
    steps: int,
) -> Callable[[], Any]:  # fmt: skip
    """Make ready to train on some batches."""
    import torch
    from monai.data import CacheDataset, DataLoader
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = CacheDataset(_slices(Path(data), size, resize, context), _random(), progress=False)
    loader = DataLoader(dataset, batch_size=batch, shuffle=True, drop_last=True, num_workers=cores_allowed(),
                        persistent_workers=True, pin_memory=device.type == "cuda")  # fmt: skip
    torch.manual_seed(0)
    network = UNet(2, 2 * context + 1, classes, widths, [2] * (len(widths) - 1), num_res_units=2).to(device)
    loss, optimizer = DiceCELoss(softmax=True, to_onehot_y=True), torch.optim.AdamW(network.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cuda", enabled=device.type == "cuda")

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    coming = batches()

    def once() -> dict[str, Any]:
        seen = 0
        for part in islice(coming, steps):
            image, label = part["image"].to(device), part["label"].to(device)
            optimizer.zero_grad()
            with torch.autocast(device.type, enabled=device.type == "cuda"):
                value = loss(network(image), label)
            scaler.scale(value).backward()
            scaler.step(optimizer)
            scaler.update()
            last = value.item()
            seen += len(image)
        return {"units": seen, "loss": last}

    return once


if __name__ == "__main__":
    serve({"train": train})
