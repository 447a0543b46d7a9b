"""bin/check: what it prints is what is so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.commands.check import main


def test_a_right_config_and_dataset(project: Path, phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(project / "configs/hipmri.yaml"), "--set", f"data.root={phantom}"]) == 0
    out = capsys.readouterr().out
    assert "train      8 cases of 2 patients" in out and "test       8 cases of 2 patients" in out
    assert "20 images and masks were read" in out and "x 128 voxels to 1 slice of 256 x 128" in out


def test_two_networks_side_by_side(project: Path, phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--set", f"data.root={phantom}", "--set", "network.channels=[4, 8]", "--set", "training.batch_size=2",
                 "--set", "transforms=transforms/half.yaml"]  # fmt: skip
    assert main([str(project / "configs/hipmri.yaml"), *arguments,
                 "--against", "monai.networks.nets.UNet", "--batches", "3"]) == 0  # fmt: skip
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
    ("arguments", "words"),
    [
        (["--against", "monai.networks.nets.Unet"], "monai.networks.nets.UNet"),
        (["--against", "UNet", "--batches", "0"], "--batches"),
    ],
)
def test_bad_arguments(
    project: Path, phantom: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(project / "configs/hipmri.yaml"), "--set", f"data.root={phantom}", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "override", ["network.channels=[0, 8]", "loss.lambda_ce=-1", "transforms.augment.0.scale=[2, 1]"]
)
def test_what_cannot_be_built_is_refused(
    project: Path, phantom: Path, override: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(project / "configs/hipmri.yaml"), "--set", f"data.root={phantom}", "--set", override]) == 2
    assert "error: " in capsys.readouterr().err


def test_a_faulty_file_is_named(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.data.phantom import PhantomSpec, write_phantom

    root = tmp_path / "faulty"
    write_phantom(root, PhantomSpec(train=1, validate=1, test=1, weeks=1, slices=2))
    bad = sorted((root / "keras_slices_test").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:-40])
    (root / "keras_slices_seg_train" / "seg_004_week_0_slice_0.nii.gz").write_bytes(b"")
    assert main([str(project / "configs/hipmri.yaml"), "--set", f"data.root={root}"]) == 2
    err = capsys.readouterr().err
    assert bad.name in err and "seg_004_week_0_slice_0.nii.gz" in err and "2 errors" in err
