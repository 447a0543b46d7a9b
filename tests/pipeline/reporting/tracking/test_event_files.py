"""Event files, read back by TensorBoard itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install -e '.[tracking]' -c constraints.txt")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline.reporting.tracking.event_files import EventFiles
from pipeline.reporting.tracking.figures import epoch_figures

CLASSES = ("background", "bone", "rectum")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def texts(folder: Path) -> dict[str, list[str]]:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    tags = found.Tags()["tensors"]
    return {tag: [event.tensor_proto.string_val[0].decode() for event in found.Tensors(tag)] for tag in tags}


@pytest.fixture
def history(make_epoch: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    rows = [make_epoch(number, CLASSES) for number in (1, 2, 3, 4)]
    rows[1] = {name: value for name, value in rows[1].items() if "dice" not in name and "validation" not in name}
    return rows


def expected(history: list[dict[str, Any]]) -> dict[str, list[Any]]:
    tags = {tag for row in history for tag in epoch_figures(row)}
    return {
        tag: [(row["epoch"], pytest.approx(epoch_figures(row)[tag])) for row in history if tag in epoch_figures(row)]
        for tag in tags
    }


def test_every_epoch_the_config_and_the_results(tmp_path: Path, history: list[dict[str, Any]]) -> None:
    files = EventFiles(tmp_path, "small/001", "name: small\n")
    files.begin([])
    for number in (1, 2, 3, 4):
        files.epochs(history[:number])
        assert scalars(tmp_path) == expected(history[:number]), "whoever looks on sees every epoch at once"
    files.epochs(history, all_now=True)
    files.results({"test/dice_per_scan": 0.5})
    files.close(finished=True)
    assert scalars(tmp_path) == expected(history) | {"test/dice_per_scan": [(4, 0.5)]}
    assert texts(tmp_path) == {
        "run/text_summary": ["small/001"], "config/text_summary": ["```yaml\nname: small\n```"],
    }  # fmt: skip


@pytest.mark.parametrize(("told", "kept"), [(2, 2), (1, 2), (3, 2)], ids=["all", "not the last", "more than was kept"])
def test_going_on_appends_and_mends(tmp_path: Path, history: list[dict[str, Any]], told: int, kept: int) -> None:
    """Killed when `told` epochs were told, gone on with from a checkpoint that knows `kept`."""
    first = EventFiles(tmp_path, "small/001", "name: small\n")
    first.begin([])
    first.epochs(history[:told])
    first.close(finished=False)
    again = EventFiles(tmp_path, "small/001", "name: small\n")
    again.begin(history[:kept])
    assert scalars(tmp_path) == expected(history[:kept])
    again.epochs(history)
    again.close(finished=True)
    assert scalars(tmp_path) == expected(history), "each epoch once"
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2, "what was there stays"


def test_a_fold_has_its_own(tmp_path: Path, history: list[dict[str, Any]]) -> None:
    run = EventFiles(tmp_path, "small/001", "name: small\n")
    fold = run.fold(1, tmp_path / "fold_1", "name: small, one fold\n")
    fold.begin([])
    fold.epochs(history)
    fold.close(finished=True)
    run.results({"test/dice_per_scan": 0.25})
    run.close(finished=True)
    assert scalars(tmp_path / "fold_1") == expected(history)
    assert scalars(tmp_path) == {"test/dice_per_scan": [(0, 0.25)]}
    assert texts(tmp_path / "fold_1")["run/text_summary"] == ["small/001, fold 1"]
