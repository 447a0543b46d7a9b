"""Training: images a second of the whole loop, augmentation and all, beside what others reach on the same data.

Beside MONAI, a program as its tutorials have it; beside nnU-Net's own 2D trainer at its own plan; beside the bare step,
which is the network, the loss, the gradient and the optimizer on tensors that are there; and beside the roofline, the
least time that the bare step's operations need on this machine.
"""

from __future__ import annotations

import statistics
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.frame import LIMIT, OWN, PEER, Row, Setting, Table, Ways, measure
from benchmarks.hippocampus import HOW_TO_HAVE_IT, Source, training_source
from benchmarks.tables import figure

BATCH = 16  # as in configs/hipmri.yaml
_LOOP, _BARE = "this project: the whole loop", "the bare step of the same network"
_SAME = {"auto": "this project, with MONAI's UNet", "float32": "this project, with MONAI's UNet, in float32"}


def tables(setting: Setting, limits: dict[str, Any]) -> list[Table | str]:
    """Measure; the table."""
    source = training_source(setting)
    steps = setting.sized(12, 2)
    with Ways() as ways:
        _add_own(ways, source, steps, limits)
        _add_peers(ways, source, steps, setting)
        notes = [*ways.notes, *setting.peers.missing(["monai", "nnunet"])]
        if setting.peers.has("nnunet") and not source.is_hippocampus:
            notes.append(HOW_TO_HAVE_IT)
        title = f"train: {source.name}, slices of {source.size[0]} x {source.size[1]}, batches of {BATCH}"
        table, found = measure(title, "images", ways.all, setting, notes)
    table.notes += _told(table, found)
    return [table]


def _add_own(ways: Ways, source: Source, steps: int, limits: dict[str, Any]) -> None:
    program = (sys.executable, "benchmarks.own.train")
    job = {"config": str(source.config), "steps": steps}
    ways.worker((_LOOP, OWN, 0), (*program, "loop"), **job)
    for precision, name in _SAME.items():
        ways.worker((name, OWN, 0), (*program, "loop"), **job, network="monai", precision=precision)
    ways.worker((_BARE, LIMIT, 0), (*program, "bare"), **job, limits=limits)


def _add_peers(ways: Ways, source: Source, steps: int, setting: Setting) -> None:
    if setting.peers.has("monai"):
        program = (setting.peers.python["monai"], "benchmarks.peers.monai_train", "train")
        ways.worker(("MONAI: CacheDataset, DataLoader, its UNet", PEER, 0), program, **monai_job(source, steps))
    if setting.peers.has("nnunet") and source.is_hippocampus:
        program = (setting.peers.python["nnunet"], "benchmarks.peers.nnunet_train", "train")
        root = str(setting.folder / "nnunet")
        ways.worker(("nnU-Net: its 2D trainer, its own plan", PEER, 0), program, root=root, data=str(source.data),
                    steps=setting.sized(2, 1))  # fmt: skip


def monai_job(source: Source, steps: int) -> dict[str, Any]:
    """What MONAI's program is told of the data and the network."""
    told = asdict(source)
    return {name: told[name] for name in ("size", "resize", "context", "widths")} | {
        "data": str(source.data), "classes": len(source.classes), "batch": BATCH, "steps": steps,
    }  # fmt: skip


def _told(table: Table, found: dict[str, Any]) -> list[str]:
    """The precision, nnU-Net's plan, the same network beside MONAI's program, and the share of the roofline."""
    bare = found[_BARE]
    own = found[_LOOP]
    notes = [f"This project computes layers in {own['precision']} here by itself, with channels last in memory; the "
             "others in float32 on a CPU, in what PyTorch's autocast chooses on a GPU, as they come"]  # fmt: skip
    rows = {row.name: row for row in table.rows}
    for name, result in found.items():
        if "patch" in result:
            height, width = result["patch"]
            notes.append(
                f"{name}: batches of {result['batch']} patches of {height} x {width}, "
                f"{figure(result['multiply_adds_a_pixel'] / 1e3)} thousand multiply-adds a pixel, where this project's "
                f"network has {figure(own['multiply_adds_a_pixel'] / 1e3)} thousand: each does as it would"
            )
        if name.startswith("MONAI"):
            notes += [_same_network(rows[same], rows[name], found[same]["precision"]) for same in _SAME.values()]
    floor = bare["floor_seconds"]
    shares = [f"{100 * floor / statistics.median(rows[name].seconds):.0f} % of it by {what}"
              for name, what in ((_LOOP, "the loop"), (_BARE, "the bare step"))]  # fmt: skip
    notes.append(
        f"Roofline: by the best that the machine showed, the step's operations need {figure(1e3 * floor)} ms an image "
        f"({figure(bare['operations'] / 1e9)} GFLOP and {figure(bare['bytes'] / 1e9)} GB a batch): "
        f"{' and '.join(shares)}"
    )
    return notes


def _same_network(own: Row, peer: Row, precision: str) -> str:
    ratios = [theirs / ours for theirs, ours in zip(peer.seconds, own.seconds, strict=True)]
    return (f"With the same network, in {precision}, this project is {statistics.median(ratios):.2f} times as fast as "
            f"{peer.name} ({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip
