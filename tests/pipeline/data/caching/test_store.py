"""A store gives back what was written, and nothing else passes for one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data.caching.store import DamagedStore, StoreWriter, read_store

Case = tuple[np.ndarray, np.ndarray, np.ndarray]


def case(number: int, shape: tuple[int, int, int, int], classes: int = 3) -> Case:
    generator = np.random.default_rng(number)
    label = generator.integers(0, classes, (shape[0], *shape[2:]), dtype=np.uint8)
    present = np.array([[(one == index).any() for index in range(classes)] for one in label])
    return generator.normal(size=shape).astype(np.float32), label, present


def written(folder: Path, cases: list[Case]) -> Path:
    folder.mkdir()
    writer = StoreWriter(folder)
    for one in cases:
        writer.add(*one)
    writer.finish({"of": "a test"})
    return folder


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.tuples(st.integers(1, 3), st.sampled_from([(2, 3), (4, 1), (5, 2)])), min_size=1, max_size=6),
    channels=st.integers(1, 3),
)
def test_a_store_gives_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[int, tuple[int, int]]], channels: int
) -> None:
    cases = [case(number, (slices, channels, *plane)) for number, (slices, plane) in enumerate(sizes)]
    store = read_store(written(tmp_path_factory.mktemp("store") / "s", cases), 3)
    assert store.shapes.tolist() == [list(image.shape) for image, _, _ in cases]
    assert np.array_equal(store.present, np.concatenate([present for _, _, present in cases]))
    planes = list(dict.fromkeys(plane for _, plane in sizes))  # in the order in which they first appear
    assert len(store.images) == len(store.labels) == len(planes)
    for plane, images, labels in zip(planes, store.images, store.labels, strict=True):
        members = [one for one in cases if one[1].shape[1:] == plane]
        assert np.array_equal(images, np.concatenate([image for image, _, _ in members]))
        assert np.array_equal(labels, np.concatenate([label for _, label, _ in members]))
        assert (images.dtype.str, labels.dtype.str) == ("<f4", "|u1")
        assert not images.flags.writeable and not labels.flags.writeable


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("whole") / "s", [case(1, (2, 1, 4, 3)), case(2, (1, 1, 2, 3))])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_bit_anywhere_is_noticed(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("bit") / "s"
    shutil.copytree(whole, folder)
    path = folder / data.draw(st.sampled_from(sorted(path.name for path in whole.iterdir() if path.suffix != ".json")))
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(DamagedStore, match=path.name):
        read_store(folder, 3)


def truncated(folder: Path) -> None:
    with (folder / "images-0.f32").open("r+b") as file:
        file.truncate(40)


def lengthened(folder: Path) -> None:
    with (folder / "labels-1.u8").open("ab") as file:
        file.write(b"0")


def manifest(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (truncated, "images-0.f32 has 40 bytes, not 96"),
        (lengthened, "labels-1.u8 has 7 bytes, not 6"),
        (lambda folder: (folder / "labels-0.u8").unlink(), "labels-0.u8 cannot be read"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text('{"format'), "manifest cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("[" * 100_000), "manifest cannot be read"),
        (manifest(format=0), "format is 0"),
        (manifest(files=[]), "manifest cannot be read"),
        (manifest(files={}), "index does not fit"),
    ],
)
def test_what_is_no_whole_store_is_refused(
    whole: Path, tmp_path: Path, spoil: Callable[[Path], object], why: str
) -> None:
    folder = tmp_path / "s"
    shutil.copytree(whole, folder)
    read_store(folder, 3)
    spoil(folder)
    with pytest.raises(DamagedStore, match=why):
        read_store(folder, 3)


def test_a_store_of_other_classes_does_not_fit(whole: Path) -> None:
    with pytest.raises(DamagedStore, match="does not fit"):
        read_store(whole, 4)


def test_no_store_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_store(tmp_path / "none", 3)


def test_an_unfinished_store_is_no_store(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path)
    writer.add(*case(1, (1, 1, 2, 2)))
    with pytest.raises(DamagedStore, match="manifest"):
        read_store(tmp_path, 3)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_all_else_is_on_the_disk_before_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []

    def note(handle: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        synced.append((path.name, (tmp_path / "s" / "manifest.json").exists()))

    monkeypatch.setattr(os, "fsync", note)
    written(tmp_path / "s", [case(1, (1, 1, 2, 2))])
    assert sorted(synced[:-1]) == [("images-0.f32", False), ("index.npz", False), ("labels-0.u8", False)]
    assert synced[-1] == ("manifest.json", True)
