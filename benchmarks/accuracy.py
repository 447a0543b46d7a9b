"""Dice against wall time on fold 0 of hippocampus: this project and nnU-Net's 2D trainer, with the same budgets.

Each schedule is fitted to the same budget of training. The wall time is that of everything: reading, preparing or
preprocessing, training, and the prediction of the fold's cases. Both predictions are scored by bin/evaluate, against
the original masks. It takes twice the sum of the budgets, and more; it is measured only when it is named.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.frame import Setting, Table, failed
from benchmarks.hippocampus import hippocampus
from benchmarks.tables import gigabytes
from benchmarks.workers import ROOT, Unmeasured, Worker, run_command
from pipeline.errors import ConfigError
from pipeline.runs import write_bytes, write_json

BUDGETS_S = (60, 180, 570)
QUICK_BUDGETS_S = (15,)
OURS, NNUNET = "this project", "nnU-Net 2D"
_HOW_TO_READ = (
    "One training a line, of one seed and one fold; in brackets the 95 % interval over patients, which says nothing of "
    "other trainings",
    "This project sees a slice with its neighbours, and its settings were chosen on fold 1 of these data; nnU-Net's "
    "are those that it chooses by itself, for 250,000 iterations; where these budgets are few of its large "
    "batches, as on a CPU, it has not found the classes yet",
)


@dataclass(frozen=True)
class Point:
    """One training.

    Attributes
    ----------
    who
        Whose.
    budget_seconds, wall_seconds
        That it was given, and that all of it took.
    dice
        Mean of the foreground classes, of scans.
    low, high
        Of its interval over patients.
    classes
        Mean Dice by class.
    peak_bytes
        The most memory.
    """

    who: str
    budget_seconds: float
    wall_seconds: float
    dice: float
    low: float
    high: float
    classes: Mapping[str, float]
    peak_bytes: int


def tables(setting: Setting, limits: dict[str, Any]) -> list[Table | str]:
    """Train with each budget, in turns; the figures as text, and the plot in ``--out``.

    Raises
    ------
    ConfigError
        When HIPPOCAMPUS names no folder.
    """
    data = hippocampus()
    if data is None:
        raise ConfigError("needs the hippocampus dataset", where="--only accuracy",
                          remedy="Set HIPPOCAMPUS to the folder of images/, labels/ and splits_final.json")  # fmt: skip
    points: list[Point] = []
    notes = [*_HOW_TO_READ, *setting.peers.missing(["nnunet"])]
    for budget in QUICK_BUDGETS_S if setting.quick else BUDGETS_S:
        folder = setting.folder / str(budget)
        points.append(_own(data, budget, folder / "own", setting.quick))
        if setting.peers.has("nnunet"):
            try:
                point, told = _nnunet(data, budget, folder / "nnunet", setting)
                points.append(point)
                notes.append(told)
            except Unmeasured as failure:
                notes.append(failed(f"{NNUNET}, {budget} s", failure))
    if setting.out is not None:
        write_json(setting.out / "accuracy.json", [asdict(point) for point in points])
        write_bytes(setting.out / "accuracy.png", plot(points))
    return [text(points, notes)]


def _own(data: Path, budget: float, folder: Path, quick: bool) -> Point:
    """The shipped config as it is typed, with another budget; the report and the rest included in its time."""
    command = [sys.executable, ROOT / "bin" / "run_pipeline", ROOT / "configs" / "hippocampus.yaml", "--set",
               f"data.root={data}", "--set", f"training.budget={budget}s", "--out", folder]  # fmt: skip
    if quick:
        command += ["--set", "network.channels=[8, 16, 32]"]
    sample = run_command(command)
    return _point(OURS, budget, sample.seconds, sample.peak_bytes, folder / "evaluation" / "summary.json")


def _nnunet(data: Path, budget: float, folder: Path, setting: Setting) -> tuple[Point, str]:
    """What came of it, and where its time went."""
    with Worker(setting.peers.python["nnunet"], "benchmarks.peers.nnunet_train", "fit", root=str(folder),
                data=str(data), budget_seconds=budget) as worker:  # fmt: skip
        sample = worker()
    found, scores, labels = sample.result, folder / "scores", folder / "labels"
    labels.mkdir()
    for path in Path(found["predictions"]).glob("*.nii.gz"):
        shutil.copy(data / "labels" / path.name, labels)
    run_command([sys.executable, ROOT / "bin" / "evaluate", "--predictions", found["predictions"], "--labels",
                 labels, "--out", scores, "--classes", "background,anterior,posterior"])  # fmt: skip
    told = (f"{NNUNET}, {budget} s: prepared after {found['prepared_seconds']:.0f} s, trained after "
            f"{found['trained_seconds']:.0f} s ({found['iterations']} iterations); the rest is prediction")  # fmt: skip
    return _point(NNUNET, budget, sample.seconds, sample.peak_bytes, scores / "summary.json"), told


def _point(who: str, budget: float, seconds: float, peak: int, summary: Path) -> Point:
    level = json.loads(summary.read_text())["levels"]["scan"]
    whole = level["foreground"]["dice"]
    classes = {name: one["dice"]["mean"] for name, one in level["classes"].items() if name != "background"}
    low, high = whole.get("interval") or (whole["mean"], whole["mean"])
    return Point(who, budget, seconds, whole["mean"], low, high, classes, peak)


def text(points: Sequence[Point], notes: Sequence[str]) -> str:
    """A line a training."""
    lines = ["accuracy: hippocampus, fold 0, Dice per scan against wall time, all included", ""]
    for point in points:
        classes = ", ".join(f"{name} {value:.3f}" for name, value in point.classes.items())
        lines.append(f"  {point.who:<14} budget {point.budget_seconds:>5.0f} s   wall {point.wall_seconds:>6.0f} s   "
                     f"Dice {point.dice:.3f} ({point.low:.3f} to {point.high:.3f})   {classes}   "
                     f"{gigabytes(point.peak_bytes)}")  # fmt: skip
    return "\n".join([*lines, *(f"  {note}" for note in notes)]) + "\n"


def plot(points: Sequence[Point]) -> bytes:
    """Dice against minutes, a line a program, as PNG."""
    from io import BytesIO

    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for who, colour, mark in ((OURS, "#1f5fa8", "o"), (NNUNET, "#c2571a", "s")):
        own = sorted((one for one in points if one.who == who), key=lambda one: one.wall_seconds)
        if not own:
            continue
        minutes, dice = [one.wall_seconds / 60 for one in own], [one.dice for one in own]
        spread = [[one.dice - one.low for one in own], [one.high - one.dice for one in own]]
        axes.errorbar(minutes, dice, spread, color=colour, marker=mark, capsize=3, label=who)
        for minute, value in zip(minutes, dice, strict=True):
            axes.annotate(
                f"{value:.3f}",
                (minute, value),
                (7, 6 if who == OURS else -13),
                textcoords="offset points",
                color=colour,
            )
    axes.margins(x=0.12, y=0.12)
    axes.set_xlim(left=0)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    axes.set_xlabel("wall time in minutes, all included")
    axes.set_ylabel("Dice per scan, mean of the classes\n(bars: 95 % over patients)")
    axes.set_title("Hippocampus, fold 0: each schedule fitted to its budget", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return file.getvalue()
