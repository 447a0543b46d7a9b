"""bin/check: what it prints is what is so, and a fault in one part keeps none of the others from being looked at."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from pipeline.commands.check import main

TINY = [
    "--set",
    "network.channels=[4, 8]",
    "--set",
    "training.batch_size=2",
    "--set",
    "transforms=transforms/half.yaml",
]
SECTIONS = ["config", "chains", "data", "files", "split", "table", "case", "ceiling", "run", "verdict"]


def arguments(project: Path, root: Path, *more: str) -> list[str]:
    return [str(project / "configs/hipmri.yaml"), "--set", f"data.root={root}", *TINY, *more]


def titles(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")]


def test_a_right_config_and_dataset(project: Path, phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(project, phantom)) == 0
    out = capsys.readouterr().out
    assert titles(out) == SECTIONS
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert {
        "files read whole, no fault",
        "patients 2 1 2",
        "slices 8 4 8",
        "size 256 x 128 256 x 128 256 x 128",
    } <= lines
    assert any(line.startswith("ToTensord 1 x 136 x 72 float32") for line in lines), "the trace's last step"
    assert "spacing" not in out, "the affine of 2D HipMRI slices is not to be believed"
    assert "HD95, pixels" in out and "a run can start" in out.splitlines()[-1]


def test_one_json_value_says_the_same(project: Path, phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(project, phantom, "--json")) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["counts"]["error"] == 0 and list(value)[3:] == SECTIONS[:-1]
    train, validation, test = value["table"]["sides"]
    assert [side["slices"] for side in (train, validation, test)] == [8, 4, 8]
    assert train["classes"]["body"]["patients"] == 2
    assert sum(one["voxels"] for one in train["classes"].values()) == 8 * 256 * 128
    assert set(value["split"]["folds"][0]) == {"train", "val", "test"}
    ceiling = value["ceiling"]["classes"]
    assert 0.9 < ceiling["body"]["dice"] < 1 and value["ceiling"]["unit"] == "pixels"
    assert value["run"]["total_seconds"] == pytest.approx(sum(value["run"]["seconds"].values()), abs=0.01)
    assert next(step["step"] for step in value["case"]["steps"]) == "LoadImaged"


def test_augmentation_sample_by_sample_is_told_with_what_it_costs(
    project: Path, phantom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flip = "transforms.augment=[{_target_: RandFlipd, keys: [image, label], prob: 0.5, spatial_axis: 1}]"
    assert main(arguments(project, phantom, "--set", flip, "--json")) == 0
    value = json.loads(capsys.readouterr().out)
    (note,) = [one["what"] for one in value["findings"] if one["section"] == "run" and one["level"] == "note"]
    assert note.startswith("RandFlipd works sample by sample, which takes ")
    assert f"takes {value['run']['per_sample_share']:.0%} of the training; RandFlipBatchd" in note


def test_two_networks_side_by_side(project: Path, phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(project, phantom, "--against", "monai.networks.nets.UNet", "--batches", "3")) == 0
    out = capsys.readouterr().out
    for line in ("parameters", "multiply-adds a slice", "output shape", "forward, images/s", "training, images/s",
                 "loss after 3 batches"):  # fmt: skip
        assert line in out
    assert "2 x 6 x 136 x 72" in out
    # The first convolution block and its peers, by hand: two 3 x 3 blocks of 4, two of 8, a 2 x 2 transposed one with a
    # bias, two of 4 in the decoder, the head; each normalisation has two numbers a channel.
    own = (9 * 4 + 8) + (9 * 16 + 8) + (9 * 32 + 16) + (9 * 64 + 16) + (4 * 32 + 4) + (9 * 32 + 8) + (9 * 16 + 8) + 30
    row = next(line for line in out.splitlines() if line.startswith("parameters"))
    assert row.split()[1] == f"{own:,}"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--against", "monai.networks.nets.Unet"], "monai.networks.nets.UNet"),
        (["--against", "UNet", "--batches", "0"], "--batches"),
        (["--against", "UNet", "--json"], "--json"),
    ],
)
def test_bad_arguments(
    project: Path, phantom: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(project, phantom, *more)) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "section"),
    [("network.channels=[0, 8]", "run"), ("loss.lambda_ce=-1", "run"),
     ("transforms.prepare.2.spatial_size=[4, 4, 4]", "case")],
)  # fmt: skip
def test_what_cannot_be_built_is_told_in_its_section(
    project: Path, phantom: Path, override: str, section: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(project, phantom, "--set", override, "--json")) == 2
    value = json.loads(capsys.readouterr().out)
    assert [found["section"] for found in value["findings"] if found["level"] == "error"] == [section]


def test_the_case_that_is_traced(
    project: Path, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = sorted((phantom / "keras_slices_test").iterdir())[1].name.removesuffix(".nii.gz")
    assert main(arguments(project, phantom, "--case", name, "--plot", str(tmp_path / "trace.png"))) == 0
    out = capsys.readouterr().out
    assert f"case        {name}: " in out and str(tmp_path / "trace.png") in out
    picture = imread(BytesIO((tmp_path / "trace.png").read_bytes()))
    assert picture.shape[1] > 500 and np.unique(picture).size > 50
    assert main(arguments(project, phantom, "--case", name[:-1] + "x")) == 2
    seen = capsys.readouterr()
    assert "--case: no such case" in seen.err and name in seen.err
    assert titles(seen.out) == ["config", "chains", "data"], "before any file is read"
    assert main(arguments(project, phantom, "--plot", str(tmp_path / "none" / "a.png"))) == 2
    assert "--plot" in capsys.readouterr().err


@pytest.fixture
def broken(phantom: Path, tmp_path: Path) -> Path:
    """A copy of the phantom with a fault of each kind."""
    import nibabel as nib

    root = tmp_path / "broken"
    shutil.copytree(phantom, root)
    train, masks = (sorted((root / name).iterdir()) for name in ("keras_slices_train", "keras_slices_seg_train"))
    test = sorted((root / "keras_slices_test").iterdir())
    masks[0].unlink()
    train[1].write_bytes(train[1].read_bytes()[:-40])
    loaded: Any = nib.load(masks[2])
    mask = np.asarray(loaded.dataobj).copy()
    mask[0, 0] = 9
    nib.save(nib.Nifti1Image(mask, loaded.affine), masks[2])
    test[2].write_bytes(train[5].read_bytes())
    return root


def test_it_stops_at_nothing(project: Path, broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = project / "configs" / "mine.yaml"
    config.write_text(
        "extends: hipmri.yaml\nname: mine\nsed: 1\ntransforms: transforms/half.yaml\nnetwork: {channels: [4, 8]}\n"
        f"data: {{root: '{broken}', cach: ram}}\ntraining: {{epochs: many, batch_size: 2}}\n", encoding="utf-8",
    )  # fmt: skip
    augment = "transforms.augment.0.mode=[bilinear, bilinear]"

    assert main([str(config), "--set", augment, "--json"]) == 2

    value = json.loads(capsys.readouterr().out)
    errors: dict[str, list[dict[str, Any]]] = {}
    for found in value["findings"]:
        if found["level"] == "error":
            errors.setdefault(found["section"], []).append(found)
    assert len(errors["config"]) == 3, "two unknown keys and a wrong type"
    assert len(errors["chains"]) == 1 and "RandAffineBatchd" in errors["chains"][0]["what"]
    assert len(errors["data"]) == 1 and "without a label" in errors["data"][0]["what"]
    assert len(errors["files"]) == 2, errors["files"]
    assert len(errors["split"]) == 1 and "the same image on two sides" in errors["split"][0]["what"]
    assert sorted(map(len, value["split"]["folds"][0].values())) == [4, 5, 8]
    assert [side["cases"] for side in value["table"]["sides"]] == [5, 4, 8], "three of the training cases are left out"
    assert value["case"]["steps"] and value["ceiling"]["cases"] == 17 and value["run"]["parameters"] > 0


def test_a_splits_file_that_names_a_case_without_a_label(
    project: Path, tmp_path: Path, write_nifti: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    for number in range(4):
        write_nifti(tmp_path / f"images/p{number}.nii", generator.normal(size=(16, 16, 3)), dtype=np.float32)
        write_nifti(tmp_path / f"labels/p{number}.nii", np.eye(16)[:, :, None].repeat(3, 2), dtype=np.uint8)
    (tmp_path / "labels/p2.nii").unlink()
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": ["p0", "p1", "p2"], "val": ["p3"]}]))
    values = (f"data.root={tmp_path}", "data.images=images", "data.labels=labels", "splits.kind=file",
              "splits.file=splits_final.json", "network.channels=[4, 8]")  # fmt: skip
    more = [word for value in values for word in ("--set", value)]
    assert main([str(project / "configs/folders.yaml"), *more, "--json"]) == 2
    value = json.loads(capsys.readouterr().out)
    assert [(one["section"], one["what"][:27]) for one in value["findings"] if one["level"] == "error"] == [
        ("data", "1 images without a label in"), ("split", "names cases that the data l"),
    ]  # fmt: skip
    assert sum(side["cases"] for side in value["table"]["sides"]) == 3 and value["ceiling"]["cases"] == 3


def test_first_findings_need_no_pytorch(project: Path) -> None:
    """A broken config, and a dataset that is missing, are told before anything heavy is imported."""
    (project / "configs" / "bad.yaml").write_text("extends: hipmri.yaml\ndata: {clases: 3}\n", encoding="utf-8")
    code = (
        "import sys; from pipeline.commands.check import main\n"
        f"code = main([{str(project / 'configs/bad.yaml')!r}, '--set', 'data.root=/nowhere'])\n"
        "print(code, *sorted({'torch', 'monai', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[3])  # fmt: skip
    assert "data.clases: unknown key" in done.stdout and "no HipMRI data here" in done.stdout
    assert done.stdout.splitlines()[-1] == "2"
