"""Volumes in two folders: named by patient and week, with an affine that says which way each axis runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.data.phantom.folder import read_phantom_marker
from pipeline.data.phantom.specs import PhantomSpec, VolumeSpec
from pipeline.data.phantom.volumes import write_volumes
from pipeline.data.phantom.writing import scan_volume, write_phantom
from pipeline.errors import ConfigError, DataError

SMALL = VolumeSpec(patients=1, weeks=2, slices=4, seed=5)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("volumes") / "small"
    write_volumes(root, SMALL)
    return root


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_folders_hold_one_pair_a_scan(small: Path) -> None:
    names = {"p001_week0.nii.gz", "p001_week1.nii.gz"}
    assert {path.name for path in small.iterdir()} == {"images", "labels", "PHANTOM.json", "README.txt"}
    assert {path.name for path in (small / "images").iterdir()} == names
    assert {path.name for path in (small / "labels").iterdir()} == names
    marker = read_phantom_marker(small)
    assert marker is not None
    assert marker["spec"] == {"patients": 1, "weeks": 2, "slices": 4, "seed": 5}
    assert "HipMRI" not in (small / "README.txt").read_text()


def test_a_volume_is_each_fifteenth_slice_of_the_scan(small: Path) -> None:
    image, mask, _ = scan_volume(1, 1, 5)
    for folder, wanted, kind in (("images", image, "int16"), ("labels", mask, "uint8")):
        found = nib.Nifti1Image.from_filename(small / folder / "p001_week1.nii.gz")
        assert found.get_data_dtype() == kind
        np.testing.assert_array_equal(np.asarray(found.dataobj), wanted[:, :, [0, 15, 30, 45]])


def test_the_affine_tells_the_axes_and_the_distances(small: Path) -> None:
    found = nib.Nifti1Image.from_filename(small / "images" / "p001_week0.nii.gz")
    assert nib.orientations.aff2axcodes(found.affine) == ("R", "S", "A")
    np.testing.assert_allclose(found.header.get_zooms(), (1.68, 1.56, 15 * 1.70), rtol=1e-6)
    np.testing.assert_allclose(found.get_qform(), found.affine, atol=1e-4)
    middle = (np.array(found.shape) - 1) / 2
    np.testing.assert_allclose(nib.affines.apply_affine(found.affine, middle), 0, atol=1e-4)
    label = nib.Nifti1Image.from_filename(small / "labels" / "p001_week0.nii.gz")
    np.testing.assert_array_equal(found.affine, label.affine)


def test_the_same_spec_gives_the_same_bytes_with_any_number_of_workers(small: Path, tmp_path: Path) -> None:
    write_volumes(tmp_path / "again", SMALL, workers=2)
    assert digests(tmp_path / "again") == digests(small)


def test_the_two_kinds_of_phantom_do_not_replace_each_other(small: Path) -> None:
    before = digests(small)
    write_volumes(small, SMALL)
    with pytest.raises(DataError, match="other settings"):
        write_volumes(small, VolumeSpec(patients=2, weeks=2, slices=4, seed=5))
    with pytest.raises(DataError, match="other settings"):
        write_phantom(small, PhantomSpec(train=1, validate=1, test=1, weeks=2, slices=4, seed=5))
    assert digests(small) == before


@pytest.mark.parametrize(
    ("name", "value"), [("patients", 0), ("patients", 1000), ("weeks", 0), ("slices", 61), ("slices", 7), ("seed", -1)]
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"\b{name} is {value}\b"):
        VolumeSpec(**{name: value})


def test_scans_are_counted() -> None:
    assert VolumeSpec(patients=3, weeks=2).scans == 6
    assert PhantomSpec(train=3, validate=2, test=1, weeks=2).scans == 12
