"""ram, disk and none give the same batches; a store is found again by all that it follows from."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from pipeline import memory
from pipeline.data.caching import caches, prepared
from pipeline.data.caching.caches import check_memory, needed_bytes, prepared_slices, store_content
from pipeline.data.caching.demand import working_bytes
from pipeline.data.caching.elsewhere import FreshSlices
from pipeline.data.caching.prepared import Preparation
from pipeline.data.caching.slices import Slices, epoch_batches
from pipeline.data.caching.store import read_store
from pipeline.data.cases import Case
from pipeline.data.inspection import inspect_cases
from pipeline.data.reading import read_options
from pipeline.errors import DataError, Faults, ImageFileError, RunError
from transforms.chain import PrepareChain

LOAD = [
    {"_target_": "LoadImaged", "keys": ["image", "label"]},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
]
NORMALIZE = {"_target_": "NormalizeIntensityd", "keys": "image"}
CROP = {"_target_": "CenterSpatialCropd", "keys": ["image", "label"], "roi_size": [4, 4]}
PAD = {"_target_": "SpatialPadd", "keys": ["image", "label"], "spatial_size": [20, 10]}
TENSOR = {"_target_": "ToTensord", "keys": ["image", "label"]}
WAYS = ("ram", "disk", "none")


class Project:
    """Two volumes and four 2D slices of two sizes, and a config."""

    def __init__(self, folder: Path, write: Callable[..., Path], make_config: Callable[..., Any]) -> None:
        self.folder, self.write, self.make_config = folder, write, make_config
        generator = np.random.default_rng(0)
        shapes = {"p1": (6, 5, 3), "p2": (6, 5, 2), "p3_1": (6, 5), "p3_2": (7, 4), "p4_1": (6, 5), "p4_2": (6, 5)}
        self.cases = []
        for name, shape in shapes.items():
            label = generator.integers(0, 3, shape)
            self.write(folder / "images" / f"{name}.nii.gz", generator.normal(size=shape), (1, 1, 3), np.float32)
            self.write(folder / "labels" / f"{name}.nii.gz", label, (1, 1, 3), np.uint8)
            number = int(name[3:]) if "_" in name else None
            files = [folder / kind / f"{name}.nii.gz" for kind in ("images", "labels")]
            self.cases.append(Case(name, files[0], files[1], name[:2], name[:2], number))
        self.said: list[str] = []
        self.done: list[int] = []

    def config(self, cache: str = "disk", chain: Any = (*LOAD, NORMALIZE, TENSOR), **data: Any) -> Any:
        return self.make_config(data={"cache": cache, **data}, transforms={"prepare": list(chain)})

    def job(self, config: Any, cases: list[Case] | None = None) -> Preparation:
        chosen = self.cases if cases is None else cases
        options = read_options(config)
        facts = {fact.case: fact for fact in inspect_cases(config, chosen)}
        chain = PrepareChain(config.settings.transforms.prepare, options)
        return Preparation(chain, tuple(chosen), facts, options, 3, config.settings.data.context)

    def open(self, config: Any, cases: list[Case] | None = None) -> Slices:
        job = self.job(config, cases)
        return prepared_slices(config, [job], lambda: self.done.append(1), self.said.append)

    def stores(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "cache" / "slices").iterdir() if path.is_dir())


@pytest.fixture
def project(tmp_path: Path, write_nifti: Callable[..., Path], make_config: Callable[..., Any]) -> Project:
    return Project(tmp_path, write_nifti, make_config)


@pytest.mark.parametrize("context", [0, 1])
def test_all_ways_give_the_same_batches(project: Project, context: int) -> None:
    banks = {way: project.open(project.config(way, context=context)) for way in WAYS}
    assert len(project.done) == 3 * len(project.cases)
    ram = banks["ram"]
    assert (len(ram), ram.sizes) == (3 + 2 + 4, [(6, 5), (7, 4)])
    for bank in banks.values():
        assert np.array_equal(bank.present, ram.present)
        for epoch in range(2):
            batches = epoch_batches(ram, 2, epoch, foreground=0.3)
            own = epoch_batches(bank, 2, epoch, foreground=0.3)
            assert [one.tolist() for one in own] == [one.tolist() for one in batches]
            bank.expect(own)
            for indices in own:
                batch, expected = bank.batch(indices), ram.batch(indices)
                assert all(torch.equal(batch[key], expected[key]) for key in expected)


def test_the_second_start_prepares_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    config = project.config()
    first = project.open(config)
    assert len(project.done) == len(project.cases)
    monkeypatch.setattr(caches, "prepare_each", lambda *a: pytest.fail("prepared again"))
    monkeypatch.setattr(caches, "needed_bytes", lambda *a: pytest.fail("a case was tried"))
    again = project.open(config)
    for indices in epoch_batches(first, 2, 0):
        assert torch.equal(first.batch(indices)["image"], again.batch(indices)["image"])
    assert len(project.done) == len(project.cases)


def test_the_folder_and_its_size_are_told(project: Project) -> None:
    config = project.config(cache_folder="elsewhere")
    for _ in range(2):
        project.open(config)
    size = sum(path.stat().st_size for path in (project.folder / "elsewhere").rglob("*") if path.is_file())
    assert len(project.said) == 2
    for line in project.said:
        assert str(project.folder / "elsewhere") in line and f"{size / 1e3:.0f} kB" in line and "deleted" in line


def test_neighbours_share_a_store(project: Project) -> None:
    wide = project.open(project.config(context=1))
    narrow = project.open(project.config(context=0))
    assert len(project.stores()) == 1
    assert [bank.batch(np.array([0]))["image"].shape[1] for bank in (wide, narrow)] == [3, 1]


def test_whatever_changes_the_slices_makes_another_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(config: Any = None, job: Preparation | None = None) -> str:
        config = config or project.config()
        return caches.digest_of(store_content(config, job or project.job(config)))

    first = key()
    assert key() == first
    job = project.job(project.config())
    fact = job.facts["p1"]
    found = {first, key(project.config(chain=(*LOAD, TENSOR))), key(project.config(max_voxels=1000))}
    found |= {key(job=replace(job, cases=job.cases[:-1])), key(job=replace(job, cases=job.cases[::-1]))}
    cases: list[dict[str, Any]] = [{"id": "q"}, {"patient": "q"}, {"scan": "q"}, {"slice": 9}]
    for change in cases:
        other = replace(job.cases[0], **change)
        facts = {**job.facts, other.id: fact}
        found.add(key(job=replace(job, cases=(other, *job.cases[1:]), facts=facts)))
    files: list[dict[str, Any]] = [
        {"digest": b"x"}, {"label_digest": b"x"}, {"spacing_mm": (2.0, 1.0, 3.0)}, {"axis": 1}, {"orientation": "LPS"}
    ]  # fmt: skip
    for change in files:
        found.add(key(job=replace(job, facts={**job.facts, "p1": replace(fact, **change)})))
    for name, value in (("FORMAT", 99), ("versions", lambda: {"torch": "0"}), ("sources_digest", lambda *a: "other"),
                        ("foreign_sources", lambda steps: {"plugin": "other"})):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(caches, name, value)
            found.add(key())
    assert len(found) == 5 + 4 + 5 + 4
    # What does not change them: where the files lie, what else is known of them, neighbours.
    moved = replace(job.cases[0], image=Path("/other/p1.nii.gz"), split="train")
    same = replace(job, cases=(moved, *job.cases[1:]), facts={**job.facts, "p1": replace(fact, mean=9.0)}, context=2)
    assert key(job=same) == first


def test_a_changed_file_makes_another_store(project: Project) -> None:
    before = project.open(project.config()).batch(np.array([0]))["image"]
    project.write(project.cases[0].image, np.random.default_rng(5).normal(size=(6, 5, 3)), (1, 1, 3), np.float32)
    after = project.open(project.config()).batch(np.array([0]))["image"]
    assert not torch.equal(before, after)
    assert len(project.stores()) == 2


@pytest.mark.parametrize("way", WAYS)
def test_cut_off_labels_are_refused_and_leave_no_store(project: Project, way: str) -> None:
    with pytest.raises(Faults, match="cuts off") as faults:
        project.open(project.config(way, chain=(*LOAD, CROP, TENSOR)))
    assert len(faults.value.faults) == len(project.cases)
    if way == "disk":
        assert project.stores() == []


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_file_is_named_and_leaves_no_store(project: Project, way: str) -> None:
    config = project.config(way)
    job = project.job(config)
    damaged = project.cases[4].image
    damaged.write_bytes(damaged.read_bytes()[:-12])
    with pytest.raises(ImageFileError) as fault:
        prepared_slices(config, [job])
    assert fault.value.where == str(damaged)
    if way == "disk":
        assert project.stores() == []


@pytest.mark.parametrize("way", ["disk", "none"])
def test_labels_that_are_no_classes_are_refused(project: Project, way: str) -> None:
    config = project.config(way)
    with pytest.raises(DataError, match="classes are 0 to 1"):
        prepared_slices(config, [replace(project.job(config), classes=2)])


def test_the_bytes_that_are_needed_are_those_that_are_taken(project: Project) -> None:
    config = project.config("ram")
    needed = needed_bytes(project.job(config))
    assert needed == project.open(config).bytes() == (8 * 30 + 1 * 28) * 5


def test_too_little_memory_is_refused_before_anything_is_prepared(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = needed_bytes(project.job(project.config("ram")))
    monkeypatch.setattr(caches, "available_bytes", lambda: needed - 1)
    with monkeypatch.context() as patch, pytest.raises(RunError) as fault:
        patch.setattr(caches, "prepare_cases", lambda *a: pytest.fail("prepared"))
        project.open(project.config("ram"))
    assert f"({needed} bytes)" in fault.value.what and f"({needed - 1} bytes)" in fault.value.what
    assert "--set data.cache=disk" in fault.value.remedy
    for free in (needed, None):
        monkeypatch.setattr(caches, "available_bytes", lambda free=free: free)
        assert len(project.open(project.config("ram"))) == 9
    monkeypatch.setattr(caches, "available_bytes", lambda: 0)
    assert len(project.open(project.config("disk"))) == 9


def test_several_processes_need_the_memory_several_times(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    config = project.config("ram")
    job = replace(project.job(config), processes=3)
    needed = needed_bytes(job)
    monkeypatch.setattr(caches, "available_bytes", lambda: 3 * needed - 1)
    with pytest.raises(RunError, match=rf"\({needed} bytes\) of memory in each of 3 processes"):
        check_memory(config, [job])
    with pytest.raises(RunError, match="of 6 cases in 2 views need"):
        check_memory(config, [job, job])
    monkeypatch.setattr(caches, "available_bytes", lambda: 3 * needed)
    check_memory(config, [job])
    # It is looked at before any of them begins; the last of them finds what the others have left.
    monkeypatch.setattr(caches, "available_bytes", lambda: 0)
    assert len(prepared_slices(config, [job])) == 9


def test_only_a_few_samples_are_held_while_a_store_is_built(project: Project) -> None:
    begun: list[str] = []

    class Counting(PrepareChain):
        def __call__(self, sample: Any) -> dict[str, Any]:
            begun.append(sample["image"])
            return super().__call__(sample)

    config = project.config()
    chain = Counting(config.settings.transforms.prepare, read_options(config))
    samples = prepared.prepare_in_order(chain, [project.cases[0]] * 30, threads=2)
    for number in range(30):
        next(samples)
        assert len(begun) <= number + 1 + 4
    assert len(begun) == 30


def test_samples_come_in_order_and_stopping_stops_the_threads(project: Project) -> None:
    config = project.config()
    chain = PrepareChain(config.settings.transforms.prepare, read_options(config))
    found = [tuple(sample["image"].shape[-2:]) for sample in prepared.prepare_in_order(chain, project.cases, threads=3)]
    assert found == [(6, 5), (6, 5), (6, 5), (7, 4), (6, 5), (6, 5)]
    samples = prepared.prepare_in_order(chain, project.cases * 20, threads=3)
    next(samples)
    before = threading.active_count()
    samples.close()
    assert threading.active_count() < before


@pytest.mark.parametrize(
    ("way", "reserved", "most"), [("ram", (8 * 30 + 1 * 28) * 5, 32), ("disk", 0, 16), ("none", 0, 16)]
)
def test_threads_are_as_many_as_memory_allows(
    project: Project, monkeypatch: pytest.MonkeyPatch, way: str, reserved: int, most: int
) -> None:
    used: list[int] = []
    for name, real in (("prepare_cases", prepared.prepare_cases), ("prepare_each", prepared.prepare_each)):

        def noting(*given: Any, real: Any = real) -> Any:
            used.append(given[3])
            return real(*given)

        monkeypatch.setattr(caches, name, noting)
    monkeypatch.setattr(memory.os, "cpu_count", lambda: 32)
    monkeypatch.setattr(caches, "available_bytes", lambda: None)
    largest = 3 * 30 * 20  # p1 has three slices of 6 x 5
    frees = [10**9, reserved + 5 * largest, reserved + 5 * largest - 1, 0]
    for free in frees:
        monkeypatch.setattr(memory, "available_bytes", lambda free=free: free)
        bank = project.open(project.config(way, cache_folder=f"cache{free}"))
        if isinstance(bank, FreshSlices):
            assert bank._threads == used[-1]
    assert used == [most, 5, 4, 1]


def test_a_chain_that_enlarges_takes_more(project: Project) -> None:
    job = project.job(project.config("ram", chain=(*LOAD, PAD, TENSOR)))
    facts = [job.facts[case.id] for case in job.cases]
    assert working_bytes(facts, job.shape_of) == 3 * 20 * 10 * 20


PLUGIN = """
from monai.transforms import MapTransform
import {helper}

class Scaled(MapTransform):
    def __init__(self, keys, allow_missing_keys=False):
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data):
        return {{**data, **{{key: {helper}.scaled(data[key]) for key in self.key_iterator(data)}}}}
"""


class Lab:
    """A project whose plugin imports a module that is not listed anywhere."""

    def __init__(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        self.project = project
        self.name = f"lab_{project.folder.name}".replace("-", "_")
        self.module = ModuleType(self.name)
        monkeypatch.setitem(sys.modules, self.name, self.module)
        (project.folder / "mine.py").write_text(PLUGIN.format(helper=self.name))
        self.keys = ["image"]

    def open(self, scaled: Callable[[Any], Any]) -> Slices:
        """Open the store with a helper that does something to an image."""
        self.module.__dict__["scaled"] = scaled
        self.project.said.clear()
        self.project.done.clear()
        step = {"_target_": "mine.Scaled", "keys": self.keys}
        config = self.project.make_config(
            plugins=["mine.py"], data={"cache": "disk"}, transforms={"prepare": [*LOAD, step, TENSOR]}
        )
        return self.project.open(config)

    @property
    def outdated(self) -> bool:
        return any("outdated" in line for line in self.project.said)


@pytest.fixture
def lab(project: Project, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(project, monkeypatch)


def test_a_store_is_built_again_when_what_a_plugin_imports_has_changed(lab: Lab) -> None:
    first = lab.open(lambda voxels: voxels * 1.0)
    before = first.batch(np.array([0]))["image"]
    second = lab.open(lambda voxels: voxels * 3.0)
    assert lab.outdated and str(lab.project.cases[0].image) in " ".join(lab.project.said)
    assert len(lab.project.done) == 6 and len(lab.project.stores()) == 1
    assert torch.equal(second.batch(np.array([0]))["image"], before * 3)
    assert torch.equal(first.batch(np.array([0]))["image"], before), "who has the old one open keeps it"
    lab.open(lambda voxels: voxels * 3.0)
    assert not lab.outdated and lab.project.done == []


def test_a_label_that_changes_in_one_voxel_is_noticed(lab: Lab) -> None:
    def spoilt(voxels: Any) -> Any:
        found = voxels.clone()
        found.flatten()[5] = (int(found.flatten()[5]) + 1) % 3
        return found

    lab.keys = ["label"]
    lab.open(lambda voxels: voxels)
    lab.open(spoilt)
    assert lab.outdated


def test_rounding_is_no_change_and_a_little_more_is(lab: Lab) -> None:
    lab.open(lambda voxels: voxels)
    lab.open(lambda voxels: voxels * (1 + 3e-6))
    assert not lab.outdated and lab.project.done == []
    lab.open(lambda voxels: voxels * (1 + 3e-5))
    assert lab.outdated


def test_another_size_is_noticed(lab: Lab) -> None:
    lab.keys = ["image", "label"]
    lab.open(lambda voxels: voxels)
    lab.open(lambda voxels: voxels[:, :-1])
    assert lab.outdated


def test_each_case_is_the_one_that_is_looked_at_by_some_key(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    config = project.config()
    job = project.job(config)
    bank = project.open(config)
    (name,) = project.stores()
    store = read_store(project.folder / "cache" / "slices" / name, 3)
    ram = project.open(project.config("ram"))
    for number in range(6):
        image, label = store.case(number)
        slices = np.flatnonzero(bank.case == number)
        expected = ram.batch(slices)
        assert np.array_equal(image, expected["image"].numpy()) and np.array_equal(label, expected["label"][:, 0])
    looked: list[str] = []
    sample_of = caches.sample_of

    def noting(case: Case) -> Any:
        looked.append(case.id)
        return sample_of(case)

    monkeypatch.setattr(caches, "sample_of", noting)
    for foreign, expected_ids in (({}, ["p1"]), ({"mine": "x"}, ["p1", "p3_2"])):
        monkeypatch.setattr(caches, "foreign_sources", lambda steps, foreign=foreign: foreign)
        assert caches._outdated(store, job, 6 * 7 + 3) == ""
        assert looked == expected_ids
        looked.clear()


def test_nothing_kept_is_said(project: Project) -> None:
    project.open(project.config("none"))
    assert len(project.said) == 1 and "data.cache is none" in project.said[0]
    assert not (project.folder / "cache").exists()
