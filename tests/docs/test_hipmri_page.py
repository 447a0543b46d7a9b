"""docs/hipmri.md: its settings can be used, its sums are right, and its split is the one that the code has."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest

from pipeline.config.load import load_config
from pipeline.data.layouts import hipmri

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/hipmri.md").read_text(encoding="utf-8")
COMMANDS = [
    text for text in re.findall(r"^    (.*--set .*)$|`(--set [^`]+)`", PAGE, re.MULTILINE) for text in text if text
]


@pytest.mark.parametrize("command", COMMANDS)
def test_its_settings_are_known(command: str) -> None:
    words = shlex.split(command)
    values = [value for key, value in itertools.pairwise(words) if key == "--set"]
    assert values
    load_config(ROOT / "configs/hipmri.yaml", values, {})


def test_its_sums_are_right() -> None:
    sums = re.findall(r"(\d+) / (\d+) = (\d\.\d\d)", PAGE)
    assert len(sums) == 3
    for part, whole, quotient in sums:
        assert f"{int(part) / int(whole):.2f}" == quotient
    assert "(5 x 0.60 + 1.00) / 6 = 0.67" in PAGE and f"{(5 * 0.6 + 1) / 6:.2f}" == "0.67"
    shown = dict(re.findall(r"^\| \d \| (\w+) \| [\d.]+ \| (\d+) \|$", PAGE, re.MULTILINE))
    assert {part for part, *_ in sums} == {
        str(540 - int(shown["prostate"])), str(540 - int(shown["rectum"])), shown["prostate"]
    }  # fmt: skip


def test_its_split_is_the_one_of_the_code() -> None:
    rows = re.findall(r"^\| (train|validation|test) \| ([\d,]+) \| (\d+) \| (\d+) \(", PAGE, re.MULTILINE)
    assert {side: int(patients) for side, _, _, patients in rows} == {
        side: len(patients) for side, patients in hipmri._PATIENTS.items()
    }
    assert all(int(slices.replace(",", "")) == 60 * int(scans) for _, slices, scans, _ in rows)
    assert (sum(int(row[2]) for row in rows), sum(int(row[3]) for row in rows)) == (211, 38)
    for folder in (*(name for pair in hipmri.HIPMRI_FOLDERS.values() for name in pair), *hipmri.HIPMRI_VOLUMES):
        assert folder in PAGE
    assert hipmri.HIPMRI_DOI in PAGE
