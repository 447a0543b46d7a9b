"""What is to be said of a config that is right."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.document import dotted
from pipeline.config.load import Config
from pipeline.config.plugins import plugin_file, targets_of
from transforms.plugins import PluginTarget, plugin_digest


def plugin_notes(config: Config) -> list[str]:
    """What is to be said of a config's plugins: whose code runs in this program, and for what."""
    used: dict[Path, list[str]] = {}
    for path, entry in targets_of(config.document):
        if isinstance(entry, dict) and isinstance(target := entry.get("_target_"), PluginTarget):
            used.setdefault(target.plugin.file, []).append(f"{target} ({dotted(path)})")
    notes = []
    for number, text in enumerate(config.settings.plugins):
        file = plugin_file(text, config.project_root)
        where = config.where("plugins", number)
        if file in used:
            digest = plugin_digest(file)[:12]
            notes.append(f"{file} (SHA-256 {digest}) is code that this program runs: {', '.join(used[file])}; {where}")
        else:
            notes.append(f"{file} is listed but nothing of it is named, so that it is not run; {where}")
    return notes
