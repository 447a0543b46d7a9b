"""How often slices pass through the network when they are predicted: once each, and once more for each mirror image."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.cases import Case
from pipeline.inference.scans import ScanPredictor
from pipeline.networks.apply import Window
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions

CHAIN = [{"_target_": "LoadImaged", "keys": ["image"]}, {"_target_": "EnsureChannelFirstd", "keys": ["image"]}]
SHAPES = [(12, 10, 5), (12, 10, 3), (12, 10, 9)]  # 17 slices of one size, the last axis of which is cut


class Counted(nn.Module):
    """Three classes; how many slices came with each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 3, padding=1)
        self.calls: list[int] = []

    def forward(self, image: torch.Tensor) -> Any:
        self.calls.append(len(image))
        return self.layer(image)


@pytest.fixture
def predicted(tmp_path: Path, write_nifti: Callable[..., Path]) -> Callable[..., list[int]]:
    """A function that predicts the volumes; gives how many slices came with each call of the network."""
    rng = np.random.default_rng(0)
    for number, shape in enumerate(SHAPES):
        write_nifti(tmp_path / f"{number}.nii.gz", rng.normal(size=shape).astype(np.float32), (1.0, 1.0, 3.0))
    cases = [Case(str(n), tmp_path / f"{n}.nii.gz", None, str(n), str(n)) for n in range(len(SHAPES))]

    def run(window: Window, mirror: tuple[int, ...] = ()) -> list[int]:
        network = Counted()
        chain = PrepareChain(CHAIN, ReadOptions(), keys=("image",))
        found = list(ScanPredictor(network, chain, torch.device("cpu"), 0, window, pytest.fail, mirror=mirror)(cases))
        assert [one.mask.shape for one in found] == SHAPES
        return network.calls

    return run


@pytest.mark.parametrize(("mirror", "views"), [((), 1), ((0,), 2), ((0, 1), 4)])
@pytest.mark.parametrize("batch", [1, 4, 32])
def test_each_slice_passes_once_a_view_in_full_batches(
    mirror: tuple[int, ...], views: int, batch: int, predicted: Callable[..., list[int]]
) -> None:
    calls = predicted(Window(None, 0.5, "gaussian", batch), mirror)
    assert sum(calls) == 17 * views
    assert len(calls) == math.ceil(17 / batch) * views, "batches are filled across volumes"
    last = [17 % batch] if 17 % batch else []
    assert sorted(calls) == sorted([batch] * (17 // batch * views) + last * views)


def test_windows_pass_as_often_as_they_cover_a_slice(predicted: Callable[..., list[int]]) -> None:
    # Windows of 8 x 8 at every fourth pixel: 2 of them cover 12 rows, and 2 cover 10 columns.
    calls = predicted(Window((8, 8), 0.5, "gaussian", 4))
    assert sum(calls) == 17 * 4
