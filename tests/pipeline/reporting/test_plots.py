from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from pipeline.errors import RunError
from pipeline.reporting import colours
from pipeline.reporting.content import PHANTOM, ReportContent
from pipeline.reporting.curves import loss_figure
from pipeline.reporting.overlays import mask_figure, overlay_figure
from pipeline.reporting.plots import dice_figure, save_plots
from pipeline.reporting.sheets import png, svg

Make = Callable[..., ReportContent]


def figures(content: ReportContent) -> dict[str, Figure]:
    classes, synthetic = content.classes, content.synthetic
    return {
        "loss": loss_figure(content),
        "dice": dice_figure(content),
        "overlays": overlay_figure(content.examples, content.captions, classes, title="Outlines", synthetic=synthetic),
        **{
            f"mask {index}": mask_figure(content.examples[0], classes, index, synthetic=synthetic)
            for index in range(len(classes))
        },
    }


def written(figure: Figure) -> list[Text]:
    """Every text that can be seen; matplotlib keeps labels of ticks beyond the axes, which it does not draw."""
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        beyond |= {id(tick.label1) for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and id(text) not in beyond]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def test_every_plot_is_written(make_content: Make, tmp_path: Path) -> None:
    paths = save_plots(make_content(), tmp_path)
    masks = {f"predicted_mask_channel_{index}.png" for index in range(3)}
    expected = {"loss_plot.png", "average_dice_score_per_class.png", "overlay_examples.png"} | masks
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()} == expected
    for path in paths:
        pixels = imread(path)
        assert min(pixels.shape[:2]) >= 200
        assert max(pixels.shape[:2]) <= 1600
        assert pixels[..., :3].std() > 0.02, "nothing is drawn"


def test_a_folder_that_is_missing_is_told(make_content: Make, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="loss_plot"):
        save_plots(make_content(), tmp_path / "missing")


@pytest.mark.parametrize("synthetic", [True, False])
def test_every_title_says_that_data_are_synthetic(make_content: Make, synthetic: bool) -> None:
    for name, figure in figures(make_content(synthetic=synthetic)).items():
        said = " ".join(text.get_text() for text in figure.texts)
        assert (PHANTOM in said) is synthetic, name
        highest = max(figure.texts, key=lambda text: text.get_position()[1])
        assert highest.get_text().startswith("PHANTOM") is synthetic, f"{name}: not at the very top"


LONG = (
    "background",
    *(f"organ number {number} of the left side and the right $x_{number}$" for number in range(1, 16)),
)


FEW = ("background", "bone", "rectum")


@pytest.mark.parametrize(
    ("classes", "folds"), [(FEW, 0), (LONG, 0), (("background", "_hidden"), 0), (FEW, 10), (FEW, 40)]
)
def test_no_text_is_cut_or_lies_on_another(
    make_content: Make, make_folds: Make, classes: tuple[str, ...], folds: int
) -> None:
    name = "a long name of a config " * 5
    content = make_folds(folds, classes=classes, name=name) if folds else make_content(classes, name=name)
    for example in content.examples:
        object.__setattr__(example, "case", "case_with_a_very_long_name_" * 6)
    for name, figure in figures(content).items():
        figure.canvas.draw()
        boxes = {text: text.get_window_extent() for text in written(figure)}
        for text, box in boxes.items():
            inside = figure.bbox.padded(0.5)
            assert inside.x0 <= box.x0 and box.x1 <= inside.x1, f"{name}: {text.get_text()!r} is cut"
            assert inside.y0 <= box.y0 and box.y1 <= inside.y1, f"{name}: {text.get_text()!r} is cut"
        texts = list(boxes.items())
        for index, (text, box) in enumerate(texts):
            for other, other_box in texts[index + 1 :]:
                overlap = box.padded(-1.0).overlaps(other_box.padded(-1.0))
                assert not overlap, f"{name}: {text.get_text()!r} on {other.get_text()!r}"


def test_names_are_not_taken_for_formulas(make_content: Make) -> None:
    figure = dice_figure(make_content(("background", "$x$", "_y")))
    figure.canvas.draw()
    assert [text.get_parse_math() for text in written(figure) if "$" in text.get_text()] == [False]
    curves = loss_figure(make_content(("background", "$x$", "_y"))).axes[1]
    legend = curves.get_legend()
    assert legend is not None
    assert [text.get_text().strip() for text in legend.get_texts()] == ["$x$", "_y", "mean", "best epoch"]


def test_a_users_own_settings_change_nothing(make_content: Make) -> None:
    content = make_content()
    before = png(loss_figure(content))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9, "savefig.dpi": 40}):
        kept = dict(matplotlib.rcParams)
        assert png(loss_figure(content)) == before
        assert dict(matplotlib.rcParams) == kept
    assert imread(io.BytesIO(before)).shape[1] > 600


def test_bars_are_the_summary(make_content: Make) -> None:
    content = make_content()
    figure = dice_figure(content)
    (axes,) = figure.axes
    levels = content.summary["levels"]
    order = [levels[level]["classes"][name]["dice"] for name in ("bone", "rectum") for level in colours.LEVELS]
    order += [levels[level]["foreground"]["dice"] for level in colours.LEVELS]
    order += [levels[level]["classes"]["background"]["dice"] for level in colours.LEVELS]
    heights = [patch.get_height() for patch in axes.patches]  # type: ignore[attr-defined]
    assert heights == pytest.approx([figure["mean"] for figure in order])
    spans = [collection.get_segments()[0][:, 1].tolist() for collection in axes.collections]  # type: ignore[attr-defined]
    assert spans == [pytest.approx(figure["interval"]) for figure in order]
    said = [text.get_text() for text in axes.texts]
    for one in order:
        assert f"{one['mean']:.3f}" in said
        assert "n" not in one or str(one["n"]) in said
    assert {"bone", "rectum", "mean of", "2 classes", "(background)", "not in the mean"} <= set(said)
    assert axes.get_ylim() == (0, 1)
    faces = [matplotlib.colors.to_hex(patch.get_facecolor()) for patch in axes.patches]
    assert faces == [*colours.LEVELS.values()] * 3 + [*colours.MUTED_LEVELS.values()]


def test_one_patient_has_no_interval_and_says_so(make_content: Make) -> None:
    figure = dice_figure(make_content(n_patients=1))
    assert not figure.axes[0].collections
    assert "1 patient: no interval, for it takes two." in [text.get_text() for text in figure.texts]


def test_a_class_of_one_patient_only_is_named(make_content: Make) -> None:
    content = make_content()
    levels = content.summary["levels"]
    for level in levels.values():
        level["classes"]["rectum"]["dice"] |= {"n": 1, "n_patients": 1, "interval": None}
        level["classes"]["bone"]["dice"] |= {"n": 0, "n_patients": 0, "interval": None, "mean": None}
        level["foreground"]["dice"] |= {"n_classes": 1}
    figure = dice_figure(content)
    notes = " ".join(text.get_text() for text in figure.texts)
    assert "No interval with fewer than two patients who have the class: bone (0), rectum (1)." in notes
    assert [text.get_text() for text in figure.axes[0].texts].count("–") == 3
    assert "1 class" in [text.get_text() for text in figure.axes[0].texts]
    assert len(figure.axes[0].patches) == 9


def test_many_classes_take_more_rows(make_content: Make) -> None:
    figure = dice_figure(make_content(("background", *(f"organ {number}" for number in range(20)))))
    assert [len(axes.patches) for axes in figure.axes] == [21, 21, 21, 3]
    assert figure.get_size_inches()[0] < 11


def test_svg_needs_nothing_from_outside(make_content: Make) -> None:
    element = svg(dice_figure(make_content()))
    assert element.startswith("<svg")
    assert element.rstrip().endswith("</svg>")
    assert "<metadata" not in element.lower() or "purl.org" not in element
    assert "<text" not in element  # letters are shapes
