"""The index has a line for every page, and no link of any page leads nowhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "benchmarks").glob("*.md")), ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]  # fmt: skip


def links_of(text: str) -> list[str]:
    """Targets of the links outside of code: `[words](target)`."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", prose)


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_leads_nowhere(page: Path) -> None:
    for link in links_of(page.read_text(encoding="utf-8")):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors_of(target.read_text(encoding="utf-8")), link


def test_the_index_has_one_line_a_page() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| \[([\w.]+)\]\(([\w.]+)\) \| .+\. \|$", index, re.MULTILINE)
    assert all(name == target for name, target in lines)
    assert sorted(name for name, _ in lines) == sorted(
        {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    )


def test_links_and_anchors_are_seen() -> None:
    assert links_of("a [b](c.md#d) `[e](f)`\n```\n[g](h)\n```\n![i](j.png)") == ["c.md#d", "j.png"]
    assert anchors_of("# A page, of `code`\n```\n# no\n```\n## Two") == {"a-page-of-code", "two"}
