"""Volumes of 256 x 256 x 128 with six classes: from files to metrics, as whole commands and inside of a program.

Whole commands: bin/evaluate, which gives overlap and distances by case, scan and patient, beside nnU-Net's, which gives
overlap alone. Inside of a program that has imported what it needs: a volume read and measured, beside MONAI, whose
metrics want it coded one-hot, and beside surface-distance, read by nibabel.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frame import OWN, PEER, Setting, Table, Ways, measure
from benchmarks.peers.speak import cores_allowed
from benchmarks.volumes import phantom_volume, save
from benchmarks.workers import ROOT, Sample, run_command

SPACING_MM = (1.7, 0.8, 1.5)
CLASSES = 6
TOLERANCE_MM = 2.0
_SAME = 1e-9


def tables(setting: Setting, limits: dict[str, Any]) -> Iterator[Table | str]:
    """Measure; each table."""
    shape = (96, 96, 48) if setting.quick else (256, 256, 128)
    cases = setting.sized(10, 3)
    write_cases(setting.folder, cases, shape)
    what = f"volumes of {' x '.join(map(str, shape))}, {CLASSES} classes"
    yield _commands(setting, cases, what)
    yield _volume(setting, what)


def write_cases(root: Path, cases: int, shape: tuple[int, ...]) -> None:
    """Labels of phantoms, and predictions that are shifted by a voxel or two and lack some."""
    rng = np.random.default_rng(0)
    for number in range(cases):
        label = phantom_volume(number, shape)[1]
        prediction = np.roll(label, tuple(rng.integers(-2, 3, size=3)), axis=(0, 1, 2))
        prediction[(rng.random(shape) < 1e-4) & (prediction > 1)] = 1
        for side, mask in (("predictions", prediction), ("labels", label)):
            save(root / side / f"case_{number}.nii.gz", mask, SPACING_MM)


def _commands(setting: Setting, cases: int, what: str) -> Table:
    root = setting.folder
    with Ways() as ways:
        ways.command(("bin/evaluate: overlap, distances", OWN, 1), lambda: _ours(root))
        if setting.peers.has("nnunet"):
            program = setting.peers.program("nnunet", "nnUNetv2_evaluate_simple")
            ways.command(("nnUNetv2_evaluate_simple: overlap", PEER, 1), lambda: _nnunet(program, root))
        notes = [*ways.notes, *setting.peers.missing(["nnunet"])]
        table, found = measure(f"evaluate: {cases} {what}, whole commands", "s", ways.all, setting, notes)
    if len(found) > 1:
        count = same_as_nnunet(root / "ours" / "summary.json", root / "nnunet.json")
        table.notes.append(f"{count} means of Dice, IoU and counts equal nnU-Net's to {_SAME:g}; its command knows no "
                           "distances and no patients")  # fmt: skip
    return table


def _ours(root: Path) -> Sample:
    return run_command([
        sys.executable, ROOT / "bin" / "evaluate", "--predictions", root / "predictions", "--labels", root / "labels",
        "--out", root / "ours", "--tolerance", TOLERANCE_MM, "--replace",
    ])  # fmt: skip


def _nnunet(program: Path, root: Path) -> Sample:
    classes = range(1, CLASSES)
    return run_command([
        program, root / "labels", root / "predictions", "-l", *classes, "-o", root / "nnunet.json",
        "-np", cores_allowed(),
    ])  # fmt: skip


def same_as_nnunet(ours: Path, theirs: Path) -> int:
    """How many figures of two summaries were compared.

    Raises
    ------
    AssertionError
        When one differs.
    """
    own, other = (json.loads(path.read_text())["mean"] for path in (ours, theirs))
    compared = 0
    for index, means in other.items():
        for field, value in means.items():
            assert math.isclose(own[index][field], value, rel_tol=_SAME), (index, field, own[index][field], value)
            compared += 1
    assert compared
    return compared


def _volume(setting: Setting, what: str) -> Table:
    files = {side: str(setting.folder / side / "case_0.nii.gz") for side in ("predictions", "labels")}
    job = {**files, "classes": CLASSES, "tolerance_mm": TOLERANCE_MM}
    with Ways() as ways:
        ways.worker(
            ("this project: overlap, distances", OWN, 1), (sys.executable, "benchmarks.own.score", "score"), **job
        )
        peers = {"monai": "MONAI: HD95, surface Dice", "surface-distance": "surface-distance: the same"}
        for peer, name in peers.items():
            if setting.peers.has(peer):
                module = f"benchmarks.peers.{peer.replace('-', '_')}_score"
                ways.worker((name, PEER, 1), (setting.peers.python[peer], module, "score"), **job)
        notes = [*ways.notes, *setting.peers.missing(peers)]
        table, found = measure(f"evaluate: one of these {what}, file to figures", "s", ways.all, setting, notes)
    own = found[ways.all[0].name]
    for name, other in found.items():
        if name != ways.all[0].name:
            table.notes.append(f"{name}: {_difference(own, other)}")
    return table


def _difference(own: dict[str, list[float]], other: dict[str, list[float]]) -> str:
    hd95 = max(abs(a - b) for a, b in zip(own["hd95"], other["hd95"], strict=True))
    dice = max(abs(a - b) for a, b in zip(own["surface_dice"], other["surface_dice"], strict=True))
    return f"its HD95 differ from ours by up to {hd95:.2g} mm, its surface Dice by up to {dice:.2g}"
