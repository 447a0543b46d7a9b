from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pipeline.reporting.content import PHANTOM, ReportContent
from pipeline.reporting.gallery import MOST_BYTES
from pipeline.reporting.report import MOST_MASKS, render_report
from pipeline.reporting.stack import Gallery, Stack
from tests.pipeline.reporting.pages import Page

Make = Callable[..., ReportContent]


@pytest.fixture(scope="module")
def text(make_content: Make) -> str:
    return render_report(make_content())


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_nothing_is_loaded_from_a_network(text: str, page: Page) -> None:
    loads = [
        value or ""
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}
    ]
    assert loads
    assert all(load.startswith(("data:image/webp;base64,", "#")) for load in loads)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    (policy,) = [tag["content"] for _, tag in page.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    allowed = [base64.b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(scripts) == text.count("<script") == 2
    assert policy.endswith("script-src " + " ".join(f"'sha256-{one}'" for one in allowed))
    assert not any(re.search(r"https?:|fetch|XMLHttp|import", script) for script in scripts)


def test_links_inside_the_page_have_their_goals(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    goals = {(attributes.get("href") or "#")[1:] for tag, attributes in page.tags if tag == "a"}
    assert len(ids) == len(set(ids))
    assert len(goals) >= 8
    assert goals <= set(ids)


def test_images_are_there_and_described(page: Page) -> None:
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2 + 3  # examples, classes
    for image in images:
        assert image["alt"]
        _, encoded = (image["src"] or "").split(",")
        assert Image.open(BytesIO(base64.b64decode(encoded))).width > 300
    assert sum(tag == "svg" for tag, _ in page.tags) == 3


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_phantom_is_told_loudly(make_content: Make, synthetic: bool) -> None:
    text = render_report(make_content(synthetic=synthetic))
    page = Page(text)
    banner = [index for index, (_, word) in enumerate(page.words) if word == PHANTOM]
    heading = next(index for index, (tag, _) in enumerate(page.words) if tag == "h1")
    assert (len(banner) == 1 and banner[0] < heading) is synthetic
    (title,) = [word for tag, word in page.words if tag == "title"]
    assert (title == f"{PHANTOM}: A small run") is synthetic
    assert ("PHANTOM" in text) is synthetic


def test_texts_are_escaped(make_content: Make) -> None:
    classes = ("background", "<b>x</b>", "\"' onload=alert(1)")
    evil = "<script>alert(1)</script>"
    content = make_content(
        classes, title=evil, name=evil, warnings=(evil,), config_text=evil, repeat=evil, provenance={"command": [evil]},
        captions=(evil, evil),
    )  # fmt: skip
    for example in content.examples:
        object.__setattr__(example, "case", evil)
    text = render_report(content)
    page = Page(text)
    assert "b>x" not in {tag for tag, _ in page.tags}
    assert text.count("<script") == 2  # our own
    assert "<b>x</b>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert not any("onload" in attributes for _, attributes in page.tags)
    assert page.text.count(evil) >= 6


def numbers_of(content: ReportContent, name: str) -> list[str]:
    cells = [name]
    for level in ("slice", "scan", "patient"):
        figure = content.summary["levels"][level]["classes"][name]["dice"]
        low, high = figure["interval"]
        cells.append(f"{figure['mean']:.3f} {low:.3f}–{high:.3f} n {figure['n']}")
    of_slices = content.summary["levels"]["slice"]["classes"][name]
    return cells + [str(of_slices[key]) for key in ("missed", "spurious", "both_empty")]


def test_the_numbers_are_the_summary(make_content: Make, page: Page) -> None:
    content = make_content()
    table = [[cell.strip() for cell in row] for row in page.tables[0]]
    assert table[1] == numbers_of(content, "bone")
    assert table[2] == numbers_of(content, "rectum")
    foreground = content.summary["levels"]["scan"]["foreground"]["dice"]
    low, high = foreground["interval"]
    assert table[3][2] == f"{foreground['mean']:.3f} {low:.3f}–{high:.3f}"
    assert table[4][0] == "background (in no mean)"
    # In the verdict as well: rectum is missed once and spurious twice in each of three patients.
    verdict = page.text[page.text.index("Over 2 classes") :][:700]
    assert f"mean Dice of {foreground['mean']:.3f} per scan" in verdict
    assert f"the 95 % interval over 3 patients is {low:.3f} to {high:.3f}" in verdict
    assert "3 were missed altogether, and 6 were predicted where the reference has none" in verdict


def test_cases_and_patients_stand_in_tables(make_content: Make, page: Page) -> None:
    content = make_content()
    patients = next(table for table in page.tables if table[0][0].strip() == "patient")
    cases = next(table for table in page.tables if table[0][0].strip() == "case")
    assert (len(patients) - 1, len(cases) - 1) == (3, 12)
    by_name = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in cases[1:]}
    for row in content.cases:
        if row["class"] == "bone":
            assert by_name[row["case"]][2] == f"{row['dice']:.3f}"
    assert [by_name[f"case_0_{index}"][3] for index in (0, 1)] == ["0.000 missed", "– spurious"]


def test_folds_stand_in_a_table(make_folds: Make, make_content: Make) -> None:
    content = make_folds()
    page = Page(render_report(content))
    table = next(table for table in page.tables if table[0][0].strip() == "fold")
    cells = [[cell.strip() for cell in row] for row in table]
    assert cells[0] == ["fold", "patients", "best epoch", "validation Dice", "mean", "bone", "rectum"]
    for number, fold in enumerate(content.summary["folds"]["each"]):
        dice = fold["dice"]["scan"]
        expected = [dice["foreground"], dice["classes"]["bone"], dice["classes"]["rectum"]]
        facts = [f"fold {number}", str(number + 1), str(number + 1), "0.500"]
        assert cells[1 + number] == [*facts, *(f"{value:.3f}" for value in expected)]
    means = [fold["dice"]["scan"]["foreground"] for fold in content.summary["folds"]["each"]]
    assert cells[4][:3] == ["mean of the folds", "", f"{np.mean(means):.3f}"]
    assert cells[5][:3] == ["standard deviation", "", f"{np.std(means, ddof=1):.3f}"]
    assert "cross-validated in 3 folds" in page.text
    assert "#folds" in [attributes.get("href") for tag, attributes in page.tags if tag == "a"]
    single = Page(render_report(make_content()))
    assert "fold" not in single.text and "#folds" not in [one.get("href") for _, one in single.tags]


def test_what_is_none_is_a_dash_and_never_nan(make_content: Make, make_epoch: Callable[..., dict[str, object]]) -> None:
    classes = ("background", "bone", "rectum")
    history = [make_epoch(1, classes, dice_bone=math.nan, validation_dice=math.nan)]
    provenance = {"seed": 0, "git_commit": None, "wall_seconds": math.nan, "peak_memory_bytes": None, "share": math.nan}
    content = make_content(n_patients=1, history=history, best_epoch=1, provenance=provenance)
    for level in content.summary["levels"].values():
        level["classes"]["rectum"]["dice"] |= {"mean": None, "interval": None, "n": 0}
    page = Page(render_report(content))
    assert not re.search(r"\b(nan|none|inf)\b(?! of them| of it)", re.sub(r"has none\b", "", page.text).lower())
    assert [cell.strip() for cell in page.tables[0][2][1:4]] == ["– – n 0"] * 3
    facts = {name.strip(): value.strip() for name, value in page.tables[-1]}
    assert facts == {"seed": "0", "git commit": "–", "time taken": "–", "peak memory": "–", "share": "–"}
    assert "in 1 patient: too few for an interval." in page.text
    assert "1 patient: no interval, for it takes two." in page.text


def test_no_class_in_any_reference(make_content: Make) -> None:
    content = make_content(n_patients=1)
    for level in content.summary["levels"].values():
        level["foreground"]["dice"] |= {"mean": None, "interval": None, "n_classes": 0, "n_patients": 0}
    assert "No reference mask shows a class other than the background" in Page(render_report(content)).text


def test_a_long_list_of_cases_is_capped_and_says_so(make_content: Make) -> None:
    content = make_content(n_patients=1, n_cases=700)
    text = render_report(content)
    page = Page(text)
    cases = next(table for table in page.tables if table[0][0].strip() == "case")
    assert len(cases) - 1 == 600
    assert "Dice of each case (the worst 600 of 700; evaluation/cases.csv has all)" in page.text
    assert len(text.encode()) < 3_000_000


def test_hundreds_of_cases_fit_in_five_megabytes(make_content: Make) -> None:
    classes = ("background", "body", "bone", "bladder", "rectum", "prostate")
    names = tuple(f"case_000_week_0_slice_{number}" for number in range(540))
    dice = ((0.999, *[0.123] * 5),) * 540
    full = Stack("scan", names, (None,) * 540, dice, (256, 256), 23, 1, 1.0, None, 0, bytes(MOST_BYTES), b"")
    text = render_report(make_content(classes, n_patients=3, n_cases=180, epochs=300, gallery=Gallery((full,), 3)))
    assert "Dice of each case (540)" in Page(text).text
    assert len(text.encode()) < 5_000_000


def test_many_classes_show_some_masks_and_say_so(make_content: Make) -> None:
    classes = ("background", *(f"organ {number}" for number in range(1, 21)))
    page = Page(render_report(make_content(classes)))
    described = [attributes["alt"] or "" for tag, attributes in page.tags if tag == "img"]
    shown = [description for description in described if "predicted mask" in description]
    assert len(shown) == MOST_MASKS
    assert f"{MOST_MASKS} of 21 classes, the folder plots/ has all" in page.text


def test_it_says_where_the_result_came_from(page: Page) -> None:
    facts = {name.strip(): value.strip() for name, value in page.tables[-1]}
    assert facts["command"] == "bin/run_pipeline 'a b.yaml'"
    assert facts["time taken"] == "1 min 15 s"
    assert facts["peak memory"] == "1.00 GiB"
    assert facts["versions: monai"] == "1.2.3"
    assert "Slicewise 9.8.7." in page.text
    assert ("pre", "bin/run_pipeline runs/small/001/config.yaml") in page.words
    assert ("pre", "name: small") in page.words
    assert "Mind the gap." in page.text


def test_the_page_suits_phones_darkness_and_paper(text: str) -> None:
    assert 'name="viewport" content="width=device-width' in text
    assert "@media (prefers-color-scheme: dark)" in text
    assert "@media print" in text
    chart = text[text.index("<svg") : text.index("</svg>")]
    assert "var(--ink)" in chart  # so its letters can be read in the dark


def test_the_same_content_gives_the_same_page(make_content: Make, text: str) -> None:
    assert render_report(make_content()) == text
