"""Predictions are written in the background, in order, and no more wait than a few."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from pipeline.data.cases import Case
from pipeline.errors import ImageFileError, RunError
from pipeline.inference.finishing import Prediction
from pipeline.inference.writing import BackgroundWriter, mask_path, probabilities_path, write_prediction


def numbered(number: int, side: int = 1) -> Prediction:
    return Prediction(Case(str(number), Path("x"), None, "p", "s"), np.zeros((side, side), np.uint8), -1)


# Of a megabyte, more than 64 do not wait together, nor more than 64 tiny ones; of 25, four wait whatever they weigh.
@pytest.mark.parametrize(("side", "most_waiting"), [(1, 64), (1000, 64), (1200, 44), (5000, 4)])
def test_what_was_written_is_told_in_order_by_the_caller(side: int, most_waiting: int) -> None:
    told: list[tuple[str, int]] = []
    waiting, most = 0, 0
    gate = threading.Event()

    def write(prediction: Prediction) -> str:
        if prediction.case.id == "0":
            gate.wait(5)
        return prediction.case.id

    def done(name: str) -> None:
        told.append((name, threading.get_ident()))

    writer = BackgroundWriter(write, done)
    for number in range(80):
        if number == most_waiting:
            gate.set()
        writer(numbered(number, side))
        waiting = number + 1 - len(told)
        most = max(most, waiting)
    writer.close()
    assert told == [(str(number), threading.get_ident()) for number in range(80)]
    assert most == most_waiting


def test_what_cannot_be_written_is_raised() -> None:
    def write(prediction: Prediction) -> None:
        raise RunError("disk full")

    writer = BackgroundWriter(write, lambda found: None)
    with pytest.raises(RunError, match="disk full"):
        for number in range(10):
            writer(numbered(number))
    writer = BackgroundWriter(write, lambda found: None)
    with pytest.raises(RunError, match="disk full"):
        try:
            writer(numbered(0))
        finally:
            writer.close()


@pytest.fixture
def predicted(tmp_path: Path, write_nifti: Any) -> Prediction:
    image = write_nifti(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.int16), (1.0, 2.0, 3.0))
    rng = np.random.default_rng(0)
    probabilities = np.moveaxis(rng.dirichlet([1, 1, 1], (3, 4, 5)).astype(np.float32), -1, 0)
    mask = probabilities.argmax(0).astype(np.uint8)
    return Prediction(Case("a", image, None, "p", "a"), mask, 2, torch.from_numpy(probabilities))


@pytest.mark.parametrize(("form", "dtype", "off"), [("float32", np.float32, 0), ("uint8", np.uint8, 0.5001 / 255)])
def test_masks_and_probabilities(predicted: Prediction, tmp_path: Path, form: Any, dtype: Any, off: float) -> None:
    out = tmp_path / "out"
    (out / "probabilities").mkdir(parents=True)
    write_prediction(predicted, out, form)
    assert predicted.probabilities is not None
    mask: Any = nib.load(mask_path(out, predicted.case))
    kept: Any = nib.load(probabilities_path(out, predicted.case))
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), predicted.mask)
    assert (kept.shape, kept.get_data_dtype()) == ((3, 4, 5, 3), dtype)
    assert np.abs(kept.get_fdata() - predicted.probabilities.movedim(0, -1).numpy()).max() <= off
    np.testing.assert_array_equal(kept.affine, mask.affine)


def test_no_probabilities_unless_they_are_wanted(predicted: Prediction, tmp_path: Path) -> None:
    write_prediction(predicted, tmp_path)
    assert not (tmp_path / "probabilities").exists()


def test_an_image_that_is_gone(predicted: Prediction, tmp_path: Path) -> None:
    predicted.case.image.unlink()
    with pytest.raises(ImageFileError, match="is gone"):
        write_prediction(predicted, tmp_path)
