"""The main job, on shrunk copies of the shipped configs: what it writes is right, and what it refuses it refuses."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from pipeline.config.resolved import yaml_text

CHECKOUT = Path(__file__).parents[3]
TINY = ("--set", "network.channels=[4, 8]", "--set", "training.epochs=1", "--set", "training.batch_size=4")
Run = Callable[..., int]


def dice(reference: np.ndarray, prediction: np.ndarray, index: int) -> float | None:
    """Hard Dice by its definition; None where the reference lacks the class."""
    a, b = reference == index, prediction == index
    return None if not a.any() else 2 * int((a & b).sum()) / int(a.sum() + b.sum())


def opened(path: Path) -> Any:
    return nib.load(path)


def squeezed(path: Path) -> np.ndarray:
    array = np.asanyarray(opened(path).dataobj)
    return array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array


def test_a_run_writes_what_it_promises_and_its_figures_are_right(
    project: Path, phantom: Path, run_pipeline: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_pipeline(project / "configs/hipmri.yaml", "--set", f"data.root={phantom}")
    assert code == 0
    folder = project / "runs/hipmri-PHANTOM/001"
    assert (project / "runs/hipmri-PHANTOM/latest").resolve() == folder
    for name in (
        "config.yaml", "provenance.json", "log.txt", "history.csv", "split.json", "report.html", "checkpoints/best.pt",
        "checkpoints/last.pt", "evaluation/cases.csv", "evaluation/scans.csv", "evaluation/patients.csv",
        "evaluation/summary.json", "plots/loss_plot.png", "plots/average_dice_score_per_class.png",
        *(f"plots/predicted_mask_channel_{k}.png" for k in range(6)),
    ):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    # Every figure again, from the files alone.
    rows = list(csv.DictReader((folder / "evaluation/cases.csv").open()))
    assert len(rows) == 8 * 6
    per_class: dict[int, list[float]] = {k: [] for k in range(6)}
    for row in rows:
        image = phantom / "keras_slices_test" / f"{row['case']}.nii.gz"
        label = phantom / "keras_slices_seg_test" / f"{row['case'].replace('case', 'seg')}.nii.gz"
        written = opened(folder / "predictions" / image.name)
        source = opened(image)
        assert written.shape == source.shape
        assert written.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(written.affine, source.affine)
        expected = dice(squeezed(label), squeezed(folder / "predictions" / image.name), int(row["class_id"]))
        assert (row["dice"] == "") == (expected is None)
        if expected is not None:
            assert float(row["dice"]) == pytest.approx(expected, abs=1e-9)
            per_class[int(row["class_id"])].append(expected)
    summary = json.loads((folder / "evaluation/summary.json").read_text())
    for k, name in enumerate(summary["classes"]):
        found = summary["levels"]["slice"]["classes"][name]["dice"]
        assert found["n"] == len(per_class[k])
        if per_class[k]:
            assert found["mean"] == pytest.approx(np.mean(per_class[k]), abs=1e-9)
    assert summary["distances"] == {"unit": "pixels", "tolerance": 2.0, "n_2d": 8, "n_3d": 0}
    assert all((row["hd95"] == "") == (row["dice"] == "" or row["class_id"] == "0") for row in rows)
    assert "HD95, px" in (folder / "report.html").read_text()
    told = json.loads((folder / "provenance.json").read_text())["dataset"]["folders"]
    assert told == [str(phantom.resolve() / f"keras_slices_{side}") for side in ("test", "train", "validate")]
    out = capsys.readouterr().out
    assert "PHANTOM" in out and "prostate" in out and str(folder / "report.html") in out
    assert "PHANTOM" in (folder / "report.html").read_text()
    split = json.loads((folder / "split.json").read_text())[0]
    patients = [{name.split("_")[1] for name in split[side]} for side in ("train", "val", "test")]
    assert [len(side) for side in patients] == [2, 1, 2]
    assert not (patients[0] & patients[1] or patients[0] & patients[2] or patients[1] & patients[2])


def test_the_resolved_config_repeats_the_run_to_the_bit(project: Path, phantom: Path, run_pipeline: Run) -> None:
    first, second = project / "first", project / "second"
    assert run_pipeline(project / "configs/hipmri.yaml", "--set", f"data.root={phantom}", "--out", first) == 0
    from pipeline.commands.run_pipeline import main

    assert main([str(first / "config.yaml"), "--out", str(second)]) == 0
    weights = [torch.load(folder / "checkpoints/best.pt", weights_only=True)["network"] for folder in (first, second)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    masks = [sorted((folder / "predictions").iterdir()) for folder in (first, second)]
    assert [path.read_bytes() for path in masks[0]] == [path.read_bytes() for path in masks[1]]


def test_augmentation_sample_by_sample_is_told_with_what_it_cost(
    project: Path, phantom: Path, run_pipeline: Run
) -> None:
    flip = "transforms.augment=[{_target_: RandFlipd, keys: [image, label], prob: 0.5, spatial_axis: 1}]"
    assert run_pipeline(project / "configs/hipmri.yaml", "--set", f"data.root={phantom}", "--set", flip) == 0
    folder = project / "runs/hipmri-PHANTOM/001"
    (row,) = csv.DictReader((folder / "history.csv").open())
    assert 0 < float(row["per_sample_share"]) <= float(row["augment_share"]) <= 1
    told = (
        f"RandFlipd works sample by sample, which takes {float(row['per_sample_share']):.0%} of the training; "
        "RandFlipBatchd takes a whole batch"
    )
    assert f"note: {told}" in (folder / "log.txt").read_text()
    assert f"{told}." in (folder / "report.html").read_text()


def test_without_data_the_stand_in_runs_loudly(
    project: Path, run_pipeline: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    small = [f"--set=data.phantom.{key}={value}" for key, value in dict(train=2, validate=1, test=1, slices=3).items()]
    # Overrides go to the stand-in; the config itself has no phantom, so its own check must pass as well.
    assert run_pipeline(project / "configs/hipmri.yaml", *small) == 0
    captured = capsys.readouterr()
    assert "10.25919/45t8-p065" in captured.err and "keras_slices_seg_validate" in captured.err
    assert "PHANTOM" in captured.err and "PHANTOM" in captured.out
    folder = project / "runs/hipmri-PHANTOM/001"
    assert (folder / "report.html").is_file()
    told = json.loads((folder / "provenance.json").read_text())["dataset"]["folders"]
    assert all((project / name).is_dir() and not Path(name).is_absolute() for name in told) and told, "from the root"


@pytest.mark.parametrize("how", ["environment", "set", "flag"])
def test_missing_data_that_the_user_named_are_refused_before_torch(project: Path, how: str) -> None:
    arguments = {"set": ["--set", "data.root=/nowhere/at/all"], "flag": ["--no-stand-in"], "environment": []}[how]
    program = (
        "import sys; from pipeline.commands.run_pipeline import main\n"
        "code = main(sys.argv[1:]); assert 'torch' not in sys.modules and 'monai' not in sys.modules; sys.exit(code)"
    )
    environment = {"PYTHONPATH": str(CHECKOUT)} | ({"HIPMRI_ROOT": "/nowhere"} if how == "environment" else {})
    done = subprocess.run(
        [sys.executable, "-c", program, str(project / "configs/hipmri.yaml"), *arguments],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "10.25919/45t8-p065" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "runs").exists()


def test_config_faults_are_told_together_before_torch(project: Path) -> None:
    path = project / "configs/broken.yaml"
    path.write_text("extends: hipmri.yaml\nname: x\ntrainin: {epochs: 3}\ntraining: {epoch: 3, batch_size: many}\n")
    program = (
        "import sys; from pipeline.commands.run_pipeline import main\n"
        "code = main(sys.argv[1:]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, env={"PYTHONPATH": str(CHECKOUT)}
    )
    assert done.returncode == 2
    assert "broken.yaml:3: trainin" in done.stderr and "'training'" in done.stderr
    assert "broken.yaml:4: training.epoch:" in done.stderr and "'epochs'" in done.stderr
    assert "training.batch_size" in done.stderr and "3 errors" in done.stderr


def test_an_interrupted_run_exits_3_and_resumes_to_the_same_result(project: Path, phantom: Path) -> None:
    command = [sys.executable, str(CHECKOUT / "bin/run_pipeline"), str(project / "configs/hipmri.yaml"),
               "--set", f"data.root={phantom}", *TINY, 
               "--set", "training.epochs=60", "--set", "training.threads=1"]  # fmt: skip
    whole, stopped = project / "whole", project / "stopped"
    assert subprocess.run([*command, "--out", str(whole)], capture_output=True).returncode == 0
    process = subprocess.Popen([*command, "--out", str(stopped)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (stopped / "history.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    message = process.communicate(timeout=120)[1]
    assert process.returncode == 3, message
    assert "--resume" in message
    assert not (stopped / "report.html").exists()
    assert subprocess.run([*command, "--resume", "--out", str(stopped)], capture_output=True).returncode == 0
    weights = [torch.load(folder / "checkpoints/last.pt", weights_only=True) for folder in (whole, stopped)]
    for key in ("network", "average"):
        assert all(torch.equal(weights[0][key][name], weights[1][key][name]) for name in weights[0][key])
    assert (whole / "evaluation/cases.csv").read_text() == (stopped / "evaluation/cases.csv").read_text()


def test_resuming_with_another_config_is_refused(
    project: Path, phantom: Path, run_pipeline: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [project / "configs/hipmri.yaml", "--set", f"data.root={phantom}", "--out", project / "run"]
    assert run_pipeline(*arguments) == 0
    assert run_pipeline(*arguments, "--resume") == 2  # it is finished
    assert "finished" in capsys.readouterr().err
    assert run_pipeline(*arguments, "--resume", "--set", "seed=5") == 2
    assert "not the one" in capsys.readouterr().err
    assert run_pipeline(*arguments) == 2  # the folder is not empty
    assert "not empty" in capsys.readouterr().err


def test_a_run_that_an_older_version_began_is_resumed(
    project: Path, phantom: Path, run_pipeline: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run = project / "run"
    arguments = [project / "configs/hipmri.yaml", "--set", f"data.root={phantom}", "--out", run]
    assert run_pipeline(*arguments) == 0
    (run / "report.html").unlink()  # as if it had been stopped before its report
    (run / "checkpoints/counts.pt").unlink()
    values = yaml.safe_load((run / "config.yaml").read_text())
    del values["data"]["mirrored"], values["report"]["tracker"]  # which it did not know
    old = yaml_text(values)
    (run / "config.yaml").write_text(old)
    assert run_pipeline(*arguments, "--resume", "--set", "data.mirrored=true") == 2
    assert "not the one that the run was started with: data.mirrored." in capsys.readouterr().err
    (run / "config.yaml").write_text(old + "sharpen: 3\n")
    assert run_pipeline(*arguments, "--resume") == 2
    assert "this version cannot load the config that the run was started with" in capsys.readouterr().err
    (run / "config.yaml").write_text(old)
    assert run_pipeline(*arguments, "--resume") == 0
    assert (run / "report.html").is_file() and "resumed at step" in (run / "log.txt").read_text()


@pytest.mark.parametrize("chain", sorted(path.name for path in (CHECKOUT / "configs/transforms").glob("*.yaml")))
def test_every_shipped_chain_runs(project: Path, phantom: Path, run_pipeline: Run, chain: str) -> None:
    arguments = ["--set", f"data.root={phantom}", "--set", f"transforms=transforms/{chain}", "--out", project / "run"]
    assert run_pipeline(project / "configs/hipmri.yaml", *arguments) == 0
    assert len(list((project / "run/predictions").iterdir())) == 8


@pytest.mark.parametrize("name", ["phantom", "debug"])
def test_the_phantom_configs_run_shrunk(project: Path, run_pipeline: Run, name: str) -> None:
    small = [f"--set=data.phantom.{key}={value}" for key, value in dict(train=2, validate=1, test=1, slices=3).items()]
    assert run_pipeline(project / f"configs/{name}.yaml", *small) == 0
    runs = list((project / "runs").glob("*/001/report.html"))
    assert len(runs) == 1 and "phantom" in runs[0].parts[-3]


def test_another_network_swaps_in(project: Path, phantom: Path, run_pipeline: Run) -> None:
    from pipeline.commands.run_pipeline import main

    network = "network={_target_: monai.networks.nets.UNet, channels: [4, 8], strides: [2]}"
    arguments = ["--set", f"data.root={phantom}", "--out", project / "run", *TINY[2:], "--set", network]
    assert main([str(project / "configs/hipmri.yaml"), *map(str, arguments)]) == 0


def volumes(folder: Path, write_nifti: Callable[..., Path], count: int, *, flat: bool) -> tuple[Path, Path]:
    """Pairs of folders: bright blobs on noise, as volumes or as 2D slices of patients with two slices each."""
    generator = np.random.default_rng(0)
    images, labels = folder / "the images", folder / "the labels"
    for number in range(count):
        label = np.zeros((14, 18, 5), dtype=np.uint8)
        label[3:9, 4:12, 1:4] = 1
        image = (label * 3 + generator.normal(size=label.shape)).astype(np.float32)
        for part in range(2 if flat else 1):
            name = f"p{number:02d}_{part}.nii.gz" if flat else f"p{number:02d}.nii.gz"
            cut = np.s_[:, :, part + 1] if flat else np.s_[:]
            write_nifti(images / name, image[cut], (1.0, 1.0, 2.5))
            write_nifti(labels / name, label[cut], (1.0, 1.0, 2.5))
    return images, labels


@pytest.mark.parametrize("flat", [False, True])
def test_any_pair_of_folders(
    project: Path, run_pipeline: Run, write_nifti: Callable[..., Path], tmp_path: Path, flat: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    images, labels = volumes(tmp_path / "ünï [data]", write_nifti, 6, flat=flat)
    arguments = [project / "configs/folders.yaml", "--set", f"data.images={images}", "--set", f"data.labels={labels}",
                 "--set", "transforms=transforms/pad.yaml", "--set", "training.epochs=2"]  # fmt: skip
    if flat:
        assert run_pipeline(*arguments) == 2  # nothing says which slices are of one patient
        assert "data.patient" in capsys.readouterr().err
        arguments += ["--set", r"data.patient=^(p\d+)_"]
    assert run_pipeline(*arguments, "--out", project / "run") == 0
    split = json.loads((project / "run/split.json").read_text())[0]
    assert [len({name[:3] for name in split[side]}) for side in ("train", "val", "test")] == [4, 1, 1]
    for path in (project / "run/predictions").iterdir():
        assert opened(path).shape == opened(images / path.name).shape


def test_hippocampus_runs_shrunk(
    project: Path, hippocampus: Path, run_pipeline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folds = json.loads((hippocampus / "splits_final.json").read_text())
    data = project / "some"
    for name in ("images", "labels"):
        (data / name).mkdir(parents=True)
    chosen = {"train": sorted(folds[0]["train"])[:6], "val": sorted(folds[0]["val"])[:3]}
    for case in [*chosen["train"], *chosen["val"]]:
        for name in ("images", "labels"):
            (data / name / f"{case}.nii.gz").symlink_to(hippocampus / name / f"{case}.nii.gz")
    (data / "splits_final.json").write_text(json.dumps([chosen]))
    monkeypatch.setenv("HIPPOCAMPUS", str(data))
    assert run_pipeline(project / "configs/hippocampus.yaml", "--out", project / "run") == 0
    split = json.loads((project / "run/split.json").read_text())[0]
    assert split["test"] == chosen["val"] and set(split["train"]) | set(split["val"]) == set(chosen["train"])


def test_wrong_arguments_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.commands.run_pipeline import main

    with pytest.raises(SystemExit) as stop:
        main(["configs/hipmri.yaml", "--epochs", "3"])
    assert stop.value.code == 2
    assert main(["/no/such/config.yaml"]) == 2
    assert "/no/such/config.yaml" in capsys.readouterr().err


def pairs(
    folder: Path,
    write_nifti: Callable[..., Path],
    labels: list[np.ndarray],
    spacing: tuple[float, ...] = (1.0, 1.0, 2.5),
) -> list[str]:
    """Two folders of volumes with these labels, and the arguments that name them."""
    generator = np.random.default_rng(0)
    for number, label in enumerate(labels):
        image = label * 3 + generator.normal(size=label.shape)
        write_nifti(folder / f"images/p{number}.nii.gz", image.astype(np.float32), spacing)
        write_nifti(folder / f"labels/p{number}.nii.gz", label.astype(np.uint8), spacing)
    return ["--set", f"data.images={folder / 'images'}", "--set", f"data.labels={folder / 'labels'}"]


def square(where: tuple[int, int] = (4, 4)) -> np.ndarray:
    label = np.zeros((32, 32, 3), dtype=np.uint8)
    label[where[0] : where[0] + 6, where[1] : where[1] + 6, 1:] = 1
    return label


@pytest.mark.parametrize("seed", range(4))
def test_a_crop_that_loses_labelled_voxels_is_refused(
    seed: int,
    project: Path,
    run_pipeline: Run,
    write_nifti: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = pairs(tmp_path, write_nifti, [square((13, 13))] * 4 + [square((0, 0))])
    crop = "{_target_: ResizeWithPadOrCropd, keys: [image, label], spatial_size: [24, 24]}"
    chain = ["--set", f"transforms.prepare.3={crop}", "--set", "splits.test=0.2"]
    # The centre 24 x 24 begins at 4: of the corner's 6 x 6, 36 - 4 = 32 voxels are lost in each of two slices.
    assert run_pipeline(project / "configs/folders.yaml", *folders, *chain, "--set", f"seed={seed}") == 2
    err = capsys.readouterr().err
    assert "cuts off 64 labelled voxels of p4 (32 x 32 x 3)" in err


def test_volumes_of_two_planes_are_refused(
    project: Path,
    run_pipeline: Run,
    write_nifti: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = pairs(tmp_path, write_nifti, [square()] * 4)
    for name in ("images", "labels"):
        image = opened(tmp_path / name / "p3.nii.gz")
        write_nifti(tmp_path / name / "p3.nii.gz", np.asanyarray(image.dataobj), (2.5, 1.0, 1.0))
    assert run_pipeline(project / "configs/folders.yaml", *folders) == 2
    assert "sagittal such as p3" in capsys.readouterr().err
    assert run_pipeline(project / "configs/folders.yaml", *folders, "--set", "data.axis=2") == 0


def test_validation_patients_without_any_class_are_refused(
    project: Path,
    run_pipeline: Run,
    write_nifti: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = pairs(tmp_path, write_nifti, [square() * 0] * 4)
    assert run_pipeline(project / "configs/folders.yaml", *folders) == 2
    assert "nothing can choose the checkpoint" in capsys.readouterr().err


def test_a_singular_affine_that_is_ignored_goes_all_the_way(
    project: Path, run_pipeline: Run, write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    folders = pairs(tmp_path, write_nifti, [square()] * 4)
    for path in tmp_path.glob("*/p*.nii.gz"):
        image = opened(path)
        image.header.set_sform(np.diag([0.0, 1.0, 1.0, 1.0]), code=1)
        nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), None, image.header), path)
    arguments = [*folders, "--out", tmp_path / "run"]
    assert run_pipeline(project / "configs/folders.yaml", *arguments) == 2
    # The start that was refused left nothing to keep: the same folder may be used again.
    assert run_pipeline(project / "configs/folders.yaml", *arguments, "--set", "data.ignore_affine=true") == 0
    assert "affines were ignored" in (tmp_path / "run/report.html").read_text()


def test_resuming_on_other_data_is_refused(
    project: Path, phantom: Path, run_pipeline: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    data = shutil.copytree(phantom, tmp_path / "data")
    arguments = [project / "configs/hipmri.yaml", "--set", f"data.root={data}", "--out", tmp_path / "run"]
    assert run_pipeline(*arguments) == 0
    (tmp_path / "run/report.html").unlink()  # as if it had been stopped before its report
    one, other = sorted((data / "keras_slices_test").iterdir())[:2]
    shutil.copy(other, one)
    assert run_pipeline(*arguments, "--resume") == 2
    assert "not those that the run was started with" in capsys.readouterr().err


def test_a_case_to_show_that_is_no_test_case_is_refused(
    project: Path, phantom: Path, run_pipeline: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--set", f"data.root={phantom}", "--set", "report.case=case_007_week_0_slice_1"]
    assert run_pipeline(project / "configs/hipmri.yaml", *arguments) == 2
    err = capsys.readouterr().err
    assert "no test case" in err and "case_007_week_0_slice_15" in err


def test_a_stand_in_is_found_beside_the_config_that_names_it(
    project: Path, run_pipeline: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine" / "e.yaml"
    mine.parent.mkdir()
    mine.write_text(f"extends: {project / 'configs/hipmri.yaml'}\nname: mine\n")
    small = [f"--set=data.phantom.{key}={value}" for key, value in dict(train=2, validate=1, test=1, slices=3).items()]
    assert run_pipeline(mine, *small, "--out", tmp_path / "run") == 0
    assert "mine-PHANTOM" in capsys.readouterr().out
