"""Slices that are prepared for each batch: the same ones, ahead of time, and few at once."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.data.caching.elsewhere import FreshSlices, HostSlices, StoredSlices, file_states
from pipeline.data.caching.prepared import Preparation
from pipeline.data.caching.slices import SliceBank, epoch_batches
from pipeline.data.caching.store import StoreWriter, read_store
from pipeline.data.cases import Case
from pipeline.errors import DataError, ImageFileError

SHAPES = [(4, 2, 3, 5), (1, 2, 4, 4), (3, 2, 3, 5), (1, 2, 4, 4), (5, 2, 3, 5), (2, 2, 3, 5)]
CLASSES = 3


class Chain:
    """Stands in for a prepare chain: makes a case's arrays from its name, and counts."""

    keys = ("image", "label")

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.fault: Exception | None = None
        self.taller = 0

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        name = Path(sample["image"]).name.removesuffix(".nii.gz")
        with self.lock:
            self.calls[name] += 1
        if self.fault is not None:
            raise self.fault
        slices, channels, height, width = SHAPES[int(name[1:])]
        generator = torch.Generator().manual_seed(int(name[1:]))
        shape = (slices, channels, height + self.taller, width)
        label = torch.randint(0, CLASSES, (slices, *shape[2:]), generator=generator)
        return {"image": torch.randn(shape, generator=generator), "label": label}


def sizes() -> np.ndarray:
    return np.array(SHAPES)


@pytest.fixture
def cases(make_case: Callable[..., Case]) -> list[Case]:
    return [make_case(f"c{number}", scan="s", number=number) for number in range(len(SHAPES))]


@pytest.fixture
def bank(cases: list[Case]) -> SliceBank:
    """The same slices in memory; neighbours on one side and the other."""
    chain = Chain()
    samples = [chain({"image": case.image}) for case in cases]
    return SliceBank(cases, samples, CLASSES, context=1)


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def fresh(cases: list[Case], bank: SliceBank, chain: Chain) -> Callable[..., FreshSlices]:
    def make(**more: Any) -> FreshSlices:
        job = Preparation(chain, tuple(cases), {}, None, CLASSES, 1)  # type: ignore[arg-type]
        return FreshSlices(job, sizes(), bank.present, **more)

    return make


def assert_same(own: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert own.keys() == other.keys()
    for key in own:
        assert own[key].dtype == other[key].dtype
        assert torch.equal(own[key], other[key])


@pytest.mark.parametrize("announced", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kept", [0, 9 * 15 * 9, 10**9])
def test_batches_are_those_of_memory_to_the_bit(
    fresh: Callable[..., FreshSlices], bank: SliceBank, announced: bool, kept: int, threads: int
) -> None:
    slices = fresh(kept_bytes=kept, threads=threads)
    for epoch in range(3):
        batches = epoch_batches(slices, 3, epoch, foreground=0.5)
        assert [batch.tolist() for batch in batches] == [
            batch.tolist() for batch in epoch_batches(bank, 3, epoch, foreground=0.5)
        ]
        if announced:
            slices.expect(batches)
        for indices in batches:
            assert_same(slices.batch(indices), bank.batch(indices))
            assert slices.bytes() <= max(kept, threads * 5 * 15 * 9)
    assert [one.tolist() for one in slices.scans()] == [one.tolist() for one in bank.scans()]


def test_what_fits_is_prepared_once(fresh: Callable[..., FreshSlices], bank: SliceBank, chain: Chain) -> None:
    slices = fresh(kept_bytes=10**9)
    for indices in [*epoch_batches(bank, 2, 0), *epoch_batches(bank, 2, 1)]:
        slices.batch(indices)
    assert set(chain.calls.values()) == {1}
    assert slices.bytes() == bank.bytes()


def test_without_memory_nothing_is_kept(fresh: Callable[..., FreshSlices], chain: Chain) -> None:
    slices = fresh(kept_bytes=0)
    for _ in range(3):
        slices.batch(np.array([0]))  # of the first case alone: its neighbours are its own
        slices.batch(np.array([9]))  # of the fifth
    assert chain.calls == Counter({"c0": 3, "c4": 3})
    assert slices.bytes() == 0


def test_a_batch_of_many_cases_holds_few_at_once(fresh: Callable[..., FreshSlices], chain: Chain) -> None:
    for kept, threads, most in ((0, 1, 5), (0, 2, 4 + 5), (8 * 15 * 9, 1, 8), (12 * 15 * 9, 1, 12)):
        slices = fresh(kept_bytes=kept, threads=threads)
        seen: list[int] = []
        prepared = slices._prepared

        def noting(number: int, *, seen: list[int] = seen, slices: Any = slices, prepared: Any = prepared) -> Any:
            seen.append(slices.bytes())
            return prepared(number)

        slices._prepared = noting  # type: ignore[method-assign]
        chain.calls.clear()
        slices.batch(np.array([0, 5, 9, 14]))  # of cases of 4, 3, 5 and 2 slices
        assert len(seen) == 4 and set(chain.calls.values()) == {1}
        assert max(seen) <= most * 15 * 9


def test_what_is_there_is_used_before_it_goes(fresh: Callable[..., FreshSlices], chain: Chain) -> None:
    slices = fresh(kept_bytes=5 * 15 * 9)
    slices.batch(np.array([9]))
    slices.batch(np.array([0, 5, 9]))
    assert chain.calls == Counter({"c0": 1, "c2": 1, "c4": 1})


def test_what_was_used_last_is_kept(fresh: Callable[..., FreshSlices], chain: Chain) -> None:
    slices = fresh(kept_bytes=12 * 15 * 9)  # cases of 4, 3 and 5 slices
    first = {number: np.array([index]) for number, index in ((0, 0), (2, 5), (4, 9), (5, 14))}
    for number in (0, 2, 4):
        slices.batch(first[number])
    slices.batch(first[0])
    assert chain.calls == Counter({"c0": 1, "c2": 1, "c4": 1})
    slices.batch(first[5])  # 4 + 3 + 5 + 2 slices are too many: the one that was not used for longest goes
    slices.batch(first[0])
    assert chain.calls["c0"] == 1
    slices.batch(first[2])
    assert chain.calls["c2"] == 2


def test_the_next_batches_are_begun_and_no_more(fresh: Callable[..., FreshSlices], chain: Chain) -> None:
    slices = fresh(kept_bytes=0, threads=4)
    batches = [np.array([index]) for index in (0, 5, 9, 14)]  # of cases 0, 2, 4 and 5
    slices.expect(batches)
    assert set(slices._held) == {0, 2}
    slices.batch(batches[0])
    assert set(slices._held) == {2, 4}, "the two that follow"
    slices.batch(batches[1])
    assert set(slices._held) == {4, 5}
    slices.batch(np.array([4]))  # something else in between, of case 1
    assert set(slices._held) >= {4, 5}
    for indices in batches[2:]:
        slices.batch(indices)
    assert (chain.calls["c0"], chain.calls["c2"], chain.calls["c4"], chain.calls["c5"]) == (1, 1, 1, 1)


def test_a_file_that_cannot_be_read_any_more_is_named(fresh: Callable[..., FreshSlices], chain: Chain) -> None:
    slices = fresh()
    chain.fault = ImageFileError("gone", where="images/c0.nii.gz")
    slices.expect([np.array([0])])
    with pytest.raises(ImageFileError, match="gone"):
        slices.batch(np.array([0]))


def test_a_file_of_another_size_is_named(fresh: Callable[..., FreshSlices], chain: Chain) -> None:
    slices = fresh()
    chain.taller = 1
    with pytest.raises(DataError, match="changed since the start") as fault:
        slices.batch(np.array([4]))
    assert Path(fault.value.where).name in {"c1.nii.gz", "c3.nii.gz"}


def test_a_file_that_changed_is_named_whatever_its_shape(
    fresh: Callable[..., FreshSlices], cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for case in cases:
        for path in (case.image, case.label):
            assert path is not None
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"one")
            os.utime(path, ns=(5, 5))
    first = fresh(kept_bytes=0)
    first.batch(np.array([0]))
    before = file_states(cases)
    os.utime(cases[0].image, ns=(5, 6))
    for label, content, time_ns in ((cases[2].label, b"two!", 5), (cases[4].label, b"two", 6)):
        assert label is not None
        label.write_bytes(content)
        os.utime(label, ns=(5, time_ns))
    cases[5].image.unlink()
    for slices in (fresh(states=before), first):
        for index, path in ((0, cases[0].image), (5, cases[2].label), (9, cases[4].label), (14, cases[5].image)):
            with pytest.raises(DataError, match="changed since the start") as fault:
                slices.batch(np.array([index]))
            assert fault.value.where == str(path)
    fresh().batch(np.array([0]))


@pytest.fixture
def stored(cases: list[Case], bank: SliceBank, chain: Chain, tmp_path: Path) -> StoredSlices:
    writer = StoreWriter(tmp_path)
    for number, case in enumerate(cases):
        sample = chain({"image": case.image})
        writer.add(sample["image"].numpy(), sample["label"].byte().numpy(), bank.present[bank.case == number])
    writer.finish({})
    return StoredSlices(cases, read_store(tmp_path, CLASSES), context=1)


def test_a_stores_batches_are_those_of_memory_to_the_bit(stored: StoredSlices, bank: SliceBank) -> None:
    assert np.array_equal(stored.present, bank.present)
    for indices in epoch_batches(bank, 3, 0):
        assert_same(stored.batch(indices), bank.batch(indices))
    assert stored.bytes() == bank.bytes()


def test_a_batch_of_a_store_is_a_copy(stored: StoredSlices) -> None:
    first = stored.batch(np.array([0, 1]))
    for tensor in first.values():
        tensor.zero_()
    assert stored.batch(np.array([0]))["image"].abs().sum() > 0


def test_batches_move_to_the_device_and_slices_stay(stored: StoredSlices, fresh: Callable[..., FreshSlices]) -> None:
    slices: HostSlices
    for slices in (stored, fresh()):
        assert slices.to(torch.device("meta")) is slices
        batch = slices.batch(np.array([0, 1]))
        assert {key: (tensor.device.type, tuple(tensor.shape)) for key, tensor in batch.items()} == {
            "image": ("meta", (2, 6, 3, 5)), "label": ("meta", (2, 1, 3, 5)),
        }  # fmt: skip


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_come_on_a_gpu(stored: StoredSlices, bank: SliceBank) -> None:
    stored.to(torch.device("cuda"))
    for indices in epoch_batches(bank, 3, 0):
        batch = stored.batch(indices)
        assert {tensor.device.type for tensor in batch.values()} == {"cuda"}
        assert_same({key: tensor.cpu() for key, tensor in batch.items()}, bank.batch(indices))
