"""A printed config reads back as it was, and names the place that each value comes from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.config.load import Config, load_config
from pipeline.config.printed import printed_text
from pipeline.config.yaml_source import is_expression

ROOT = Path(__file__).resolve().parents[3]
Load = Callable[..., Config]


def read_back(config: Config, environment: dict[str, str] | None = None) -> Config:
    """The printed config, loaded from a file beside the one that was printed."""
    path = config.project_root / "configs" / "printed-copy.yaml"
    path.write_text(printed_text(config), encoding="utf-8")
    return load_config(path, environment=environment or {})


def sources(config: Config) -> dict[str, str]:
    """The source of each line, by its text without the indentation."""
    split = [line.rpartition("  # ") for line in printed_text(config).splitlines()[1:]]
    assert all(source for _, mark, source in split if mark)
    return {text.strip(): source for text, mark, source in split if mark}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_configs_read_back(tmp_path: Path, path: Path) -> None:
    config = load_config(path, environment={})
    copy = tmp_path / "copy.yaml"
    text = printed_text(config)
    copy.write_text(text, encoding="utf-8")
    assert load_config(copy, environment={}).settings == config.settings
    assert printed_text(load_config(path, environment={})) == text
    assert text.startswith(f"# configs/{path.name}: every value in force")


def test_where_each_value_comes_from(load: Load, small: Path) -> None:
    (small.parent / "base.yaml").write_text(
        "training: {epochs: 9}\nreport:\n  title: T\nevaluation: {resamples: 500}\n"
    )
    extra = "extends: base.yaml\nreport:\n  case: ${CASE}\nsplits:\n  test: 0.1\n"
    environment = {"CASE": "c1", "ONE": "1", "EMPTY": ""}
    found = sources(load(
        "training.epochs=7", "data.root=${ROOT:-data/here}", "data.patient='(${ONE}${TWO:-2}${EMPTY:-3}${ONE})'",
        "network.channels.1=32", add=extra, environment=environment,
    ))  # fmt: skip
    wanted = {
        "name: small": "configs/small.yaml:1",
        "layout: hipmri": "configs/small.yaml:3",
        "root: data/here": "default of ${ROOT} (--set)",
        "patient: (1231)": "environment ONE, default of ${TWO}, default of ${EMPTY} (--set)",
        "classes: [background, organ]": "configs/small.yaml:5",
        "cache: ram": "default",
        "- {_target_: EnsureChannelFirstd, keys: [image, label]}": "configs/small.yaml:9",
        "augment: []": "default",
        "_target_: UNet": "configs/small.yaml:10",
        "channels: [8, 32]": "configs/small.yaml:10, --set",
        "epochs: 7": "--set",
        "title: T": "configs/base.yaml:3",
        "case: c1": "environment CASE (configs/small.yaml:14)",
        "resamples: 500": "configs/base.yaml:4",
        "test: 0.1": "configs/small.yaml:16",
        "threads: null": "default",
    }
    assert {key: found.get(key) for key in wanted} == wanted


def test_a_chain_s_file_and_a_changed_entry(load: Load, small: Path) -> None:
    (small.parent / "chain.yaml").write_text(
        "prepare:\n  - {_target_: LoadImaged, keys: [image, label]}\n"
        "  - _target_: EnsureChannelFirstd\n    keys: [image, label]\n"
        "  - {_target_: ScaleIntensityd, keys: image, minv: '${LOW:-x}'}\n"
    )
    found = sources(load("transforms=chain.yaml", "transforms.prepare.2.minv=2", "plugins=[]"))
    assert found == found | {
        "- {_target_: EnsureChannelFirstd, keys: [image, label]}": "configs/chain.yaml:3",
        "- {_target_: ScaleIntensityd, keys: image, minv: 2}": "configs/chain.yaml:5, --set",
        "plugins: []": "--set",
    }
    found = sources(load("transforms.augment=[{_target_: RandIntensityBatchd, keys: image}]"))
    assert found["- {_target_: RandIntensityBatchd, keys: image}"] == "--set", "one a line, however short"


def test_a_file_of_another_project(load: Load, small: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("other") / "base.yaml"
    base.write_text("seed: 7\n")
    assert sources(load(add=f"extends: '{base}'\n"))["seed: 7"] == f"{base}:1"


def test_sources_are_aligned_and_lines_stay_readable(load: Load) -> None:
    classes = [f"class number {number:03d}" for number in range(30)]
    config = load(f"data.classes=[{', '.join(classes)}]", "data.classes.29=last", "data.label_map={7: 1, -1: 0}")
    lines = printed_text(config).splitlines()
    columns = {line.index("  # ") for line in lines[1:] if "  # " in line and len(line.partition("  # ")[0]) < 72}
    assert len(columns) == 1
    assert "    - last" in [line.partition("  # ")[0].rstrip() for line in lines], "a long list has an entry a line"
    assert max(map(len, lines)) < 120
    assert sources(config)["- last"] == sources(config)["- class number 003"] == "--set"
    assert read_back(config).settings == config.settings


def test_an_empty_section_takes_its_defaults(load: Load) -> None:
    config = load("data.phantom={}", "training={}")
    assert sources(config)["weeks: 1"] == "default"
    assert read_back(config).settings == config.settings


def test_a_line_end_in_a_file_s_name(small: Path) -> None:
    path = small.with_name("two\nlines.yaml")
    small.rename(path)
    config = load_config(path, environment={})
    assert "\n# configs/two?lines.yaml" in f"\n{printed_text(config)}"
    assert sources(config)["name: small"] == "configs/two?lines.yaml:1"
    assert read_back(config).settings == config.settings


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
odd = st.sampled_from(["1e-4", "no", "007", "~", "a: b", "# x", "- x", "a  # b", "[", "{", "'", '"', "x\u2028y", "? k"])
plain = (texts | odd).filter(lambda text: not is_expression(text) and "${" not in text)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(value=float("inf"), title="a")
@example(value=[-float("inf")], title="a")
@given(value=values, title=plain)
def test_any_value_reads_back(load: Load, value: Any, title: str) -> None:
    config = load()
    network = {**config.settings.network, "dropout": value}
    changed = config.settings.model_copy(
        update={"network": network, "report": config.settings.report.model_copy(update={"title": title})}
    )
    from dataclasses import replace

    from pipeline.config.yaml_source import parse_yaml

    text = printed_text(replace(config, settings=changed))
    found = parse_yaml(text, "a").value
    assert found["network"]["dropout"] == value
    assert repr(found["network"]["dropout"]) == repr(value)
    assert found["report"]["title"] == title


def test_the_command_prints_and_runs_nothing() -> None:
    code = (
        "import sys\nfrom pipeline.commands.run_pipeline import main\n"
        "code = main(['configs/hipmri.yaml', '--print-config', '--set', 'training.epochs=5'])\n"
        "print(code, sorted({'torch', 'monai', 'matplotlib', 'jinja2'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert done.stdout.splitlines()[1].startswith("name: hipmri "), "the config that was named, not its stand-in"
    assert done.stderr == ""
