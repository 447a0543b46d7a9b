"""The prepare chain, from files to tensors and back: exact where voxels only move, close where they are resampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from transforms.chain import PrepareChain, build_transform
from transforms.faults import ChainError, ImageFileError
from transforms.nifti import ReadOptions, read_label
from transforms.nifti_bytes import read_checked

Write = Callable[..., Path]
Entry = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "configs/transforms").glob("*.yaml"))
BOTH = {"keys": ["image", "label"]}
NEAREST = {"mode": ["bilinear", "nearest"]}
CLASSES = 3


def entry(name: str, **parameters: Any) -> Entry:
    return {"_target_": name, **BOTH, **parameters}


def chain_of(*steps: Entry) -> list[Entry]:
    return [entry("LoadImaged"), entry("EnsureChannelFirstd"), *steps, entry("ToTensord")]


def shipped(path: Path) -> list[Entry]:
    entries: list[Entry] = yaml.safe_load(path.read_text())["prepare"]
    return entries


def smooth_mask(shape: Sequence[int]) -> np.ndarray:
    """An ellipse of class 1 with one of class 2 in it, off the centre, in every slice a little further to the right."""
    rows, columns = np.indices(shape[:2]).astype(float) + 0.5
    slices = []
    for number in range(shape[2] if len(shape) == 3 else 1):
        radius = np.hypot(rows / shape[0] - 0.53, columns / shape[1] - 0.46 - 0.01 * number)
        slices.append((radius < 0.4).astype(np.uint8) + (radius < 0.25))
    return slices[0] if len(shape) == 2 else np.stack(slices, -1)


def write_case(folder: Path, write: Write, shape: Sequence[int], mask: np.ndarray | None = None) -> dict[str, str]:
    generator = np.random.default_rng(sum(shape))
    mask = smooth_mask(shape) if mask is None else mask
    image = generator.normal(100, 10, shape).astype(np.float32)
    return {
        "image": str(write(folder / "i.nii.gz", image, (1, 1, 2))),
        "label": str(write(folder / "l.nii.gz", mask, (1, 1, 2))),
    }


def there_and_back(entries: Sequence[Entry], files: dict[str, str], options: ReadOptions | None = None) -> np.ndarray:
    """The label's one-hot form on the prepared grid, taken back by the chain of a prediction, as slices of classes."""
    options = options or ReadOptions()
    label = PrepareChain(entries, options)(files)["label"]
    onehot = torch.stack([(label.as_tensor() == index).float() for index in range(CLASSES)], 1)
    chain = PrepareChain(entries, options, keys=("image",))
    prepared = chain({"image": files["image"]})["image"]
    back = chain.invert(onehot.flatten(0, 1), prepared)
    masks: np.ndarray = back.reshape(len(onehot), CLASSES, *back.shape[1:]).argmax(1).numpy()
    return masks


def image_there_and_back(entries: Sequence[Entry], files: dict[str, str], write: Write) -> np.ndarray:
    """As `there_and_back`, with each class as an image of its own: what a perfect network would give."""
    mask = read_label(files["label"]).array
    chain = PrepareChain(entries, ReadOptions(), keys=("image",))
    result = np.zeros_like(reference(files))
    for index in range(1, CLASSES):
        path = write(Path(files["image"]).parent / f"class{index}.nii", (mask >= index).astype(np.float32), (1, 1, 2))
        prepared = chain({"image": str(path)})["image"]
        middle = float(prepared.min() + prepared.max()) / 2  # whatever the intensities were scaled to
        back = chain.invert(prepared.as_tensor()[:, 0] - middle, prepared)
        result += (back > 0).numpy()
    return result


def reference(files: dict[str, str]) -> np.ndarray:
    mask = read_label(files["label"]).array
    return mask[None] if mask.ndim == 2 else np.moveaxis(mask, 2, 0)


def dice(found: np.ndarray, wanted: np.ndarray) -> list[float]:
    """Per class: twice the common voxels over the sum of both."""
    return [
        2
        * float(((found == index) & (wanted == index)).sum())
        / float((found == index).sum() + (wanted == index).sum())
        for index in range(1, CLASSES)
    ]


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(2, 60), width=st.integers(2, 60), depth=st.sampled_from([None, 1, 3]), seed=st.integers(0, 99)
)
def test_padding_and_cropping_come_back_to_the_voxel(
    tmp_path_factory: pytest.TempPathFactory, write_nifti: Write, height: int, width: int, depth: int | None, seed: int
) -> None:
    shape = (height, width) if depth is None else (height, width, depth)
    mask = np.random.default_rng(seed).integers(0, CLASSES, shape).astype(np.uint8)
    size = (24, 41)
    files = write_case(tmp_path_factory.mktemp("pad"), write_nifti, shape, mask)

    masks = there_and_back(chain_of(entry("ResizeWithPadOrCropd", spatial_size=list(size))), files)

    wanted = reference(files).copy()
    # What was cut off was never predicted: it is background. MONAI keeps the middle, the smaller half in front.
    for axis, (side, kept) in enumerate(zip((height, width), size, strict=True), start=1):
        if side > kept:
            start = side // 2 - kept // 2
            outside = np.ones(side, bool)
            outside[start : start + kept] = False
            wanted = np.where(outside[(None, slice(None), None) if axis == 1 else (None, None, slice(None))], 0, wanted)
    np.testing.assert_array_equal(masks, wanted)


@pytest.mark.parametrize("shape", [(33, 47), (256, 144), (31, 20, 3)], ids=str)
@pytest.mark.parametrize(
    "steps",
    [
        [entry("SpatialPadd", spatial_size=[260, 150])],
        [entry("DivisiblePadd", k=16)],
        [entry("BorderPadd", spatial_border=[3, 2])],
        [entry("Flipd", spatial_axis=0)],
        [entry("Rotate90d", k=3)],
        [entry("Rotate90d"), entry("Flipd"), entry("SpatialPadd", spatial_size=[300, 290], method="end")],
        [entry("Flipd", spatial_axis=1, lazy=True), entry("SpatialPadd", spatial_size=[270, 160], lazy=True)],
        [entry("EnsureTyped"), entry("Flipd"), entry("CastToTyped", dtype=["float32", "uint8"])],
        [entry("Resized", spatial_size=[-1, -1], **NEAREST)],
        [entry("Identityd")],
    ],
    ids=lambda steps: "+".join(step["_target_"] for step in steps),
)
def test_what_only_moves_voxels_is_undone_exactly(
    tmp_path: Path, write_nifti: Write, shape: tuple[int, ...], steps: list[Entry]
) -> None:
    files = write_case(tmp_path, write_nifti, shape)
    np.testing.assert_array_equal(there_and_back(chain_of(*steps), files), reference(files))


@pytest.mark.parametrize(
    "step",
    [
        entry("Resized", spatial_size=[70, 90], **NEAREST),
        entry("Resized", spatial_size=[40, 30], **NEAREST),
        entry("Resized", spatial_size=[40, 30], anti_aliasing=[True, False], **NEAREST),
        entry("Resized", spatial_size=[62, 74], mode=["area", "nearest-exact"]),
        entry("SkimageResized", spatial_size=[70, 90]),
        entry("SkimageResized", spatial_size=[40, 30], order=[3, 0]),
        entry("Spacingd", pixdim=[0.8, 1.3], **NEAREST),
        entry("Zoomd", zoom=1.3, keep_size=False, **NEAREST),
        entry("Rotated", angle=0.4, keep_size=False, **NEAREST),
        entry("Affined", rotate_params=0.2, **NEAREST),
        entry("CropForegroundd", source_key="image", margin=2),
        entry("CenterScaleCropd", roi_scale=[0.95, 0.95]),
    ],
    ids=lambda step: step["_target_"],
)
@pytest.mark.parametrize("shape", [(61, 73), (55, 66, 3)], ids=str)
def test_what_resamples_comes_back_close(
    tmp_path: Path, write_nifti: Write, shape: tuple[int, ...], step: Entry
) -> None:
    files = write_case(tmp_path, write_nifti, shape)
    found = image_there_and_back(chain_of(step), files, write_nifti)
    assert found.shape == reference(files).shape
    assert min(dice(found, reference(files))) > 0.97
    # torch's nearest neighbour takes the pixel at or before the place: labels are moved by up to half a pixel.
    assert min(dice(there_and_back(chain_of(step), files), reference(files))) > 0.9


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize("shape", [(256, 128), (256, 144), (181, 97), (290, 150), (130, 70, 2)], ids=str)
def test_the_shipped_chains(tmp_path: Path, write_nifti: Write, path: Path, shape: tuple[int, ...]) -> None:
    files = write_case(tmp_path, write_nifti, shape)
    wanted = reference(files)
    masks = there_and_back(shipped(path), files)
    if path.stem == "pad":
        np.testing.assert_array_equal(masks, wanted)  # the ellipse lies within what is kept
    assert min(dice(image_there_and_back(shipped(path), files, write_nifti), wanted)) > 0.97
    assert min(dice(masks, wanted)) > 0.95
    sample = PrepareChain(shipped(path), ReadOptions())(files)
    assert set(sample["label"].unique().tolist()) == {0, 1, 2}
    assert sample["image"].dtype == torch.float32
    assert sample["image"].shape == (sample["label"].shape[0], 1, *sample["label"].shape[1:])


def test_an_intensity_is_normalised_over_the_whole_volume(tmp_path: Path, write_nifti: Write) -> None:
    volume = np.stack([np.zeros((5, 4)), np.full((5, 4), 8.0)], -1).astype(np.float32)
    mask = np.zeros(volume.shape, np.uint8)
    files = {"image": write_nifti(tmp_path / "i.nii", volume), "label": write_nifti(tmp_path / "l.nii", mask)}
    sample = PrepareChain(chain_of({"_target_": "NormalizeIntensityd", "keys": "image"}), ReadOptions())(files)
    assert sample["image"][0].unique().tolist() == [-1]  # mean 4, standard deviation 4
    assert sample["image"][1].unique().tolist() == [1]


def test_the_axis_of_the_config_is_cut(tmp_path: Path, write_nifti: Write) -> None:
    files = write_case(tmp_path, write_nifti, (6, 7, 3))
    sample = PrepareChain(chain_of(), ReadOptions(axis=0))(files)
    assert (tuple(sample["image"].shape), tuple(sample["label"].shape)) == ((6, 1, 7, 3), (6, 7, 3))
    assert sample["image"].meta["slice_axis"] == 0


def test_a_prediction_needs_no_label_and_gives_the_same_image(tmp_path: Path, write_nifti: Write) -> None:
    files = write_case(tmp_path, write_nifti, (20, 30))
    for path in SHIPPED:
        with_label = PrepareChain(shipped(path), ReadOptions())(files)
        alone = PrepareChain(shipped(path), ReadOptions(), keys=("image",))({"image": files["image"]})
        assert set(alone) == {"image"}
        assert torch.equal(alone["image"].as_tensor(), with_label["image"].as_tensor())


def test_nothing_but_the_keys_comes_out(tmp_path: Path, write_nifti: Write) -> None:
    files = write_case(tmp_path, write_nifti, (20, 30))
    chain = [entry("LoadImaged", image_only=False), *chain_of()[1:]]
    assert set(PrepareChain(chain, ReadOptions())(files)) == {"image", "label"}


def test_values_that_went_through_the_way_back_lose_the_trace(tmp_path: Path, write_nifti: Write) -> None:
    files = write_case(tmp_path, write_nifti, (20, 30))
    chain = PrepareChain(chain_of(entry("Flipd")), ReadOptions())
    prepared = chain(files)["image"]
    before = [dict(step) for step in prepared.applied_operations]
    back = chain.invert(torch.rand(5, 20, 30), prepared)
    assert type(back) is torch.Tensor
    assert len(prepared.applied_operations) == len(before), "the trace is used again for the next slices"


def test_a_chain_takes_back_only_its_own(tmp_path: Path, write_nifti: Write) -> None:
    files = write_case(tmp_path, write_nifti, (20, 30))
    entries = chain_of(entry("Flipd"))
    own = PrepareChain(entries, ReadOptions())
    prepared = own(files)["image"]
    assert own.invert(prepared.as_tensor()[:, 0], prepared).shape == (1, 20, 30)
    with pytest.raises(ChainError, match="these steps cannot be inverted: Flip"):
        PrepareChain(entries, ReadOptions()).invert(prepared.as_tensor()[:, 0], prepared)
    with pytest.raises(ChainError, match="lost its trace"):
        PrepareChain(entries, ReadOptions()).invert(prepared.as_tensor(), prepared.as_tensor())


def test_a_step_that_cannot_be_inverted_is_refused() -> None:
    warp = entry("GridDistortiond", num_cells=2, distort_steps=[[1.2] * 3, [1.1] * 3], **NEAREST)
    with pytest.raises(ChainError, match=r"prepare\.2: GridDistortiond cannot be inverted"):
        PrepareChain(chain_of(warp), ReadOptions())


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (entry("EnsureTyped", track_meta=False), "drops the trace of what it did to the image"),
        (entry("EnsureTyped", data_type="numpy"), "drops the trace of what it did to the image"),
        (entry("SobelGradientsd", keys="image"), r"makes \(2, 20, 30\) of the image's 1 slices"),
        (entry("Flipd", keys="nothing"), None),
        (
            entry("SpatialPadd", keys="image", spatial_size=[40, 40]),
            r"different shapes: \[\(1, 20, 30\), \(1, 40, 40\)",
        ),
        (entry("Resized", spatial_size=[4], **NEAREST), "failed at Resized: "),
        (entry("Resized", spatial_size=[4, 4, 4], **NEAREST), r"makes \(1, 4, 4, 4\) of the image's 1 slices"),
        (entry("NormalizeIntensityd", keys="image", subtrahend=[1, 2], channel_wise=True), "failed at NormalizeInt"),
    ],
    ids=lambda value: value["_target_"] if isinstance(value, dict) else "",
)
def test_a_chain_that_fails_names_the_case(tmp_path: Path, write_nifti: Write, step: Entry, told: str | None) -> None:
    files = write_case(tmp_path, write_nifti, (20, 30))
    chain = PrepareChain(chain_of(step), ReadOptions())
    if told is None:
        assert chain(files)["image"].shape == (1, 1, 20, 30)
        return
    with pytest.raises(ChainError, match=told) as caught:
        chain(files)
    assert caught.value.where == files["image"]


def test_image_and_label_of_different_shapes(tmp_path: Path, write_nifti: Write) -> None:
    files = write_case(tmp_path, write_nifti, (20, 30), np.zeros((20, 29), np.uint8))
    with pytest.raises(ChainError, match="different shapes"):
        PrepareChain(chain_of(), ReadOptions())(files)


def test_a_bad_file_is_told_as_a_bad_file(tmp_path: Path, write_nifti: Write) -> None:
    files = write_case(tmp_path, write_nifti, (20, 30))
    Path(files["label"]).write_bytes(b"")
    with pytest.raises(ImageFileError, match="an empty file") as caught:
        PrepareChain(chain_of(), ReadOptions())(files)
    assert caught.value.where == files["label"]


def test_a_sample_without_its_label() -> None:
    with pytest.raises(ChainError, match=r"a\.nii: the sample has no label"):
        PrepareChain(chain_of(), ReadOptions())({"image": "a.nii"})


def test_parameters_that_the_library_refuses() -> None:
    with pytest.raises(ChainError, match=r"transforms\.prepare\.2: Flipd refuses its parameters: .*wrong") as caught:
        PrepareChain(chain_of(entry("Flipd", wrong=1)), ReadOptions())
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(ChainError, match="LoadImaged refuses its parameters"):
        PrepareChain([entry("LoadImaged", meta_key_postfix=5)], ReadOptions())


def test_own_refusals_get_their_place() -> None:
    with pytest.raises(ChainError, match=r"^transforms\.prepare\.2: SkimageResized: spatial_size"):
        PrepareChain(chain_of(entry("SkimageResized", spatial_size=[4])), ReadOptions())


@pytest.mark.parametrize("name", ["Lambdad", "os.system", "SaveImaged", "compose.Compose", "", "TorchVisiond"])
def test_only_allowed_names_are_built(name: str) -> None:
    with pytest.raises(ChainError, match="unknown transform"):
        build_transform({"_target_": name, "keys": "image"})


def test_names_with_and_without_their_module() -> None:
    assert type(build_transform({"_target_": "monai.transforms.Flipd", "keys": "image"})).__name__ == "Flipd"
    assert type(build_transform({"_target_": "Flipd", "keys": "image"})).__name__ == "Flipd"


def test_the_prepared_tensors_carry_what_the_way_back_needs(tmp_path: Path, write_nifti: Write) -> None:
    sample = PrepareChain(chain_of(entry("Flipd")), ReadOptions())(write_case(tmp_path, write_nifti, (9, 8, 2)))
    for key in ("image", "label"):
        assert isinstance(sample[key], MetaTensor)
        assert [step["class"] for step in sample[key].applied_operations] == ["Flip"]
        assert sample[key].meta["slices"] == 2


@pytest.mark.parametrize("axis", [None, 0])
def test_volumes_of_any_orientation_are_prepared_alike(tmp_path: Path, axis: int | None) -> None:
    generator = np.random.default_rng(3)
    anatomy = nib.Nifti1Image(generator.normal(size=(5, 6, 4)).astype(np.float32), np.diag([1.0, 1, 2, 1]))
    mask = nib.Nifti1Image(generator.integers(0, CLASSES, (5, 6, 4)).astype(np.uint8), anatomy.affine)
    chain = PrepareChain(chain_of(entry("Resized", spatial_size=[9, 7], **NEAREST)), ReadOptions(axis=axis))
    prepared = []
    for codes in ("RAS", "LPS", "PIR", "SAL", "IRP"):
        files = {"image": str(tmp_path / f"i_{codes}.nii.gz"), "label": str(tmp_path / f"l_{codes}.nii.gz")}
        nib.save(anatomy.as_reoriented(turn_to(codes)), files["image"])
        nib.save(mask.as_reoriented(turn_to(codes)), files["label"])
        prepared.append(chain(files))
    for sample in prepared[1:]:
        assert torch.equal(sample["image"].as_tensor(), prepared[0]["image"].as_tensor())
        assert torch.equal(sample["label"].as_tensor(), prepared[0]["label"].as_tensor())
    files["label"] = str(tmp_path / "l_RAS.nii.gz")
    with pytest.raises(ChainError, match="turned or cut differently"):
        chain(files)


def turn_to(codes: str) -> np.ndarray:
    ras = nib.orientations.axcodes2ornt("RAS")
    turn: np.ndarray = nib.orientations.ornt_transform(ras, nib.orientations.axcodes2ornt(codes))
    return turn


def write_channels(folder: Path, shape: tuple[int, ...], count: int = 3) -> tuple[list[str], str, str]:
    """The channels of an image as files, as one file, and a label."""
    values = np.random.default_rng(1).normal(size=(*shape, count)) * 10.0 ** np.arange(count) + np.arange(count)
    affine = np.diag([1.0, 1, 2, 1])
    paths = [str(folder / f"c{number}.nii.gz") for number in range(count)]
    for number, path in enumerate(paths):
        nib.save(nib.Nifti1Image(values[..., number].astype(np.float32), affine), path)
    whole = values.astype(np.float32).reshape(*shape, *[1] * (3 - len(shape)), count)
    nib.save(nib.Nifti1Image(whole, affine), folder / "whole.nii.gz")
    nib.save(nib.Nifti1Image(smooth_mask(shape), affine), folder / "l.nii.gz")
    return paths, str(folder / "whole.nii.gz"), str(folder / "l.nii.gz")


@pytest.mark.parametrize("shape", [(20, 30), (9, 8, 4)], ids=str)
def test_each_channel_goes_through_the_chain_by_itself(tmp_path: Path, shape: tuple[int, ...]) -> None:
    paths, whole, label = write_channels(tmp_path, shape)
    entries = chain_of(entry("Resized", spatial_size=[16, 12], **NEAREST), entry("NormalizeIntensityd", keys="image"))
    single = PrepareChain(entries, ReadOptions())
    wanted = [single({"image": path, "label": label}) for path in paths]

    of_files = single({"image": paths, "label": label})
    of_one_file = PrepareChain(entries, ReadOptions(channels=3))({"image": whole, "label": label})

    slices = 1 if len(shape) == 2 else shape[2]
    for sample in (of_files, of_one_file):
        assert sample["image"].shape == (slices, 3, 16, 12)
        assert sample["label"].shape == (slices, 16, 12)
        assert torch.equal(sample["label"].as_tensor(), wanted[0]["label"].as_tensor())
        for number, one in enumerate(wanted):
            assert torch.equal(sample["image"].as_tensor()[:, number], one["image"].as_tensor()[:, 0])
            assert float(one["image"].mean()) == pytest.approx(0, abs=1e-5), "normalised by its own mean"
        back = single.invert(sample["image"].as_tensor()[:, 1], wanted[1]["image"])
        assert back.shape == (slices, *shape[:2])
    chain = PrepareChain(entries, ReadOptions(channels=3), keys=("image",))
    values = torch.rand(2, 16, 12)
    prepared = chain({"image": whole})["image"]
    assert torch.equal(chain.invert(values, prepared), single_back(entries, values, paths[0]))


def single_back(entries: list[Entry], values: torch.Tensor, path: str) -> torch.Tensor:
    chain = PrepareChain(entries, ReadOptions(), keys=("image",))
    return chain.invert(values, chain({"image": path})["image"])


def test_a_file_of_several_channels_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, whole, _ = write_channels(tmp_path, (9, 8, 4))
    read: list[str] = []

    def counting(where: str, max_voxels: int) -> Any:
        read.append(where)
        return read_checked(where, max_voxels)

    monkeypatch.setattr("transforms.nifti.read_checked", counting)
    PrepareChain(chain_of(), ReadOptions(channels=3), keys=("image",))({"image": whole})
    assert read == [whole]


def test_a_crop_to_the_foreground_of_each_channel_is_refused(tmp_path: Path) -> None:
    paths, whole, _ = write_channels(tmp_path, (9, 8, 4))
    step = entry("CropForegroundd", source_key="image")
    for options, image in ((ReadOptions(), paths), (ReadOptions(channels=3), whole)):
        with pytest.raises(ChainError, match="CropForegroundd would cut each channel") as caught:
            PrepareChain(chain_of(step), options, keys=("image",))({"image": image})
        assert caught.value.where == "transforms.prepare"
    assert PrepareChain(chain_of(step), ReadOptions(), keys=("image",))({"image": paths[:1]})["image"].shape[1] == 1


def test_a_channel_that_fails_is_named(tmp_path: Path) -> None:
    paths, _, label = write_channels(tmp_path, (9, 8, 4))
    Path(paths[2]).write_bytes(b"")
    with pytest.raises(ImageFileError, match="an empty file") as caught:
        PrepareChain(chain_of(), ReadOptions())({"image": paths, "label": label})
    assert caught.value.where == paths[2]


def test_a_trace_shows_every_step(tmp_path: Path, write_nifti: Write) -> None:
    files = write_case(tmp_path, write_nifti, (20, 30))
    steps = [entry("Flipd", spatial_axis=0), entry("NormalizeIntensityd", keys="image")]
    for chain in (
        PrepareChain(chain_of(*steps), ReadOptions()),
        PrepareChain(chain_of({**steps[0], "lazy": True}, steps[1]), ReadOptions()),
    ):
        traced = list(chain.traced(files))
        assert [name for name, _, _ in traced] == [
            "LoadImaged", "EnsureChannelFirstd", "Flipd", "NormalizeIntensityd", "ToTensord"
        ]  # fmt: skip
        assert [tuple(sample["image"].shape) for _, sample, _ in traced] == [(20, 30)] + 4 * [(1, 20, 30)]
        assert torch.equal(traced[2][1]["image"], traced[1][1]["image"].flip(1))
        assert torch.equal(traced[-1][1]["image"].as_tensor(), chain(files)["image"].as_tensor()[:, 0])
        assert all(seconds > 0 for _, _, seconds in traced)
    _, whole, label = write_channels(tmp_path, (20, 30))
    last = list(PrepareChain(chain_of(*steps), ReadOptions(channels=3)).traced({"image": whole, "label": label}))[-1]
    assert last[1]["image"].shape == (1, 20, 30)
    with pytest.raises(ChainError, match="failed at Resized"):
        list(PrepareChain(chain_of(entry("Resized", spatial_size=[4], **NEAREST)), ReadOptions()).traced(files))
