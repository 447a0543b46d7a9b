"""Volumes of 256 x 256 x 128 with six classes: bin/evaluate, from files to tables, against its peers.

MONAI is measured on one volume a round: read and coded one-hot by its own transforms, as its metrics want it, in a
process that has imported it. nnU-Net is measured where its program is installed: for Dice alone, on the same files, as
it is typed.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from monai.transforms import AsDiscrete, Compose, EnsureChannelFirst, LoadImage

from benchmarks.turns import table, take_turns
from pipeline.commands.evaluate import main
from pipeline.data.phantom.writing import scan_volume

_CASES = 10
_SHAPE = (256, 256, 128)
_SPACING = (1.7, 0.8, 1.5)
_CLASSES = 6
_TOLERANCE = 2.0
_NNUNET = "nnUNetv2_evaluate_simple"


def run(rounds: int) -> str:
    """Measure; returns the table."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_cases(root)
        ways: dict[str, tuple[int, Callable[[], object]]] = {
            "ours, overlap and distances": (_CASES, lambda: _ours(root)),
            "MONAI, HD95 and surface Dice": (1, lambda: _monai(root)),
        }
        if shutil.which(_NNUNET):
            ways["nnU-Net, Dice"] = (_CASES, lambda: _nnunet(root))
        seconds = take_turns({name: way for name, (_, way) in ways.items()}, rounds, _SHAPE[2])
        seconds = {name: [value / ways[name][0] for value in values] for name, values in seconds.items()}
        same = _same_dice(root)
    title = f"evaluate: {_CASES} volumes of {' x '.join(map(str, _SHAPE))}, {_CLASSES} classes, files to tables"
    return table(title, seconds, "slices", next(iter(ways))) + same


def _write_cases(root: Path) -> None:
    """Labels of phantoms, and predictions that are shifted by a voxel or two and lack some."""
    rng = np.random.default_rng(0)
    for side in ("predictions", "labels"):
        (root / side).mkdir()
    for number in range(_CASES):
        scan = scan_volume(4 + number, 0, 0)[1]
        places = [np.arange(length) * old // length for length, old in zip(_SHAPE, scan.shape, strict=True)]
        label = scan[np.ix_(*places)]
        prediction = np.roll(label, tuple(rng.integers(-2, 3, size=3)), axis=(0, 1, 2))
        prediction[(rng.random(_SHAPE) < 1e-4) & (prediction > 1)] = 1
        for side, mask in (("predictions", prediction), ("labels", label)):
            image = nib.Nifti1Image(mask, np.diag([*_SPACING, 1.0]), dtype=mask.dtype)
            nib.save(image, root / side / f"case_{number}.nii.gz")


def _ours(root: Path) -> None:
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        code = main(["--predictions", str(root / "predictions"), "--labels", str(root / "labels"),
                     "--out", str(root / "ours"), "--tolerance", str(_TOLERANCE), "--replace"])  # fmt: skip
    assert code == 0


def _monai(root: Path) -> None:
    steps = Compose([LoadImage(image_only=True), EnsureChannelFirst(), AsDiscrete(to_onehot=_CLASSES)])
    warnings.filterwarnings("ignore", category=FutureWarning, module="monai")  # of its own code
    hot = [steps(root / side / "case_0.nii.gz").as_tensor()[None] for side in ("predictions", "labels")]
    compute_hausdorff_distance(hot[0], hot[1], percentile=95, spacing=_SPACING)
    compute_surface_dice(hot[0], hot[1], [_TOLERANCE] * (_CLASSES - 1), spacing=_SPACING)


def _nnunet(root: Path) -> None:
    classes = [str(index) for index in range(1, _CLASSES)]
    command = [
        _NNUNET,
        str(root / "labels"),
        str(root / "predictions"),
        "-l",
        *classes,
        "-o",
        str(root / "nnunet.json"),
    ]
    subprocess.run(command, check=True, capture_output=True)


def _same_dice(root: Path) -> str:
    """Whether nnU-Net, where it is installed, found the same."""
    if not (root / "nnunet.json").exists():
        return "  nnU-Net is not installed here: not measured\n"
    ours, theirs = (json.loads((root / name).read_text()) for name in ("ours/summary.json", "nnunet.json"))
    for index, means in theirs["mean"].items():
        for field, value in means.items():
            assert math.isclose(ours["mean"][index][field], value, rel_tol=1e-9), (index, field)
    return "  Dice, IoU and counts equal nnU-Net's to 1e-9\n"
