"""A config written out in full, so that running it again repeats the run."""

from __future__ import annotations

from typing import Any

import yaml

from pipeline.config.load import Config


def resolved_text(config: Config) -> str:
    """YAML with every value that was in force, defaults included; paths are absolute."""
    values: dict[str, Any] = config.settings.model_dump(mode="json", by_alias=True)
    values["data"]["root"] = str(config.locate(config.settings.data.root).resolve())
    values["data"]["stand_in"] = None
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
