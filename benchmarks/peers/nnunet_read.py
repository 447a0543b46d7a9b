"""nnU-Net's preprocessing of each case by a plan that was made before; or the loading of what it had written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.nnunet_data import DATASET, plan, preprocess, set_folders, write_raw
from benchmarks.peers.speak import serve


def read(folder: str, size: Sequence[int], classes: list[str], start: str) -> Callable[[], Any]:
    """Make ready to preprocess every case in this process, as nnU-Net's own processes do; or to load them all."""
    root = Path(folder) / "nnunet"
    set_folders(root)
    if not (root / "preprocessed" / DATASET / "nnUNetPlans.json").exists():
        write_raw(root, Path(folder) / "data", classes)
        plan()
    return _first(root, len(classes)) if start == "first" else _second(root, len(classes))


def _first(root: Path, classes: int) -> Callable[[], Any]:
    import numpy as np
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(str(root / "preprocessed" / DATASET / "nnUNetPlans.json"))
    raw = root / "raw" / DATASET
    labels = sorted((raw / "labelsTr").glob("*.nii.gz"))

    def once() -> dict[str, Any]:
        preprocessor, found = DefaultPreprocessor(verbose=False), []
        for label in labels:
            image = raw / "imagesTr" / label.name.replace(".nii.gz", "_0000.nii.gz")
            found.append(preprocessor.run_case([str(image)], str(label), plans, plans.get_configuration("2d"),
                                               str(raw / "dataset.json")))  # fmt: skip
        return _counted(np, [(data, seg) for data, seg, _ in found], classes)

    return once


def _second(root: Path, classes: int) -> Callable[[], Any]:
    import numpy as np
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    folder = preprocess(root)

    def once() -> dict[str, Any]:
        dataset = nnUNetDatasetBlosc2(str(folder))
        loaded = [dataset.load_case(name) for name in dataset.identifiers]
        return _counted(np, [(np.asarray(case[0][:]), np.asarray(case[1][:])) for case in loaded], classes)

    return once


def _counted(np: Any, cases: Sequence[tuple[Any, Any]], classes: int) -> dict[str, Any]:
    voxels = sum(np.bincount(np.maximum(seg, 0).ravel(), minlength=classes) for _, seg in cases)
    return {"voxels": voxels.tolist(), "shape": list(cases[0][0].shape[1:])}


if __name__ == "__main__":
    serve({"read": read})
