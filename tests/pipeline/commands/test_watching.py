"""What shows a training while it goes on changes nothing of it, and cannot end it."""

from __future__ import annotations

import csv
import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.commands.checks.findings import Findings
from pipeline.commands.checks.sections import check_config
from pipeline.commands.run_pipeline import main
from pipeline.pacing import Allowance
from pipeline.reporting import live
from pipeline.reporting.live import drawn
from pipeline.reporting.tracking import choice
from pipeline.reporting.tracking.figures import epoch_figures, final_figures
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.step import OptimizerStep

TINY = ("network.channels=[4, 8]", "training.epochs=3", "training.batch_size=4", "evaluation.resamples=100")
NEEDED = "needs tensorboard: pip install -e '.[tracking]' -c constraints.txt"


@pytest.fixture
def start(project: Path, phantom: Path) -> Callable[..., int]:
    def run(out: Path, *arguments: str, **changes: Any) -> int:
        values = [
            *TINY,
            f"data.root={phantom}",
            *(f"{key.replace('__', '.')}={value}" for key, value in changes.items()),
        ]
        sets = [part for value in values for part in ("--set", value)]
        return main([str(project / "configs/hipmri.yaml"), *sets, "--out", str(out), *arguments])

    return run


def weights(run: Path, name: str = "best.pt") -> dict[str, torch.Tensor]:
    saved: dict[str, torch.Tensor] = load_checkpoint(run / "checkpoints" / name)["network"]
    return saved


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def history(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_a_run_that_draws_and_tells_after_every_epoch_ends_in_the_same_bits(
    start: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason=NEEDED)
    pictures: list[Any] = []
    with monkeypatch.context() as never:
        never.setattr(Allowance, "is_due", False)
        assert start(tmp_path / "plain") == 0
    with monkeypatch.context() as always:
        always.setattr(Allowance, "is_due", True)
        always.setattr(live, "drawn", lambda content: pictures.append(content) or drawn(content))  # type: ignore[func-returns-value]
        assert start(tmp_path / "shown", report__tracker="tensorboard") == 0
    assert len(pictures) == 4, "after each of three epochs, and at the end"
    plain, shown = weights(tmp_path / "plain"), weights(tmp_path / "shown")
    assert all(torch.equal(plain[name], shown[name]) for name in plain)
    told = scalars(tmp_path / "shown/tensorboard")
    rows = history(tmp_path / "shown")
    for name in epoch_figures(rows[0]):
        expected: list[Any] = [(int(row["epoch"]), pytest.approx(epoch_figures(row)[name])) for row in rows]
        assert told.pop(name) == expected
    summary = json.loads((tmp_path / "shown/evaluation/summary.json").read_text())
    assert {name: value for name, [(_, value)] in told.items()} == pytest.approx(final_figures(summary))
    assert not (tmp_path / "plain/tensorboard").exists()


def test_trackers_that_fail_do_not_end_a_run_and_are_told_when_it_is_quiet(
    start: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason=NEEDED)
    from pipeline.reporting.tracking.event_files import EventFiles

    def fail(*arguments: Any, **named: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(EventFiles, "epochs", fail)
    assert start(tmp_path / "run", "--quiet", report__tracker="tensorboard") == 0
    said = "warning: tensorboard is told no more (OSError: No space left on device); the run goes on without it"
    out, err = capsys.readouterr()
    assert err.splitlines().count(said) == 1
    assert all(line.startswith("warning: ") for line in err.splitlines()), "quiet: warnings and the result"
    assert "foreground" in out and out.endswith("report.html\n") and "\x1b" not in out + err
    assert (tmp_path / "run/log.txt").read_text().count(said) == 1
    assert len(history(tmp_path / "run")) == 3


@pytest.mark.parametrize(
    ("tracker", "missing"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow, sqlalchemy, alembic")]
)
def test_a_tracker_that_is_not_installed_is_refused_before_any_work(
    start: Callable[..., int], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tracker: str, missing: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert start(tmp_path / "run", report__tracker=tracker) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"report.tracker: {tracker} needs what is not installed: {missing}." in said
    assert "pip install -e '.[tracking]' -c constraints.txt" in said
    assert not (tmp_path / "run").exists()

    findings = Findings(as_json=True)
    arguments = Namespace(config=project / "configs/hipmri.yaml", overrides=[f"report.tracker={tracker}"])
    assert check_config(findings, arguments) is not None
    assert findings.count("error") == 1, "bin/check tells it as well"


def test_each_fold_is_shown_in_its_own_folder_and_told_once(start: Callable[..., int], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=NEEDED)
    out = tmp_path / "run"
    changes = {"splits__kind": "folds", "splits__folds": "2", "data__fold": "all", "training__epochs": "1",
               "report__tracker": "[tensorboard]", "splits__validation": "0.4"}  # fmt: skip
    assert start(out, **changes) == 0
    for fold in (0, 1):
        assert (out / f"fold_{fold}/plots/loss_plot.png").stat().st_size > 0
        told = scalars(out / f"fold_{fold}/tensorboard")
        assert [step for step, _ in told["training/loss"]] == [1]
        summary = json.loads((out / f"fold_{fold}/evaluation/summary.json").read_text())
        assert told["test/dice_per_scan"][0][1] == pytest.approx(
            summary["levels"]["scan"]["foreground"]["dice"]["mean"]
        )
    pooled = json.loads((out / "evaluation/summary.json").read_text())
    told = scalars(out / "tensorboard")
    assert {name: value for name, [(_, value)] in told.items()} == pytest.approx(final_figures(pooled))

    # Gone on with after it was stopped: before its report; before the figures of the first fold were written and told;
    # before the second fold was tested, after which those of all folds are told anew.
    places = [out / "fold_0/tensorboard", out / "fold_1/tensorboard", out / "tensorboard"]
    once = [scalars(place) for place in places]
    for stopped_before in ("report.html", "fold_0/evaluation/summary.json", "fold_1/checkpoints/counts.pt"):
        (out / "report.html").unlink()
        (out / stopped_before).unlink(missing_ok=True)
        assert start(out, "--resume", **changes) == 0
        same = [scalars(place) == told for place, told in zip(places, once, strict=True)]
        assert same == [True, True, "counts" not in stopped_before], stopped_before


def test_a_run_that_was_stopped_before_its_report_tells_its_figures_once(
    start: Callable[..., int], tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard", reason=NEEDED)
    out = tmp_path / "run"
    assert start(out, report__tracker="tensorboard") == 0
    told = scalars(out / "tensorboard")
    assert [step for step, _ in told["test/dice_per_scan"]] == [3]
    for stopped_before in ("report.html", "evaluation/summary.json"):
        (out / "report.html").unlink()
        (out / stopped_before).unlink(missing_ok=True)
        assert start(out, "--resume", report__tracker="tensorboard") == 0
        assert scalars(out / "tensorboard") == told, stopped_before


def test_a_run_where_one_was_refused_before_is_not_told_with_it(
    start: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason=NEEDED)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def fail(*arguments: Any) -> None:
        raise MemoryError

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(OptimizerStep, "__call__", fail)
        assert start(out, report__tracker="tensorboard", training__epochs="2") == 2
    assert "Lower training.batch_size" in capsys.readouterr().err
    assert len(list((out / "tensorboard").iterdir())) == 1
    assert start(out, report__tracker="tensorboard") == 0
    found = EventAccumulator(str(out / "tensorboard"))
    found.Reload()
    (config,) = found.Tensors("config/text_summary")
    assert "epochs: 3" in config.tensor_proto.string_val[0].decode()
    assert len(list((out / "tensorboard").iterdir())) == 1
