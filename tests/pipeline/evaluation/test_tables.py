from __future__ import annotations

import csv
import io
import json
import unicodedata

import numpy as np
import pytest

from pipeline.evaluation import tables
from pipeline.evaluation.aggregation import Evaluation, evaluate
from pipeline.evaluation.confusion import CaseCounts, SliceCounts

SIX = ["background", "body", "bone", "bladder", "rectum", "prostate"]


def six_classes(n_patients: int = 3, n_cases: int = 8) -> list[CaseCounts]:
    rng = np.random.default_rng(0)
    counts = []
    for patient in range(n_patients):
        for index in range(n_cases):
            confusion = rng.integers(1, 9, size=(1, 6, 6)) + 60 * np.eye(6, dtype=int)
            if index == 1:
                confusion[:, 5, :], confusion[:, :, 4] = 0, 0  # the prostate is spurious, the rectum missed
            counts.append(CaseCounts(f"p{patient}_{index}", "s", f"p{patient}", SliceCounts.of(confusion), 2.0))
    return counts


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(six_classes(), SIX, resamples=200)


@pytest.mark.parametrize(
    ("write", "columns", "rows"),
    [
        (tables.cases_csv, tables.CASE_COLUMNS, "cases"),
        (tables.scans_csv, tables.SCAN_COLUMNS, "scans"),
        (tables.patients_csv, tables.PATIENT_COLUMNS, "patients"),
    ],
)
def test_csv_reads_back(found: Evaluation, write: object, columns: tuple[str, ...], rows: str) -> None:
    text = write(found)  # type: ignore[operator]
    assert text.endswith("\n")
    assert "\r" not in text
    back = list(csv.DictReader(io.StringIO(text)))
    originals = getattr(found, rows)
    assert tuple(back[0]) == columns
    assert len(back) == len(originals) > 0
    for read, original in zip(back, originals, strict=True):
        assert set(original) == set(columns)
        for name, value in original.items():
            if value is None:
                assert read[name] == ""
            elif isinstance(value, float):
                assert float(read[name]) == pytest.approx(value, rel=1e-9)
            else:
                assert read[name] == str(value)


def test_csv_of_a_case_by_hand() -> None:
    # Class "bone, left": 3 voxels found, 1 too many, 1 lost, 250 mm3 each: 1 ml, 1 ml. Nothing of the "α" class.
    slices = SliceCounts.of(np.array([[[5, 1, 0], [1, 3, 0], [0, 0, 0]]]))
    found = evaluate([CaseCounts('case "1"', "s", "p", slices, 250.0)], ["background", "bone, left", "α"])
    assert tables.cases_csv(found).splitlines() == [
        "case,scan,patient,slices,class_id,class,reference_voxels,predicted_voxels,reference_ml,predicted_ml,"
        "difference_ml,relative_difference,dice,dice_with_empty,iou,precision,recall,hd95,hd95_pooled,assd,"
        "surface_dice,outcome",
        '"case ""1""",s,p,1,0,background,6,6,1.5,1.5,0,0,0.8333333333,0.8333333333,0.7142857143,0.8333333333,'
        "0.8333333333,,,,,present",
        '"case ""1""",s,p,1,1,"bone, left",4,4,1,1,0,0,0.75,0.75,0.6,0.75,0.75,,,,,present',
        '"case ""1""",s,p,1,2,α,0,0,0,0,0,,,,,,,,,,,both_empty',
    ]


def test_csv_without_spacing_has_no_ml() -> None:
    slices = SliceCounts.of(np.array([[[5, 1], [1, 3]]]))
    (row,) = list(
        csv.DictReader(io.StringIO(tables.scans_csv(evaluate([CaseCounts("c", "s", "p", slices)], ["b", "x"]))))
    )[1:]
    assert (row["reference_ml"], row["predicted_ml"], row["difference_ml"]) == ("", "", "")
    assert row["reference_voxels"] == "4"


def test_summary_is_strict_json(found: Evaluation) -> None:
    text = tables.summary_json(found)
    assert json.loads(text, parse_constant=pytest.fail) == found.summary
    assert text.endswith("}\n")
    assert {"format", "classes", "levels", "confusion", "mean", "foreground_mean", "metric_per_case"} <= set(
        found.summary
    )


def cells(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in line)


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize(
    "classes",
    [
        SIX,
        ["background", *(f"{name} of the left and of the right side of the pelvis" for name in SIX[1:])],
        ["背景", "膀胱とその周りにある組織", "直腸", "前立腺", "骨", "体"],
        list("abcdef"),
    ],
)
def test_table_fits(classes: list[str], width: int) -> None:
    found = evaluate(six_classes(4, 50), classes, resamples=50)
    lines = tables.terminal_table(found, title="A title " * 20, width=width).splitlines()
    assert max(cells(line) for line in lines) <= width
    assert lines[0].endswith("…")
    assert not any(line != line.rstrip() for line in lines)
    # The last column ends at the same place in every line that has it.
    body = [line for line in lines if line.split() and line.split()[-1] in {"spurious", "0", "4", "8"}][:7]
    assert len(body) == 7
    assert len({cells(line) for line in body}) == 1


def test_table_says_what_the_summary_says() -> None:
    #                    bone                   rectum
    # A, scan 1, slice 0  TP 1 FP 1 FN 1  1/2    FN 2, missed   pooled: bone TP 4 FP 1 FN 1, 4/5
    #            slice 1  TP 3            1      FN 1, missed
    # B, scan 1           TP 2            1      FP 3, spurious
    # B, scan 2           TP 1 FN 1       2/3    both empty
    first = np.array([[[9, 1, 0], [1, 1, 0], [2, 0, 0]], [[9, 0, 0], [0, 3, 0], [1, 0, 0]]])
    second = np.array([[[9, 0, 3], [0, 2, 0], [0, 0, 0]]])
    third = np.array([[[9, 0, 0], [1, 1, 0], [0, 0, 0]]])
    made = [("A", "1", first), ("B", "1", second), ("B", "2", third)]
    counts = [CaseCounts(patient + scan, scan, patient, SliceCounts.of(confusion)) for patient, scan, confusion in made]
    lines = tables.terminal_table(evaluate(counts, ["background", "bone", "rectum"]), title="Pelvis").splitlines()
    assert lines[:2] == ["Pelvis", "4 slices of 3 scans of 2 patients"]
    assert lines[4].split() == [
        "class", "slice", "scan", "pat.", "95", "%", "CI", "sl/sc/pt", "missed", "spurious",
    ]  # fmt: skip
    rows = [line.split() for line in lines[6:9]]
    # Bone by slice (1/2 + 1 + 1 + 2/3) / 4, by scan (4/5 + 1 + 2/3) / 3, by patient (4/5 + 5/6) / 2.
    assert rows[0] == ["bone", "0.792", "0.822", "0.817", "0.800–0.833", "4/3/2", "0", "0"]
    assert rows[1] == ["rectum", "0.000", "0.000", "0.000", "–", "2/1/1", "2", "1"]
    assert rows[2][0] == "(background)"
    # The halves of the above; of A alone (4/5 + 0) / 2, of B alone, which has bone only, 5/6.
    assert lines[10].split() == ["foreground", "0.396", "0.411", "0.408", "0.400–0.833"]
    assert "2000 resamples of 2 patients, rough with so few" in lines[-1]


def test_table_of_one_patient_says_why_there_is_no_interval() -> None:
    found = evaluate(six_classes(1), SIX)
    text = tables.terminal_table(found, title="One", width=80)
    assert "8 slices of 1 scan of 1 patient" in text
    assert text.splitlines()[-1] == "95 % CI   none: it takes two patients"
    assert [line.split()[4] for line in text.splitlines()[6:11]] == ["–"] * 5


def test_table_of_many_patients_does_not_warn() -> None:
    text = tables.terminal_table(evaluate(six_classes(10, 2), SIX, confidence=0.9), title="Ten")
    assert "90 % CI   of the patient mean; 2000 resamples of 10 patients" in text
    assert "rough" not in text


def test_the_table_in_colours_is_the_table(found: Evaluation) -> None:
    painted: list[tuple[str, str]] = []

    def paint(text: str, style: str) -> str:
        painted.append((text, style))
        return f"<{text}>"

    plain = tables.terminal_table(found, title="six")
    text = tables.terminal_table(found, title="six", paint=paint)
    assert text.replace("<", "").replace(">", "") == plain
    (worst,) = [line for line, style in painted if style == "warning"]
    classes = found.summary["levels"]["scan"]["classes"]
    lowest = min(SIX[1:], key=lambda name: classes[name]["dice"]["mean"])
    assert worst.split()[0] == lowest and worst.split()[2] == f"{classes[lowest]['dice']['mean']:.3f}"
    assert [line.split()[0] for line, style in painted if style == "heading"] == ["six", "foreground"]


def test_no_class_is_the_worst_of_one_or_of_equals() -> None:
    painted: list[str] = []

    def paint(text: str, style: str) -> str:
        painted.append(style)
        return text

    for classes in (["background", "a"], ["background", "a", "b"]):
        one = CaseCounts("c", "s", "p", SliceCounts.of(8 * np.eye(len(classes), dtype=int)[None]), 2.0)
        tables.terminal_table(evaluate([one], classes, resamples=100), title="equal", paint=paint)
    assert "heading" in painted and "warning" not in painted
