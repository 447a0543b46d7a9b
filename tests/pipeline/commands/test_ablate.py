"""bin/ablate: what it refuses before anything is run, which runs it makes, how it goes on, and one grid in earnest."""

from __future__ import annotations

import csv
import importlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.commands import ablation_run
from pipeline.commands.ablate import main
from pipeline.commands.ablation_run import Ended
from pipeline.config.resolved import yaml_text

CHECKOUT = Path(__file__).parents[3]


class FakeRuns:
    """Stands in for the processes: writes what a run would, and notes what was asked for."""

    def __init__(self, write_cell: Callable[..., None], folder: Path) -> None:
        self.write_cell, self.folder = write_cell, folder
        self.runs: list[str] = []  # the cells that were run, with + where they were gone on with
        self.scored: list[str] = []
        self.ends: dict[str, list[Ended]] = {}  # of a cell: how its next runs end
        self.asks: dict[str, str] = {}  # of a cell: a signal that comes while it runs

    def run(self, listener: ablation_run.Listener, command: Sequence[str]) -> Ended:
        if "pipeline.commands.validation_scores" in command:
            cell = Path(command[-1])
            self.scored.append(cell.name)
            self.write_cell(cell, seed=len(self.scored))
            return Ended(0)
        cell = Path(command[command.index("--out") + 1])
        self.runs.append(cell.name + "+" * ("--resume" in command))
        if cell.name in self.asks:
            signal.raise_signal(getattr(signal, self.asks.pop(cell.name)))
        from pipeline.config.load import load_config
        from pipeline.config.resolved import resolved_text

        overrides = [after for before, after in pairwise(command) if before == "--set"]
        cell.mkdir(exist_ok=True)
        text = resolved_text(load_config(Path(command[2]), overrides))
        assert not (cell / "config.yaml").exists() or (cell / "config.yaml").read_text() == text
        (cell / "config.yaml").write_text(text)
        ended = self.ends[cell.name].pop(0) if self.ends.get(cell.name) else Ended(0)
        if ended.code == 0:
            self.write_cell(cell, validation=())
        return ended


@pytest.fixture
def fake(write_cell: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    made = FakeRuns(write_cell, tmp_path / "grid")
    monkeypatch.setattr(ablation_run.Listener, "run", lambda listener, command: made.run(listener, command))
    return made


@pytest.fixture
def ablate(project: Path, phantom: Path) -> Callable[..., int]:
    """``bin/ablate`` on the shipped hipmri config with the tiny phantom."""

    def run(*more: str | Path) -> int:
        out = [] if "--no-out" in more else ["--out", str(project / "grid")]
        given = [str(part) for part in more if part != "--no-out"]
        return main([str(project / "configs/hipmri.yaml"), "--set", f"data.root={phantom}", *given, *out])

    return run


VARIED = ("--vary", "transforms=transforms/pad.yaml,transforms/half.yaml", "--vary", "seed=0,1")
CELLS = ["transforms=pad,seed=0", "transforms=pad,seed=1", "transforms=half,seed=0", "transforms=half,seed=1"]


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "ablation.csv").open()))


def test_every_cell_is_run_and_scored_once(
    ablate: Callable[..., int], fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate(*VARIED) == 0
    assert fake.runs == CELLS and fake.scored == CELLS
    rows = table(fake.folder)
    assert [row["cell"] for row in rows] == CELLS and {row["state"] for row in rows} == {"done"}
    assert [(row["transforms"], row["seed"]) for row in rows][1] == ("transforms/pad.yaml", "1")
    grid = json.loads((fake.folder / "grid.json").read_text())
    assert list(grid["cells"]) == CELLS and grid["vary"]["seed"] == ["0", "1"]
    captured = capsys.readouterr()
    assert "4 of 4 runs done" in captured.out and "Choose by the validation Dice" in captured.out
    assert "== 2 of 4: transforms=pad,seed=1" in captured.err
    assert ablate(*VARIED) == 2, "the folder is not empty"
    assert "--resume" in capsys.readouterr().err
    assert ablate(*VARIED, "--resume") == 0
    assert fake.runs == CELLS, "nothing was run again"
    assert "4 of them done before" in capsys.readouterr().err


def test_the_folder_is_numbered(ablate: Callable[..., int], fake: FakeRuns, project: Path) -> None:
    assert ablate("--vary", "seed=0,1", "--no-out") == 0
    folder = project / "runs/hipmri-PHANTOM-ablation/001"
    assert (folder.parent / "latest").resolve() == folder and (folder / "seed=1/report.html").is_file()
    assert ablate("--vary", "seed=0,1,2", "--resume", "--no-out") == 0
    assert fake.runs == ["seed=0", "seed=1", "seed=2"], "a value that is added is run, and no other"
    assert ablate("--vary", "seed=0", "--no-out") == 0
    assert (folder.parent / "latest").resolve().name == "002"


@pytest.mark.parametrize("when", ["while it runs", "it says so"])
def test_a_stopped_grid_goes_on_without_what_is_done(
    ablate: Callable[..., int], fake: FakeRuns, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    if when == "while it runs":
        fake.asks[CELLS[1]] = "SIGTERM"
    fake.ends[CELLS[1]] = [Ended(3, "SIGTERM")]
    assert ablate(*VARIED) == 3
    assert fake.runs == CELLS[:2] and fake.scored == CELLS[:1]
    captured = capsys.readouterr()
    assert f"--resume --out {fake.folder}" in captured.err and "1 of 4 runs done" in captured.out
    assert [row["state"] for row in table(fake.folder)] == ["done", "stopped", "not run yet", "not run yet"]
    assert f"stopped: {CELLS[1]}: SIGTERM" in (fake.folder / "ablation.md").read_text()
    assert (fake.folder / "ablation.html").is_file()
    assert ablate(*VARIED, "--resume") == 0
    assert fake.runs == [*CELLS[:2], f"{CELLS[1]}+", *CELLS[2:]] and fake.scored == CELLS


def test_a_signal_after_a_run_leaves_its_validation_to_the_next(ablate: Callable[..., int], fake: FakeRuns) -> None:
    fake.asks[CELLS[0]] = "SIGINT"  # it finishes all the same
    assert ablate(*VARIED) == 3
    assert (fake.runs, fake.scored) == (CELLS[:1], [])
    assert ablate(*VARIED, "--resume") == 0
    assert (fake.runs, fake.scored) == (CELLS, CELLS)


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (1, 1)])
def test_a_cell_that_fails_does_not_keep_the_others(
    ablate: Callable[..., int], fake: FakeRuns, capsys: pytest.CaptureFixture[str], code: int, expected: int
) -> None:
    fake.ends[CELLS[0]] = [Ended(code, "p1.nii.gz: the crop cuts off | labels.")]
    assert ablate(*VARIED) == expected
    assert fake.runs == CELLS and fake.scored == CELLS[1:]
    out = capsys.readouterr().out
    assert "failed: transforms=pad,seed=0: p1.nii.gz: the crop cuts off | labels." in " ".join(out.split())
    row = table(fake.folder)[0]
    assert (row["state"], row["reason"], row["test_dice"]) == ("failed", "p1.nii.gz: the crop cuts off | labels.", "")
    assert "the crop cuts off" in (fake.folder / "ablation.html").read_text()
    assert r"cuts off \| labels" in (fake.folder / "ablation.md").read_text()
    assert ablate(*VARIED, "--resume") == 0, "what was mended meanwhile is tried again"
    assert fake.runs[4:] == [f"{CELLS[0]}+"]


def test_a_cell_whose_config_changed_is_refused(
    ablate: Callable[..., int], fake: FakeRuns, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate(*VARIED) == 0
    chain = project / "configs/transforms/pad.yaml"
    chain.write_text(chain.read_text().replace("[256, 144]", "[256, 160]"))
    assert ablate(*VARIED, "--resume") == 2
    err = capsys.readouterr().err
    assert err.count("the config of this cell is not the one") == 2 and "transforms.prepare" in err
    assert "transforms=pad,seed=1/config.yaml" in err and "transforms=half,seed=0/config.yaml" not in err
    assert fake.runs == CELLS


def test_no_resumed_grid_loses_runs_from_the_tables(
    ablate: Callable[..., int], fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.ends[CELLS[3]] = [Ended(3, "SIGTERM")]
    assert ablate(*VARIED) == 3
    before = {path.name: path.read_bytes() for path in fake.folder.glob("*.*") if path.is_file()}
    assert {"grid.json", "ablation.csv", "ablation.md", "ablation.html"} <= set(before)
    pad = ("--vary", "transforms=transforms/pad.yaml")
    for fewer, lost in (
        ((*pad, "--vary", "seed=0,1"), "transforms=half,seed=0; transforms=half,seed=1"),
        (("--vary", "seed=5"), "transforms=half,seed=0; transforms=half,seed=1; transforms=pad,seed=0 and 1 more"),
    ):
        assert ablate(*fewer, "--resume") == 2
        err = capsys.readouterr().err
        assert f"these runs of the ablation are not in this grid: {lost}. Give --vary their values as well" in err
    assert before == {name: (fake.folder / name).read_bytes() for name in before} and fake.runs == CELLS
    shutil.rmtree(fake.folder / CELLS[2])
    shutil.rmtree(fake.folder / CELLS[3])
    shutil.copytree(fake.folder / CELLS[0], fake.folder / "a copy")
    assert ablate(*pad, "--vary", "seed=0,1,2", "--resume") == 0
    assert [row["cell"] for row in table(fake.folder)] == [*CELLS[:2], "transforms=pad,seed=2"]
    assert "note: a copy lies in the folder, but is no run of this grid" in capsys.readouterr().err
    for damaged, told in (("{", "not JSON"), ("{}", "does not say which runs there are")):
        (fake.folder / "grid.json").write_text(damaged)
        assert ablate(*pad, "--vary", "seed=0,1,2", "--resume") == 2
        assert f"grid.json: {told}" in capsys.readouterr().err


def test_cells_that_an_older_version_began_are_gone_on_with(
    ablate: Callable[..., int], fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate(*VARIED) == 0
    configs = [fake.folder / name / "config.yaml" for name in CELLS]
    for path in configs:
        values = yaml.safe_load(path.read_text())
        del values["data"]["mirrored"], values["report"]["tracker"]  # which it did not know
        path.write_text(yaml_text(values))
    assert ablate(*VARIED, "--resume") == 0
    assert fake.runs == CELLS, "nothing was run again"
    for path in configs[:2]:
        path.write_text(path.read_text() + "sharpen: 3\n")
    configs[2].write_text(configs[2].read_text().replace("seed: 0", "seed: 7"))
    assert ablate(*VARIED, "--resume") == 2
    err = capsys.readouterr().err
    assert err.count("this version cannot load the config that the run was started with") == 2 and "3 errors." in err
    assert err.count("the config of this cell is not the one that it was started with: seed.") == 1


def test_faults_of_all_cells_are_told_at_once_and_once(
    ablate: Callable[..., int], fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    varied = ("--vary", "training.epochs=1,0,two", "--vary", "network.channels=[4, 8],[4]")
    assert ablate(*varied, "--set", "training.epohcs=1") == 2
    err = capsys.readouterr().err
    assert err.count("unknown key 'epohcs'") == 1 and "epohcs'. The nearest" in err, "of all cells: no cell is named"
    assert len(re.findall("^error: ", err, re.MULTILINE)) == 3 and "3 errors." in err
    assert "(in epochs=0,channels=4-8; epochs=0,channels=4)" in err
    assert "(in epochs=two,channels=4-8; epochs=two,channels=4)" in err
    assert "Nothing was run" in err
    assert fake.runs == [] and not fake.folder.exists()


def test_runs_that_are_the_same_are_refused(
    ablate: Callable[..., int], fake: FakeRuns, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate("--vary", "transforms=transforms/pad.yaml,./transforms/pad.yaml") == 2
    assert "transforms=pad and transforms=pad-2 are the same run" in capsys.readouterr().err


def test_missing_data_are_told_before_anything_is_run(
    ablate: Callable[..., int], fake: FakeRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate("--vary", "data.context=0,1", "--set", f"data.root={tmp_path / 'none'}") == 2
    err = capsys.readouterr().err
    assert err.count("keras_slices_seg_validate") == 1 and fake.runs == []


@pytest.mark.parametrize("more", [["--resume"], ["--vary", "seed=1,1"], []])
def test_what_cannot_be_is_refused(ablate: Callable[..., int], fake: FakeRuns, more: list[str]) -> None:
    varied = ["--vary", "seed=0"] if "--resume" in more else []
    assert ablate(*varied, *more) == 2 and not fake.folder.exists()


def test_several_processes_are_refused(
    ablate: Callable[..., int], fake: FakeRuns, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ablate(*VARIED) == 2 and "without torchrun" in capsys.readouterr().err


def test_a_dry_run_lists_and_makes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(project / "configs/phantom.yaml"), *VARIED, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name}\n" in out for name in CELLS) and "--set seed=1" in out and "4 runs" in out
    assert sorted(path.name for path in project.iterdir()) == ["configs"], "no phantom, no run"
    assert main([str(project / "configs/phantom.yaml"), "--vary", "training.epochs=0,1", "--dry-run"]) == 2


def test_help_is_light() -> None:
    code = "import sys\nfrom pipeline.commands.ablate import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'monai', 'matplotlib', 'jinja2'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "--vary" in done.stdout, done.stderr


def mean_dice(folder: Path) -> float:
    """The mean over the two classes of the mean over scans, from the masks themselves."""
    rows = list(csv.DictReader((folder / "scans.csv").open()))
    by_class = [[float(row["dice"]) for row in rows if row["class"] == name and row["dice"]] for name in ("a", "b")]
    return float(np.mean([np.mean(values) for values in by_class]))


@pytest.fixture
def study(tmp_path: Path, write_nifti: Callable[..., Path]) -> list[str]:
    """The config and ``--set`` of six volumes with two bright boxes, and a tiny network."""
    rng = np.random.default_rng(0)
    for number in range(6):
        label = np.zeros((16, 16, 3), dtype=np.uint8)
        label[2:9, 3:12], label[10:15, 4:12] = 1, 2
        write_nifti(tmp_path / f"images/p{number}.nii.gz", (label + 0.2 * rng.random(label.shape)).astype(np.float32))
        write_nifti(tmp_path / f"labels/p{number}.nii.gz", label)
    values: dict[str, Any] = {
        "data.images": tmp_path / "images", "data.labels": tmp_path / "labels", "data.classes": "[background, a, b]",
        "network.channels": "[4, 8]", "training.epochs": 2, "training.threads": 1, "splits.validation": 0.3,
        "splits.test": 0.3, "evaluation.resamples": 100,
    }  # fmt: skip
    return [str(CHECKOUT / "configs/folders.yaml"), *(f"--set={key}={value}" for key, value in values.items())]


def in_this_process(listener: ablation_run.Listener, command: Sequence[str]) -> Ended:
    """Does what a process would, without its seconds of imports."""
    from pipeline.commands import run_pipeline, validation_scores

    if command[1] == "-m":
        return Ended(validation_scores.main(command[3:]))
    return Ended(run_pipeline.main(command[2:]))


def test_a_grid_of_real_runs(
    tmp_path: Path, study: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The validation figure is that of the validation patients, on the grid of their own files."""
    outcome = importlib.import_module("pipeline.commands.outcome")
    monkeypatch.setattr(outcome, "save_plots", lambda content, folder: [])
    monkeypatch.setattr(outcome, "render_report", lambda content: "not drawn")
    monkeypatch.setattr(ablation_run.Listener, "run", in_this_process)
    resized = "{_target_: Resized, keys: [image, label], spatial_size: [8, 8], mode: [bilinear, nearest]}"
    padded = "{_target_: DivisiblePadd, keys: [image, label], k: 16}"
    varied = ["--vary", f"transforms.prepare.3={padded},{resized}", "--out", str(tmp_path / "grid")]
    assert main([*study, *varied]) == 0
    out = capsys.readouterr().out
    rows = table(tmp_path / "grid")
    assert len(rows) == 2 and {row["state"] for row in rows} == {"done"}
    for row in rows:
        folder = tmp_path / "grid" / row["cell"]
        split = json.loads((folder / "split.json").read_text())[0]
        for side, name in (("val", "validation"), ("test", "evaluation")):
            scans = list(csv.DictReader((folder / name / "scans.csv").open()))
            assert {scan["patient"] for scan in scans} == set(split[side])
            voxels = {scan["scan"]: 0 for scan in scans}
            for scan in scans:
                voxels[scan["scan"]] += int(scan["reference_voxels"])
            assert set(voxels.values()) == {16 * 16 * 3}, "on the grid of the files"
        assert float(row["validation_dice"]) == pytest.approx(mean_dice(folder / "validation"), abs=1e-9)
        assert float(row["test_dice"]) == pytest.approx(mean_dice(folder / "evaluation"), abs=1e-9)
        history = list(csv.DictReader((folder / "history.csv").open()))
        assert float(row["prepared_dice"]) == pytest.approx(max(float(one["validation_dice"]) for one in history))
    assert float(rows[0]["validation_dice"]) == pytest.approx(float(rows[0]["prepared_dice"]), abs=1e-6), (
        "nothing was padded"
    )
    assert "2 of 2 runs done" in out


def test_a_process_that_is_refused_gives_its_reason(tmp_path: Path, study: list[str]) -> None:
    image = tmp_path / "images/p3.nii.gz"
    image.write_bytes(image.read_bytes()[:-20])
    command = [sys.executable, str(CHECKOUT / "bin/ablate"), *study, "--vary", "seed=3", "--out", "grid"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    (row,) = table(tmp_path / "grid")
    assert row["state"] == "failed" and row["reason"].startswith(f"{image}: ")
    assert f"error: {image}: " in done.stderr and "failed: seed=3: " in " ".join(done.stdout.split())
