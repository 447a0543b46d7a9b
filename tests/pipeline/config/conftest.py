"""A small whole config, and ways to write and load variants of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import Config, load_config
from pipeline.errors import ConfigError, Fault, Faults

SMALL = """\
name: small
data:
  layout: hipmri
  root: data
  classes: [background, organ]
transforms:
  prepare:
    - {_target_: LoadImaged, keys: [image, label]}
    - {_target_: EnsureChannelFirstd, keys: [image, label]}
network: {_target_: UNet, channels: [8, 16]}
loss: {_target_: DiceCELoss, softmax: true, to_onehot_y: true}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The path of the small config, in a folder of its own."""
    path = tmp_path / "configs" / "small.yaml"
    path.parent.mkdir()
    path.write_text(SMALL)
    return path


@pytest.fixture
def load(small: Path) -> Callable[..., Config]:
    """Loads the small config with ``--set`` arguments and lines added to its end."""

    def run(*overrides: str, add: str = "", environment: dict[str, str] | None = None) -> Config:
        small.write_text(SMALL + add)
        return load_config(small, overrides, environment or {})

    return run


@pytest.fixture
def faults_of() -> Callable[[Callable[[], Any]], Sequence[Fault]]:
    """The faults that a call ends in, one by one."""

    def run(call: Callable[[], Any]) -> Sequence[Fault]:
        with pytest.raises((ConfigError, Faults)) as caught:
            call()
        fault = caught.value
        return fault.faults if isinstance(fault, Faults) else [fault]

    return run
