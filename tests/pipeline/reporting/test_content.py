from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.reporting.content import Example, FoldContent, ReportContent

MASK = np.zeros((4, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image": np.zeros((3, 4), dtype=np.float32)}, "shapes"),
        ({"image": np.zeros((4, 3, 1), dtype=np.float32)}, "shapes"),
        ({"pixel_size": (1.0, 0.0)}, "pixel_size"),
        ({"pixel_size": (1.0, float("nan"))}, "pixel_size"),
        ({"axis_codes": ("R", "L")}, "axis_codes"),
        ({"axis_codes": ("R", "x")}, "axis_codes"),
    ],
)
def test_an_example_that_makes_no_sense_is_refused(
    make_example: Callable[..., Example], changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        make_example(MASK, **changes)


def test_content_that_does_not_fit_together_is_refused(
    make_content: Callable[..., ReportContent], make_example: Callable[..., Example]
) -> None:
    with pytest.raises(ValueError, match="captions"):
        make_content(captions=("one",))
    with pytest.raises(ValueError, match="0 examples"):
        make_content(examples=(), captions=())
    with pytest.raises(ValueError, match="summary"):
        make_content(summary={"classes": ["background", "other"]})
    with pytest.raises(ValueError, match="lacks rectum"):
        make_content(examples=(make_example(MASK, dice={"background": 1.0, "bone": None}),), captions=("one",))


def test_folds_and_their_figures_belong_together(make_folds: Callable[..., ReportContent]) -> None:
    content = make_folds()
    with pytest.raises(ValueError, match="the summary is of 3 folds, the report of 2"):
        make_folds(folds=content.folds[:2])
    with pytest.raises(ValueError, match="of 3 folds, the report of 0"):
        make_folds(folds=())
    assert content.folds[1].best_dice == 0.5
    assert FoldContent(content.folds[1].history, 9).best_dice is None


def test_content_is_light_and_plots_leave_pyplot_alone() -> None:
    code = "import sys, pipeline.reporting.content; print(*{'matplotlib', 'jinja2'} & set(sys.modules)); "
    code += "import pipeline.reporting.report; print('matplotlib.pyplot' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "False"]
