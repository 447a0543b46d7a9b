"""HD95 and surface Dice of five classes in one 256 x 256 x 128 volume: this project, MONAI and DeepMind's library.

Once with a prediction that is a voxel or two off, and once with one that is far off: Dice about .5 or less.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import surface_distance
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import zoom

from benchmarks.frame import Setting, Table
from benchmarks.turns import table, take_turns
from pipeline.data.phantom.writing import scan_volume
from pipeline.evaluation.surfaces import surface_figures

_SHAPE, _QUICK_SHAPE = (256, 256, 128), (64, 64, 32)
_SPACING_MM, _TOLERANCE_MM = (1.68, 1.56, 1.56), 3.0
_CLASSES = range(1, 6)
_SHIFTS = {"near": (2, 1, 1), "far": (14, 12, 10)}  # voxels that the prediction is moved by


def tables(setting: Setting, limits: dict[str, Any]) -> Iterator[Table | str]:
    """Measure; each table."""
    yield from run(setting.rounds, _QUICK_SHAPE if setting.quick else _SHAPE)


def run(rounds: int, shape: tuple[int, int, int] = _SHAPE) -> Iterator[str]:
    """Measure; each table."""
    mask = np.moveaxis(scan_volume(4, 0, 0)[1], 1, 2)
    factors = [wanted / length for wanted, length in zip(shape, mask.shape, strict=True)]
    reference = np.ascontiguousarray(zoom(mask, factors, order=0))
    moved = {name: np.roll(reference, shift, (0, 1, 2)) for name, shift in _SHIFTS.items()}
    for name, prediction in moved.items():
        yield _measure(name, reference, prediction, min(rounds, 3))


def _measure(name: str, reference: np.ndarray, prediction: np.ndarray, rounds: int) -> str:
    ways = {
        "ours": lambda: surface_figures(reference, prediction, _CLASSES, _SPACING_MM, _TOLERANCE_MM),
        "MONAI, one-hot and both metrics": lambda: _monai(reference, prediction),
        "DeepMind surface-distance": lambda: _deepmind(reference, prediction),
    }
    own, peer, deepmind = (way() for way in ways.values())
    assert np.allclose([own.hd95, own.surface_dice], deepmind, rtol=1e-6)
    seconds = take_turns(ways, rounds, 1)
    found = [2 * ((reference == index) & (prediction == index)).sum() for index in _CLASSES]
    sizes = [(reference == index).sum() + (prediction == index).sum() for index in _CLASSES]
    dice = np.divide(found, sizes).round(2).tolist()
    what = f"HD95 and surface Dice of {len(_CLASSES)} classes, {' x '.join(map(str, reference.shape))}"
    text = table(f"surfaces, {name}: {what}; Dice {dice}", seconds, "volumes", "ours")
    rows = zip(("ours, as DeepMind", "MONAI"), ([own.hd95, own.surface_dice], peer), strict=True)
    for who, figures in rows:
        hd95, surface_dice = (np.asarray(values, dtype=np.float64).round(3).tolist() for values in figures)
        text += f"  {who:<18} HD95 {hd95} mm, surface Dice {surface_dice}\n"
    return text


def _monai(reference: np.ndarray, prediction: np.ndarray) -> Any:
    hot = [
        torch.from_numpy(np.stack([array == index for index in (0, *_CLASSES)])[None])
        for array in (prediction, reference)
    ]
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")  # of its own code
    hd95 = compute_hausdorff_distance(hot[0], hot[1], percentile=95, spacing=_SPACING_MM)
    dice = compute_surface_dice(hot[0], hot[1], [_TOLERANCE_MM] * len(_CLASSES), spacing=_SPACING_MM)
    return [hd95[0].numpy(), dice[0].numpy()]


def _deepmind(reference: np.ndarray, prediction: np.ndarray) -> Any:
    figures = []
    for index in _CLASSES:
        found = surface_distance.compute_surface_distances(reference == index, prediction == index, _SPACING_MM)
        figures.append((surface_distance.compute_robust_hausdorff(found, 95),
                        surface_distance.compute_surface_dice_at_tolerance(found, _TOLERANCE_MM)))  # fmt: skip
    return np.transpose(figures)
