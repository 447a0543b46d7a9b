"""Voxels by headers alone: of the longest files, packed or not, damaged ones aside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import memory
from pipeline.data import inspection
from pipeline.data.cases import Case
from pipeline.data.inspection import examine_cases
from pipeline.data.largest import largest_voxels

MOST = 10**6
Write = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path, write_nifti: Write) -> Callable[..., Case]:
    """Writes a case of noise, so that its file is as long as it has voxels."""

    def write(name: str, shape: tuple[int, ...], suffix: str = ".nii.gz") -> Case:
        voxels = np.random.default_rng(0).normal(size=shape)
        image = write_nifti(tmp_path / "images" / f"{name}{suffix}", voxels, dtype=np.float32)
        label = write_nifti(tmp_path / "labels" / f"{name}.nii.gz", np.zeros(shape), dtype=np.uint8)
        return Case(name, image, label, name, name)

    return write


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_most_voxels_count(written: Callable[..., Case], suffix: str) -> None:
    small = [written(f"p{number}", (5, 4), suffix) for number in range(5)]
    assert largest_voxels(small, MOST) == 20
    large = written("p9", (6, 5, 9), suffix)
    assert largest_voxels([*small[:2], large, *small[2:]], MOST) == 270
    assert largest_voxels([], MOST) == 0
    assert largest_voxels([*small, large], 269) == 20, "what is refused is not read"


def test_all_channels_count(written: Callable[..., Case]) -> None:
    one, other = written("p1", (5, 4, 3)), written("p2", (5, 4, 3))
    assert largest_voxels([replace(one, further=(other.image,))], MOST) == 120
    assert largest_voxels([written("p3", (5, 4, 3, 2))], MOST) == 120


def test_a_constant_volume_that_packs_well_is_among_those_looked_at(
    written: Callable[..., Case], write_nifti: Write, tmp_path: Path
) -> None:
    noise = [written(f"p{number}", (9, 9, 9)) for number in range(2)]
    packed = write_nifti(tmp_path / "images" / "p7.nii.gz", np.zeros((20, 20, 20)), dtype=np.float32)
    assert packed.stat().st_size < noise[0].image.stat().st_size
    assert largest_voxels([*noise, Case("p7", packed, None, "p7", "p7")], MOST) == 8000


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60), packed=st.booleans())
def test_files_that_are_nothing_count_nothing(tmp_path: Path, content: bytes, packed: bool) -> None:
    path = tmp_path / "x.nii.gz"
    path.write_bytes((b"\x1f\x8b\x08" if packed else b"") + content)
    assert largest_voxels([Case("x", path, None, "x", "x"), Case("y", tmp_path / "gone", None, "y", "y")], MOST) == 0


def test_as_many_files_are_read_at_once_as_memory_allows(
    written: Callable[..., Case], make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [written("p1", (5, 4, 3)), written("p2", (5, 4, 3)), written("p3", (5, 4, 2))]
    used: list[int] = []
    pool = inspection.ThreadPoolExecutor

    def noting(threads: int) -> Any:
        used.append(threads)
        return pool(threads)

    monkeypatch.setattr(inspection, "ThreadPoolExecutor", noting)
    monkeypatch.setattr(memory.os, "cpu_count", lambda: 32)
    for free in (10**9, 3 * 60 * 20, 3 * 60 * 20 - 1, 0):
        monkeypatch.setattr(memory, "available_bytes", lambda free=free: free)
        assert len(examine_cases(make_config(), cases).facts) == 3
    assert used == [8, 3, 2, 1]
