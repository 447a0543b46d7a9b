from __future__ import annotations

import functools
import gzip
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from pipeline.data.phantom import writing as phantom
from pipeline.data.phantom.writing import PhantomSpec, read_phantom_marker, scan_volume, write_phantom
from pipeline.errors import ConfigError, DataError, RunError

SMALL = PhantomSpec(train=3, validate=1, test=1, weeks=1, slices=3, seed=5)
NAME = re.compile(r"(case|seg)_(\d+)_week_(\d+)_slice_(\d+)\.nii\.gz")
FOLDERS = {f"keras_slices_{kind}{split}" for kind in ("", "seg_") for split in ("train", "validate", "test")}
BONE, BLADDER, RECTUM, PROSTATE = 2, 3, 4, 5


@functools.cache
def scan(patient: int, week: int = 0) -> tuple[np.ndarray, np.ndarray]:
    image, mask, _ = scan_volume(patient, week, 0)
    image.flags.writeable = mask.flags.writeable = False
    return image, mask


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom") / "small"
    write_phantom(root, SMALL)
    return root


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def numbers(path: Path) -> tuple[str, str, str, str]:
    found = NAME.fullmatch(path.name)
    assert found, path
    kind, patient, week, number = found.groups()
    return kind, patient, week, number


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def best_interval_dice(values: np.ndarray, wanted: np.ndarray, steps: int = 64) -> float:
    """The best Dice of any [low, high) between two of `steps` quantiles, all pairs tried."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, steps + 1)))
    edges[-1] += 1
    inside = np.concatenate([[0], np.cumsum(np.histogram(values, edges)[0])])
    hits = np.concatenate([[0], np.cumsum(np.histogram(values[wanted], edges)[0])])
    low, high = np.triu_indices(len(edges), 1)
    return float(np.max(2 * (hits[high] - hits[low]) / (inside[high] - inside[low] + np.count_nonzero(wanted))))


# ---------------------------------------------------------------- what a scan looks like


def test_a_scan_has_the_shape_type_and_range_of_the_real_ones() -> None:
    image, mask, spacing_mm = scan_volume(4, 0, 0)
    assert image.shape == mask.shape == (256, 128, 60)
    assert (image.dtype.name, mask.dtype.name) == ("float32", "uint8")
    assert spacing_mm == pytest.approx((1.68, 1.56, 1.70))
    assert np.isfinite(image).all()
    assert image.min() >= 0
    assert np.percentile(image, 99.5) == pytest.approx(295, abs=25)
    assert 45 < image.mean() < 95  # 63 in HipMRI
    assert set(np.unique(mask)) == set(range(6))


# Voxels in % and share of the slices that contain the class, as in HipMRI; a phantom must be within a factor of 2.
HIPMRI = [(60.35, 1), (35.46, 1), (3.37, 1), (0.57, 401 / 540), (0.14, 220 / 540), (0.10, 195 / 540)]


@pytest.mark.parametrize("patients", [range(4, 8), range(8, 12)])  # a small dataset is near, too
def test_classes_are_as_rare_as_in_hipmri(patients: range) -> None:
    masks = np.concatenate([scan(patient)[1][:, :, ::3] for patient in patients], axis=2)
    for label, (percent, presence) in enumerate(HIPMRI):
        found = masks == label
        assert 0.5 < 100 * found.mean() / percent < 2, label
        assert 0.5 < found.any(axis=(0, 1)).mean() / presence < 2, label


def test_no_patient_is_without_an_organ() -> None:
    for patient in range(4, 12):
        counts = np.bincount(scan(patient)[1].ravel(), minlength=6)
        assert (counts > 300).all(), patient


def test_the_anatomy_stands_upright() -> None:
    # (LR, SI, AP): the bladder lies above the prostate, the prostate before the rectum, both near the midline
    for patient in range(4, 8):
        mask = scan(patient)[1]
        bladder, rectum, prostate = (np.argwhere(mask == k).mean(axis=0) for k in (BLADDER, RECTUM, PROSTATE))
        assert bladder[1] > prostate[1] + 5
        assert prostate[2] > rectum[2] + 5
        assert all(abs(centre[0] - 127.5) < 15 for centre in (bladder, rectum, prostate))


def test_background_is_air_around_one_body() -> None:
    image, mask = scan(4)
    assert not mask[[0, -1]].any()  # air at both sides
    assert image[mask == 0].mean() < 0.25 * image[mask > 0].mean()


# Calling all of the body a class that fills the share s of it gives a Dice of 2s / (1 + s): 0.17 for bone, 0.03 for the
# bladder, under 0.01 for rectum and prostate. The bounds leave room for the contrast that real organs have, and none
# for a segmentation: bone and bladder 0.45, rectum and prostate 0.1, and 0.25 for these two in a box around them.
@pytest.mark.parametrize(("label", "bound"), [(BONE, 0.45), (BLADDER, 0.45), (RECTUM, 0.1), (PROSTATE, 0.1)])
@pytest.mark.parametrize("patient", [4, 5, 8])
def test_no_interval_of_intensity_cuts_out_a_class(patient: int, label: int, bound: float) -> None:
    image, mask = scan(patient)
    body = mask > 0
    assert best_interval_dice(image[body], mask[body] == label) < bound


@pytest.mark.parametrize("label", [RECTUM, PROSTATE])
@pytest.mark.parametrize("patient", [4, 5, 8])
def test_no_interval_cuts_out_a_small_organ_even_from_its_neighbourhood(patient: int, label: int) -> None:
    image, mask = scan(patient)
    at = np.argwhere(mask == label)
    box = tuple(slice(max(low - 15, 0), high + 16) for low, high in zip(at.min(axis=0), at.max(axis=0), strict=True))
    body = mask[box] > 0
    assert best_interval_dice(image[box][body], mask[box][body] == label) < 0.25


def test_the_search_over_intervals_finds_a_class_that_can_be_cut_out() -> None:
    values = np.arange(1000.0)
    assert best_interval_dice(values, (values >= 300) & (values < 500)) > 0.95


# ---------------------------------------------------------------- patients and weeks


def test_weeks_of_a_patient_are_alike_but_not_the_same() -> None:
    for label in (1, BONE):
        week = [dice(scan(p, 0)[1] == label, scan(p, 1)[1] == label) for p in (4, 5, 7)]
        other = [dice(scan(p)[1] == label, scan(q)[1] == label) for p, q in ((4, 5), (5, 7), (7, 4))]
        assert np.mean(week) > np.mean(other) + 0.05
        assert max(week) < 0.999
    assert not np.array_equal(scan(4, 0)[0], scan(4, 1)[0])


def test_the_noise_of_two_weeks_is_independent() -> None:
    corner = np.s_[:16, 100:, :]  # air in both
    assert abs(np.corrcoef(scan(4, 0)[0][corner].ravel(), scan(4, 1)[0][corner].ravel())[0, 1]) < 0.05


def test_the_bladder_fills_differently_from_week_to_week() -> None:
    volumes = [np.count_nonzero(scan(4, week)[1] == BLADDER) for week in range(4)]
    assert max(volumes) > 1.15 * min(volumes)
    bones = [np.count_nonzero(scan(4, week)[1] == BONE) for week in range(4)]
    assert max(bones) < 1.15 * min(bones)


def test_another_seed_is_another_patient() -> None:
    assert dice(scan(4)[1] == BONE, scan_volume(4, 0, 1)[1] == BONE) < 0.9


def test_a_tall_scan_shows_more_of_the_same() -> None:
    image, mask = scan(19, 1)  # as case 019 week 1 of HipMRI
    assert image.shape == mask.shape == (256, 144, 60)
    assert (np.bincount(mask.ravel(), minlength=6) > 300).all()


# ---------------------------------------------------------------- the dataset


def test_the_layout_is_that_of_hipmri(small: Path) -> None:
    assert {path.name for path in small.iterdir()} == FOLDERS | {"PHANTOM.json", "README.txt"}
    patients = {}
    for split in ("train", "validate", "test"):
        images = sorted(numbers(path) for path in (small / f"keras_slices_{split}").iterdir())
        masks = sorted(numbers(path) for path in (small / f"keras_slices_seg_{split}").iterdir())
        assert {kind for kind, *_ in images} == {"case"}
        assert [("seg", *rest) for _, *rest in images] == masks
        assert {int(number) for *_, number in images} == {0, 20, 40}
        patients[split] = {patient for _, patient, *_ in images}
    assert patients == {"train": {"004", "005", "006"}, "validate": {"007"}, "test": {"008"}}
    assert len((small / "README.txt").read_text().splitlines()) == 2


def test_slices_keep_their_true_numbers_evenly_spread() -> None:
    assert phantom._slice_numbers(60) == list(range(60))
    assert phantom._slice_numbers(20) == list(range(0, 60, 3))
    assert phantom._slice_numbers(7) == [0, 8, 17, 25, 34, 42, 51]
    assert phantom._slice_numbers(1) == [0]


def test_a_file_is_the_slice_of_its_scan(small: Path) -> None:
    image, mask, spacing_mm = scan_volume(8, 0, SMALL.seed)
    for number in (0, 20, 40):
        case = Nifti1Image.from_filename(small / "keras_slices_test" / f"case_008_week_0_slice_{number}.nii.gz")
        seg = Nifti1Image.from_filename(small / "keras_slices_seg_test" / f"seg_008_week_0_slice_{number}.nii.gz")
        np.testing.assert_array_equal(np.asarray(case.dataobj).reshape(256, 128), image[:, :, number])
        np.testing.assert_array_equal(np.asarray(seg.dataobj).reshape(256, 128), mask[:, :, number])
        assert (case.get_data_dtype().name, seg.get_data_dtype().name) == ("float32", "uint8")
        np.testing.assert_allclose(case.affine, np.diag([*spacing_mm, 1]), rtol=1e-6)
        np.testing.assert_array_equal(case.affine, seg.affine)
        assert case.shape == seg.shape


def test_files_are_whole_gzip_without_a_time(small: Path) -> None:
    path = small / "keras_slices_train" / "case_004_week_0_slice_20.nii.gz"
    stored = path.read_bytes()
    assert stored[4:8] == bytes(4)  # RFC 1952: MTIME
    assert len(gzip.decompress(stored)) == 352 + 256 * 128 * 4
    assert len(stored) < 70_000  # 46 KB in HipMRI


def test_odd_shapes_occur(tmp_path: Path) -> None:
    write_phantom(tmp_path / "odd", PhantomSpec(train=1, validate=1, test=1, weeks=3, slices=6))
    shapes: dict[tuple[int, ...], list[str]] = {}
    for path in (tmp_path / "odd").glob("keras_slices_*/case_*"):
        shapes.setdefault(Nifti1Image.from_filename(path).shape, []).append(path.name)
    assert set(shapes) >= {(256, 128), (256, 128, 1), (256, 144)}
    assert len(shapes[256, 128]) > len(shapes[256, 128, 1])
    tall = {name.split("_slice")[0] for shape in shapes for name in shapes[shape] if shape[1] == 144}
    assert tall == {"case_006_week_2"}


def test_the_same_spec_gives_the_same_bytes_with_any_number_of_workers(small: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "again", SMALL, workers=3)
    assert digests(tmp_path / "again") == digests(small)


def test_a_scan_does_not_depend_on_what_else_is_made(small: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "fewer", PhantomSpec(train=1, validate=1, test=1, weeks=1, slices=1, seed=SMALL.seed))
    inner = "keras_slices_train/case_004_week_0_slice_0.nii.gz"
    assert (tmp_path / "fewer" / inner).read_bytes() == (small / inner).read_bytes()


def test_progress_counts_the_scans(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    spec = PhantomSpec(train=1, validate=1, test=1, weeks=1, slices=1)
    write_phantom(tmp_path / "p", spec, workers=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train", 0), ("validate", 0), ("test", -1), ("weeks", 0), ("slices", 0), ("slices", 61), ("seed", -1),
        ("seed", 2**32), ("train", 901), ("weeks", 1.5), ("slices", True), ("train", "3"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"\b{name} is {re.escape(repr(value))}"):
        PhantomSpec(**{name: value})  # type: ignore[arg-type]


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers"):
        write_phantom(tmp_path / "p", SMALL, workers=0)


def test_the_marker_says_what_it_is(small: Path, tmp_path: Path) -> None:
    marker = read_phantom_marker(small)
    assert marker is not None
    assert marker["format"] == 1
    assert marker["synthetic"] is True
    assert marker["spec"] == {"train": 3, "validate": 1, "test": 1, "weeks": 1, "slices": 3, "seed": 5}
    assert "ynthetic" in marker["note"]
    assert read_phantom_marker(tmp_path) is None
    assert read_phantom_marker(tmp_path / "missing") is None


GOOD = {"format": 1, "synthetic": True, "spec": {}, "note": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "[" * 5000,
        "\x00",
        *(json.dumps(GOOD | change) for change in ({}, {"format": 2}, {"synthetic": 0})),
    ],
    ids=["empty", "cut", "list", "deep", "binary", "no spec", "newer", "not synthetic"],
)
def test_a_damaged_marker_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "PHANTOM.json").write_text(text)
    with pytest.raises(DataError, match=r"PHANTOM\.json"):
        read_phantom_marker(tmp_path)
    with pytest.raises(DataError, match=r"PHANTOM\.json"):
        write_phantom(tmp_path, SMALL)


def test_the_same_phantom_stays_as_it_is(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    write_phantom(small, SMALL)
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_another_phantom_is_not_overwritten(small: Path) -> None:
    before = digests(small)
    with pytest.raises(DataError, match="other settings"):
        write_phantom(small, PhantomSpec(train=3, validate=1, test=1, weeks=1, slices=3, seed=6))
    assert digests(small) == before


def test_other_data_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not a phantom"):
        write_phantom(tmp_path, SMALL)
    with pytest.raises(DataError, match="not a phantom"):
        write_phantom(tmp_path / "mine.txt", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled_and_a_link_followed(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    write_phantom(tmp_path / "link", PhantomSpec(train=1, validate=1, test=1, weeks=1, slices=1))
    assert (tmp_path / "link").is_symlink()
    assert read_phantom_marker(tmp_path / "scratch") is not None
    assert {path.name for path in tmp_path.iterdir()} == {"scratch", "link"}


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_stopped_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: object) -> None:
    def stop(*_: object) -> None:
        raise fault  # type: ignore[misc]

    monkeypatch.setattr(phantom, "write_nifti", stop)
    with pytest.raises(KeyboardInterrupt if fault is KeyboardInterrupt else RunError):
        write_phantom(tmp_path / "deep" / "p", SMALL, workers=2)
    assert list((tmp_path / "deep").iterdir()) == []
