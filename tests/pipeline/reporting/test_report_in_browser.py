"""The report in a real browser: no error, tables that sort and filter, slices to leaf through."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from pipeline.reporting.colours import class_colour, mixed
from pipeline.reporting.content import Example, ReportContent
from pipeline.reporting.gallery import pack_stack
from pipeline.reporting.report import render_report
from pipeline.reporting.stack import Gallery

CLASSES = ("background", "bone", "rectum")
QUIET = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "disable-dev-shm-usage", "hide-scrollbars", "window-size=1400,1000",
)  # fmt: skip
# How many pixels of the canvas have a colour, each of its parts to within 40.
COUNT = """
const canvas = document.querySelector('#viewer canvas');
const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
let count = 0;
for (let at = 0; at < pixels.length; at += 4) {
  count += [0, 1, 2].every((part) => Math.abs(pixels[at + part] - arguments[part]) < 40);
}
return count;
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        missing = "Chromium with its driver is not installed (Debian: apt-get install chromium chromium-driver)"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for name in QUIET:
        options.add_argument(f"--{name}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def page(
    make_content: Callable[..., ReportContent], tmp_path_factory: pytest.TempPathFactory
) -> str:  # fmt: skip
    """Address of a report of 12 cases of three patients, four slices of one scan of whom can be leafed through."""

    def shown(number: int) -> Example:
        reference, prediction = np.zeros((2, 24, 40), np.uint8)
        reference[4:14, 5:20] = 1
        prediction[4:14, 8 : 20 + number] = 1
        image = np.full(reference.shape, 100.0, np.float32)
        image[0, 0], image[-1, -1] = 0, 200
        dice = {"background": 0.9, "bone": 0.5 + number / 10, "rectum": None}
        return Example(f"case_1_{number}", None, image, reference, prediction, (1.0, 1.0), None, dice)

    stack = pack_stack("scan_1", [shown(number) for number in range(4)], CLASSES, 80)
    text = render_report(make_content(gallery=Gallery((stack,), 3)))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser: webdriver.Chrome, page: str) -> webdriver.Chrome:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(page)
    return browser


def faults(browser: webdriver.Chrome) -> list[Any]:
    return list(browser.get_log("browser"))


def rows(browser: webdriver.Chrome, table: str) -> list[list[str]]:
    """First lines of the cells of the rows that are shown."""
    script = """return [...document.getElementById(arguments[0]).tBodies[0].rows].filter((row) => !row.hidden)
        .map((row) => [...row.cells].map((cell) => cell.firstChild?.textContent.trim() ?? ''))"""
    return list(browser.execute_script(script, table))


def part(browser: webdriver.Chrome, name: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, f'#viewer [data-part="{name}"]')


def press(browser: webdriver.Chrome, element: WebElement) -> None:
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def open_case(browser: webdriver.Chrome, case: str) -> None:
    press(browser, browser.find_element(By.CSS_SELECTOR, f'#cases [data-case="{case}"] button'))
    WebDriverWait(browser, 10).until(lambda _: part(browser, "title").text == case)


def outlined(browser: webdriver.Chrome, colour: str) -> int:
    return int(browser.execute_script(COUNT, *bytes.fromhex(colour[1:])))


@pytest.mark.parametrize("width", [1400, 390])
def test_it_fits_and_nothing_goes_wrong(opened: webdriver.Chrome, page: str, width: int) -> None:
    size = {"width": width, "height": 850, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.get(page)
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    open_case(opened, "case_1_2")
    canvas, viewport = part(opened, "canvas").rect, opened.execute_script("return innerHeight")
    assert canvas["x"] >= 0 and canvas["x"] + canvas["width"] <= width
    assert canvas["width"] > 200 and canvas["height"] < viewport
    assert faults(opened) == []


def test_a_click_on_a_head_sorts(opened: webdriver.Chrome) -> None:
    before = rows(opened, "cases")
    assert len(before) == 12
    heads = opened.find_elements(By.CSS_SELECTOR, "#cases thead button")
    assert [head.text for head in heads] == ["case", "slices", "mean", "bone", "rectum"]
    for column in (3, 4):
        press(opened, heads[column])
        up = [row[column] for row in rows(opened, "cases")]
        known = [float(value) for value in up if value != "–"]
        assert known == sorted(known) and up == [*up[: len(known)], *["–"] * (12 - len(known))]
        press(opened, heads[column])
        down = [row[column] for row in rows(opened, "cases")]
        assert [float(value) for value in down if value != "–"] == known[::-1]
        assert down[len(known) :] == up[len(known) :]  # what has no value stays last
    assert len([one for one in rows(opened, "cases") if one[4] == "–"]) == 6
    press(opened, heads[0])
    assert [row[0] for row in rows(opened, "cases")] == sorted(row[0] for row in before)
    marked = opened.find_elements(By.CSS_SELECTOR, "#cases [aria-sort]")
    assert [(one.text, one.get_attribute("aria-sort")) for one in marked] == [("case", "ascending")]


def test_words_and_marks_filter(opened: webdriver.Chrome) -> None:
    box = opened.find_element(By.CSS_SELECTOR, '.filter[data-table="cases"]')
    word, mark, told = (box.find_element(By.TAG_NAME, name) for name in ("input", "select", "output"))
    word.send_keys("CASE_1")
    assert {row[0][:7] for row in rows(opened, "cases")} == {"case_1_"} and told.text == "4 of 12"
    Select(mark).select_by_value("missed")
    assert [row[0] for row in rows(opened, "cases")] == ["case_1_0"]
    word.clear()
    word.send_keys(Keys.SPACE)
    Select(mark).select_by_value("spurious")
    assert {row[0][-2:] for row in rows(opened, "cases")} == {"_1", "_2"} and told.text == "6 of 12"


def test_a_case_opens_and_its_scan_can_be_leafed_through(opened: webdriver.Chrome) -> None:
    assert len(opened.find_elements(By.CSS_SELECTOR, "#cases .opens")) == 4  # the scan that was packed
    open_case(opened, "case_1_2")
    assert part(opened, "place").text == "slice 3 of 4 of scan scan_1"
    assert part(opened, "classes").text == "bone\n0.700"
    part(opened, "forth").click()
    assert part(opened, "title").text == "case_1_3" and part(opened, "classes").text == "bone\n0.800"
    part(opened, "slider").send_keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert part(opened, "title").text == "case_1_1"
    part(opened, "back").click()
    assert part(opened, "title").text == "case_1_0"
    part(opened, "close").click()
    assert not opened.find_element(By.ID, "viewer").is_displayed()
    assert faults(opened) == []


def test_outlines_are_drawn_where_the_masks_end_and_can_be_switched_off(opened: webdriver.Chrome) -> None:
    open_case(opened, "case_1_2")
    bone, paler = class_colour(1), mixed(class_colour(1), "#ffffff", 0.3)
    dashed = outlined(opened, paler)
    part(opened, "prediction").click()
    alone = outlined(opened, bone)
    canvas = part(opened, "canvas")
    zoom = canvas.size["width"] / 24  # hung: axis 0 runs across
    around = 2 * (10 + 15) * zoom  # the reference is 10 x 15 pixels large; its line is 1.8 pixels wide
    assert 0.8 * around < alone < 2.6 * around
    assert outlined(opened, paler) < dashed / 3  # what is left is where a line fades into the image
    part(opened, "reference").click()
    assert outlined(opened, bone) == 0
    part(opened, "reference").click()
    box = part(opened, "classes").find_element(By.TAG_NAME, "input")
    box.click()
    assert outlined(opened, bone) == 0
    assert opened.switch_to.active_element == box, "who goes by the keyboard keeps the place"


def test_a_click_beside_the_window_closes_it_and_one_in_it_does_not(opened: webdriver.Chrome) -> None:
    open_case(opened, "case_1_2")
    viewer = opened.find_element(By.ID, "viewer")
    webdriver.ActionChains(opened).move_to_element(part(opened, "title")).click().perform()
    edge = viewer.rect
    webdriver.ActionChains(opened).move_by_offset(0, 0).move_to_element_with_offset(
        viewer, -edge["width"] // 2 + 4, 0
    ).click().perform()
    assert viewer.is_displayed()
    webdriver.ActionChains(opened).move_to_element_with_offset(viewer, -edge["width"] // 2 - 40, 0).click().perform()
    assert not viewer.is_displayed()
