"""Two checkpoints are kept, one of them whole at any moment; best.pt is what the newest says it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import RunError
from pipeline.training import saving
from pipeline.training.checkpoint import FORMAT, DamagedCheckpoint, load_checkpoint
from pipeline.training.saving import Checkpoints


class Killed(BaseException):
    """What comes after it is not done, as after SIGKILL."""


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((3,), float(value)), "steps": torch.tensor(int(value))}


class Training:
    """Saves steps 1, 2, 3 ... with weights of that value; a step of `best_at` is the best so far."""

    def __init__(self, folder: Path, best_at: tuple[int, ...] = (1, 3)) -> None:
        self.said: list[str] = []
        self.checkpoints = Checkpoints(folder, self.said.append)
        self.best_at, self.step, self.best = best_at, 0, 0

    def go_on(self) -> int:
        """As `Trainer.resume` does; gives the step."""
        path, saved = self.checkpoints.newest()
        self.checkpoints.settle(path, saved)
        self.step, self.best = saved["state"]["step"], saved["state"]["best_epoch"]
        return self.step

    def to(self, step: int) -> Training:
        while self.step < step:
            self.step += 1
            if self.step in self.best_at:
                self.best = self.step
                self.checkpoints.save_best(weights(self.step), self.step, self.step / 10)
            state = {"step": self.step, "best_epoch": self.best}
            self.checkpoints.save({"network": weights(self.step), "optimizer": {}, "state": state})
        return self


def steps(folder: Path) -> dict[str, int]:
    """The step or the epoch that each checkpoint in a folder is of."""
    found = {path.name: load_checkpoint(path) for path in folder.iterdir()}
    return {name: one["state"]["step"] if "state" in one else one["epoch"] for name, one in found.items()}


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def test_two_are_kept_and_the_best(tmp_path: Path) -> None:
    training = Training(tmp_path)
    assert not training.checkpoints.exist()
    training.to(1)
    assert steps(tmp_path) == {"last.pt": 1, "best.pt": 1}
    training.to(5)
    assert steps(tmp_path) == {"last.pt": 5, "last.previous.pt": 4, "best.pt": 3}
    assert torch.equal(load_checkpoint(tmp_path / "last.pt")["best"]["network"]["weight"], torch.full((3,), 3.0))
    again = Training(tmp_path)
    assert again.checkpoints.exist() and again.go_on() == 5
    again.to(6)
    assert steps(tmp_path) == {"last.pt": 6, "last.previous.pt": 5, "best.pt": 3}
    assert again.said == []


def test_the_best_weights_are_a_copy(tmp_path: Path) -> None:
    checkpoints, trained = Checkpoints(tmp_path, print), weights(1.0)
    checkpoints.save_best(trained, 1, 0.5)
    trained["weight"] += 1
    checkpoints.save({"network": trained, "state": {"best_epoch": 1}})
    assert load_checkpoint(tmp_path / "last.pt")["best"]["network"]["weight"].tolist() == [1.0] * 3


@pytest.mark.parametrize("when", range(11))
def test_killed_at_any_call_it_goes_on_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    """Steps 3 (the best so far) and 4 take ten calls of the system that change a file: each is the last one once."""
    expected = tmp_path / "expected"
    folder = tmp_path / "killed"
    for one in (expected, folder):
        one.mkdir()
    Training(expected).to(5)
    training, calls = Training(folder).to(2), 0

    def dying(name: str) -> Any:
        whole = getattr(os, name)

        def call(*arguments: Any) -> None:
            nonlocal calls
            calls += 1
            if calls > when:  # not even what a `finally` would clear away
                raise Killed
            whole(*arguments)

        return call

    with monkeypatch.context() as patched:
        for name in ("fsync", "replace"):
            patched.setattr(os, name, dying(name))
        if when < 10:
            with pytest.raises(Killed):
                training.to(4)
        else:
            training.to(4)
    again = Training(folder)
    assert again.go_on() >= 2, "one that was written is never lost"
    again.to(5)
    assert steps(folder) == steps(expected)
    for name in ("last.pt", "best.pt"):
        assert repr(load_checkpoint(folder / name)) == repr(load_checkpoint(expected / name))


@pytest.mark.parametrize("how", ["cut", "empty", "zeros", "flipped"])
def test_a_damaged_newest_falls_back_and_says_so(tmp_path: Path, how: str) -> None:
    Training(tmp_path).to(4)
    path = tmp_path / "last.pt"
    whole = bytearray(path.read_bytes())
    whole[whole.index(torch.full((3,), 4.0).numpy().tobytes())] ^= 1
    damages: dict[str, bytes] = {
        "cut": bytes(whole[:-9]),
        "empty": b"",
        "zeros": bytes(len(whole)),
        "flipped": bytes(whole),
    }
    path.write_bytes(damages[how])
    training = Training(tmp_path)
    assert training.go_on() == 3
    (line,) = training.said
    assert line.startswith("last.pt: a damaged checkpoint") and "going back to the one before it, of step 3" in line
    # The damaged one must not push out the whole one: killed before the next is written, it is still there.
    training = Training(tmp_path)
    assert training.go_on() == 3
    training.to(4)
    assert steps(tmp_path) == {"last.pt": 4, "last.previous.pt": 3, "best.pt": 3}


def test_killed_while_the_next_is_written_the_damaged_one_has_pushed_nothing_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Training(tmp_path).to(4)
    damage(tmp_path / "last.pt")
    training = Training(tmp_path)
    training.go_on()

    def die(path: Path, state: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(saving, "save_checkpoint", die)
        with pytest.raises(Killed):
            training.to(4)
    assert Training(tmp_path).go_on() == 3


def test_best_is_gone_back_to_as_well(tmp_path: Path) -> None:
    Training(tmp_path).to(3)  # which is the best so far
    damage(tmp_path / "last.pt")
    training = Training(tmp_path)
    assert training.go_on() == 2
    assert load_checkpoint(tmp_path / "best.pt")["epoch"] == 1
    assert "best.pt: is of epoch 3: put back" in training.said[1] and "as of epoch 1" in training.said[1]


def test_a_best_of_an_epoch_that_is_trained_again_is_no_best(tmp_path: Path) -> None:
    Training(tmp_path, best_at=(2,)).to(2)
    damage(tmp_path / "last.pt")
    assert Training(tmp_path).go_on() == 1
    assert not (tmp_path / "best.pt").exists()


@pytest.mark.parametrize(("how", "words"), [("damaged", "a damaged checkpoint"), ("gone", "is missing")])
def test_a_best_that_is_not_whole_is_put_back(tmp_path: Path, how: str, words: str) -> None:
    Training(tmp_path).to(4)
    before = repr(load_checkpoint(tmp_path / "best.pt"))
    damage(tmp_path / "best.pt")
    if how == "gone":
        (tmp_path / "best.pt").unlink()
    training = Training(tmp_path)
    assert training.go_on() == 4
    assert repr(load_checkpoint(tmp_path / "best.pt")) == before
    assert training.said[0].startswith(f"best.pt: {words}")


def test_weights_of_another_course_are_put_back_though_the_epoch_is_the_same(tmp_path: Path) -> None:
    Training(tmp_path).to(3)
    other = Checkpoints(tmp_path, print)
    other.save_best(weights(7), 3, 0.3)
    Training(tmp_path).go_on()
    assert load_checkpoint(tmp_path / "best.pt")["network"]["weight"].tolist() == [3.0] * 3


class Command:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize("name", ["last.pt", "last.previous.pt", "best.pt"])
@pytest.mark.parametrize(
    ("content", "words"),
    [({"format": FORMAT + 1}, f"is of format {FORMAT + 1}"), ({"format": FORMAT, "x": Command()}, "was not loaded")],
    ids=["another format", "malicious"],
)
def test_what_no_crash_leaves_is_refused_and_stays(tmp_path: Path, name: str, content: Any, words: str) -> None:
    Training(tmp_path).to(4)
    torch.save(content, tmp_path / name)
    if name == "last.previous.pt":
        damage(tmp_path / "last.pt")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    training = Training(tmp_path)
    with pytest.raises(RunError, match=words) as fault:
        training.go_on()
    assert fault.value.where == str(tmp_path / name)
    assert training.said == []
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_both_damaged_is_told(tmp_path: Path) -> None:
    Training(tmp_path).to(2)
    damage(tmp_path / "last.pt")
    damage(tmp_path / "last.previous.pt")
    with pytest.raises(DamagedCheckpoint, match=r"so is the one before it, last\.previous\.pt") as fault:
        Training(tmp_path).go_on()
    assert "new run" in fault.value.remedy


def test_a_single_damaged_one_is_told(tmp_path: Path) -> None:
    Training(tmp_path).to(1)
    damage(tmp_path / "last.pt")
    with pytest.raises(DamagedCheckpoint, match="a damaged checkpoint"):
        Training(tmp_path).go_on()


def test_a_newest_that_is_gone_falls_back_too(tmp_path: Path) -> None:
    Training(tmp_path).to(4)
    (tmp_path / "last.pt").unlink()
    training = Training(tmp_path)
    assert training.checkpoints.exist() and training.go_on() == 3
    assert training.said[0].startswith("last.pt: is missing: going back")


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_full_disk_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    training = Training(tmp_path).to(4)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, broken, full)
        with pytest.raises(RunError, match="No space left"):
            training.to(5)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert Training(tmp_path).go_on() == 4


def of_format_1(folder: Path) -> None:
    for path in folder.iterdir():
        saved = torch.load(path, weights_only=True)
        torch.save({key: value for key, value in {**saved, "format": 1}.items() if key != "best"}, path)


def test_a_folder_of_format_1_is_gone_on_with(tmp_path: Path) -> None:
    Training(tmp_path).to(4)
    of_format_1(tmp_path)
    training = Training(tmp_path)
    assert training.go_on() == 4
    training.to(5)
    assert load_checkpoint(tmp_path / "last.pt")["best"]["epoch"] == 3
    assert steps(tmp_path) == {"last.pt": 5, "last.previous.pt": 4, "best.pt": 3}


def test_of_format_1_another_best_cannot_be_put_back(tmp_path: Path) -> None:
    Training(tmp_path).to(3)
    of_format_1(tmp_path)
    damage(tmp_path / "last.pt")
    with pytest.raises(RunError, match=r"not that of epoch 1, which last.previous.pt \(of format 1\) names"):
        Training(tmp_path).go_on()


def test_a_newer_one_that_had_not_moved_is_better_than_the_one_before(tmp_path: Path) -> None:
    Training(tmp_path).to(4)
    os.rename(tmp_path / "last.pt", tmp_path / "last.next.pt")
    shutil.copy(tmp_path / "last.previous.pt", tmp_path / "last.pt")
    damage(tmp_path / "last.pt")
    again = Training(tmp_path)
    assert again.go_on() == 4
    assert "going on from last.next.pt, of step 4" in again.said[0]
    assert steps(tmp_path) == {"last.pt": 4, "last.previous.pt": 3, "best.pt": 3}
