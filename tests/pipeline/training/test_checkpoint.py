"""Checkpoints appear whole or not at all, and nothing in them is run."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import RunError
from pipeline.provenance import own_version
from pipeline.training.checkpoint import FORMAT, DamagedCheckpoint, load_checkpoint, save_checkpoint

STATE: dict[str, Any] = {
    "network": {"weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(3)},
    "average": None,
    "state": {"step": 4, "history": [{"epoch": 1, "loss": 0.5, "dice": float("nan")}], "name": "ä"},
}


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, STATE)
    found = load_checkpoint(path)
    assert found["format"] == FORMAT
    assert torch.equal(found["network"]["weight"], STATE["network"]["weight"])
    assert repr(found["state"]) == repr(STATE["state"])
    assert [name.name for name in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("broken", ["os.replace", "os.fsync", "torch.save"])
def test_a_failing_write_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, STATE)
    before = path.read_bytes()

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(broken, fail)
    with pytest.raises((RunError, OSError), match="No space left"):
        save_checkpoint(path, {"network": {}})
    assert path.read_bytes() == before
    assert [name.name for name in tmp_path.iterdir()] == ["a.pt"], "nothing half written stays"


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    bad = Malicious(f"touch {mark}")
    torch.save({"format": FORMAT, "network": bad}, tmp_path / "zip.pt")
    torch.save({"format": FORMAT, "network": bad}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"format": FORMAT, "network": bad}))
    for name in ("zip.pt", "old.pt", "plain.pt"):
        with pytest.raises(RunError, match="was not loaded") as fault:
            load_checkpoint(tmp_path / name)
        assert fault.value.where == str(tmp_path / name)
        assert not isinstance(fault.value, DamagedCheckpoint), "no crash leaves such a file"
    assert not mark.exists()
    pickle.loads((tmp_path / "plain.pt").read_bytes())
    assert mark.exists(), "it would have been run"


def test_other_formats_are_refused_with_both_versions(tmp_path: Path) -> None:
    here = f"this program, Slicewise {own_version()}, reads formats 1 to {FORMAT}"
    for name, value, found in (
        ("newer.pt", {"format": FORMAT + 1, "slicewise": "7.8.9"}, f"format {FORMAT + 1}, of Slicewise 7.8.9"),
        ("newer, unnamed.pt", {"format": FORMAT + 1}, f"format {FORMAT + 1}"),
        ("none.pt", {"network": {}}, "format None"),
        ("zero.pt", {"format": 0}, "format 0"),
        ("true.pt", {"format": True}, "format True"),  # which equals 1
        ("list.pt", [1, 2], "format 'list'"),
    ):
        torch.save(value, tmp_path / name)
        with pytest.raises(RunError) as fault:
            load_checkpoint(tmp_path / name)
        assert fault.value.what == f"is of {found}; {here}"
        assert not isinstance(fault.value, DamagedCheckpoint)


def test_an_older_format_comes_as_if_it_were_new(tmp_path: Path) -> None:
    torch.save({"format": 1, "network": {}, "optimizer": {}, "state": {"step": 4}}, tmp_path / "last.pt")
    found = load_checkpoint(tmp_path / "last.pt")
    assert found == {"format": FORMAT, "network": {}, "optimizer": {}, "state": {"step": 4}, "best": None}
    torch.save({"format": 1, "network": {}, "epoch": 3}, tmp_path / "best.pt")
    assert load_checkpoint(tmp_path / "best.pt") == {"format": FORMAT, "network": {}, "epoch": 3}


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for length in (0, 1, 4, 30, 100, len(whole) // 2, len(whole) - 30, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(RunError, match="damaged") as fault:
            load_checkpoint(path)
        assert fault.value.where == str(path)


def test_garbage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for content in (b"text\n", b"\x80\x02", b"\x80\x04\x95", bytes(range(256)), bytes(9000), b"\x1f\x8b" * 9):
        path.write_bytes(content)
        with pytest.raises(RunError) as fault:
            load_checkpoint(path)
        assert isinstance(fault.value, DamagedCheckpoint) is not content.startswith(b"\x80")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "no checkpoint")
    with pytest.raises(RunError, match="no checkpoint of this program") as fault:
        load_checkpoint(path)
    assert not isinstance(fault.value, DamagedCheckpoint), "it is whole"


def test_whichever_byte_is_wrong_it_is_noticed_or_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"network": {"weight": torch.arange(4.0)}, "state": {"step": 4}})
    expected, whole = load_checkpoint(path), path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            found = load_checkpoint(path)
        except RunError as fault:
            noticed += isinstance(fault, DamagedCheckpoint)
            continue
        assert repr(found) == repr(expected), place
    assert noticed > 200


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    weights = torch.arange(4096.0)
    save_checkpoint(path, {"network": {"weight": weights}})
    whole = bytearray(path.read_bytes())
    whole[whole.index(weights.numpy().tobytes()[:64]) + 1000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(RunError, match="damaged"):
        load_checkpoint(path)


def test_a_bad_sector_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(self: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    with pytest.raises(DamagedCheckpoint, match="Input/output error"):
        load_checkpoint(tmp_path / "a.pt")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such checkpoint") as fault:
        load_checkpoint(tmp_path / "best.pt")
    assert fault.value.where == str(tmp_path / "best.pt")
    with pytest.raises(RunError, match="cannot be read"):
        load_checkpoint(tmp_path)
