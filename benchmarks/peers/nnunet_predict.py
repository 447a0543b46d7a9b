"""A model for nnUNetv2_predict, never trained: nnU-Net's plan for the data, with a network of as many multiply-adds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.nnunet_data import DATASET, PLANS, multiply_adds, plan, set_folders, write_raw
from benchmarks.peers.speak import serve

_WIDTHS = range(4, 65, 2)  # of the first level
_WIDEST = 512


def model(root: str, data: str, classes: Sequence[str], wanted: int) -> Callable[[], Any]:
    """Make ready to plan for the pairs below `data` and to write the model.

    Its plan keeps its patch, depth and convolutions; its widths are those whose multiply-adds a patch come nearest.
    """
    folder = Path(root)
    set_folders(folder)
    raw = write_raw(folder, Path(data), classes)

    def once() -> dict[str, Any]:
        plans = plan()
        about = json.loads((raw / "dataset.json").read_text())
        found, network = _nearest(plans, about, wanted)
        _write(folder, plans, about, network)
        return found

    return once


def _nearest(plans: dict[str, Any], about: dict[str, Any], wanted: float) -> tuple[dict[str, Any], Any]:
    """Set the widths in the plan; gives what was chosen, and the network."""
    import torch

    two_d = plans["configurations"]["2d"]
    settings = two_d["architecture"]["arch_kwargs"]
    rates = {}
    for width in _WIDTHS:
        settings["features_per_stage"] = _features(width, settings["n_stages"])
        with torch.device("meta"):  # whose weights take neither memory nor time
            rates[width] = multiply_adds(_network(plans, about), two_d["patch_size"])
    width = min(rates, key=lambda one: abs(rates[one] - wanted))
    settings["features_per_stage"] = _features(width, settings["n_stages"])
    found = {"features": settings["features_per_stage"], "patch": two_d["patch_size"],
             "multiply_adds": rates[width]}  # fmt: skip
    return found, _network(plans, about)


def _features(width: int, stages: int) -> list[int]:
    return [min(width * 2**stage, _WIDEST) for stage in range(stages)]


def _network(plans: dict[str, Any], about: dict[str, Any]) -> Any:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    return nnUNetTrainer.build_network_architecture(
        manager, manager.get_configuration("2d"), 1, len(about["labels"]), enable_deep_supervision=False
    )


def _write(root: Path, plans: dict[str, Any], about: dict[str, Any], network: Any) -> None:
    """The folder that nnU-Net's command looks for."""
    import torch

    folder = root / "results" / DATASET / f"nnUNetTrainer__{PLANS}__2d"
    (folder / "fold_0").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    torch.save({
        "network_weights": network.state_dict(), "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "2d"}, "inference_allowed_mirroring_axes": (0, 1),
    }, folder / "fold_0" / "checkpoint_final.pth")  # fmt: skip


if __name__ == "__main__":
    serve({"model": model})
