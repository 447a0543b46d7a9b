"""What the report shows beside the figures comes from the run's own files."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from pipeline.commands import outcome
from pipeline.errors import DataError

Run = Callable[..., int]
CEILING = re.compile(r"<tr(?: class=\"mean\")?><th scope=\"row\">.*?</th><td>[\d.–]+</td><td>([\d.]+)<", re.DOTALL)


def picture(path: Path) -> np.ndarray:
    """A 2D mask as it is hung: axis 0 from left to right, axis 1 from bottom to top."""
    array = np.asanyarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
    return array.reshape(array.shape[:2]).T[::-1]


def ceilings(report: str) -> list[float]:
    section = report[report.index('<h2 id="ceiling">') : report.index('<h2 id="data">')]
    return [float(value) for value in CEILING.findall(section)]


def test_the_slices_of_the_page_are_those_of_the_run(project: Path, phantom: Path, run_pipeline: Run) -> None:
    chain = ("--set", "transforms=transforms/pad.yaml")
    assert run_pipeline(project / "configs/hipmri.yaml", "--set", f"data.root={phantom}", *chain) == 0
    folder = project / "runs/hipmri-PHANTOM/001"
    report = (folder / "report.html").read_text()
    found = re.search(r'id="stacks">(.*?)</script>', report, re.DOTALL)
    assert found is not None
    shown: dict[str, np.ndarray] = {}
    for stack in json.loads(found[1])["stacks"]:
        count = len(stack["slices"])
        ids = np.frombuffer(zlib.decompress(base64.b64decode(stack["masks"])), np.uint8)
        ids = ids.reshape(2, count, stack["rows"], stack["wide"])
        shown |= {case: ids[:, place] for place, (case, _, _) in enumerate(stack["slices"])}
    tested = sorted((phantom / "keras_slices_test").glob("*.nii.gz"))
    assert sorted(shown) == [path.name.removesuffix(".nii.gz") for path in tested]
    for case, (reference, prediction) in shown.items():
        label = phantom / "keras_slices_seg_test" / f"{case.replace('case', 'seg')}.nii.gz"
        np.testing.assert_array_equal(reference, picture(label))
        np.testing.assert_array_equal(prediction, picture(folder / "predictions" / f"{case}.nii.gz"))
    assert ceilings(report) == [1.0] * 6  # a chain that only pads loses nothing


def test_a_chain_that_halves_has_a_lower_ceiling(project: Path, phantom: Path, run_pipeline: Run) -> None:
    chain = ("--set", "transforms=transforms/half.yaml")
    assert run_pipeline(project / "configs/hipmri.yaml", "--set", f"data.root={phantom}", *chain) == 0
    *classes, mean = ceilings((project / "runs/hipmri-PHANTOM/001/report.html").read_text())
    assert len(classes) == 5 and all(0.6 < value < 0.999 for value in classes)
    assert mean == pytest.approx(np.mean(classes), abs=0.002)


def test_a_run_is_not_lost_for_its_exhibits(
    project: Path, phantom: Path, run_pipeline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> None:
        raise DataError("does not go through", where="label.nii.gz")

    def too_large(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(outcome, "tested_ceiling", refused)
    monkeypatch.setattr(outcome, "gallery_of", too_large)
    assert run_pipeline(project / "configs/hipmri.yaml", "--set", f"data.root={phantom}") == 0
    report = (project / "runs/hipmri-PHANTOM/001/report.html").read_text()
    assert '<h2 id="ceiling">' not in report and 'href="#ceiling"' not in report
    assert "The ceiling of the chain could not be measured: label.nii.gz: does not go through" in report
    assert "The slices could not be put into this page: there is not enough memory" in report
    assert 'id="stacks"' not in report
