"""Folders of pairs as nnU-Net wants them, and its plan for them. Nothing of nnU-Net is imported before it is needed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.speak import cores_allowed

DATASET = "Dataset001_Benchmark"
PLANS = "nnUNetPlans"


def set_folders(root: Path) -> None:
    """Tell nnU-Net where its folders are, and how many processes suit the cores; before it is imported."""
    for name in ("raw", "preprocessed", "results"):
        (root / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(root / name)
    os.environ.update(dict.fromkeys(("nnUNet_def_n_proc", "nnUNet_n_proc_DA"), str(cores_allowed())))


def write_raw(root: Path, data: Path, classes: Sequence[str], only: Sequence[str] | None = None) -> Path:
    """Copy ``images/`` and ``labels/`` below `data` into a raw dataset; gives its folder.

    Parameters
    ----------
    root
        See `set_folders`.
    data
        With pairs of equal names.
    classes
        Of the labels 0, 1, 2 ...
    only
        Names of cases; None for all.
    """
    raw = root / "raw" / DATASET
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    names = only or sorted(path.name.removesuffix(".nii.gz") for path in (data / "images").glob("*.nii.gz"))
    for name in names:
        shutil.copy(data / "images" / f"{name}.nii.gz", raw / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copy(data / "labels" / f"{name}.nii.gz", raw / "labelsTr" / f"{name}.nii.gz")
    about = {"channel_names": {"0": "MRI"}, "labels": {name: number for number, name in enumerate(classes)},
             "numTraining": len(names), "file_ending": ".nii.gz"}  # fmt: skip
    (raw / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    return raw


def plan() -> dict[str, Any]:
    """nnU-Net's own plan for the raw dataset, written where it expects it."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
    )

    extract_fingerprint_dataset(1, num_processes=cores_allowed(), verbose=False, show_progress_bar=False)
    plans: dict[str, Any] = plan_experiment_dataset(1, ExperimentPlanner)[0]
    return plans


def preprocess(root: Path, configuration: str = "2d") -> Path:
    """Have nnU-Net preprocess the dataset; the folder of what it wrote."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess_dataset

    preprocess_dataset(1, PLANS, (configuration,), [cores_allowed()], show_progress_bar=False)
    return root / "preprocessed" / DATASET / f"{PLANS}_{configuration}"


def multiply_adds(network: Any, patch: Sequence[int]) -> float:
    """Of one patch through a network of one input channel, which is where its weights are, or nowhere."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    image = torch.zeros(1, 1, *patch, device=next(network.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return float(counter.get_total_flops()) / 2
