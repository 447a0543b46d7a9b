"""nnU-Net's preprocessing of each case by a plan that was made before; or the loading of what it had written."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.nnunet_data import DATASET, plan, preprocess, set_folders, write_raw
from benchmarks.peers.speak import cores_allowed, serve


def read(folder: str, size: Sequence[int], classes: list[str], start: str) -> Callable[[], Any]:
    """Make ready to preprocess every case, or to load what was preprocessed."""
    root = Path(folder) / "nnunet"
    set_folders(root)
    if not (root / "preprocessed" / DATASET / "nnUNetPlans.json").exists():
        write_raw(root, Path(folder) / "data", classes)
        plan()
    return _first(root, len(classes)) if start == "first" else _second(root, len(classes))


def _first(root: Path, classes: int) -> Callable[[], Any]:
    """As `DefaultPreprocessor.run` does it, with as many processes as there are cores, but these are there already."""
    from multiprocessing import get_context

    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(str(root / "preprocessed" / DATASET / "nnUNetPlans.json"))
    raw, out = root / "raw" / DATASET, root / "preprocessed" / DATASET / "by_benchmark"
    configuration, preprocessor = plans.get_configuration("2d"), DefaultPreprocessor(verbose=False)
    jobs = [(str(out / label.name.removesuffix(".nii.gz")),
             [str(raw / "imagesTr" / label.name.replace(".nii.gz", "_0000.nii.gz"))], str(label), plans, configuration,
             str(raw / "dataset.json"))
            for label in sorted((raw / "labelsTr").glob("*.nii.gz"))]  # fmt: skip
    pool = get_context("fork").Pool(cores_allowed())

    def once() -> dict[str, Any]:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        began = time.perf_counter()
        pool.starmap(preprocessor.run_case_save, jobs, chunksize=1)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, **_loaded(out, classes)}

    return once


def _second(root: Path, classes: int) -> Callable[[], Any]:
    folder = preprocess(root)
    return lambda: _loaded(folder, classes)


def _loaded(folder: Path, classes: int) -> dict[str, Any]:
    """Load every preprocessed case whole; gives what there is of each class."""
    import numpy as np
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    dataset = nnUNetDatasetBlosc2(str(folder))
    voxels, shape = np.zeros(classes, dtype=np.int64), []
    for name in dataset.identifiers:
        image, label = (np.asarray(array[:]) for array in dataset.load_case(name)[:2])
        voxels += np.bincount(np.maximum(label, 0).ravel(), minlength=classes)
        shape = list(image.shape[1:])
    return {"voxels": voxels.tolist(), "shape": shape}


if __name__ == "__main__":
    serve({"read": read})
