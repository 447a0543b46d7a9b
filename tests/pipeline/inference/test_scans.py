"""Predictions on the original grid: a network that is always right must give back the reference, voxel for voxel."""

from __future__ import annotations

import gc
import threading
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from pipeline.config.schema import PostprocessRule
from pipeline.data.cases import Case
from pipeline.errors import DataError, Fault, RunError
from pipeline.inference.finishing import Finishing, Prediction
from pipeline.inference.masks import mask_bytes
from pipeline.inference.original_grid import most_probable, spacing_mm
from pipeline.inference.scans import ScanPredictor
from pipeline.inference.stacks import CaseView, Opinion, PreparedScan
from pipeline.inference.writing import mask_path
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
    network: nn.Module | list[Any],
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
    path = mask_path(folder, prediction.case)
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
    found = Finishing([chain], {})(case, [CaseView(prepared, Opinion(probabilities, None))])
    assert found.axis == 1 and found.mask.flags.c_contiguous
    np.testing.assert_array_equal(found.mask, reference)


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
    monkeypatch.setattr("pipeline.inference.original_grid._INVERTED_AT_ONCE", 3 * CLASSES)
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


@pytest.mark.parametrize("mirror", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize(("context", "shape"), [(0, (9, 13)), (1, (7, 9, 11)), (2, (8, 5, 3)), (1, (17, 23))])
def test_mirrors_and_ensembles_of_truth_are_true(
    store: Callable[..., Any], tmp_path: Path, mirror: tuple[int, ...], context: int, shape: tuple[int, ...]
) -> None:
    pairs = [store(f"s{n}", shape, scan="week" if len(shape) == 2 else f"v{n}", slice=n) for n in range(3)]
    networks = [Truthful(), Truthful(), Truthful()]
    predict = predictor(
        networks, context=context, entries=load_entries({**PAD, "spatial_size": [24, 24]}), mirror=mirror,
        keep_probabilities=True, review=True,
    )  # fmt: skip
    found = list(predict([case for case, _ in pairs]))
    for one, (case, reference) in zip(found, pairs, strict=True):
        assert one.case == case
        check(one, reference, tmp_path / "masks")
        assert one.probabilities is not None and one.review is not None
        assert one.probabilities.shape == (CLASSES, *shape)
        np.testing.assert_array_equal(one.probabilities.argmax(0).numpy(), reference)
        # Members that are all right agree on all, and on each class by itself.
        np.testing.assert_allclose(one.review.agreement, 1)
        voxel = 1.5 * 0.7 * (3 if len(shape) == 3 else 1)
        counts = np.bincount(reference.ravel(), minlength=CLASSES)
        np.testing.assert_allclose(one.review.volume, counts * voxel)
    views = {1: 2, 2: 4}[len(mirror)]
    slices = sum(batch[0] for batch in networks[0].batches)
    assert slices == views * len(pairs) * (shape[2] if len(shape) == 3 else 1)  # cut along the largest spacing


class Weighted(nn.Module):
    """A convolution, which tells a slice from its mirror image."""

    def __init__(self, seed: int, channels: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(channels, CLASSES, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(image)
        return found


@pytest.mark.parametrize("context", [0, 1])
def test_kept_probabilities_are_the_mean_on_the_file_s_axes(store: Callable[..., Any], context: int) -> None:
    case, _ = store("v", (5, 6, 7))
    image: Any = nib.load(case.image)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("PIR"))
    data = np.array(image.dataobj)  # in RAS, as the networks see it; read before the file is written anew
    nib.save(image.as_reoriented(turn), case.image)
    networks = [Weighted(seed, 2 * context + 1) for seed in range(2)]
    predict = predictor(
        networks, context=context, axis=0, entries=load_entries(), mirror=[0, 1], keep_probabilities=True
    )  # fmt: skip
    (found,) = predict([case])
    wanted = np.zeros((CLASSES, *data.shape))
    for number in range(data.shape[0]):
        places = np.clip(np.arange(number - context, number + context + 1), 0, data.shape[0] - 1)
        for flip in ((), (1,), (2,), (1, 2)):
            seen = torch.from_numpy(np.flip(data[places], flip).copy())[None]
            for network in networks:
                with torch.no_grad():
                    values = network(seen)[0].softmax(0).numpy()
                wanted[:, number] += np.flip(values, flip) / 8
    turned = np.stack([nib.orientations.apply_orientation(channel, turn) for channel in wanted])
    assert found.probabilities is not None and found.probabilities.dtype == torch.float32
    np.testing.assert_allclose(found.probabilities.numpy(), turned, atol=1e-6)
    np.testing.assert_array_equal(found.mask, found.probabilities.numpy().argmax(0))


def test_probabilities_are_none_unless_asked_for_and_zero_where_cut_off(store: Callable[..., Any]) -> None:
    case, _ = store("s", (9, 13))
    (bare,) = predictor(Truthful())([case])
    assert bare.probabilities is None and bare.review is None
    cut = load_entries({**PAD, "spatial_size": [5, 20]})
    (found,) = predictor(Truthful(), entries=cut, keep_probabilities=True)([case])
    assert found.probabilities is not None
    sums = found.probabilities.sum(0).numpy()
    np.testing.assert_allclose(sums[2:7], 1, atol=1e-6)
    assert not sums[:2].any() and not sums[7:].any() and not found.mask[:2].any()


def test_one_member_is_not_compared(store: Callable[..., Any]) -> None:
    case, _ = store("s", (9, 13))
    (found,) = predictor(Truthful(), review=True)([case])
    assert found.review is not None
    assert np.isnan(found.review.agreement).all()
    assert found.review.expected_dice[1:] == pytest.approx(1, abs=1e-6)


def test_members_are_compared_over_all_slices(store: Callable[..., Any]) -> None:
    # One member is right, the other is right about the next slice: their Dice follows from the reference.
    case, reference = store("v", (7, 9, 5))
    (found,) = predictor([Truthful(), Truthful(1)], context=1, axis=2, batch_size=2, review=True)([case])
    after = reference[:, :, [1, 2, 3, 4, 4]]
    wanted = [
        2 * ((reference == index) & (after == index)).sum() / ((reference == index).sum() + (after == index).sum())
        for index in range(CLASSES)
    ]
    assert found.review is not None
    # The prepared grid has a frame of background about the slice: 16 x 20 pixels.
    np.testing.assert_allclose(found.review.agreement[1:], wanted[1:])


def test_rules_clean_the_mask_and_not_the_review(store: Callable[..., Any], tmp_path: Path) -> None:
    case, _ = store("v", (6, 5, 4))
    image: Any = nib.load(case.image)
    reference = np.zeros((6, 5, 4))
    reference[:2, :2, :2], reference[5, 4, 3] = 2, 2
    nib.save(nib.Nifti1Image(reference, image.affine), case.image)
    for rule in (PostprocessRule(largest=True), PostprocessRule(min_mm3=1.5 * 0.7 * 3 * 2)):
        (found,) = predictor(Truthful(), entries=load_entries(), rules={2: rule}, review=True)([case])
        assert found.mask.sum() == 2 * 8 and found.mask[5, 4, 3] == 0
        assert found.review is not None
        assert found.review.component_sizes[2].tolist() == [8, 1]


def test_a_rule_that_does_not_fit_names_the_case(store: Callable[..., Any]) -> None:
    case, _ = store("flat", (6, 5))
    with pytest.raises(DataError, match=r"min_mm3.*\(flat\)"):
        list(predictor(Truthful(), rules={2: PostprocessRule(min_mm3=3)})([case]))


@pytest.mark.parametrize("codes", ["RAS", "PIR", "SAL"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_spacing_is_that_of_the_file_s_axes(store: Callable[..., Any], codes: str, axis: int) -> None:
    case, _ = store("v", (7, 9, 11))
    image: Any = nib.load(case.image)
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes))
    turned = image.as_reoriented(turn)
    nib.save(turned, case.image)
    prepared = PrepareChain(load_entries(PAD), ReadOptions(axis=axis), keys=("image",))({"image": str(case.image)})
    assert spacing_mm(prepared["image"].meta) == pytest.approx(turned.header.get_zooms())


def test_the_whole_ensemble_goes_over_to_the_cpu(store: Callable[..., Any], tmp_path: Path) -> None:
    case, reference = store("v", (7, 9, 11))
    moved: list[str] = []

    class Moving(Small):
        def to(self, *args: Any, **more: Any) -> Any:
            moved.append(str(args[0]))
            return super().to(*args, **more)

    predict = predictor([Moving(1, cpu_only=True) for _ in range(2)], axis=2, batch_size=1, say=lambda _: None)
    predict.device = torch.device("meta")  # stands for a GPU
    (found,) = predict([case])
    check(found, reference, tmp_path / "masks")
    assert moved == ["cpu", "cpu"]


def test_an_ensemble_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no network"):
        predictor([])


def test_no_scan_is_predicted_long_before_it_is_asked_for(
    store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [store(f"v{n:02}", (5, 6, 3))[0] for n in range(12)]
    predict, calls = predictor(Truthful()), 0
    opinion = predict._opinion

    def counting(stack: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        return opinion(stack)

    monkeypatch.setattr(predict, "_opinion", counting)
    for received, _ in enumerate(predict(cases), start=1):
        assert received <= calls <= received + 1, "one scan's probabilities wait to be finished, and no more"
    assert calls == 12


def test_a_mask_is_named_by_its_case(make_case: Callable[..., Any], tmp_path: Path) -> None:
    assert mask_path(tmp_path, make_case("case_040_week_2_slice_7")) == tmp_path / "case_040_week_2_slice_7.nii.gz"


class Alive:
    """Counts the prepared scans, and the predictions, that are held by anybody."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.lock = threading.RLock()  # an object may end while another is being counted
        self._count(monkeypatch, PreparedScan)
        self._count(monkeypatch, Prediction)

    def _count(self, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
        make, name = vars(kind)["__init__"], kind.__name__

        def made(one: Any, *arguments: Any, **named: Any) -> None:
            make(one, *arguments, **named)
            weakref.finalize(one, self._add, name, -1)
            self._add(name, 1)

        monkeypatch.setattr(kind, "__init__", made)

    def _add(self, name: str, step: int) -> None:
        with self.lock:
            self.now[name] += step
            self.made[name] += step > 0
            self.most[name] = max(self.most[name], self.now[name])


@pytest.mark.parametrize(("shape", "context"), [((6, 5), 0), ((6, 5), 1), ((6, 5, 3), 1)])
def test_no_more_is_held_of_many_cases_than_of_a_few(
    store: Callable[..., Any], shape: tuple[int, ...], context: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [store(f"s{n:03}", shape)[0] for n in range(120)]
    alive = Alive(monkeypatch)
    predict = predictor(Truthful(), context=context, batch_size=6)
    assert sum(1 for _ in predict(cases)) == 120
    assert alive.made["PreparedScan"] == alive.made["Prediction"] == 120
    # A batch holds 6 scans of a slice each: those of two are prepared ahead, one is in the network, one behind it.
    assert alive.most["PreparedScan"] <= 30
    assert alive.most["Prediction"] <= 14
    gc.collect()
    assert alive.now["PreparedScan"] <= 1 and alive.now["Prediction"] <= 1


def test_batches_are_filled_across_scans_of_one_shape(store: Callable[..., Any], tmp_path: Path) -> None:
    pairs = [store(f"v{n}", (7, 9, depth)) for n, depth in enumerate((5, 3, 2, 9, 1))]
    for context in (0, 1, 2):
        network = Truthful()
        found = list(predictor(network, context=context, axis=2, batch_size=8)([case for case, _ in pairs]))
        assert [batch[0] for batch in network.batches] == [8, 8, 4]
        for one, (case, reference) in zip(found, pairs, strict=True):
            assert one.case == case
            check(one, reference, tmp_path / "masks")
    # No slice is the neighbour of another scan's, although they lie in one batch.
    moved = list(predictor(Truthful(1), context=1, axis=2, batch_size=8)([case for case, _ in pairs]))
    for one, (_, reference) in zip(moved, pairs, strict=True):
        places = np.minimum(np.arange(reference.shape[-1]) + 1, reference.shape[-1] - 1)
        np.testing.assert_array_equal(one.mask.reshape(reference.shape), reference[..., places])


def test_a_batch_s_opinions_are_those_of_each_scan_alone(store: Callable[..., Any]) -> None:
    cases = [store(f"v{n}", (7, 9, depth))[0] for n, depth in enumerate((5, 3, 2, 9))]
    networks = [Weighted(seed, 3) for seed in range(2)]
    predict = predictor(networks, context=1, axis=2, batch_size=4, keep_probabilities=True, review=True)
    for one, case in zip(predict(cases), cases, strict=True):
        (alone,) = predict([case])
        assert one.probabilities is not None and alone.probabilities is not None
        torch.testing.assert_close(one.probabilities, alone.probabilities)
        assert one.review is not None and alone.review is not None
        np.testing.assert_allclose(one.review.agreement, alone.review.agreement)


def test_large_files_are_not_read_far_ahead(store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [store(f"s{n:02}", (6, 5))[0] for n in range(40)]
    monkeypatch.setattr("pipeline.inference.scans._AHEAD_BYTES", 1)
    alive = Alive(monkeypatch)
    network = Truthful()
    assert sum(1 for _ in predictor(network, batch_size=6)(cases)) == 40
    # Four ahead; the batch that is filled, and the one behind it, hold six each.
    assert alive.most["PreparedScan"] <= 4 + 6 + 6 + 1
    assert [batch[0] for batch in network.batches] == [6] * 6 + [4]


@pytest.mark.parametrize("context", [0, 1])
def test_views_are_averaged_on_the_grid_of_the_file(store: Callable[..., Any], context: int) -> None:
    torch.manual_seed(4)
    network = nn.Sequential(nn.Conv2d(2 * context + 1, CLASSES, 3, padding=1)).eval()
    entries = load_entries(
        {"_target_": "Resized", "keys": ["image", "label"], "spatial_size": [14, 18], "mode": ["bilinear", "nearest"]}
    )
    cases = [store(name, shape)[0] for name, shape in (("a", (9, 12, 7)), ("b", (8, 10, 6)))]
    alone = [
        list(predictor(network, context=context, axis=axis, entries=entries, keep_probabilities=True)(cases))
        for axis in (2, 0, 1)
    ]
    chains = [PrepareChain(entries, ReadOptions(axis=axis), keys=("image",)) for axis in (2, 0, 1)]
    window = Window(None, 0.5, "gaussian", 5)
    together = ScanPredictor(
        network, chains, torch.device("cpu"), context, window, keep_probabilities=True, review=True
    )  # fmt: skip
    for number, found in enumerate(together(cases)):
        each = [one[number].probabilities for one in alone]
        assert found.probabilities is not None
        mean = torch.stack([one for one in each if one is not None]).mean(0)
        assert found.case is cases[number]
        assert torch.allclose(found.probabilities, mean, atol=1e-6)
        assert np.array_equal(found.mask, found.probabilities.argmax(0).numpy())
        assert found.axis == 2
        assert found.review is not None


def test_a_file_of_one_slice_has_one_view(store: Callable[..., Any]) -> None:
    torch.manual_seed(4)
    network = nn.Sequential(nn.Conv2d(1, CLASSES, 3, padding=1)).eval()
    case, _ = store("flat", (9, 13))
    chains = [PrepareChain(load_entries(), ReadOptions(axis=axis), keys=("image",)) for axis in (0, 1)]
    both = ScanPredictor(network, chains, torch.device("cpu"), 0, Window(None, 0.5, "gaussian", 3))
    (alone,) = predictor(network, entries=load_entries())([case])
    (found,) = both([case])
    assert np.array_equal(found.mask, alone.mask)


def test_only_the_network_has_all_cores(store: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [store(f"s{n}", (6, 5))[0] for n in range(9)]
    counts: dict[str, set[int]] = {"reading": set(), "network": set(), "finishing": set()}
    chain, invert = PrepareChain.__call__, PrepareChain.invert

    class Counting(Truthful):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            counts["network"].add(torch.get_num_threads())
            return super().forward(image)

    def reading(self: PrepareChain, sample: Any) -> dict[str, Any]:
        counts["reading"].add(torch.get_num_threads())
        return chain(self, sample)

    def finishing(self: PrepareChain, *values: torch.Tensor) -> torch.Tensor:
        counts["finishing"].add(torch.get_num_threads())
        return invert(self, *values)

    monkeypatch.setattr(PrepareChain, "__call__", reading)
    monkeypatch.setattr(PrepareChain, "invert", finishing)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert sum(1 for _ in predictor(Counting())(cases)) == 9
        assert counts == {"reading": {1}, "network": {3}, "finishing": {1}}
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert (torch.get_num_threads(), later) == (3, [3])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(1, 12, 10), (12, 1, 10)])
@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0), (0, 1)])
def test_a_volume_of_one_slice_has_no_views_to_average(
    store: Callable[..., Any], shape: tuple[int, ...], axes: tuple[int, ...]
) -> None:
    network = nn.Sequential(nn.Conv2d(1, CLASSES, 3, padding=1)).eval()
    case, _ = store("thin", shape)
    chains = [PrepareChain(load_entries(), ReadOptions(axis=axis), keys=("image",)) for axis in axes]
    with pytest.raises(DataError, match="is a volume of one slice along an axis"):
        list(ScanPredictor(network, chains, torch.device("cpu"), 0, Window(None, 0.5, "gaussian", 3))([case]))


def test_what_a_view_cuts_off_the_others_say(store: Callable[..., Any]) -> None:
    torch.manual_seed(4)
    network = nn.Sequential(nn.Conv2d(1, CLASSES, 3, padding=1)).eval()
    entries = load_entries({"_target_": "CenterSpatialCropd", "keys": ["image", "label"], "roi_size": [6, 8]})
    case, _ = store("v", (10, 10, 10))
    chains = [PrepareChain(entries, ReadOptions(axis=axis), keys=("image",)) for axis in (0, 1, 2)]
    window = Window(None, 0.5, "gaussian", 3)
    (found,) = ScanPredictor(network, chains, torch.device("cpu"), 0, window, keep_probabilities=True)([case])
    assert found.probabilities is not None
    total = found.probabilities.sum(0)
    # Of each view the middle 6 of its rows and 8 of its columns: along (y, z), (x, z) and (x, y).
    inside = {length: torch.arange(10).sub(4.5).abs() < length / 2 for length in (6, 8)}
    x6 = inside[6][:, None, None]
    y6, y8 = inside[6][None, :, None], inside[8][None, :, None]
    z8 = inside[8][None, None, :]
    seen = (y6 & z8) | (x6 & z8) | (x6 & y8)
    assert torch.allclose(total, seen.float(), atol=1e-5)
