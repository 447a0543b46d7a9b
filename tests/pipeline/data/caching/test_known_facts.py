"""Facts that are remembered are those that were read, of files that have not changed since."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pipeline.data.caching import known_facts
from pipeline.data.caching.known_facts import facts_key, files_seen, is_racy, load_facts, take_facts
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts
from pipeline.errors import DataError, Faults


def alike(one: CaseFacts, other: CaseFacts) -> bool:
    def same(a: Any, b: Any) -> bool:
        if isinstance(a, np.ndarray):
            return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
        return type(a) is type(b) and a == b

    return all(same(getattr(one, field.name), getattr(other, field.name)) for field in fields(CaseFacts))


numbers = st.floats(allow_nan=False, width=64)
known_cases = st.builds(
    CaseFacts,
    case=st.text(max_size=5),
    shape=st.lists(st.integers(1, 999), min_size=2, max_size=3).map(tuple),
    spacing_mm=st.lists(numbers, min_size=2, max_size=3).map(tuple),
    orientation=st.sampled_from(["", "RAS", "LPI"]),
    axis=st.integers(-1, 2),
    slices=st.integers(1, 9),
    low=numbers,
    high=numbers,
    mean=numbers,
    voxels=arrays(np.int64, st.integers(1, 4)),
    slices_with=arrays(np.int64, st.integers(1, 4)),
    parts=arrays(np.int64, st.integers(1, 4)),
    digest=st.binary(max_size=16),
    label_digest=st.binary(max_size=16),
    thumbnail=arrays(st.sampled_from([np.float32, np.uint8]), array_shapes(min_dims=1, max_dims=3, min_side=0)).filter(
        lambda array: not np.isnan(array).any()
    ),
    zeroed=st.integers(0, 5),
)
keys = st.lists(st.text(max_size=20), min_size=1, max_size=3).map(tuple)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=st.dictionaries(keys, known_cases, max_size=4))
def test_facts_come_back_as_they_were(tmp_path: Path, known: dict[Any, CaseFacts]) -> None:
    path = tmp_path / "facts" / "k.bin"
    known_facts._remember(path, known, pytest.fail)
    found = load_facts(path, pytest.fail)
    assert list(found) == list(known)
    assert all(alike(found[key], known[key]) for key in known)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_memory_is_said_and_not_believed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "k.bin"
    known_facts._remember(path, {("a", "file"): BASE}, pytest.fail)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path.write_bytes(content)
    said: list[str] = []
    assert load_facts(path, said.append) == {}
    assert len(said) == 1 and str(path) in said[0]


NOTHING = np.zeros(2)
BASE = CaseFacts("a", (1, 1), (1.0, 1.0), "", -1, 1, 0.0, 1.0, 0.5, NOTHING, NOTHING, NOTHING, b"1", b"2", np.zeros(3))


@pytest.mark.parametrize(
    ("content", "change"),
    [(1_000_000_000_000, 0), (0, 1_000_000_000_000), (995_000_000_000, 997_999_999_999)],
)
def test_times_tell_when_they_are_two_seconds_old(content: int, change: int) -> None:
    seen = ("a", f"5 {content} {change} 7 /with a space/x.nii", "5 1 1 8 /y.nii")
    newest = max(content, change)
    assert is_racy(seen, newest + 1_999_999_999)
    assert not is_racy(seen, newest + 2_000_000_001)
    assert is_racy(("a", "5 1 1 8 /y.nii", seen[1]), newest - 1)
    assert is_racy((), 10**18), "files that were not there are not remembered"


class Dataset:
    """Three 2D cases on disk, written long ago, and a record of what is read of them."""

    def __init__(self, folder: Path, write: Callable[..., Path], make_config: Callable[..., Any]) -> None:
        self.folder, self.write, self.make_config = folder, write, make_config
        self.cases = [self.case(f"p{number}_a", number) for number in range(4)]
        self.said: list[str] = []

    def case(self, name: str, value: float) -> Case:
        image = self.write(self.folder / "images" / f"{name}.nii.gz", np.full((3, 4), value), dtype=np.float32)
        label = self.write(self.folder / "labels" / f"{name}.nii.gz", np.eye(3, 4), dtype=np.uint8)
        return Case(name, image, label, name[:2], name)

    def take(self, cases: list[Case] | None = None, **data: Any) -> tuple[CaseFacts, ...]:
        config = self.make_config(data={"cache": "disk", **data})
        return take_facts(config, self.cases if cases is None else cases, say=self.said.append)


@pytest.fixture
def dataset(tmp_path: Path, write_nifti: Callable[..., Path], make_config: Callable[..., Any]) -> Dataset:
    return Dataset(tmp_path, write_nifti, make_config)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the cases that are read, and a clock that is ten seconds ahead."""
    ids: list[str] = []
    examine, now = known_facts.examine_cases, time.time_ns

    def noting(config: Any, cases: Any, progress: Any = lambda: None, known: Any = ()) -> Any:
        ids.extend(case.id for case in cases)
        return examine(config, cases, progress, known)

    monkeypatch.setattr(known_facts, "examine_cases", noting)
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10_000_000_000)
    return ids


def taken(read: list[str]) -> list[str]:
    found = list(read)
    read.clear()
    return found


def test_only_files_that_changed_are_read_again(dataset: Dataset, read: list[str]) -> None:
    first = dataset.take()
    assert taken(read) == [case.id for case in dataset.cases]
    again = dataset.take()
    assert taken(read) == []
    assert all(alike(*pair) for pair in zip(first, again, strict=True))

    dataset.case("p2_a", 50)
    changed = dataset.take()
    assert taken(read) == ["p2_a"]
    assert [fact.high for fact in changed] == [0, 1, 50, 3]
    dataset.take()
    assert taken(read) == []

    os.utime(dataset.cases[1].label, ns=(5, 5))  # type: ignore[arg-type]
    dataset.take()
    assert taken(read) == ["p1_a"], "the label counts"
    assert dataset.said == []


def test_a_change_that_keeps_size_and_time_is_noticed(dataset: Dataset, read: list[str]) -> None:
    dataset.take()
    image = dataset.cases[3].image
    before = image.stat()
    content = bytearray(image.read_bytes())
    content[4] ^= 1  # of gzip's own time, which nobody reads
    image.write_bytes(content)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    taken(read)
    dataset.take()
    assert taken(read) == ["p3_a"]


def test_what_was_just_written_is_not_remembered(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.take()
    (path,) = (dataset.folder / "cache" / "facts").iterdir()
    assert load_facts(path) == {}


@pytest.mark.parametrize("other", [{"classes": ["x", "y"]}, {"affine_tolerance": 0.5}, {"nonfinite": "zero"},
                                   {"label_map": {"1": 2}}])  # fmt: skip
def test_other_checks_read_anew(dataset: Dataset, read: list[str], other: dict[str, Any]) -> None:
    dataset.take()
    taken(read)
    dataset.take(**other)
    assert len(taken(read)) == 4
    dataset.take()
    assert taken(read) == [], "the first are still known"


def test_what_changes_no_fact_changes_no_key(dataset: Dataset) -> None:
    key = facts_key(dataset.make_config(), dataset.cases)
    same = {"cache": "disk", "cache_folder": "x", "context": 2, "fold": 3}
    assert facts_key(dataset.make_config(data=same), dataset.cases) == key
    assert facts_key(dataset.make_config(data={"patient": "^(.+)$"}), dataset.cases) != key


def test_other_code_or_libraries_read_anew(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    key = facts_key(dataset.make_config(), dataset.cases)
    # One digest a folder: each of the two must count.
    for folder in ("transforms", "pipeline/data"):
        with monkeypatch.context() as patch:
            digests = {"transforms": "1", "pipeline/data": "1"}
            patch.setattr(
                known_facts, "sources_digest", lambda *folders, known=digests: [known[one] for one in folders]
            )
            before = facts_key(dataset.make_config(), dataset.cases)
            digests[folder] = "2"
            assert len({key, before, facts_key(dataset.make_config(), dataset.cases)}) == 3
    with monkeypatch.context() as patch:
        patch.setattr(known_facts, "versions", lambda: {"numpy": "0"})
        assert facts_key(dataset.make_config(), dataset.cases) != key
    with monkeypatch.context() as patch:
        patch.setattr(known_facts, "FORMAT", 99)
        assert facts_key(dataset.make_config(), dataset.cases) != key
    channels = [replace(case, channels_in_file=2) for case in dataset.cases]
    assert facts_key(dataset.make_config(), channels) != key
    assert facts_key(dataset.make_config(), dataset.cases) == key


def test_other_cases_are_kept_in_mind_and_old_states_are_not(dataset: Dataset, read: list[str]) -> None:
    dataset.take(dataset.cases[:2])
    dataset.take(dataset.cases[2:])
    taken(read)
    dataset.take()
    assert taken(read) == []
    for value in (7, 8, 9):
        dataset.case("p1_a", value)
        dataset.take()
    (path,) = (dataset.folder / "cache" / "facts").iterdir()
    assert sorted(seen[0] for seen in load_facts(path)) == [case.id for case in dataset.cases]


def test_what_is_wrong_is_told_again_and_what_is_right_remembered(dataset: Dataset, read: list[str]) -> None:
    dataset.cases[1].image.write_bytes(b"")
    dataset.cases[3].image.unlink()
    for expected in (4, 2):
        with pytest.raises(Faults) as faults:
            dataset.take()
        assert [Path(fault.where).name for fault in faults.value.faults] == ["p1_a.nii.gz", "p3_a.nii.gz"]
        assert len(taken(read)) == expected


def test_checks_of_all_cases_together_are_made_of_remembered_ones_too(
    dataset: Dataset, read: list[str], write_nifti: Callable[..., Path]
) -> None:
    def volume(name: str, spacing: tuple[float, float, float]) -> Case:
        image = write_nifti(dataset.folder / "images" / f"{name}.nii", np.ones((3, 4, 5)), spacing, np.float32)
        label = write_nifti(dataset.folder / "labels" / f"{name}.nii", np.ones((3, 4, 5)), spacing, np.uint8)
        return Case(name, image, label, name, name)

    one, other = volume("p7", (3, 1, 1)), volume("p8", (1, 1, 3))
    dataset.take([one])
    dataset.take([other])
    with pytest.raises(DataError, match=r"p7.*p8|p8.*p7"):
        dataset.take([one, other])


def test_nothing_is_remembered_where_nothing_is_kept_on_disk(dataset: Dataset, read: list[str]) -> None:
    for cache in ("ram", "none"):
        for _ in range(2):
            dataset.take(cache=cache)
            assert len(taken(read)) == 4
    assert not (dataset.folder / "cache").exists()


def test_a_memory_that_cannot_be_written_is_said(dataset: Dataset, read: list[str]) -> None:
    (dataset.folder / "cache").write_text("a file")
    assert len(dataset.take()) == 4
    assert any("not remembered" in line for line in dataset.said)


def test_every_case_counts_as_progress(dataset: Dataset, read: list[str]) -> None:
    done: list[int] = []
    for expected in (4, 8):
        take_facts(dataset.make_config(data={"cache": "disk"}), dataset.cases, lambda: done.append(1))
        assert len(done) == expected


def test_files_are_known_by_their_absolute_paths(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    case = dataset.cases[0]
    assert case.label is not None
    monkeypatch.chdir(dataset.folder)
    relative = replace(case, image=case.image.relative_to(dataset.folder), label=case.label.relative_to(dataset.folder))
    assert files_seen(relative) == files_seen(case)
    status = case.image.stat()
    expected = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino} {case.image}"
    assert files_seen(case)[:2] == ("p0_a", expected)
    assert len(files_seen(replace(case, further=(case.label,)))) == 4
    assert files_seen(replace(case, label=Path("gone.nii"))) == ()
    json.dumps(files_seen(case))
