"""Plugins of a config: what their names are checked against, and that a run with them can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import Config, load_config
from pipeline.config.notes import plugin_notes
from pipeline.config.resolved import resolved_text
from pipeline.config.yaml_source import parse_yaml
from pipeline.errors import ChainError, ConfigError, Fault
from transforms.plugins import PluginTarget, plugin_digest

Load = Callable[..., Config]
FaultsOf = Callable[[Callable[[], Any]], Sequence[Fault]]
SOURCE = """\
import torch
from torch import nn
from monai.transforms import MapTransform

class Timesd(MapTransform):
    def __init__(self, keys, factor, allow_missing_keys=False):
        super().__init__(keys, allow_missing_keys)
        self.factor = factor

    def __call__(self, data):
        return {**data, **{key: data[key] * self.factor for key in self.key_iterator(data)}}

class Net(nn.Module):
    def __init__(self, in_channels, out_channels, width=4):
        super().__init__()
        self.layer = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, image):
        return self.layer(image)

class Dimensions(Net):
    def __init__(self, spatial_dims, in_channels, out_channels):
        assert spatial_dims == 2
        super().__init__(in_channels, out_channels)

class Narrow(nn.Module):
    def __init__(self, channels):
        super().__init__()

class Loss(nn.Module):
    def __init__(self, weight=None):
        super().__init__()
        self.weight = weight

    def forward(self, logits, labels):
        return (logits.mean() - labels.float().mean()) ** 2

class NoModule:
    def __init__(self, in_channels=1, out_channels=1):
        pass
"""
TURN = """
from monai.transforms import InvertibleTransform

class Threefoldd(MapTransform):
    def __init__(self, keys):
        super().__init__(keys)

    def __call__(self, data):
        return {**data, **{key: data[key] * 3 for key in self.key_iterator(data)}}

class Turnd(MapTransform, InvertibleTransform):
    def __init__(self, keys, allow_missing_keys=False):
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data):
        data = dict(data)
        for key in self.key_iterator(data):
            data[key] = data[key].transpose(-2, -1)
            self.push_transform(data, key)
        return data

    def inverse(self, data):
        data = dict(data)
        for key in self.key_iterator(data):
            self.pop_transform(data, key)
            data[key] = data[key].transpose(-2, -1)
        return data
"""
USED = (
    "plugins=[plugins/mine.py]",
    "network={_target_: mine.Net, width: 8}",
    "loss={_target_: mine.Loss, weight: [1, 2, 3]}",
)


@pytest.fixture
def plugin(small: Path) -> Path:
    """A plugin in the project of the small config."""
    path = small.parent.parent / "plugins" / "mine.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    return path


def test_names_of_a_plugin(load: Load, plugin: Path) -> None:
    config = load(*USED, "transforms.augment=[{_target_: mine.Timesd, keys: image, factor: 2}]")
    targets = [config.settings.network, config.settings.loss, *config.settings.transforms.augment]
    for entry, name in zip(targets, ("mine.Net", "mine.Loss", "mine.Timesd"), strict=True):
        assert entry["_target_"] == name
        assert isinstance(entry["_target_"], PluginTarget)
        assert entry["_target_"].plugin.file == plugin
    assert load(f"plugins=['{plugin}']", *USED[1:]).settings.network == config.settings.network


def test_what_is_built(load: Load, plugin: Path) -> None:
    import torch

    from pipeline.networks.build import build_network
    from pipeline.training.objective import build_loss

    config = load(*USED)
    network = build_network(config.settings.network, 1, 2)
    assert network(torch.zeros(2, 1, 33, 40)).shape == (2, 2, 33, 40)
    assert getattr(build_loss(config.settings.loss), "weight") == [1, 2, 3], "given as it is written"  # noqa: B009
    build_network(load(USED[0], "network={_target_: mine.Dimensions}").settings.network, 1, 2)
    for build, key in ((lambda entry: build_network(entry, 1, 2), "network"), (build_loss, "loss")):
        entry = getattr(load(USED[0], f"{key}={{_target_: mine.NoModule}}").settings, key)
        with pytest.raises(ConfigError, match=r"mine\.NoModule is no torch\.nn\.Module"):
            build(entry)
    plugin.write_text("import no_such_module_at_all\n" + SOURCE)
    with pytest.raises(ChainError, match="No module named") as caught:
        build_network(load(*USED).settings.network, 1, 2)
    assert caught.value.where == f"{plugin}:1"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["network={_target_: mine.Ned}"], "unknown network 'mine.Ned'. The nearest known name is 'mine.Net'."),
        (["network={_target_: mine.Zzz}"], "unknown network 'mine.Zzz'. The nearest known name is 'mine.Net'."),
        (["network={_target_: mine.Net, wdith: 5}"], "mine.Net takes no 'wdith'. The nearest known name is 'width'."),
        (["network={_target_: mine.Net, in_channels: 5}"], "filled in from the data"),
        (["network={_target_: mine.Narrow, channels: 5}"], "mine.Narrow takes no 'in_channels' and no 'out_channels'"),
        (["network={_target_: min.Net}"], "unknown network 'min.Net'. The nearest known name is 'mine.Net'."),
        (["network={_target_: Net}"], "unknown network 'Net'. "),
        (["loss={_target_: mine.Loss, wieght: 5}"], "mine.Loss takes no 'wieght'. The nearest known name is 'weight'."),
        (["transforms.augment=[{_target_: mine.Timesd, keys: image}]"], "mine.Timesd needs 'factor'. Add it."),
        (["transforms.augment=[{_target_: mine.Timesd, factor: 1}]"], "mine.Timesd has no keys."),
        (["plugins=[]"], None),
        (["plugins=[plugins/none.py]"], "no such file: "),
        (["plugins=[plugins]"], "not a Python file: "),
        (["plugins=[plugins/a-b.py]"], "'a-b' cannot begin a name."),
        (["plugins=[plugins/monai.py]"], "the name 'monai' is taken. Rename the file."),
        (["plugins=[plugins/mine.py, other/mine.py]"], "two plugins are named 'mine'. Rename one of the files."),
        (["plugins=['~nobody-of-that-name/mine.py']"], "cannot be found: ~nobody-of-that-name/mine.py"),
        (["plugins=plugins/mine.py"], "expected a list, got 'plugins/mine.py' (text)."),
        (["plugins=[5]"], "expected text, got 5 (whole number)."),
        (["plugins=['']"], "at least 1 character"),
    ],
)
def test_faults(load: Load, faults_of: FaultsOf, plugin: Path, overrides: list[str], told: str | None) -> None:
    if told is None:
        load("plugins=[plugins/mine.py]", *overrides)
        return
    (fault,) = faults_of(lambda: load("plugins=[plugins/mine.py]", *overrides))
    assert told in str(fault)
    assert fault.where.startswith("--set ")


def test_what_an_unread_plugin_gives_is_not_known(load: Load, faults_of: FaultsOf, plugin: Path) -> None:
    plugin.write_text("x = 1\nclass Net(:\n")
    (fault,) = faults_of(lambda: load(*USED))
    assert f"{plugin}:2: not Python: " in fault.what
    (fault,) = faults_of(lambda: load("network={_target_: mine.Net}"))
    assert "unknown network 'mine.Net'" in fault.what, "a plugin that is not listed gives nothing"


def test_a_config_that_extends_another_replaces_its_plugins(small: Path, plugin: Path) -> None:
    top = small.parent / "top.yaml"
    small.write_text(small.read_text() + "plugins: [plugins/mine.py]\n")
    top.write_text("extends: small.yaml\nplugins: [plugins/other.py]\n")
    plugin.with_name("other.py").write_text("class Net: pass\n")
    assert load_config(top, environment={}).settings.plugins == ("plugins/other.py",)
    top.write_text("extends: small.yaml\n")
    assert load_config(top, environment={}).settings.plugins == ("plugins/mine.py",)


def test_a_resolved_config_finds_its_plugins(
    load: Load, plugin: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = resolved_text(load(*USED))
    assert parse_yaml(text, "a").value["plugins"] == [str(plugin)]
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "config.yaml"
    elsewhere.write_text(text)
    again = load_config(elsewhere, environment={})
    assert again.settings.network == {"_target_": "mine.Net", "width": 8}
    assert again.settings.network["_target_"].plugin.file == plugin
    assert resolved_text(again) == text


def test_notes(load: Load, plugin: Path) -> None:
    assert plugin_notes(load()) == []
    (note,) = plugin_notes(load(*USED))
    assert note == (
        f"{plugin} (SHA-256 {plugin_digest(plugin)[:12]}) is code that this program runs: mine.Net (network), "
        "mine.Loss (loss); --set plugins"
    )
    (note,) = plugin_notes(load(USED[0]))
    assert note == f"{plugin} is listed but nothing of it is named, so that it is not run; --set plugins"


def test_loading_runs_nothing(load: Load, plugin: Path) -> None:
    plugin.write_text(SOURCE + "\nraise SystemExit('it was run')\n")
    assert load(*USED).settings.network["_target_"] == "mine.Net"


def test_a_case_goes_through_and_comes_back(
    make_config: Callable[..., Any], write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    import numpy as np
    import torch

    from transforms.chain import PrepareChain
    from transforms.nifti import ReadOptions

    (tmp_path / "mine.py").write_text(SOURCE + TURN)
    prepare: list[dict[str, Any]] = [
        {"_target_": name, "keys": ["image", "label"]} for name in ("LoadImaged", "EnsureChannelFirstd", "mine.Turnd")
    ]
    config = make_config(
        plugins=["mine.py"],
        transforms={"prepare": [*prepare, {"_target_": "mine.Threefoldd", "keys": "image"}]},
    )
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    sample = {"image": str(write_nifti(tmp_path / "image.nii.gz", array))}
    chain = PrepareChain(config.settings.transforms.prepare, ReadOptions(), keys=("image",))
    prepared = chain(sample)["image"]
    assert np.array_equal(np.asarray(prepared).reshape(4, 3), 3 * array.T)
    back = chain.invert(torch.as_tensor(3 * array.T.copy())[None], prepared)
    assert np.array_equal(back, 3 * array[None])
