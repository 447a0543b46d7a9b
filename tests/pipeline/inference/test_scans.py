"""Predictions on the original grid: a network that is always right must give back the reference, voxel for voxel."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.cases import Case
from pipeline.errors import DataError, Fault, RunError
from pipeline.inference.masks import mask_bytes
from pipeline.inference.scans import Prediction, ScanPredictor, most_probable, prediction_path, restored_masks
from pipeline.networks.apply import Window
from transforms.chain import PrepareChain
from transforms.nifti import ReadOptions

CLASSES = 4


class Truthful(nn.Module):
    """Logits for the class that the image's intensity, rounded, names; `step` slices further along."""

    def __init__(self, step: int = 0, classes: int = CLASSES) -> None:
        super().__init__()
        self.step, self.classes = step, classes
        self.batches: list[tuple[int, ...]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.batches.append(tuple(image.shape))
        named = image[:, image.shape[1] // 2 + self.step].round().long().clamp(0, self.classes - 1)
        return 20.0 * nn.functional.one_hot(named, self.classes).permute(0, 3, 1, 2).float()


def load_entries(*more: dict[str, Any]) -> list[dict[str, Any]]:
    keys = ["image", "label"]
    return [
        {"_target_": "LoadImaged", "keys": keys, "image_only": True},
        {"_target_": "EnsureChannelFirstd", "keys": keys},
        *more,
        {"_target_": "ToTensord", "keys": keys},
    ]


PAD = {"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": [16, 20]}


def predictor(
    network: nn.Module,
    *,
    context: int = 0,
    batch_size: int = 3,
    axis: int | None = None,
    entries: Any = None,
    **more: Any,
) -> ScanPredictor:
    chain = PrepareChain(load_entries(PAD) if entries is None else entries, ReadOptions(axis=axis), keys=("image",))
    window = Window(more.pop("roi", None), 0.5, "gaussian", batch_size)
    return ScanPredictor(network, chain, torch.device("cpu"), context, window, **more)


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., tuple[Case, np.ndarray]]:
    """Writes an image of class numbers with a little noise; gives the case and the class numbers."""
    rng = np.random.default_rng(5)

    def write(name: str, shape: tuple[int, ...], **names: Any) -> tuple[Case, np.ndarray]:
        reference = rng.integers(0, CLASSES, shape)
        affine = np.diag([1.5, 0.7, 3.0, 1.0])
        affine[:3, 3] = (4, -5, 6)
        image = nib.Nifti1Image((reference + rng.uniform(-0.3, 0.3, shape)).astype(np.float32), affine)
        image.set_sform(affine, code=4)
        path = tmp_path / f"{name}.nii.gz"
        nib.save(image, path)
        return Case(name, path, None, **{"patient": "p", "scan": name, **names}), reference

    return write


def check(prediction: Prediction, reference: np.ndarray, folder: Path) -> None:
    """The mask, and the file made of it, are the reference on the image's own grid."""
    flat = reference[..., 0] if reference.shape[-1] == 1 else reference
    assert prediction.mask.dtype == np.uint8
    assert np.array_equal(prediction.mask, flat)
    path = prediction_path(folder, prediction.case)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(mask_bytes(prediction.mask, prediction.case.image))
    mask: Any = nib.load(path)
    image: Any = nib.load(prediction.case.image)
    assert mask.shape == image.shape == reference.shape
    assert np.array_equal(np.asanyarray(mask.dataobj), reference)
    assert np.array_equal(mask.affine, image.affine)
    assert (mask.header["sform_code"], mask.header["qform_code"]) == (4, image.header["qform_code"])


@pytest.mark.parametrize("context", [0, 1])
@pytest.mark.parametrize("shape", [(9, 13), (9, 13, 1), (17, 23), (16, 20)])
def test_2d_files_come_back(store: Callable[..., Any], tmp_path: Path, shape: tuple[int, ...], context: int) -> None:
    pairs = [store(f"s{n}", shape, scan="week", slice=n) for n in range(5)]
    entries = load_entries({**PAD, "spatial_size": [24, 24]})
    found = list(predictor(Truthful(), context=context, entries=entries)([case for case, _ in pairs]))
    assert [one.case for one in found] == [case for case, _ in pairs]
    for one, (_, reference) in zip(found, pairs, strict=True):
        assert one.axis == -1
        check(one, reference, tmp_path / "masks")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("context", [0, 1])
def test_volumes_come_back_along_any_axis(store: Callable[..., Any], tmp_path: Path, axis: int, context: int) -> None:
    case, reference = store("v", (7, 9, 11))
    network = Truthful()
    (found,) = predictor(network, context=context, axis=axis)([case])
    assert found.axis == axis
    check(found, reference, tmp_path / "masks")
    assert sum(shape[0] for shape in network.batches) == reference.shape[axis]
    assert all(shape[0] <= 3 and shape[1] == 2 * context + 1 for shape in network.batches)


def test_a_volume_is_cut_along_its_largest_spacing(store: Callable[..., Any]) -> None:
    case, _ = store("v", (7, 9, 11))
    assert next(iter(predictor(Truthful())([case]))).axis == 2


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL", "IRP"])
@pytest.mark.parametrize(("plane", "context"), [(0, 0), (1, 1), (2, 0)])
def test_volumes_of_any_orientation_come_back_to_their_own_grid(
    store: Callable[..., Any], tmp_path: Path, codes: str, plane: int, context: int
) -> None:
    case, reference = store("v", (7, 9, 11))
    image: Any = nib.load(case.image)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
    turned = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header).as_reoriented(turn)
    turned.set_sform(turned.affine, code=4)
    nib.save(turned, case.image)
    here = nib.orientations.apply_orientation(reference, turn)
    recorder = Recorder()
    (found,) = predictor(recorder, context=context, axis=plane, entries=load_entries())([case])
    check(found, np.ascontiguousarray(here), tmp_path / "masks")
    assert codes[found.axis] in ("RL", "AP", "SI")[plane]
    # The network sees the slices as they lie in RAS, whatever the file's own order of axes.
    seen = torch.cat(recorder.seen)[:, context].round().numpy()
    np.testing.assert_array_equal(seen, np.moveaxis(reference, plane, 0))


class Recorder(Truthful):
    """Truthful, and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image.clone())
        return super().forward(image)


@pytest.mark.parametrize("context", [0, 1])
def test_channels_are_shown_neighbour_by_neighbour(store: Callable[..., Any], tmp_path: Path, context: int) -> None:
    pairs = [store(f"c{number}", (6, 5, 4)) for number in range(2)]
    paths = [case.image for case, _ in pairs]
    images: list[Any] = [nib.load(path) for path in paths]
    whole, affine = np.stack([np.asanyarray(image.dataobj) for image in images], -1), images[0].affine
    nib.save(nib.Nifti1Image(whole, affine), tmp_path / "whole.nii.gz")
    of_files = Case("files", paths[0], None, "p", "files", further=(paths[1],))
    of_one = Case("one", tmp_path / "whole.nii.gz", None, "p", "one", channels_in_file=2)
    for case, options in ((of_files, ReadOptions(axis=2)), (of_one, ReadOptions(axis=2, channels=2))):
        recorder = Recorder()
        chain = PrepareChain(load_entries(), options, keys=("image",))
        predict = ScanPredictor(recorder, chain, torch.device("cpu"), context, Window(None, 0.5, "gaussian", 3))
        (found,) = predict([case])
        seen = torch.cat(recorder.seen).numpy()
        assert seen.shape == (4, 2 * (2 * context + 1), 6, 5)
        for number in range(4):
            wanted = [
                whole[:, :, min(max(number + offset, 0), 3), channel]
                for offset in range(-context, context + 1)
                for channel in range(2)
            ]
            np.testing.assert_array_equal(seen[number], wanted)
        # Truthful names the class by the middle channel of what it is shown: 2 of (0, 1), 3 of (0, 1, ..., 5).
        np.testing.assert_array_equal(found.mask, pairs[1][1])
        written = tmp_path / "mask.nii.gz"
        written.write_bytes(mask_bytes(found.mask, case.image))
        mask: Any = nib.load(written)
        assert mask.shape == (6, 5, 4)
        np.testing.assert_array_equal(mask.affine, affine)


def test_masks_of_a_stack_are_restored(store: Callable[..., Any]) -> None:
    case, reference = store("v", (7, 9, 11))
    chain = PrepareChain(load_entries(), ReadOptions(axis=1), keys=("image",))
    prepared = chain({"image": str(case.image)})["image"]
    truth = torch.from_numpy(np.moveaxis(reference, 1, 0).copy())
    probabilities = nn.functional.one_hot(truth, CLASSES).movedim(-1, 1).float()
    mask, axis = restored_masks(chain, probabilities, prepared)
    assert axis == 1 and mask.flags.c_contiguous
    np.testing.assert_array_equal(mask, reference)


@pytest.mark.parametrize("step", [-1, 1])
def test_neighbours_within_a_volume(store: Callable[..., Any], step: int) -> None:
    # A network that is right about the next slice: what it predicts is the reference, moved by one, its end repeated.
    case, reference = store("v", (7, 9, 5))
    (found,) = predictor(Truthful(step), context=1, axis=2, batch_size=2)([case])
    places = np.clip(np.arange(5) + step, 0, 4)
    assert np.array_equal(found.mask, reference[:, :, places])


def test_neighbours_among_files_follow_their_numbers_and_patients(store: Callable[..., Any]) -> None:
    # Two patients with scans of one name; numbers that do not sort as text; two volumes of one scan.
    pairs = {
        f"{patient}_{n}": store(f"{patient}_{n}", (9, 13), patient=patient, scan="week", slice=n)
        for n in (10, 2, 9)
        for patient in ("p1", "p2")
    }
    pairs |= {name: store(name, (9, 13, 2), patient="p3", scan="week") for name in ("v1", "v2")}
    found = {one.case.id: one.mask for one in predictor(Truthful(1), context=1, axis=2)([c for c, _ in pairs.values()])}
    assert found.keys() == pairs.keys()
    following = {2: 9, 9: 10, 10: 10}
    for patient in ("p1", "p2"):
        for number, after in following.items():
            assert np.array_equal(found[f"{patient}_{number}"], pairs[f"{patient}_{after}"][1])
    for name in ("v1", "v2"):
        assert np.array_equal(found[name], pairs[name][1][:, :, [1, 1]])


def test_several_sizes_in_one_scan(store: Callable[..., Any], tmp_path: Path) -> None:
    shapes = [(9, 13), (9, 14), (9, 13), (9, 14), (9, 13)]
    pairs = [store(f"s{n}", shape, scan="week", slice=n) for n, shape in enumerate(shapes)]
    entries = load_entries()  # nothing makes them alike
    for (case, reference), one in zip(
        pairs, predictor(Truthful(), context=1, entries=entries)([case for case, _ in pairs]), strict=True
    ):
        assert one.case == case
        check(one, reference, tmp_path / "masks")
    moved = list(predictor(Truthful(1), context=1, entries=entries)([case for case, _ in pairs]))
    assert [np.array_equal(moved[n].mask, pairs[after][1]) for n, after in enumerate([2, 3, 4, 3, 4])] == [True] * 5


def test_slices_without_an_order_are_refused_where_it_matters(store: Callable[..., Any]) -> None:
    cases = [store(f"s{n}", (9, 13), scan="week", slice=1)[0] for n in range(2)]
    assert len(list(predictor(Truthful())(cases))) == 2
    with pytest.raises(DataError, match="the number 1"):
        list(predictor(Truthful(), context=1)(cases))


def test_windows_cover_a_slice_that_is_larger(store: Callable[..., Any], tmp_path: Path) -> None:
    case, reference = store("s", (9, 13))
    network = Truthful()
    (found,) = predictor(network, roi=(8, 8))([case])
    assert {shape[2:] for shape in network.batches} == {(8, 8)}
    check(found, reference, tmp_path / "masks")


def test_each_case_is_predicted_once(store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [store(f"s{n:02}", (5, 6), scan=f"scan{n // 3}", slice=n)[0] for n in range(23)]
    read: Counter[str] = Counter()
    lock, chain = threading.Lock(), PrepareChain.__call__

    def counting(self: PrepareChain, sample: Any) -> dict[str, Any]:
        with lock:
            read[sample["image"]] += 1
        return chain(self, sample)

    monkeypatch.setattr(PrepareChain, "__call__", counting)
    predict = predictor(Truthful())
    found = [one.case.id for one in predict(cases[::-1])]
    assert sorted(found) == [case.id for case in cases]
    assert read == Counter({str(case.image): 1 for case in cases})
    assert list(predict([])) == []
    assert len(list(predict(cases[:4]))) == 4, "a predictor can be used again"


def test_a_missing_file_is_named(store: Callable[..., Any], tmp_path: Path) -> None:
    cases = [store(f"s{n}", (5, 6))[0] for n in range(6)]
    cases[4].image.unlink()
    found = []
    with pytest.raises(Fault, match="no such file") as fault:
        for one in predictor(Truthful())(cases):
            found.append(one.case.id)
    assert fault.value.where == str(tmp_path / "s4.nii.gz")
    assert found == ["s0", "s1", "s2", "s3"], "what came before it was predicted"


def test_the_network_is_used_in_evaluation_mode(store: Callable[..., Any]) -> None:
    network = Truthful().train()
    list(predictor(network)([store("s", (5, 6))[0]]))
    assert not network.training


@pytest.mark.parametrize(("classes", "dtype"), [(2, np.uint8), (256, np.uint8), (257, np.uint16)])
def test_masks_have_the_smallest_type(classes: int, dtype: Any, store: Callable[..., Any]) -> None:
    case, reference = store("s", (5, 6))
    (found,) = predictor(Truthful(classes=classes))([case])
    assert found.mask.dtype == dtype
    assert np.array_equal(found.mask, np.minimum(reference, classes - 1))


def test_probabilities_and_not_masks_go_back(store: Callable[..., Any]) -> None:
    # Prepared at half the size; going back, probabilities are mixed before the most probable class is taken. Along a
    # row of 4 half-size pixels with p(class 1) = 0, 0, 1, 0.4, the 8 original pixels have, by linear interpolation,
    # 0, 0, 0, .25, .75, .85, .55, .4: class 1 is where that is above a half. Class indices would not give that.
    case, _ = store("s", (2, 8))
    half = {"_target_": "Resized", "keys": ["image", "label"], "spatial_size": [1, 4], "mode": ["bilinear", "nearest"]}
    chain = PrepareChain(load_entries(half), ReadOptions(), keys=("image",))
    prepared = chain({"image": str(case.image)})["image"]
    one = torch.tensor([[[0.0, 0.0, 1.0, 0.4]]])
    masks = most_probable(chain, torch.stack([1 - one, one], dim=1), prepared)
    assert masks.tolist() == [[[0, 0, 0, 0, 1, 1, 1, 0]] * 2]


def test_many_slices_and_classes_go_back_in_parts(store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    case, reference = store("v", (7, 9, 11))
    whole = next(iter(predictor(Truthful(), axis=2)([case]))).mask
    sizes: list[int] = []
    invert = PrepareChain.invert

    def noting(self: PrepareChain, values: torch.Tensor, prepared: torch.Tensor) -> torch.Tensor:
        sizes.append(values.shape[0])
        return invert(self, values, prepared)

    monkeypatch.setattr(PrepareChain, "invert", noting)
    monkeypatch.setattr("pipeline.inference.scans._INVERTED_AT_ONCE", 3 * CLASSES)
    assert np.array_equal(next(iter(predictor(Truthful(), axis=2)([case]))).mask, whole)
    assert sizes == [12, 12, 12, 8]
    assert np.array_equal(whole, reference)


class Small(Truthful):
    """Has memory for two slices at a time, and for none on a device that is not the CPU when `cpu_only`."""

    def __init__(self, most: int = 2, cpu_only: bool = False) -> None:
        super().__init__()
        self.most, self.cpu_only = most, cpu_only

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if image.shape[0] > self.most or (self.cpu_only and image.device.type != "cpu"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(image)


def test_too_little_memory_halves_the_batch(store: Callable[..., Any], tmp_path: Path) -> None:
    case, reference = store("v", (7, 9, 11))
    said: list[str] = []
    network = Small()
    (found,) = predictor(network, axis=2, batch_size=8, say=said.append)([case])
    check(found, reference, tmp_path / "masks")
    assert [shape[0] for shape in network.batches] == [2] * 5 + [1]
    assert [line.rpartition("batches of ")[2] for line in said] == ["4 slices", "2 slices"]
    with pytest.warns(UserWarning, match="batches of 2 slices"):
        list(predictor(Small(), axis=2, batch_size=4)([case]))


def test_too_little_memory_on_a_device_goes_over_to_the_cpu(store: Callable[..., Any], tmp_path: Path) -> None:
    case, reference = store("v", (7, 9, 11))
    said: list[str] = []
    predict = predictor(Small(cpu_only=True), axis=2, batch_size=2, say=said.append)
    predict.device = torch.device("meta")  # stands for a GPU
    (found,) = predict([case])
    check(found, reference, tmp_path / "masks")
    assert len(said) == 2
    assert "CPU" in said[1]


def test_too_little_memory_for_one_slice_is_told(store: Callable[..., Any]) -> None:
    case, _ = store("s", (9, 13))
    with warnings.catch_warnings(), pytest.raises(RunError, match="does not suffice for one slice"):
        warnings.simplefilter("ignore")
        list(predictor(Small(most=0))([case]))


def test_other_errors_are_not_taken_for_it(store: Callable[..., Any]) -> None:
    class Failing(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("sizes do not match")

    with pytest.raises(RuntimeError, match="sizes do not match"):
        list(predictor(Failing())([store("s", (9, 13))[0]]))


def test_a_mask_is_named_by_its_case(make_case: Callable[..., Any], tmp_path: Path) -> None:
    assert (
        prediction_path(tmp_path, make_case("case_040_week_2_slice_7")) == tmp_path / "case_040_week_2_slice_7.nii.gz"
    )
