"""Starting again on prepared slices: this project's store against MONAI's PersistentDataset, chain and files alike."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.data import PersistentDataset
from monai.transforms import Compose

from benchmarks.frame import Setting, Table
from benchmarks.turns import table, take_turns
from pipeline.config.load import Config, load_config
from pipeline.data.caching.caches import prepared_slices
from pipeline.data.caching.known_facts import take_facts
from pipeline.data.caching.prepared import Preparation, sample_of
from pipeline.data.caching.slices import Slices, epoch_batches
from pipeline.data.inspection import read_options
from pipeline.data.layouts import find_cases
from pipeline.data.phantom.writing import PhantomSpec, write_phantom
from transforms.chain import PrepareChain, build_transform

_SCANS = 6
_CHAIN: list[dict[str, Any]] = [
    {"_target_": "LoadImaged", "keys": ["image", "label"], "image_only": True},
    {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
    {"_target_": "NormalizeIntensityd", "keys": "image"},
    {"_target_": "ToTensord", "keys": ["image", "label"]},
]


def tables(setting: Setting, limits: dict[str, Any]) -> list[Table | str]:
    """Measure; the table."""
    return [run(setting.rounds, setting.sized(_SCANS, 1), setting.sized(60, 10))]


def run(rounds: int, scans: int = _SCANS, slices: int = 60) -> str:
    """Measure; returns the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantom(folder / "data", PhantomSpec(train=scans, validate=1, test=1, weeks=1, slices=slices))
        config = _config(folder)
        cases = find_cases(config)
        peers = _PersistentStart(folder / "monai", [sample_of(case) for case in cases])
        _same(_start(config, "cache"), peers.all(), len(cases))
        fresh = (f"cache-{number}" for number in count())
        ways = {
            "ours, again, to the first batch": lambda: _first(_start(config, "cache")),
            "ours, again, every slice": lambda: _every(_start(config, "cache")),
            "MONAI PersistentDataset, again": lambda: peers.all(),
            "ours, files checked, store built": lambda: _first(_start(config, next(fresh))),
        }
        seconds = take_turns(ways, rounds, len(cases))
    title = f"cache: {len(cases)} slices of 256 x 128 and their masks, from files that were prepared before"
    return table(title, seconds, "slices", "ours, again, every slice")


def _config(folder: Path) -> Config:
    values = {
        "name": "benchmark",
        "data": {
            "layout": "hipmri", "root": "data", "cache": "disk",
            "classes": ["background", "body", "bone", "bladder", "rectum", "prostate"],
        },
        "transforms": {"prepare": _CHAIN},
        "network": {"_target_": "UNet"},
        "loss": {"_target_": "DiceCELoss", "softmax": True, "to_onehot_y": True},
    }  # fmt: skip
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_config(path, (), {})


def _start(config: Config, cache: str) -> Slices:
    """From the folders to slices that can be drawn from, as a run does it."""
    own = load_config(config.path, (f"data.cache_folder={cache}",), {})
    cases, options, data = tuple(find_cases(own)), read_options(own), own.settings.data
    facts = {fact.case: fact for fact in take_facts(own, cases)}
    chain = PrepareChain(own.settings.transforms.prepare, options)
    return prepared_slices(own, [Preparation(chain, cases, facts, options, len(data.classes), data.context)])


def _first(bank: Slices) -> torch.Tensor:
    return bank.batch(epoch_batches(bank, 16, 0)[0])["image"]


def _every(bank: Slices) -> list[dict[str, torch.Tensor]]:
    return [bank.batch(indices) for indices in epoch_batches(bank, 16, 0)]


class _PersistentStart:
    """MONAI's dataset over the same files, its cache filled."""

    def __init__(self, folder: Path, samples: list[dict[str, Any]]) -> None:
        self.folder, self.samples = folder, samples
        self.all()

    def all(self) -> list[dict[str, torch.Tensor]]:
        dataset = PersistentDataset(self.samples, Compose([build_transform(entry) for entry in _CHAIN]), self.folder)
        return [dataset[number] for number in range(len(dataset))]


def _same(bank: Slices, peers: list[dict[str, torch.Tensor]], slices: int) -> None:
    for index in range(slices):
        own = bank.batch(bank.case[index : index + 1])
        assert torch.equal(own["image"][0, 0], peers[index]["image"].squeeze())
        assert torch.equal(own["label"][0, 0].float(), peers[index]["label"].squeeze())
