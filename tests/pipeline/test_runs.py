"""The run folder: numbered, with a log, its files whole."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import runs
from pipeline.errors import ConfigError, RunError
from pipeline.run_lock import sole_process
from pipeline.runs import (
    RunLog,
    create_fold_folder,
    create_run_folder,
    existing_run_folder,
    write_bytes,
    write_json,
    write_text,
)


def test_runs_are_numbered_and_latest_points_to_the_newest(tmp_path: Path) -> None:
    folders = [create_run_folder(tmp_path, "hipmri") for _ in range(3)]
    assert folders == [tmp_path / "runs" / "hipmri" / number for number in ("001", "002", "003")]
    latest = tmp_path / "runs" / "hipmri" / "latest"
    assert latest.is_symlink()
    assert os.readlink(latest) == "003", "relative, so that the project may be moved"
    assert sorted(path.name for path in folders[0].iterdir()) == [
        "checkpoints", "evaluation", "log.txt", "plots", "predictions",
    ]  # fmt: skip
    assert sorted(path.name for path in latest.parent.iterdir()) == ["001", "002", "003", "latest"]
    assert create_run_folder(tmp_path, "other").name == "001"


def test_numbers_go_on_after_the_highest(tmp_path: Path) -> None:
    parent = tmp_path / "runs" / "a"
    for name in ("007", "999", "12", "notes", "0100"):
        (parent / name).mkdir(parents=True)
    assert create_run_folder(tmp_path, "a").name == "1000"
    assert create_run_folder(tmp_path, "a").name == "1001"


def test_two_runs_at_one_moment_get_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir
    stolen: list[str] = []

    def race(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name == "001" and not stolen:
            stolen.append(self.name)
            mkdir(self)  # another run takes the number between the look and the making
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", race)
    assert create_run_folder(tmp_path, "a").name == "002"


def test_out_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = create_run_folder(tmp_path, "a", Path("deep/er"))
    assert folder == tmp_path / "deep" / "er"
    assert (folder / "log.txt").read_text() == ""
    assert not (tmp_path / "runs").exists()
    (tmp_path / "empty").mkdir()
    assert create_run_folder(tmp_path, "a", tmp_path / "empty") == tmp_path / "empty"


def test_an_out_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not empty") as fault:
        create_run_folder(tmp_path, "a", tmp_path / "out")
    assert fault.value.where == str(tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(RunError, match="cannot be written") as fault:
        create_run_folder(tmp_path, "a", tmp_path / "out")
    assert fault.value.where == str(tmp_path / "out")
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"):
        create_run_folder(tmp_path, "a")


def test_a_folder_without_the_right_to_write_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, *_: Any, **__: Any) -> None:  # a user root may write anywhere
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", denied)
    with pytest.raises(RunError, match="Permission denied") as fault:
        create_run_folder(tmp_path, "a", tmp_path / "out")
    assert fault.value.where == str(tmp_path / "out")
    assert "--out DIR" in fault.value.remedy


def test_a_full_disk_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=42_000_000))
    with pytest.raises(RunError, match="only 42 MB are free") as fault:
        create_run_folder(tmp_path, "a")
    assert fault.value.where == str(tmp_path / "runs" / "a" / "001")


def test_the_newest_run_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run to resume"):
        existing_run_folder(tmp_path, "a")
    folders = [create_run_folder(tmp_path, "a") for _ in range(2)]
    for folder in folders:
        write_text(folder / "config.yaml", "name: a\n")
    assert existing_run_folder(tmp_path, "a") == folders[1]
    assert existing_run_folder(tmp_path, "a", folders[0]) == folders[0]
    with pytest.raises(ConfigError, match="no run to resume") as fault:
        existing_run_folder(tmp_path, "a", tmp_path)
    assert fault.value.where == str(tmp_path)


def test_files_are_written_over_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (b"first", b"", b"\x00\xff" * 1000):
        write_bytes(path, content)
        assert path.read_bytes() == content
    write_text(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    assert [name.name for name in tmp_path.iterdir()] == ["a.bin"]


def test_written_files_have_the_rights_that_the_user_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_name_may_be_as_long_as_names_are(tmp_path: Path) -> None:
    name = "x" * 255
    write_text(tmp_path / name, "long")
    assert (tmp_path / name).read_text() == "long"


@pytest.mark.parametrize("crash", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_a_crash_between_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: BaseException, point: str
) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    seen: list[list[str]] = []

    def fail(*_: Any) -> None:
        seen.append(sorted(name.name for name in tmp_path.iterdir()))
        assert path.read_text() == "old"
        raise crash

    monkeypatch.setattr(os, point, fail)
    expected = RunError if isinstance(crash, OSError) else type(crash)
    with pytest.raises(expected) as error:
        write_text(path, "new")
    if isinstance(error.value, RunError):
        assert "No space left" in error.value.what
        assert error.value.where == str(path)
    assert len(seen[0]) == 2, "the new one was beside it"
    assert path.read_text() == "old"
    assert [name.name for name in tmp_path.iterdir()] == ["a.txt"]


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def noting(name: str, real: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            order.append(name)
            real(*arguments)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    write_text(tmp_path / "a", "text")
    assert order == ["fsync", "replace"]


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written") as fault:
        write_text(tmp_path / "gone" / "a", "")
    assert fault.value.where == str(tmp_path / "gone" / "a")


def test_json_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, None, "ä"]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "b": [\n    1,\n    null,\n    "ä"\n  ]\n}\n'
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "b.json", {"b": value})
    assert not (tmp_path / "b.json").exists()


def test_the_log_has_lines_with_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: now[0]))
    log = RunLog(tmp_path / "log.txt")
    log("started: bin/run_pipeline a b")
    now[0] += 61.25
    log("ä")
    assert (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines() == [
        "      0.0 s  started: bin/run_pipeline a b",
        "     61.2 s  ä",
    ]
    RunLog(tmp_path / "log.txt")("again")
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 3, "a resumed run goes on with the same file"
    with pytest.raises(RunError, match="cannot be written"):
        RunLog(tmp_path)("a folder")


def test_a_run_that_was_refused_gives_its_number_back(tmp_path: Path) -> None:
    kept = runs.create_run_folder(tmp_path, "x")
    (kept / "config.yaml").write_text("a: 1")
    (kept / "checkpoints" / "best.pt").write_bytes(b"weights")
    refused = runs.create_run_folder(tmp_path, "x")
    (refused / "config.yaml").write_text("a: 1")
    runs.discard_untrained(kept)
    runs.discard_untrained(refused)
    assert kept.is_dir() and not refused.exists()
    assert (tmp_path / "runs/x/latest").resolve() == kept.resolve()
    first = runs.create_run_folder(tmp_path, "y")
    (first / "config.yaml").write_text("a: 1")
    runs.discard_untrained(first)
    assert not (tmp_path / "runs/y/latest").is_symlink()


def test_a_folder_of_the_users_is_never_discarded(tmp_path: Path) -> None:
    out = runs.create_run_folder(tmp_path, "x", tmp_path / "mine")
    (out / "config.yaml").write_text("a: 1")
    runs.discard_untrained(out)
    assert out.is_dir()
    (out / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match="not empty"):
        runs.create_run_folder(tmp_path, "x", out)


def test_a_fold_has_a_folder_that_is_found_again(tmp_path: Path) -> None:
    fold = create_fold_folder(tmp_path, 3, "name: a\n")
    assert fold == tmp_path / "fold_3"
    (fold / "log.txt").write_text("so far")
    assert create_fold_folder(tmp_path, 3, "name: a\n") == fold
    assert sorted(path.name for path in fold.iterdir()) == ["checkpoints", "config.yaml", "evaluation", "log.txt"]
    assert (fold / "log.txt").read_text() == "so far"
    assert (fold / "config.yaml").read_text() == "name: a\n"
    (tmp_path / "fold_4").write_text("a file")
    with pytest.raises(RunError, match="cannot be written") as fault:
        create_fold_folder(tmp_path, 4, "")
    assert fault.value.where == str(tmp_path / "fold_4")


def test_folds_that_never_trained_are_nothing_to_keep(tmp_path: Path) -> None:
    out = tmp_path / "out"
    create_run_folder(tmp_path, "a", out)
    write_text(out / "config.yaml", "")
    fold = create_fold_folder(out, 0, "")
    write_text(fold / "split.json", "[]")
    assert create_run_folder(tmp_path, "a", out) == out
    write_bytes(fold / "checkpoints" / "last.pt", b"weights")
    with pytest.raises(ConfigError, match="not empty"):
        create_run_folder(tmp_path, "a", out)


def test_what_trackers_were_told_of_a_refused_run_goes_with_it(tmp_path: Path) -> None:
    out, shared = tmp_path / "out", tmp_path / "shared"
    create_run_folder(tmp_path, "a", out)
    folders = [out, create_fold_folder(out, 0, "")]
    told = [folder / name for folder in folders for name in ("tensorboard/events", "mlflow/mlflow.db")]
    told += [folder / "checkpoints/mlflow.json" for folder in folders]
    for path in (*told, out / "config.yaml", shared / "events"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    with sole_process(out), pytest.raises(RunError, match="another process is at work"):
        create_run_folder(tmp_path, "a", out)
    assert all(path.exists() for path in told)
    assert create_run_folder(tmp_path, "a", out) == out
    assert not any(path.exists() for path in told) and (out / "fold_0/config.yaml").exists()
    assert not (out / "tensorboard").exists() and not (out / "mlflow").exists()
    (out / "tensorboard").symlink_to(shared)
    assert create_run_folder(tmp_path, "a", out) == out
    assert not (out / "tensorboard").is_symlink() and (shared / "events").exists(), "it is the user's"


def test_a_folds_lines_are_in_its_runs_log_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path / "log.txt")
    fold = RunLog(tmp_path / "fold.txt", log, "fold 1 (2 of 5)")
    fold("silent")
    fold.say("aloud")
    log.say("of the run")
    texts = [[line.split(" s  ")[1] for line in path.read_text().splitlines()] for path in (fold.path, log.path)]
    assert texts == [["silent", "aloud"], ["fold 1 (2 of 5): silent", "fold 1 (2 of 5): aloud", "of the run"]]
    assert capsys.readouterr().err.splitlines() == ["fold 1 (2 of 5): aloud", "of the run"]
