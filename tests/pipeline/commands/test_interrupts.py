"""SIGTERM, SIGINT and SIGUSR1 end every stage of a run with exit code 3, and --resume goes on to the same end."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

CHECKOUT = Path(__file__).parents[3]
Run = Callable[..., int]

STAGES = [
    # where, the name that is called there, at which call, the signal, a word of the log
    ("pipeline.commands.run_pipeline", "resolved_text", 1, "SIGTERM", ""),  # there is no folder yet
    ("pipeline.commands.intake", "take_in", 1, "SIGUSR1", "stopped by SIGUSR1"),
    ("pipeline.commands.folds", "prepare", 2, "SIGTERM", "stopped by SIGTERM"),
    ("pipeline.training.loop", "rate_factor", 3, "SIGINT", "stopped by SIGINT at step 3"),
    ("pipeline.training.loop", "log_line", 1, "SIGUSR1", "stopped by SIGUSR1 at step 4"),
    ("pipeline.training.loop", "log_line", 2, "SIGTERM", "stopped by SIGTERM at the end of the training"),
    ("pipeline.commands.stages", "mask_bytes", 2, "SIGTERM", "stopped by SIGTERM"),  # while it predicts
    ("pipeline.commands.counting", "count_slices", 3, "SIGINT", "stopped by SIGINT"),
    ("pipeline.commands.outcome", "keep_evaluation", 1, "SIGUSR1", "stopped by SIGUSR1"),
    ("pipeline.commands.outcome", "save_plots", 1, "SIGTERM", "stopped by SIGTERM"),
    ("pipeline.commands.outcome", "render_report", 1, "SIGINT", "stopped by SIGINT"),
]


@pytest.fixture(scope="module", autouse=True)
def quick_report() -> Iterator[None]:
    """Nothing is drawn, which would take most of a run's time."""
    outcome = importlib.import_module("pipeline.commands.outcome")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outcome, "save_plots", lambda content, folder: [])
        patched.setattr(outcome, "render_report", lambda content: "not drawn")
        yield


@pytest.fixture(scope="module")
def start(phantom: Path) -> Run:
    """``bin/run_pipeline`` with a folder and further arguments, two epochs of four steps."""
    values = {"data.root": phantom, "network.channels": "[4, 8]", "training.epochs": 2, "training.batch_size": 2}
    given = [f"--set={key}={value}" for key, value in {**values, "training.ema": 0.8}.items()]

    def start(folder: Path, *more: str) -> int:
        from pipeline.commands.run_pipeline import main

        return main([str(CHECKOUT / "configs/hipmri.yaml"), *given, "--out", str(folder), *more])

    return start


def outcome(folder: Path) -> dict[str, Any]:
    saved = {name: torch.load(folder / "checkpoints" / name, weights_only=True) for name in ("best.pt", "last.pt")}
    masks = {path.name: path.read_bytes() for path in (folder / "predictions").iterdir()}
    figures = (folder / "evaluation/cases.csv").read_text()
    return {**{name: repr(one["network"]) for name, one in saved.items()}, **masks, "cases.csv": figures}


@pytest.fixture(scope="module")
def whole(start: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert start(folder) == 0
    return outcome(folder)


def signalling(place: Any, name: str, when: int, number: str) -> Callable[..., Any]:
    """What is called there, but that a signal comes at one call."""
    called, calls = getattr(place, name), 0

    def then_signal(*arguments: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == when:
            os.kill(os.getpid(), getattr(signal, number))
        return called(*arguments, **more)

    return then_signal


@pytest.mark.parametrize(
    ("module", "name", "when", "number", "said"), STAGES, ids=[f"{one[1]}-{one[2]}" for one in STAGES]
)
def test_a_signal_in_any_stage_exits_3_and_can_be_gone_on_from(
    start: Run, whole: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, when: int, number: str, said: str,
) -> None:  # fmt: skip
    place = importlib.import_module(module)
    folder, before = tmp_path / "stopped", signal.getsignal(getattr(signal, number))
    with monkeypatch.context() as patched:
        patched.setattr(place, name, signalling(place, name, when, number))
        assert start(folder) == 3
    err = capsys.readouterr().err
    assert "interrupted" in err
    assert signal.getsignal(getattr(signal, number)) == before
    if said:
        assert f"--resume --out {folder}" in err
        assert (folder / "log.txt").read_text().splitlines()[-1].endswith(said)
        assert not (folder / "report.html").exists()
        assert start(folder, "--resume") == 0
    else:
        assert not folder.exists()
        assert start(folder) == 0
    assert outcome(folder) == whole


@pytest.fixture
def tested(start: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that was stopped when nothing but its report was missing."""
    place = importlib.import_module("pipeline.commands.outcome")
    with monkeypatch.context() as patched:
        patched.setattr(place, "render_report", signalling(place, "render_report", 1, "SIGTERM"))
        assert start(tmp_path / "run") == 3
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("last.pt", "last.pt: a damaged checkpoint (BadZipFile): going back to the one before it, of step 4"),
        ("best.pt", "best.pt: a damaged checkpoint (BadZipFile): put back from last.pt, as of epoch 2"),
        ("counts.pt", "counts.pt: a damaged checkpoint (BadZipFile): the test cases are predicted again"),
    ],
)
def test_damage_is_told_and_mended(
    start: Run, whole: dict[str, Any], tested: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    path = tested / "checkpoints" / name
    path.write_bytes(path.read_bytes()[:-9])
    capsys.readouterr()
    assert start(tested, "--resume") == 0
    assert said in capsys.readouterr().err and said in (tested / "log.txt").read_text()
    assert outcome(tested) == whole


@pytest.mark.parametrize("name", ["last.pt", "counts.pt"])
def test_what_another_program_wrote_is_refused(
    start: Run, tested: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    torch.save({"format": 99, "slicewise": "9.9.0"}, tested / "checkpoints" / name)
    assert start(tested, "--resume") == 2
    assert "is of format 99, of Slicewise 9.9.0; this program, Slicewise" in capsys.readouterr().err
    assert not (tested / "report.html").exists()


def test_a_run_that_was_killed_before_its_config_was_written_begins(
    start: Run, whole: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / ".part-7-ab").write_text("half a config")
    assert start(folder, "--resume") == 0
    assert outcome(folder) == whole
    assert start(tmp_path / "no such folder", "--resume") == 2
