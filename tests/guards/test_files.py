"""How often a run opens each file, prepares each sample, and writes each file: counts that no busy machine can move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.commands.dataset import open_dataset
from pipeline.commands.intake import Intake, take_in
from pipeline.commands.stages import network_for, predict_and_count, prepare, train
from pipeline.data.caching import known_facts
from pipeline.runs import RunLog
from transforms.chain import PrepareChain

CPU = torch.device("cpu")
PATIENTS = 6  # volumes of 5 slices, one a patient
SHAPE = (16, 12, 5)


@pytest.fixture
def tiny(tmp_path: Path, make_config: Callable[..., Any], write_nifti: Callable[..., Path]) -> Callable[..., Intake]:
    """A function that writes volumes, and takes them in with a config that keeps prepared slices somewhere."""
    rng = np.random.default_rng(0)
    for number in range(PATIENTS):
        mask = rng.integers(0, 3, SHAPE, dtype=np.uint8)
        for folder, array in (("images", (mask + rng.normal(0, 0.1, SHAPE)).astype(np.float32)), ("labels", mask)):
            write_nifti(tmp_path / folder / f"p{number}.nii.gz", array, (1.0, 1.0, 3.0))

    def taken(cache: str) -> Intake:
        data = {"images": "images", "labels": "labels", "cache": cache}
        splits = {"kind": "holdout", "validation": 0.17, "test": 0.34}
        config = make_config(data=data, splits=splits, training={"ema": 0.9})
        return take_in(open_dataset(config.path, ()))

    return taken


@pytest.fixture
def prepared_files(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """The names of the images that any prepare chain was called with."""
    counts: Counter[str] = Counter()
    original = PrepareChain.__call__

    def counted(self: PrepareChain, sample: Any) -> Any:
        counts[Path(str(sample["image"])).name] += 1
        return original(self, sample)

    monkeypatch.setattr(PrepareChain, "__call__", counted)
    return counts


def names(intake: Intake, side: str, *folders: str) -> Counter[str]:
    """Each file of a side, once."""
    return Counter(f"{folder}/{case.id}.nii.gz" for case in intake.split.sides()[side] for folder in folders)


def test_the_check_of_the_data_opens_every_file_once(
    tiny: Callable[..., Intake], tmp_path: Path, file_counts: Callable[..., Any]
) -> None:
    with file_counts(tmp_path) as counts:
        tiny("ram")
    opened = Counter({name: times for name, times in counts.opened.items() if name.endswith(".nii.gz")})
    once = Counter(f"{kind}/p{number}.nii.gz" for number in range(PATIENTS) for kind in ("images", "labels"))
    longest = sorted((tmp_path / "images").iterdir(), key=lambda path: -path.stat().st_size)[:3]
    assert opened - once == Counter(f"images/{path.name}" for path in longest), "whose headers tell the memory needed"
    assert not once - opened


@pytest.mark.parametrize("cache", ["ram", "disk", "none"])
def test_preparing_opens_and_prepares_each_case_once_and_tries_one(
    cache: str, tiny: Callable[..., Intake], tmp_path: Path, file_counts: Callable[..., Any],
    prepared_files: Counter[str],
) -> None:  # fmt: skip
    intake = tiny(cache)
    with file_counts(tmp_path) as counts:
        bank = prepare(intake, "train", intake.split.train)
    opened = Counter({name: times for name, times in counts.opened.items() if name.endswith(".nii.gz")})
    tried = opened - names(intake, "train", "images", "labels")
    assert len(bank) == SHAPE[2] * len(intake.split.train)
    assert len(tried) == tried.total() == 2, "one case, image and label, is tried for the memory that all will need"
    assert not names(intake, "train", "images", "labels") - opened
    assert prepared_files == Counter({name.removeprefix("images/"): times for name, times in opened.items()
                                      if name.startswith("images/")})  # fmt: skip


def test_a_second_start_opens_one_case_of_each_store(
    tiny: Callable[..., Intake], tmp_path: Path, file_counts: Callable[..., Any], prepared_files: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(known_facts, "_RACY_NS", 0)  # these files were written a moment ago
    intake = tiny("disk")
    prepare(intake, "train", intake.split.train)
    prepared_files.clear()
    with file_counts(tmp_path) as counts:
        again = tiny("disk")
        bank = prepare(again, "train", again.split.train)
        bank.batch(np.arange(4))
    opened = Counter({name: times for name, times in counts.opened.items() if name.endswith(".nii.gz")})
    # The first case of the side is prepared, to see that the store holds what the chain makes of it.
    of_side = again.split.train[0].id
    assert opened == Counter([f"images/{of_side}.nii.gz", f"labels/{of_side}.nii.gz"])
    assert prepared_files == {f"{of_side}.nii.gz": 1}


@pytest.mark.parametrize("epochs", [1, 3])
def test_training_from_memory_opens_no_file_and_prediction_each_one_once(
    epochs: int, tiny: Callable[..., Intake], tmp_path: Path, file_counts: Callable[..., Any],
    prepared_files: Counter[str],
) -> None:  # fmt: skip
    intake = tiny("ram")
    settings = intake.settings.training.model_copy(update={"epochs": epochs})
    object.__setattr__(intake.dataset.config.settings, "training", settings)
    folder = tmp_path / "run"
    for part in ("checkpoints", "predictions"):
        (folder / part).mkdir(parents=True)
    banks = {side: prepare(intake, side, intake.split.sides()[side]) for side in ("train", "validation")}
    network, log = network_for(intake.dataset, CPU), RunLog(folder / "log.txt")
    prepared_files.clear()
    with file_counts(tmp_path) as counts:
        state = train(intake, network, banks, folder, CPU, log, resume=False)
    assert len(state.history) == epochs
    assert not [name for name in counts.opened if name.endswith(".nii.gz")]
    assert not prepared_files
    assert counts.renamed["run/checkpoints/last.next.pt"] == counts.renamed["run/checkpoints/last.pt"] == epochs

    with file_counts(tmp_path) as counts:
        predict_and_count(intake, network, CPU, folder / "predictions", log.say)
    opened = Counter({name: times for name, times in counts.opened.items() if not name.startswith("run/")})
    headers = names(intake, "test", "images")  # read again for the mask's header
    assert not opened - names(intake, "test", "images", "labels") - headers - headers
    assert not names(intake, "test", "images", "labels") - opened
    assert set(prepared_files.values()) == {1} and len(prepared_files) == len(intake.split.test)
    assert counts.renamed == {f"run/predictions/{case.id}.nii.gz": 1 for case in intake.split.test}


def test_checkpoints_and_masks_hold_what_they_must_and_little_else(tiny: Callable[..., Intake], tmp_path: Path) -> None:
    intake = tiny("ram")
    folder = tmp_path / "run"
    for part in ("checkpoints", "predictions"):
        (folder / part).mkdir(parents=True)
    banks = {side: prepare(intake, side, intake.split.sides()[side]) for side in ("train", "validation")}
    network, log = network_for(intake.dataset, CPU), RunLog(folder / "log.txt")
    train(intake, network, banks, folder, CPU, log, resume=False)
    predict_and_count(intake, network, CPU, folder / "predictions", log.say)

    weights = sum(value.nbytes for value in network.state_dict().values())
    learnt = sum(value.nbytes for value in network.parameters())
    tensors = len(network.state_dict())
    sizes = {path.name: path.stat().st_size for path in (folder / "checkpoints").iterdir()}
    entry = 600  # bytes that PyTorch's archive takes for a tensor beside its numbers: names, alignment, checksum
    assert weights <= sizes["best.pt"] <= weights + entry * tensors + 4_000
    # The network, its average and the best one; two moments and a counter of the optimizer for what is learnt.
    wanted = 3 * weights + 2 * learnt
    assert wanted <= sizes["last.pt"] <= wanted + entry * 6 * tensors + 20_000
    for path in (folder / "predictions").iterdir():
        assert path.stat().st_size <= np.prod(SHAPE) + 500, "a byte a voxel, before it is packed"
