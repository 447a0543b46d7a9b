"""bin/predict: a folder of images to masks on their own grids, with a network that is always right."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from pipeline.commands.predict import main, shard_from
from pipeline.errors import ConfigError

ROOT = Path(__file__).parents[3]
Maker = Callable[..., Path]
RNG = np.random.default_rng(3)
VIEWS = """
extends: folders.yaml
name: views
data: {images: images, labels: labels, classes: [background, a, b], views: [sagittal, axial], context: 1}
splits: {kind: holdout, validation: 0.17, test: 0.34}
network: {channels: [4, 8], deep_supervision: 1}
"""
SHAPES = {"p1_v": (7, 9, 5), "p2_v": (6, 8, 4), "p3_flat": (9, 13), "p4_thin": (8, 7, 1)}


def write(path: Path, reference: np.ndarray, spacing: tuple[float, ...] = (1.5, 0.5, 3.0), turn: str = "RAS") -> Path:
    """An image whose intensities, rounded, are the classes; stored in some orientation, with codes of its own."""
    image = nib.Nifti1Image(
        (reference + RNG.uniform(-0.3, 0.3, reference.shape)).astype(np.float32), np.diag([*spacing, 1.0])
    )
    if reference.ndim == 3 and reference.shape[2] > 1:
        ornt = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(turn))
        image = image.as_reoriented(ornt)
    image.set_sform(image.affine, code=4)
    path.parent.mkdir(exist_ok=True)
    nib.save(image, path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> dict[str, np.ndarray]:
    """A folder `images` of volumes and slices of several sizes and orientations; gives the classes of each."""
    found = {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        reference = RNG.integers(0, 3, shape)
        turn = ("RAS", "LIP")[number % 2]
        path = write(tmp_path / "images" / f"{name}.nii.gz", reference, (1.0 + number, 0.5, 2.0), turn)
        image: Any = nib.load(path)
        found[name] = image.get_fdata().round().astype(np.uint8)
    return found


@pytest.fixture
def predict(tmp_path: Path) -> Callable[..., int]:
    """``bin/predict`` in this process, on `images` to `out`, on the CPU."""

    def run(*arguments: object, out: str = "out") -> int:
        folders = ["--images", f"{tmp_path / 'images'}", "--out", f"{tmp_path / out}", "--device", "cpu"]
        return main([*folders, *map(str, arguments)])

    return run


def loaded(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asanyarray(image.dataobj)


def check(tmp_path: Path, images: dict[str, np.ndarray], out: str = "out") -> None:
    """Every mask is what its image shows, on the image's grid."""
    assert {path.name for path in (tmp_path / out).glob("*.nii.gz")} == {f"{name}.nii.gz" for name in images}
    for name, reference in images.items():
        mask: Any = nib.load(tmp_path / out / f"{name}.nii.gz")
        image: Any = nib.load(tmp_path / "images" / f"{name}.nii.gz")
        np.testing.assert_array_equal(np.asanyarray(mask.dataobj), reference)
        np.testing.assert_array_equal(mask.affine, image.affine)
        assert mask.get_data_dtype() == np.uint8
        assert (mask.header["sform_code"], mask.header["qform_code"]) == (4, image.header["qform_code"])


def failures(tmp_path: Path, out: str = "out") -> list[dict[str, str]]:
    with (tmp_path / out / "failures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_has_its_mask(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = make_run()
    assert predict("--run", run) == 0
    check(tmp_path, images)
    said = capsys.readouterr()
    slices = sum(1 if len(shape) == 2 or shape[2] == 1 else shape[2] for shape in SHAPES.values())
    assert f"predicted 4 cases ({slices} slices) in" in said.err
    assert not (tmp_path / "out/failures.csv").exists()
    source = json.loads((tmp_path / "out/provenance.json").read_text())
    assert source["dataset"]["runs"] == [str(run)]
    assert (source["dataset"]["cases"], source["dataset"]["failed"]) == (4, 0)


def test_a_run_of_the_pipeline_predicts_its_test_cases_again(
    run_pipeline: Callable[..., int], project: Path, phantom: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(phantom, data)
    run = tmp_path / "run"
    assert run_pipeline(project / "configs/hipmri.yaml", "--set", f"data.root={data}", "--out", run) == 0
    assert json.loads((run / "model.json").read_text())["volumes"] is False
    images = tmp_path / "images"
    shutil.copytree(data / "keras_slices_test", images)
    shutil.rmtree(data)
    assert main(["--run", f"{run}", "--images", f"{images}", "--out", f"{tmp_path / 'out'}", "--device", "cpu"]) == 0
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.nii.gz")}
    assert found == {path.name: path.read_bytes() for path in (run / "predictions").glob("*.nii.gz")}
    assert len(found) == 8


@pytest.mark.parametrize(("cache", "mirrored"), [("ram", "true"), ("disk", "false"), ("disk", "true")])
def test_a_run_of_several_views_predicts_its_test_cases_again(
    run_pipeline: Callable[..., int], project: Path, tmp_path: Path, cache: str, mirrored: str
) -> None:
    labels = {f"p{number}": RNG.integers(0, 3, (8, 7, 6)) for number in range(6)}
    for number, (name, label) in enumerate(labels.items()):
        turn = ("RAS", "LIP", "PSR")[number % 3]
        image = nib.load(write(tmp_path / "images" / f"{name}.nii.gz", label, turn=turn))
        mask = nib.Nifti1Image(image.get_fdata().round().clip(0, 2).astype(np.uint8), image.affine)  # type: ignore[attr-defined]
        (tmp_path / "labels").mkdir(exist_ok=True)
        nib.save(mask, tmp_path / "labels" / f"{name}.nii.gz")
    (project / "configs/views.yaml").write_text(VIEWS, encoding="utf-8")
    run = tmp_path / "run"
    chosen = ("--set", f"data.cache={cache}", "--set", f"data.mirrored={mirrored}")
    assert run_pipeline(project / "configs/views.yaml", *chosen, "--out", run) == 0
    log = (run / "log.txt").read_text()
    # Two views of 8 x 7 x 6 voxels in RAS, sagittal (8) and axial (6), of the 3 training and 1 validation cases.
    assert f"prepared {4 * (8 + 6) * (2 if mirrored == 'true' else 1)} slices" in log
    tested = sorted((run / "predictions").glob("*.nii.gz"))
    assert len(tested) == 2
    own = tmp_path / "own"
    own.mkdir()
    for path in tested:
        shutil.copy(tmp_path / "images" / path.name, own)
    shutil.rmtree(tmp_path / "images")
    shutil.rmtree(tmp_path / "labels")
    assert main(["--run", f"{run}", "--images", f"{own}", "--out", f"{tmp_path / 'out'}", "--device", "cpu"]) == 0
    for path in tested:
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_the_weights_are_those_of_the_checkpoint(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path
) -> None:
    assert predict("--run", make_run(move=1.0)) == 0
    check(tmp_path, {name: (reference + 1) % 3 for name, reference in images.items()})


def test_nothing_is_predicted_twice(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = make_run()
    assert predict("--run", run) == 0
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.nii.gz")}
    assert predict("--run", run) == 0
    assert "predicted 0 cases; 4 had been predicted before" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in times} == times
    reference = RNG.integers(0, 3, (5, 4))
    write(tmp_path / "images/p3_flat.nii.gz", reference)
    (tmp_path / "out/p1_v.nii.gz").unlink()
    assert predict("--run", run) == 0
    assert "predicted 2 cases (6 slices)" in capsys.readouterr().err
    check(tmp_path, images | {"p3_flat": reference})


def test_another_models_masks_are_not_replaced_unasked(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert predict("--run", make_run()) == 0
    other = make_run("other", move=1.0)
    assert predict("--run", other) == 2
    assert "4 masks are there already of another model" in capsys.readouterr().err
    check(tmp_path, images)
    assert predict("--run", other, "--replace") == 0
    check(tmp_path, {name: (reference + 1) % 3 for name, reference in images.items()})


def test_files_that_nobody_knows_are_not_replaced(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copytree(tmp_path / "images", tmp_path / "out")
    before = (tmp_path / "out/p1_v.nii.gz").read_bytes()
    assert predict("--run", make_run()) == 2
    assert "no record of this program names" in capsys.readouterr().err
    assert predict("--run", make_run("again"), out="images") == 2
    assert "would replace the images" in capsys.readouterr().err
    assert (tmp_path / "out/p1_v.nii.gz").read_bytes() == before


def test_broken_files_are_listed_and_the_rest_goes_on(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = make_run()
    good = (tmp_path / "images/p1_v.nii.gz").read_bytes()
    (tmp_path / "images/p1_v.nii.gz").write_bytes(good[:-30])
    (tmp_path / "images/empty.nii").touch()
    assert predict("--run", run) == 2
    check(tmp_path, {name: images[name] for name in images if name != "p1_v"})
    assert sorted((row["case"], row["what"]) for row in failures(tmp_path)) == [
        ("empty", "an empty file"), ("p1_v", "the gzip stream is damaged or cut off (it has no end)"),
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "predicted 3 cases" in said
    assert "2 could not be predicted" in said
    assert "Traceback" not in said
    (tmp_path / "images/p1_v.nii.gz").write_bytes(good)
    (tmp_path / "images/empty.nii").unlink()
    assert predict("--run", run) == 0
    check(tmp_path, images)
    assert not (tmp_path / "out/failures.csv").exists()


def test_shards_share_a_folder(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = make_run()
    (tmp_path / "images/p2_v.nii.gz").write_bytes(b"no image")
    assert predict("--run", run, "--shard", "0/2") == 0
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 2
    assert predict("--run", run, "--shard", "1/2") == 2
    assert [row["case"] for row in failures(tmp_path)] == ["p2_v"]
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert predict("--run", run) == 2, "what another process could not predict is told by all"
    assert "2 had been predicted before" in capsys.readouterr().err
    check(tmp_path, {name: images[name] for name in images if name != "p2_v"})


def test_processes_of_torchrun_share_a_folder_by_themselves(
    make_run: Maker, predict: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = {f"v{number}": RNG.integers(0, 3, (5, 6, 2 + number)) for number in range(7)}
    for name, reference in references.items():
        write(tmp_path / f"images/{name}.nii.gz", reference)
    run, found = make_run(), []
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank in range(3):
        monkeypatch.setenv("RANK", f"{rank}")
        monkeypatch.setenv("LOCAL_RANK", f"{rank}")
        before = set((tmp_path / "out").glob("*.nii.gz"))
        assert predict("--run", run) == 0
        found.append(sorted(path.name[:2] for path in set((tmp_path / "out").glob("*.nii.gz")) - before))
    assert found == [["v0", "v3", "v6"], ["v1", "v4"], ["v2", "v5"]]
    check(tmp_path, references)


def test_the_model_is_loaded_once_whatever_happens_to_the_cases(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from pipeline.commands import predicting

    seen: list[Path] = []
    load = predicting.load_checkpoint

    def noting(path: Path) -> dict[str, Any]:
        seen.append(path)
        return load(path)

    monkeypatch.setattr(predicting, "load_checkpoint", noting)
    for number in (1, 3, 5):
        (tmp_path / f"images/p{number}_broken.nii.gz").write_bytes(b"no image")
    runs = [make_run(), make_run("other")]
    assert predict("--run", runs[0], "--run", runs[1]) == 2
    assert len(failures(tmp_path)) == 3
    check(tmp_path, images)
    assert seen == [run / "checkpoints/best.pt" for run in runs]


@pytest.mark.parametrize(
    ("text", "found"), [("0/1", (0, 1)), ("3/4", (3, 4)), ("4/4", None), ("-1/4", None), ("1", None), ("0/0", None)]
)
def test_parts(text: str, found: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "6")
    assert shard_from(None) == (5, 6)
    if found is None:
        with pytest.raises(ConfigError, match="got"):
            shard_from(text)
    else:
        assert shard_from(text) == found
    monkeypatch.delenv("RANK")
    assert shard_from(None) == (0, 1)


def test_a_volume_for_a_run_on_slices(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path
) -> None:
    run = make_run(volumes=False, axis=None)
    assert predict("--run", run) == 2
    assert {row["case"] for row in failures(tmp_path)} == {"p1_v", "p2_v"}
    assert "--axis coronal" in failures(tmp_path)[0]["remedy"]
    check(tmp_path, {name: images[name] for name in ("p3_flat", "p4_thin")})
    assert predict("--run", run, "--axis", "coronal", "--replace") == 0
    check(tmp_path, images)


def test_volumes_are_cut_along_the_runs_plane(make_run: Maker, predict: Callable[..., int], tmp_path: Path) -> None:
    # The network sees the next slice: the mask is the image moved by one along the axis of the cut, the end repeated.
    reference = RNG.integers(0, 3, (4, 5, 6))
    write(tmp_path / "images/p1.nii.gz", reference, (1.0, 1.0, 9.0))
    assert predict("--run", make_run(axis=1, step=1, data={"context": 1})) == 0
    np.testing.assert_array_equal(loaded(tmp_path / "out/p1.nii.gz"), reference[:, [1, 2, 3, 4, 4]])
    assert predict("--run", make_run("other", axis=0), "--axis", "2", out="other") == 2


def test_neighbours_come_from_the_names(
    make_run: Maker, predict: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = {number: RNG.integers(0, 3, (6, 5)) for number in (2, 10, 9)}
    for number, reference in slices.items():
        write(tmp_path / f"images/p1_wk_{number}.nii.gz", reference)
    write(tmp_path / "images/p2_wk_11.nii.gz", 2 - slices[10])  # of another patient: no neighbour of slice 10
    run = make_run(step=1, volumes=False, axis=None, data={"context": 1})
    assert predict("--run", run) == 2
    assert "2D slice, and the run looks at its neighbours" in failures(tmp_path)[0]["what"]
    assert predict("--run", run, "--scan", "_(wk)_") == 0
    for number, following in ((2, 9), (9, 10), (10, 10)):
        np.testing.assert_array_equal(loaded(tmp_path / f"out/p1_wk_{number}.nii.gz"), slices[following])


def test_channels_of_files_and_of_one_file(make_run: Maker, predict: Callable[..., int], tmp_path: Path) -> None:
    reference = RNG.integers(0, 3, (6, 5, 3))
    for channel, offset in ((0, 1), (1, 0)):  # the network looks at the second channel
        write(tmp_path / f"images/a_000{channel}.nii.gz", reference + offset)
    assert predict("--run", make_run(channels=2)) == 0
    np.testing.assert_array_equal(loaded(tmp_path / "out/a.nii.gz"), reference)
    shutil.rmtree(tmp_path / "images")
    write(tmp_path / "images/b.nii.gz", np.stack([reference + 1, reference], -1))
    assert predict("--run", make_run("one", channels=2, channels_in_file=2), out="one") == 0
    np.testing.assert_array_equal(loaded(tmp_path / "one/b.nii.gz"), reference)


@pytest.mark.parametrize(("form", "off"), [((), 1e-6), (("uint8",), 0.5 / 255 + 1e-6)])
def test_probabilities_are_kept(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path, form: tuple[str, ...],
    off: float,
) -> None:  # fmt: skip
    run = make_run()
    assert predict("--run", run, "--probabilities", *form) == 0
    check(tmp_path, images)
    right = np.exp(20) / (np.exp(20) + 2)
    for name, reference in images.items():
        image: Any = nib.load(tmp_path / "out/probabilities" / f"{name}.nii.gz")
        found = image.get_fdata().reshape(*reference.shape, 3)
        wanted = np.where(np.eye(3, dtype=bool)[reference], right, (1 - right) / 2)
        assert np.abs(found - wanted).max() <= off
    (tmp_path / "out/probabilities/p1_v.nii.gz").unlink()
    assert predict("--run", run, "--probabilities", *form) == 0
    assert (tmp_path / "out/probabilities/p1_v.nii.gz").exists()


def test_post_processing_is_the_runs(make_run: Maker, predict: Callable[..., int], tmp_path: Path) -> None:
    reference = np.zeros((9, 9, 2), np.uint8)
    reference[1:5, 1:5] = 1
    reference[7, 7, 0] = 1
    write(tmp_path / "images/p1.nii.gz", reference)
    assert predict("--run", make_run(inference={"postprocess": {"a": {"largest": True}}})) == 0
    wanted = reference.copy()
    wanted[7, 7, 0] = 0
    np.testing.assert_array_equal(loaded(tmp_path / "out/p1.nii.gz"), wanted)


def test_a_review_tells_the_least_trusted_first(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = make_run()
    write(tmp_path / "images/p9_empty.nii.gz", np.zeros((4, 5)))
    assert predict("--run", run) == 0
    assert not (tmp_path / "out/review.csv").exists()
    assert predict("--run", run, "--review", "--shard", "0/2") == 0
    assert predict("--run", run, "--review", "--shard", "1/2") == 0
    with (tmp_path / "out/review.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == {*SHAPES, "p9_empty"}
    trusts = [float(row["trust"]) for row in rows]
    assert trusts == sorted(trusts)
    right = np.exp(20) / (np.exp(20) + 2)
    for row in rows[:-1]:
        reference = images.get(row["case"], np.zeros(1))
        voxels, total = (reference == 1).sum(), reference.size
        probable = voxels * right + (total - voxels) * (1 - right) / 2
        if voxels:
            assert float(row["expected_dice_a"]) == pytest.approx(2 * voxels * right / (probable + voxels), abs=1e-4)
    capsys.readouterr()
    assert predict("--run", run, "--review") == 0
    assert "5 had been predicted before" in capsys.readouterr().err


def review_of(tmp_path: Path) -> dict[str, dict[str, str]]:
    with (tmp_path / "out/review.csv").open(newline="") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def learnt(kind: str, least: float, most: float, parts: int) -> dict[str, Any]:
    """Ranges of the training labels: of class a as given; class b is in every label, and may be anything."""
    columns = {"always": [True, True, True], "least": [1, least, 0.1], "most": [1, most, 1e9], "parts": [0, parts, 999]}
    return {kind: columns}


@pytest.mark.parametrize(("knows_spacing", "voxel"), [(True, 3.0), (False, 1.0)])
def test_a_review_holds_predictions_against_the_training_labels(
    make_run: Maker, predict: Callable[..., int], tmp_path: Path, knows_spacing: bool, voxel: float
) -> None:
    reference = np.zeros((9, 9, 2), np.uint8)
    reference[1:5, 1:5], reference[7, 7, 0], reference[0, 8] = 1, 1, 2  # class a: 33 voxels in 2 parts
    write(tmp_path / "images/deep.nii.gz", reference, (1.0, 1.0, 3.0))
    write(tmp_path / "images/flat.nii.gz", reference[:, :, 0])
    ranges = learnt("volume", 11 * voxel, 22 * voxel, 1)
    assert predict("--run", make_run(ranges=ranges, knows_spacing=knows_spacing), "--review") == 0
    rows = review_of(tmp_path)
    assert float(rows["deep"]["volume_a"]) == 33 * voxel
    assert rows["deep"]["range_ratio_a"] == "1.5"
    assert rows["deep"]["out_of_range"] == (
        "a has 1.5 times the largest volume; a lies in 2 parts, 1 at most in training"
    )
    right = np.exp(20) / (np.exp(20) + 2)
    assert float(rows["deep"]["trust_a"]) == pytest.approx(right / 1.5 * 32 / 33, abs=1e-3)
    assert rows["flat"]["out_of_range"] == "unknown", "no training label was a slice"
    assert rows["flat"]["range_ratio_a"] == ""


def test_a_review_is_made_anew_where_the_ranges_are_others(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = make_run(ranges=learnt("volume", 1e6, 1e7, 999))
    assert predict("--run", run, "--review") == 0
    assert review_of(tmp_path)["p1_v"]["out_of_range"].startswith("a has ")
    content = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps({**content, "ranges": learnt("volume", 1e-6, 1e7, 999)}))
    capsys.readouterr()
    assert predict("--run", run, "--review") == 0
    assert "predicted 4 cases" in capsys.readouterr().err
    assert review_of(tmp_path)["p1_v"]["out_of_range"] == ""
    kept = {key: value for key, value in content.items() if key not in ("ranges", "postprocess")}
    (run / "model.json").write_text(json.dumps({**kept, "format": 1}))
    assert predict("--run", run, "--review") == 0
    assert "the range of the training labels is not known" in capsys.readouterr().err
    assert review_of(tmp_path)["p1_v"]["out_of_range"] == "unknown"


def test_a_review_of_masks_that_were_replaced_is_not_left(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path
) -> None:
    run = make_run()
    assert predict("--run", run, "--review") == 0
    assert predict("--run", run) == 0
    assert (tmp_path / "out/review.csv").exists(), "nothing was predicted: it still holds"
    assert predict("--run", make_run("other", move=1.0), "--replace") == 0
    assert not (tmp_path / "out/review.csv").exists()


def test_several_runs_are_averaged(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    runs = [make_run(name, move=move) for name, move in (("one", 0.0), ("two", 1.0), ("three", 1.0))]
    assert predict(*(part for run in runs for part in ("--run", run))) == 0
    check(tmp_path, {name: (reference + 1) % 3 for name, reference in images.items()})  # two of three say so
    other = make_run("other", data={"classes": ["background", "a", "c"]})
    assert predict("--run", runs[0], "--run", other, out="none") == 2
    assert "the runs differ in data.classes" in capsys.readouterr().err


FLIP = [{"_target_": "RandAffineBatchd", "keys": ["image", "label"], "prob": 1, "flip": [1],
         "mode": ["bilinear", "nearest"]}]  # fmt: skip


def test_mirror_images_only_where_training_made_them(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path, make_config: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert predict("--run", make_run(), "--mirror") == 2
    assert "training made no mirror images" in capsys.readouterr().err
    prepare = make_config().resolved["transforms"]["prepare"]
    run = make_run("mirrored", transforms={"prepare": prepare, "augment": FLIP})
    assert predict("--run", run, "--mirror", out="mirrored") == 0
    check(tmp_path, images, "mirrored")
    source = json.loads((tmp_path / "mirrored/provenance.json").read_text())
    assert source["dataset"]["mirror"] == [1]
    assert predict("--run", run, "--no-mirror", out="mirrored") == 2, "of other options"


def test_a_stop_keeps_what_was_predicted(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from pipeline.commands import predicting

    run, each = make_run(), predicting.predict_each

    def stopping(predict: Any, cases: Any) -> Any:
        for number, outcome in enumerate(each(predict, cases)):
            if number == 2:
                signal.raise_signal(signal.SIGTERM)
            yield outcome

    monkeypatch.setattr(predicting, "predict_each", stopping)
    assert predict("--run", run) == 3
    assert "SIGTERM; the same command goes on: bin/predict --images" in capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 2
    monkeypatch.setattr(predicting, "predict_each", each)
    assert predict("--run", run) == 0
    assert "predicted 2 cases" in capsys.readouterr().err
    check(tmp_path, images)


def test_a_disk_that_fills_up_stops_the_batch(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from pipeline.errors import RunError
    from pipeline.inference import writing

    def full(path: Path, content: bytes) -> None:
        raise RunError("cannot be written (No space left on device)", where=str(path))

    run = make_run()
    monkeypatch.setattr(writing, "write_bytes", full)
    assert predict("--run", run) == 2
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    assert predict("--run", run) == 0
    check(tmp_path, images)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device", "tpu"), "--device: got 'tpu'"),
        (("--device", "cuda:99"), "cuda:99 is not there"),
        (("--batch-size", "0"), "--batch-size: got 0"),
        (("--axis", "3"), "--axis: got '3'"),
        (("--shard", "2/2"), "--shard: got '2/2'"),
        (("--scan", "x"), "--scan: 'x' has no group"),
        (("--run", "nowhere"), "no run in this folder"),
    ],
)
def test_arguments_that_are_refused(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], arguments: tuple[str, ...],
    words: str, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert predict("--run", make_run(), *arguments) == 2
    assert words in capsys.readouterr().err


def test_weights_of_another_network(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.training.checkpoint import save_checkpoint

    run = make_run()
    save_checkpoint(run / "checkpoints/best.pt", {"network": {}})
    assert predict("--run", run) == 2
    assert "not of the network in config.yaml" in capsys.readouterr().err
    save_checkpoint(run / "checkpoints/best.pt", {"other": 1})
    assert predict("--run", run) == 2


def test_an_out_that_cannot_be_written(
    make_run: Maker, images: dict[str, np.ndarray], predict: Callable[..., int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "out").write_text("a file")
    assert predict("--run", make_run()) == 2
    assert "the folder cannot be made (" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--run", "no", "--images", "no", "--out", "no"]])
def test_no_torch_before_it_is_needed(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pipeline.commands.predict import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('heavy:', *sorted({'torch', 'monai', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.splitlines()[-1] == "heavy:"
