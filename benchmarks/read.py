"""Folders of ``.nii.gz`` pairs to prepared tensors: the first start, and the second one.

The first start reads, checks and prepares: this project with every file checked and remembered, MONAI's CacheDataset,
a plain loop of nibabel and scikit-image, and nnU-Net's preprocessing by a plan that was made before. The second start
finds what the first one kept, where it kept anything: this project's store, MONAI's PersistentDataset, nnU-Net's
preprocessed files; CacheDataset and the plain loop begin again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from benchmarks.frame import OWN, PEER, Setting, Table, Ways, measure
from benchmarks.volumes import CLASSES, write_pairs

SIZE = (256, 128)  # of a prepared slice
OWN_READ = "benchmarks.own.read"


def tables(setting: Setting, limits: dict[str, Any]) -> Iterator[Table | str]:
    """Measure; each table."""
    count = setting.sized(12, 3)
    write_pairs(setting.folder / "data", count, (256, 144, setting.sized(60, 12)))
    slices = count * setting.sized(60, 12)
    what = f"{count} pairs of .nii.gz, {slices} slices, resized to {SIZE[0]} x {SIZE[1]}, normalised"
    for start in ("first", "second"):
        yield _table(setting, slices, f"read, {start} start: {what}", start)


def _table(setting: Setting, slices: int, title: str, start: str) -> Table:
    job = {"folder": str(setting.folder), "size": SIZE, "classes": CLASSES, "start": start}
    own = "this project: checked, prepared" if start == "first" else "this project: its store on disk"
    with Ways() as ways:
        ours = (sys.executable, OWN_READ, "read")
        ways.worker((own, OWN, slices), ours, **job)
        if start == "first":
            ways.worker(("this project: prepared alone", OWN, slices), ours, **job | {"start": "prepare"})
        again = "" if start == "first" else ", begun again"
        if setting.peers.has("monai"):
            kept = {"first": ["CacheDataset"], "second": ["PersistentDataset", "CacheDataset"]}
            program = (setting.peers.python["monai"], "benchmarks.peers.monai_read", "read")
            for dataset in kept[start]:
                name = f"MONAI: LoadImaged, {dataset}{again if dataset == 'CacheDataset' else ''}"
                ways.worker((name, PEER, slices), program, **job, dataset=dataset)
        plain = (sys.executable, "benchmarks.peers.plain_read", "read")
        ways.worker((f"nibabel, scikit-image, a plain loop{again}", PEER, slices), plain, **job)
        if setting.peers.has("nnunet"):
            name = "nnU-Net: preprocessing" if start == "first" else "nnU-Net: its preprocessed files"
            program = (setting.peers.python["nnunet"], "benchmarks.peers.nnunet_read", "read")
            ways.worker((name, PEER, slices), program, **job)
        notes = [*ways.notes, *setting.peers.missing(["monai", "nnunet"])]
        table, found = measure(title, "slices", ways.all, setting, notes)
    table.notes += [_compared(found, ways.all[0].name, name) for name in found if name != ways.all[0].name]
    return table


def _compared(found: dict[str, Any], own: str, other: str) -> str:
    """How many voxels of each class both have: each on its own grid, if it has one."""
    if found[own]["shape"] != found[other]["shape"]:
        return f"{other}: its grid is its own, {found[other]['shape']} a volume in place of {found[own]['shape']}"
    pairs = zip(found[own]["voxels"], found[other]["voxels"], strict=True)
    moved = sum(abs(one - two) for one, two in pairs) / 2 / sum(found[own]["voxels"])
    return f"{other}: the labels' voxels of each class are the same but for {100 * moved:.2g} %"
