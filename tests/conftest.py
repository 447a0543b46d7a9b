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


_CONFIG: dict[str, Any] = {
    "name": "tiny",
    "data": {"layout": "folders", "root": ".", "classes": ["background", "a", "b"], "patient": r"^(p\d+)"},
    "splits": {"kind": "holdout", "validation": 0.2, "test": 0.2},
    "transforms": {
        "prepare": [
            {"_target_": "LoadImaged", "keys": ["image", "label"]},
            {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
            {"_target_": "ToTensord", "keys": ["image", "label"]},
        ]
    },
    "network": {"_target_": "UNet", "channels": [4, 8]},
    "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
    "training": {"epochs": 2, "batch_size": 4, "device": "cpu"},
}


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Any]:
    """A function that loads a tiny config: two folders, three classes; its root is the test's own folder."""

    def make(**sections: Any) -> Any:
        """Load the config with sections changed key by key (a section that names another ``_target_`` is replaced)."""
        import copy

        import yaml

        from pipeline.config.load import load_config

        values = copy.deepcopy(_CONFIG)
        for name, section in sections.items():
            old = values.get(name)
            merge = isinstance(section, dict) and isinstance(old, dict) and "_target_" not in section
            values[name] = {**old, **section} if merge else section  # type: ignore[dict-item]
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return load_config(path, (), {})

    return make


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Any]:
    """A function that makes a case out of nothing but names; the files need not be there."""

    def make(name: str, patient: str = "p1", scan: str | None = None, number: int | None = None, **more: Any) -> Any:
        from pipeline.data.cases import Case

        files = {"image": Path(f"images/{name}.nii.gz"), "label": Path(f"labels/{name}.nii.gz")}
        return Case(id=name, patient=patient, scan=scan or name, slice=number, **{**files, **more})

    return make


@pytest.fixture(scope="session")
def make_bank() -> Callable[..., Any]:
    """A function that stacks cases into a bank; each with an image (S, H, W) and a label, or with random ones."""

    def make(cases: Any, sizes: Any = (1, 16, 16), classes: int = 3, context: int = 0, seed: int = 0) -> Any:
        """`sizes` is one (S, H, W) for all, or one a case."""
        import torch

        from pipeline.data.caching.slices import SliceBank

        shapes = [sizes] * len(cases) if isinstance(sizes[0], int) else sizes
        generator = torch.Generator().manual_seed(seed)
        samples = []
        for shape in shapes:
            # Blocks of 4 x 4 pixels; the image shows its label, with some noise: something that can be learnt.
            coarse = torch.randint(0, classes, (shape[0], -(-shape[1] // 4), -(-shape[2] // 4)), generator=generator)
            label = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, : shape[1], : shape[2]]
            image = label + 0.3 * torch.randn(shape, generator=generator)
            samples.append({"image": image.float(), "label": label.float()})
        return SliceBank(cases, samples, classes, context)

    return make
