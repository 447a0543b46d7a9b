"""What one writes without a library for it: nibabel reads, scikit-image resizes, NumPy normalises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.speak import serve


def read(folder: str, size: Sequence[int], classes: list[str], start: str) -> Callable[[], Any]:
    """Make ready to read and prepare every pair."""
    import nibabel
    import numpy as np
    import torch
    from skimage.transform import resize

    images = sorted((Path(folder) / "data" / "images").iterdir())

    def loaded(path: Path) -> np.ndarray:
        image: Any = nibabel.load(path)
        return np.asarray(image.get_fdata(dtype=np.float32))

    def once() -> dict[str, Any]:
        voxels, shape = np.zeros(len(classes), dtype=np.int64), []
        kept = []
        for path in images:
            image, label = loaded(path), loaded(path.parents[1] / "labels" / path.name)
            wanted = (*size, image.shape[2])
            image = resize(image, wanted, order=1, preserve_range=True, anti_aliasing=False)
            label = resize(label, wanted, order=0, preserve_range=True, anti_aliasing=False).astype(np.uint8)
            image = (image - image.mean()) / image.std()
            kept.append((torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(label).permute(2, 0, 1)))
            voxels += np.bincount(label.ravel(), minlength=len(classes))
            shape = list(kept[-1][0].shape)
        return {"voxels": voxels.tolist(), "shape": shape}

    return once


if __name__ == "__main__":
    serve({"read": read})
