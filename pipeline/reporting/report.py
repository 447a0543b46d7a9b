"""The report: one HTML file that opens anywhere, offline."""

from __future__ import annotations

import base64
import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from pipeline.evaluation.bootstrap import FEW_PATIENTS
from pipeline.reporting import colours
from pipeline.reporting.ceiling_table import ceiling_rows, ceiling_sentence
from pipeline.reporting.confusion_table import confusion_rows, confusion_sentence
from pipeline.reporting.content import PHANTOM, Example, ReportContent
from pipeline.reporting.curves import loss_figure
from pipeline.reporting.distances import distance_heads, distance_sentence, distance_terms
from pipeline.reporting.distributions import distribution_figure
from pipeline.reporting.overlays import mask_figure, overlay_figure
from pipeline.reporting.page_scripts import digest, scripts, stacks_json
from pipeline.reporting.plots import dice_figure, extent
from pipeline.reporting.rows import class_rows, dataset_rows, fold_rows, side_table, unit_table
from pipeline.reporting.sheets import svg, webp
from pipeline.reporting.volumes import volume_rows
from pipeline.reporting.wording import NONE, count, duration, flat, gibibytes, plural, rate

__all__ = ["MOST_MASKS", "render_report"]

MOST_MASKS = 16  # classes whose masks are shown; the folder of the plots has all
_OPEN_PATIENTS = 12  # up to here the table of patients is not folded away
_IMAGE_DPI = 110
_IMAGE_QUALITY = 88
_CHARTS = {"dice": dice_figure, "loss": loss_figure, "patients": distribution_figure}
_THEMED = {  # colours of the charts that follow the page's own, light or dark
    colours.INK: "var(--ink)", colours.MUTED: "var(--muted)", colours.GRID: "var(--line)",
    colours.WARNING: "var(--alarm)",
}  # fmt: skip


def render_report(content: ReportContent) -> str:
    """Write the report as one self-contained HTML page.

    Parameters
    ----------
    content
        Of the run.

    Returns
    -------
    str
        HTML with its style, charts (SVG) and images (PNG) inside: nothing is loaded from anywhere. Names and texts of
        the content are escaped. A number that is none is an en dash.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.reporting"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"count": count, "rate": rate}
    summary = content.summary
    found = scripts(environment)
    return environment.get_template("report.html.j2").render(
        content=content,
        phantom=PHANTOM,
        dash=NONE,
        extent=extent(summary),
        verdict=_verdict(content),
        trust=_trust(summary),
        class_rows=class_rows(content),
        fold_rows=fold_rows(content),
        charts={name: _chart(draw(content), name) for name, draw in _CHARTS.items()},
        volume_rows=volume_rows(content),
        confusion={"rows": confusion_rows(content), "sentence": confusion_sentence(content)},
        ceiling={"rows": ceiling_rows(content), "sentence": ceiling_sentence(content)},
        stacks_json=stacks_json(content.gallery, content.classes),
        scripts=found,
        script_hashes=[digest(script) for script in found],
        overlays=_overlays(content),
        masks=_masks(content),
        dataset_rows=dataset_rows(content),
        sides=side_table(content),
        distance_heads=distance_heads(summary),
        distance_terms=distance_terms(summary),
        patients=unit_table(content.patients, "patient", content.classes, summary),
        patients_open=summary["n_patients"] <= _OPEN_PATIENTS,
        cases=unit_table(content.cases, "case", content.classes, summary),
        provenance=[(_label(name), _value(name, value)) for name, value in flat(content.provenance)],
        cited=_cited(content.provenance),
    )


def _verdict(content: ReportContent) -> dict[str, Any]:
    """Give the headline figure, and sentences that say what it means."""
    summary = content.summary
    scan = summary["levels"]["scan"]
    figure = scan["foreground"]["dice"]
    scores = {name: scan["classes"][name]["dice"]["mean"] for name in content.classes[1:]}
    known = {name: score for name, score in scores.items() if score is not None}
    slices = summary["levels"]["slice"]["classes"]
    return {
        "mean": rate(figure["mean"]),
        "bounds": figure["interval"],
        "patients": plural(summary["n_patients"], "patient"),
        "n_classes": figure["n_classes"],
        "best": max(known.items(), key=lambda item: item[1]) if len(known) > 1 else None,
        "worst": min(known.items(), key=lambda item: item[1]) if len(known) > 1 else None,
        "missed": sum(slices[name]["missed"] for name in content.classes[1:]),
        "distances": distance_sentence(summary),
        "spurious": sum(slices[name]["spurious"] for name in content.classes[1:]),
    }


def _trust(summary: Mapping[str, Any]) -> str:
    """Say how far the intervals can be trusted."""
    drawn, patients = summary["bootstrap"], summary["n_patients"]
    if patients < 2:
        return f"{plural(patients, 'patient')}: no interval, for it takes two."
    few = f" With {patients} it is rough, and tends to come out too narrow." if patients < FEW_PATIENTS else ""
    return (
        f"The {100 * drawn['confidence']:g} % interval is a percentile bootstrap: {count(drawn['resamples'])} times, "
        f"whole patients were drawn anew, for slices and scans of one patient resemble each other.{few}"
    )


def _chart(figure: Figure, name: str) -> str:
    """Draw a chart as an SVG element that takes the page's colours; its ids are made its own."""
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", svg(figure))
    for colour, variable in _THEMED.items():
        element = element.replace(colour, variable)
    return element


def _image(figure: Figure) -> str:
    """Draw a figure as a data URI: WebP, a quarter of the size of PNG."""
    return f"data:image/webp;base64,{base64.b64encode(webp(figure, _IMAGE_DPI, _IMAGE_QUALITY)).decode('ascii')}"


def _overlays(content: ReportContent) -> list[dict[str, Any]]:
    """Draw each example by itself, so that the page can lay them out for its width."""
    return [
        {
            "caption": caption,
            "example": example,
            "image": _image(
                overlay_figure(
                    [example], [""], content.classes, title=caption.split(",")[0], synthetic=content.synthetic
                )
            ),
            "scores": [
                (name, colours.class_colour(class_id), rate(example.dice[name]))
                for class_id, name in enumerate(content.classes)
                if class_id and class_id in _shown(example)
            ],
        }
        for example, caption in zip(content.examples, content.captions, strict=True)
    ]


def _masks(content: ReportContent) -> list[dict[str, str]]:
    """Draw the masks of the classes, those that the first example shows before others when there are too many."""
    example = content.examples[0]
    shown = _shown(example)
    class_ids = sorted(range(len(content.classes)), key=lambda class_id: class_id not in shown)[:MOST_MASKS]
    return [
        {
            "name": content.classes[class_id],
            "image": _image(mask_figure(example, content.classes, class_id, synthetic=content.synthetic)),
        }
        for class_id in sorted(class_ids)
    ]


def _shown(example: Example) -> list[int]:
    """Classes that one of the masks shows."""
    return [int(class_id) for class_id in np.union1d(example.reference, example.prediction)]


def _label(name: str) -> str:
    return {"wall seconds": "time taken", "peak memory bytes": "peak memory"}.get(name, name)


def _value(name: str, value: Any) -> str:
    """Write a value of the provenance."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if name in {"wall seconds", "peak memory bytes"}:
        return duration(value) if name == "wall seconds" else gibibytes(value)
    if isinstance(value, list | tuple):
        return shlex.join(map(str, value)) if name == "command" else ", ".join(map(str, value))
    return str(value)


def _cited(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Name the versions that a citation needs."""
    versions, commit = provenance.get("versions", {}), provenance.get("git_commit")
    name = f"Slicewise {versions.get('slicewise', '')}".strip()
    return {
        "slicewise": f"{name}, commit {commit}" if commit else name,
        "monai": f"MONAI {versions.get('monai', '')}".strip(),
    }
