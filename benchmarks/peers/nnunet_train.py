"""nnU-Net's own 2D trainer at its own plan: some iterations, or a whole training that is fitted to a time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.nnunet_data import DATASET, multiply_adds, plan, preprocess, set_folders, write_raw
from benchmarks.peers.speak import serve

CLASSES = ["background", "anterior", "posterior"]
_WARM_UP, _PROBED = 1, 3  # iterations


def _trainer(fold: str | int) -> Any:
    """nnU-Net's trainer, as its command makes it."""
    import torch
    from nnunetv2.run.run_training import get_trainer_from_args

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return get_trainer_from_args("1", "2d", fold, device=device)


def train(root: str, data: str, steps: int) -> Callable[[], Any]:
    """Make ready to train on all cases below `data`; planned, preprocessed and augmented by nnU-Net."""
    folder = Path(root)
    set_folders(folder)
    write_raw(folder, Path(data), CLASSES)
    plan()
    preprocess(folder)
    trainer = _trainer("all")
    trainer.disable_checkpointing = True
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    patch = list(trainer.configuration_manager.patch_size)
    needed = multiply_adds(trainer.network, patch) / patch[0] / patch[1]

    def once() -> dict[str, Any]:
        seen = 0
        for _ in range(steps):
            batch = next(trainer.dataloader_train)
            found = trainer.train_step(batch)
            seen += len(batch["data"])
        told = {"batch": seen // steps, "patch": patch, "multiply_adds_a_pixel": needed}
        return {"units": seen, "loss": float(found["loss"]), **told}

    return once


def fit(root: str, data: str, budget_seconds: float) -> Callable[[], Any]:
    """Make ready to train fold 0 of ``splits_final.json`` for a time, its schedule fitted to it, and to validate.

    What is timed is all of it, as of this project: planning, preprocessing, training, the prediction of the fold; not
    finding out the pace, and not nnU-Net's plot of its progress. The budget is that of the training alone, as this
    project's is.
    """
    folder = Path(root)
    set_folders(folder)
    write_raw(folder, Path(data), CLASSES)

    def once() -> dict[str, Any]:
        began = time.perf_counter()
        plan()
        shutil.copy(Path(data) / "splits_final.json", folder / "preprocessed" / DATASET / "splits_final.json")
        preprocess(folder)
        prepared = time.perf_counter() - began
        trainer, probe = _fitted(budget_seconds)
        trainer.run_training()
        trained = time.perf_counter() - began - probe
        trainer.perform_actual_validation()
        results = Path(next((folder / "results").rglob("validation")))
        iterations = trainer.num_epochs * trainer.num_iterations_per_epoch
        return {"seconds": time.perf_counter() - began - probe, "prepared_seconds": prepared,
                "trained_seconds": trained, "iterations": iterations, "predictions": str(results)}  # fmt: skip

    return once


def _fitted(seconds: float) -> tuple[Any, float]:
    """A trainer whose schedule ends after so long, by the pace of its first iterations; and what they took."""
    began = time.perf_counter()
    trainer = _trainer(0)
    trainer.on_train_start()
    trainer.network.train()
    for number in range(_WARM_UP + _PROBED):
        if number == _WARM_UP:
            warm = time.perf_counter()
        trainer.train_step(next(trainer.dataloader_train))
    now = time.perf_counter()
    iterations = max(1, int(seconds / ((now - warm) / _PROBED)))
    trainer.num_val_iterations_per_epoch = 1  # which takes about half as long as one that learns
    trainer.num_iterations_per_epoch = max(1, min(250, iterations // 10))
    trainer.num_epochs = max(1, int(iterations / (trainer.num_iterations_per_epoch + 0.5)))
    trainer.optimizer, trainer.lr_scheduler = trainer.configure_optimizers()  # which reads the epochs
    trainer.on_train_start = lambda: None  # it was started
    trainer.logger.plot_progress_png = lambda folder: None
    return trainer, now - began


if __name__ == "__main__":
    serve({"train": train, "fit": fit})
