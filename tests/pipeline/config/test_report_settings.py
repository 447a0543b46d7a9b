"""Which trackers a config may name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.config.report_settings import ReportSettings
from pipeline.config.resolved import yaml_text
from pipeline.config.yaml_source import parse_yaml


@pytest.mark.parametrize(
    ("value", "trackers"),
    [
        ("none", ()),
        ("tensorboard", ("tensorboard",)),
        (["mlflow"], ("mlflow",)),
        (["tensorboard", "mlflow"], ("tensorboard", "mlflow")),
    ],
)
def test_one_several_or_none(value: Any, trackers: tuple[str, ...]) -> None:
    settings = ReportSettings(tracker=value)
    assert settings.trackers == trackers
    written = parse_yaml(yaml_text({"tracker": value}), "x.yaml").value["tracker"]
    assert ReportSettings(tracker=written) == settings, "as a run's own config says it"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            "tensorbord",
            "expected none, tensorboard, mlflow, or a list of them; the nearest known name is 'tensorboard'",
        ),
        (["tensorboard", "mlflo"], "the nearest known name is 'mlflow'"),
        (["none"], "or a list of them"),
        ([], "or a list of them"),
        (None, "got None, expected none"),
        ({"tensorboard": 1}, "or a list of them"),
        (["mlflow", "mlflow"], "which names a tracker twice"),
        ([["mlflow"]], "or a list of them"),
    ],
)
def test_what_is_no_tracker(value: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ReportSettings(tracker=value)
