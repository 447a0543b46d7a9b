"""What every test may use: plots without a screen, one thread a worker, the shared data, tiny NIfTI files."""

from __future__ import annotations

import os

os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch is imported

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Keep torch to the worker's own core, also where it was imported before the variable was set."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def hippocampus() -> Path:
    """The hippocampus dataset: a folder with images/, labels/ and splits_final.json."""
    folder = Path(os.environ.get("HIPPOCAMPUS", ROOT.parent / "shared/data/hippocampus"))
    if not (folder / "images").is_dir():
        pytest.skip(f"no hippocampus data in {folder}: set HIPPOCAMPUS to their folder")
    return folder


@pytest.fixture(scope="session")
def write_nifti() -> Callable[..., Path]:
    """A function that writes a tiny NIfTI file."""

    def write(path: Path, array: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 1.0), dtype: Any = None) -> Path:
        """Write ``array`` (2D or 3D) to ``path``, with a diagonal affine of ``spacing`` in mm; gives the path back."""
        import nibabel as nib

        array = np.asarray(array, dtype=dtype)
        affine = np.diag([*spacing[:3], *[1.0] * (3 - len(spacing)), 1.0])
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, affine, dtype=array.dtype), path)
        return path

    return write
