"""What was taken for what, by hand."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.reporting.confusion_table import confusion_rows, confusion_sentence
from pipeline.reporting.content import ReportContent

Make = Callable[..., ReportContent]


def test_rows_are_shares_of_the_reference(make_content: Make) -> None:
    content = make_content()
    content.summary["confusion"] = [[960, 40, 0], [50, 900, 50], [0, 0, 0]]
    background, bone, rectum = confusion_rows(content)
    assert [cell.share for cell in background.cells] == ["96 %", "4.0 %", "0 %"]
    assert [(cell.share, cell.depth, cell.right) for cell in bone.cells] == [
        ("5.0 %", 22, False), ("90 %", 95, True), ("5.0 %", 22, False),
    ]  # fmt: skip
    assert (bone.voxels, bone.cells[2].voxels) == ("1,000", "50")
    assert [(cell.share, cell.depth) for cell in rectum.cells] == [("–", 0)] * 3  # in no reference


def test_the_sentence_names_the_largest_share_and_not_the_background(make_content: Make) -> None:
    content = make_content()
    content.summary["confusion"] = [[500, 500, 0], [900, 70, 30], [10, 5, 85]]
    assert confusion_sentence(content) == (
        "Most often mixed up: 5.0 % of the voxels of rectum were predicted to be bone."
    )
    content.summary["confusion"] = [[500, 0, 0], [900, 1000, 3], [10, 0, 85]]
    assert confusion_sentence(content) == ""  # 0.16 % is not worth a word


def test_the_run_s_own_matrix_stands_in_the_table(make_content: Make) -> None:
    content = make_content()
    found = [[int(cell.voxels.replace(",", "")) for cell in row.cells] for row in confusion_rows(content)]
    assert found == content.summary["confusion"]
