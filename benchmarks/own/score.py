"""Our reading and scoring of one volume, asked again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.peers.speak import serve


def score(predictions: str, labels: str, classes: int, tolerance_mm: float) -> Callable[[], Any]:
    """Make ready to read a prediction and its label, and to count and measure them."""
    from pipeline.evaluation.confusion import count_slices
    from pipeline.evaluation.surfaces import surface_figures
    from transforms.nifti import read_label

    def once() -> dict[str, list[float]]:
        label, prediction = read_label(labels), read_label(predictions)
        count_slices(label.array, prediction.array, classes, axis=2)
        figures = surface_figures(label.array, prediction.array, range(1, classes), label.spacing_mm, tolerance_mm)
        return {"hd95": [float(v) for v in figures.hd95], "surface_dice": [float(v) for v in figures.surface_dice]}

    return once


if __name__ == "__main__":
    serve({"score": score})
