"""MONAI's metrics of one volume, read and coded one-hot by its own transforms as its documentation has it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.peers.speak import serve


def score(predictions: str, labels: str, classes: int, tolerance_mm: float) -> Callable[[], Any]:
    """Make ready to read a prediction and its label, and to measure them."""
    import numpy as np
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
    from monai.transforms import AsDiscrete, Compose, EnsureChannelFirst, LoadImage

    warnings.filterwarnings("ignore")
    steps = Compose([LoadImage(image_only=True), EnsureChannelFirst(), AsDiscrete(to_onehot=classes)])

    def once() -> dict[str, list[float]]:
        prediction, label = (steps(path) for path in (predictions, labels))
        spacing = [float(value) for value in np.linalg.norm(label.affine.numpy()[:3, :3], axis=0)]
        found, truth = (array.as_tensor()[None] for array in (prediction, label))
        compute_dice(found, truth, include_background=False)
        hd95 = compute_hausdorff_distance(found, truth, percentile=95, spacing=spacing)
        dice = compute_surface_dice(found, truth, [tolerance_mm] * (classes - 1), spacing=spacing)
        return {"hd95": hd95[0].tolist(), "surface_dice": dice[0].tolist()}

    return once


if __name__ == "__main__":
    serve({"score": score})
