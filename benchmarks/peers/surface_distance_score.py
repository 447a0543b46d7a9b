"""DeepMind's surface-distance on one volume, read by nibabel, a class at a time as its README has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers.speak import serve


def score(predictions: str, labels: str, classes: int, tolerance_mm: float) -> Callable[[], Any]:
    """Make ready to read a prediction and its label, and to measure them."""
    import nibabel
    import numpy as np
    import surface_distance

    def once() -> dict[str, list[float]]:
        images: list[Any] = [nibabel.load(path) for path in (predictions, labels)]
        prediction, label = (np.asanyarray(image.dataobj) for image in images)
        spacing = tuple(float(value) for value in images[1].header.get_zooms()[:3])
        figures: dict[str, list[float]] = {"hd95": [], "surface_dice": []}
        for index in range(1, classes):
            found = surface_distance.compute_surface_distances(label == index, prediction == index, spacing)
            figures["hd95"].append(float(surface_distance.compute_robust_hausdorff(found, 95)))
            dice = surface_distance.compute_surface_dice_at_tolerance(found, tolerance_mm)
            figures["surface_dice"].append(float(dice))
        return figures

    return once


if __name__ == "__main__":
    serve({"score": score})
