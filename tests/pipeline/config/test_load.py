"""A whole config from its files, --set and the environment: everything wrong with it at once, and lightly."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import Config, load_config, project_root
from pipeline.errors import ConfigError, Fault

Load = Callable[..., Config]
FaultsOf = Callable[[Callable[[], Any]], Sequence[Fault]]
ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_configs_are_right(path: Path) -> None:
    config = load_config(path, environment={})
    assert config.path == path
    assert config.project_root == ROOT
    assert path.read_text().startswith(("# bin/run_pipeline", "# HIPPOCAMPUS=")), "its first line runs it"


@pytest.mark.parametrize("chain", sorted((ROOT / "configs/transforms").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_chain_can_be_swapped_in(chain: Path) -> None:
    config = load_config(ROOT / "configs/hipmri.yaml", [f"transforms=transforms/{chain.name}"], {})
    assert config.where("transforms", "prepare", 0).startswith(str(chain))
    assert config.settings.transforms.prepare[0]["_target_"] == "LoadImaged"


def test_settings_cannot_be_changed(load: Load) -> None:
    config = load()
    with pytest.raises(ValueError, match="frozen"):
        config.settings.seed = 5  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        config.settings.training.epochs = 5  # type: ignore[misc]


def test_overrides_come_last_and_are_checked_alike(load: Load, faults_of: FaultsOf) -> None:
    config = load("training.epochs=7", "data.classes=[a,b,c]", "seed=1", "seed=2", "data.spacing_mm=[1, 2.5]")
    assert config.settings.training.epochs == 7
    assert config.settings.data.classes == ("a", "b", "c")
    assert config.settings.seed == 2
    assert config.settings.data.spacing_mm == (1, 2.5)
    told = faults_of(lambda: load("training.epochs=many", "training.epoch=5", "name.x=1", "seed.x=1"))
    assert [str(fault) for fault in told] == [
        "--set name.x: 'name' holds no keys.",
        "--set seed.x: expected a whole number, got {'x': 1} (mapping).",
        "--set training.epoch: unknown key 'epoch'. The nearest known name is 'epochs'.",
        "--set training.epochs: expected a whole number, got 'many' (text).",
    ]


def test_a_label_map_from_a_file_and_from_the_command_line(load: Load) -> None:
    load("data.classes=[a, b, c]")
    text = "data: {layout: hipmri, classes: [a, b, c], label_map: {4: 1, '2': 2, -1: 0}}"
    config = load(f"data={text.removeprefix('data: ')}")
    assert config.settings.data.label_map == {4: 1, 2: 2, -1: 0}
    assert load("data.label_map.3=1").settings.data.label_map == {3: 1}
    assert load("data.label_map={3: 1, 1: 0}").settings.data.label_map == {3: 1, 1: 0}


def test_variables(load: Load, faults_of: FaultsOf) -> None:
    config = load("data.root=${DATA:-data/here}", "report.title=${TITLE:-T}", environment={"TITLE": "Mine"})
    assert config.settings.data.root == "data/here"
    assert config.settings.report.title == "Mine"
    assert config.defaulted == {("data", "root")}
    assert load("data.root=${DATA:-data/here}", environment={"DATA": "/d"}).defaulted == frozenset()
    told = faults_of(lambda: load("data.root=${DATA}", "training.epoch=5"))
    assert len(told) == 2
    assert "the environment has no DATA" in told[0].what


def test_the_environment_of_the_process_is_read(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLICEWISE_TEST_ROOT", "from/outside")
    assert load_config(small, ["data.root=${SLICEWISE_TEST_ROOT}"]).settings.data.root == "from/outside"


def test_paths_start_at_the_project_s_root(small: Path, load: Load) -> None:
    config = load()
    root = small.parent.parent
    assert config.project_root == root
    assert config.locate("data/x") == root / "data/x"
    assert config.locate("/absolute") == Path("/absolute")
    assert config.locate("~/x") == Path.home() / "x"
    with pytest.raises(ConfigError, match="no such home folder"):
        config.locate("~nobody-of-that-name/x")


def test_the_project_s_root(tmp_path: Path) -> None:
    inner = tmp_path / "project" / "runs" / "1"
    inner.mkdir(parents=True)
    assert project_root(inner / "config.yaml") == inner
    (tmp_path / "project" / "configs").mkdir()
    assert project_root(inner / "config.yaml") == tmp_path / "project"
    assert project_root(tmp_path / "project" / "configs" / "a.yaml") == tmp_path / "project"


def test_every_problem_at_once_with_its_line(small: Path, load: Load, faults_of: FaultsOf) -> None:
    bad = (
        "trainin: {epochs: 5}\n"
        "training:\n"
        "  epochs: 1e-4\n"
        "  learning_rate: fast\n"
        "  schedule: cosin\n"
        "  batch_sise: 4\n"
        "report: 5\n"
        "seed: -1\n"
    )
    told = faults_of(lambda: load(add=bad))
    lines = len(small.read_text().splitlines()) - len(bad.splitlines())
    assert [str(fault).removeprefix(f"{small}:") for fault in told] == [
        f"{lines + 1}: trainin: unknown key 'trainin'. The nearest known name is 'training'.",
        f"{lines + 3}: training.epochs: expected a whole number, got 0.0001 (number).",
        f"{lines + 4}: training.learning_rate: expected a number, got 'fast' (text).",
        f"{lines + 5}: training.schedule: got 'cosin', expected one of cosine, polynomial, constant."
        " The nearest known name is 'cosine'.",
        f"{lines + 6}: training.batch_sise: unknown key 'batch_sise'. The nearest known name is 'batch_size'.",
        f"{lines + 7}: report: expected a mapping of keys, got 5 (whole number).",
        f"{lines + 8}: seed: got -1: input should be greater than or equal to 0.",
    ]


def test_a_config_error_comes_without_anything_heavy(small: Path) -> None:
    small.write_text(small.read_text().replace("EnsureChannelFirstd", "EnsureChanelFirstd") + "sede: 1\n")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pipeline.config.load import load_config\n"
        "try:\n"
        "    load_config(Path(sys.argv[1]))\n"
        "except Exception as error:\n"
        "    print(error)\n"
        "print(sorted({'torch', 'monai', 'numpy', 'nibabel', 'matplotlib'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, str(small)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    *told, modules = done.stdout.splitlines()
    assert modules == "[]"
    assert "unknown transform 'EnsureChanelFirstd'. The nearest known name is 'EnsureChannelFirstd'." in told[0]
    assert "unknown key 'sede'. The nearest known name is 'seed'." in told[-1]
