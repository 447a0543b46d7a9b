"""What holds for every layout: identities by expression, ids that fit, and what is known of patients."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data import layouts
from pipeline.data.layouts import find_cases, tells_patients
from pipeline.errors import ConfigError, Fault

Touch = Callable[[Path, Iterable[str]], None]


@pytest.fixture
def pairs(root: Path, touch: Touch) -> Callable[..., None]:
    """A function that makes images and labels of equal names."""

    def make(*names: str) -> None:
        touch(root / "images", names)
        touch(root / "labels", names)

    return make


def test_the_number_of_a_slice_is_the_last_outside_of_its_scan(
    pairs: Callable[..., None], config_of: Callable[..., Any]
) -> None:
    pairs("007_p1_scan3.nii.gz", "012_p1_scan3.nii.gz", "003_p1_scan3.nii.gz", "p1_scan4.nii.gz")
    cases = find_cases(config_of("folders", scan=r"(scan\d)", patient=r"(p1)"))
    assert [(case.scan, case.slice) for case in cases] == [("scan3", 1)] * 3 + [("scan4", 1)]
    cases = find_cases(config_of("folders", scan=r"(p1_scan\d)", patient=r"(p1)"))
    assert [(case.scan, case.slice) for case in cases] == [
        ("p1_scan3", 3),
        ("p1_scan3", 7),
        ("p1_scan3", 12),
        ("p1_scan4", None),
    ]


def test_expressions_that_find_nothing_and_unfit_ids_are_told_together(
    pairs: Callable[..., None], faults_in: Callable[..., list[Fault]]
) -> None:
    pairs("p1_s1.nii.gz", "q2_s1.nii.gz", "q3.nii.gz", "p1..s2.nii")
    unfit, patient, scan = faults_in("folders", patient=r"^(p\d)", scan=r"_(s\d)")
    assert "'p1..s2'" in unfit.what
    assert "q2_s1, q3" in patient.what
    assert patient.where.endswith("data.patient")
    assert "finds nothing in p1..s2, q3" in scan.what
    assert scan.where.endswith("data.scan")


def test_names_have_one_unicode_form(
    config_of: Callable[..., Any], make_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    apart, together = "Mu\u0308ller", "M\u00fcller"
    cases = [make_case(f"{name}{number}", name, name) for number, name in enumerate((apart, together))]
    monkeypatch.setitem(layouts._FIND, "table", lambda config, root, faults: cases)
    found = find_cases(config_of("table"))
    assert [case.id for case in found] == [f"{together}0", f"{together}1"]
    assert {(case.patient, case.scan) for case in found} == {(together, together)}


def test_a_layout_that_mixed_channels_would_be_refused(
    faults_in: Callable[..., list[Fault]], make_case: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [make_case("a"), make_case("b", channels_in_file=2)]
    monkeypatch.setitem(layouts._FIND, "folders", lambda config, root, faults: cases)
    monkeypatch.setattr(layouts.folders, "name_below", lambda config, root, case: case.id)
    (fault,) = faults_in("folders")
    assert "differ in their number of channels" in fault.what


@pytest.mark.parametrize(
    ("layout", "patient", "told"),
    [
        ("hipmri", None, True), ("table", None, True), ("folders", None, False), ("nnunet", None, False),
        ("decathlon", None, False), ("folders", "(p)", True), ("nnunet", "(p)", True), ("decathlon", "(p)", True),
    ],
)  # fmt: skip
def test_who_tells_the_patients(config_of: Callable[..., Any], layout: str, patient: str | None, told: bool) -> None:
    assert tells_patients(config_of(layout, patient=patient)) is told


@pytest.mark.parametrize("layout", ["folders", "nnunet", "decathlon", "table"])
def test_a_root_that_is_not_there(root: Path, faults_in: Callable[..., list[Fault]], layout: str) -> None:
    (fault,) = faults_in(layout, root=str(root / "gone"))
    assert (fault.where, fault.what) == (str(root / "gone"), "no such folder")
    assert "data.root: set it" in fault.remedy


@pytest.mark.parametrize(
    ("layout", "key", "reader"),
    [
        ("nnunet", "images", "folders"), ("hipmri", "labels", "folders"), ("table", "labels", "folders"),
        ("folders", "table", "table"), ("decathlon", "table", "table"),
    ],
)  # fmt: skip
def test_keys_of_another_layout_have_no_effect(
    config_of: Callable[..., Any], layout: str, key: str, reader: str
) -> None:
    with pytest.raises(
        ConfigError, match=f"has no effect: the layout is {layout}, and only {reader} reads it"
    ) as fault:
        config_of(layout, **{key: "x"})
    assert fault.value.where.endswith(f"data.{key}")
    assert f"data.layout: {reader}" in fault.value.remedy


def test_the_config_of_a_run_of_an_older_version_is_read(config_of: Callable[..., Any], tmp_path: Path) -> None:
    from pipeline.config.load import load_config
    from pipeline.config.resolved import resolved_text

    text = resolved_text(config_of("folders"))
    older = tmp_path / "older.yaml"
    older.write_text("".join(line for line in text.splitlines(keepends=True) if "mirrored:" not in line))
    assert "table: cases.csv" in older.read_text() and older.read_text() != text
    assert load_config(older, (), {}).settings.data.table == "cases.csv"


def test_keys_of_a_config_that_is_extended_are_left(tmp_path: Path, config_of: Callable[..., Any]) -> None:
    from pipeline.config.load import load_config
    from pipeline.config.resolved import resolved_text

    config_of("folders", images="x")
    child = tmp_path / "child.yaml"
    child.write_text("extends: tiny.yaml\ndata: {layout: nnunet}\n")
    config = load_config(child, (), {})
    again = tmp_path / "again.yaml"
    again.write_text(resolved_text(config))
    assert load_config(again, (), {}).settings.data.images == "x"
    assert load_config(tmp_path / "tiny.yaml", ["data.layout=table"], {}).settings.data.layout == "table"
    with pytest.raises(ConfigError, match="has no effect") as fault:
        load_config(child, ["data.labels=y"], {})
    assert fault.value.where == "--set data.labels"
    with pytest.raises(ConfigError, match="has no effect"):
        load_config(again, ["data.labels=y"], {})


def test_the_decathlon_gives_no_split(config_of: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="of the Decathlon gives no split") as fault:
        config_of("decathlon", "layout")
    assert "'folds'" in fault.value.remedy


def test_finding_cases_imports_nothing_heavy() -> None:
    code = "import sys, pipeline.data.layouts; print({'torch', 'monai', 'nibabel', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[4], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "set()"


def test_the_configs_of_the_page_can_be_loaded(tmp_path: Path) -> None:
    from pipeline.config.load import load_config

    checkout = Path(__file__).resolve().parents[4]
    page = (checkout / "docs" / "layouts.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    seen = set()
    for block in blocks:
        path = tmp_path / "page.yaml"
        path.write_text(block.replace("extends: ", f"extends: {checkout}/configs/"), encoding="utf-8")
        seen.add(load_config(path, (), {}).settings.data.layout)
    assert seen == set(layouts._FIND) - {"hipmri"}
    assert len(blocks) == len(seen)


@pytest.mark.parametrize("layout", ["folders", "nnunet", "hipmri"])
def test_what_pairs_is_found_beside_what_does_not(
    layout: str, root: Path, touch: Callable[..., None], config_of: Callable[..., Any]
) -> None:
    """A label that is missing keeps no other case from being looked at."""
    names = [f"case_{number:03d}_week_0_slice_0" for number in (4, 5, 6)]
    if layout == "hipmri":
        for images, labels in layouts.HIPMRI_FOLDERS.values():
            touch(root / images, [])
            touch(root / labels, [])
        touch(root / "keras_slices_train", [f"{name}.nii.gz" for name in names])
        touch(root / "keras_slices_seg_train", [f"{name.replace('case', 'seg')}.nii.gz" for name in names[:2]])
    elif layout == "nnunet":
        touch(root / "imagesTr", [f"{name}_0000.nii.gz" for name in names])
        touch(root / "labelsTr", [f"{name}.nii.gz" for name in names[:2]])
        labels_of = {name: index for index, name in enumerate(config_of("folders").settings.data.classes)}
        (root / "dataset.json").write_text(json.dumps(
            {"channel_names": {"0": "MRI"}, "labels": labels_of, "numTraining": 3, "file_ending": ".nii.gz"}
        ))  # fmt: skip
    else:
        touch(root / "images", [f"{name}.nii.gz" for name in names])
        touch(root / "labels", [f"{name}.nii.gz" for name in names[:2]])
    cases, faults = layouts.look_for_cases(config_of(layout))
    assert [case.id for case in cases] == names[:2]
    assert any("without a label" in fault.what and names[2] in fault.what for fault in faults)
