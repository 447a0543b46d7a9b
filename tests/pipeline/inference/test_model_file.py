"""``model.json``: what training writes is read back; what it never writes is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.facts import CaseFacts
from pipeline.errors import RunError
from pipeline.inference.choosing import Choice
from pipeline.inference.model_file import ModelFacts, read_choices, write_model_file
from pipeline.inference.trained import find_model

Maker = Callable[..., Path]
CHOICES = {"a": Choice("largest", 3, {"none": 0.5, "largest": 0.75}), "b": Choice("none", 0, {})}


def facts_of(shape: tuple[int, ...], orientation: str = "", axis: int = -1, voxels: Any = (9, 3, 2)) -> CaseFacts:
    given = {
        "case": "a", "shape": shape, "orientation": orientation, "axis": axis,
        "spacing_mm": (1.0, 2.0, 3.0)[: len(shape)], "voxels": np.array(voxels), "parts": np.array([0, 1, 1]),
    }  # fmt: skip
    return CaseFacts(**{field.name: given.get(field.name) for field in fields(CaseFacts)})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "volumes", "axis"),
    [
        (facts_of((4, 5)), False, None),
        (facts_of((4, 5, 6), "RAS", 2), True, 2),
        (facts_of((4, 5, 6), "SRP", 0), True, 2),  # the file's first axis is superior: axial slices
        (facts_of((4, 5, 6), "SRP", 1), True, 0),
        (facts_of((4, 5, 6), "SRP", 2), True, 1),
        (facts_of((4, 5, 6), "LPI", 2), True, 2),
        (facts_of((4, 5, 6), "", 1), True, 1),  # not turned: the file's own axis
    ],
)
def test_what_training_writes_is_read_back(
    make_run: Maker, make_config: Callable[..., Any], make_case: Callable[..., Any], facts: CaseFacts, volumes: bool,
    axis: int | None,
) -> None:  # fmt: skip
    folder = make_run()
    case = make_case("a", further=(Path("b"),))
    write_model_file(folder, make_config(), [case], {"a": facts, "slice": facts_of((4, 5))}, [case])
    model = find_model([folder])
    assert model.facts == ModelFacts(2, 1, volumes, axis, knows_spacing=True)
    assert model.ranges is not None and model.without_ranges == ()
    ((kind, ranges),) = model.ranges.items()
    assert kind == ("volume" if volumes else "slice")
    assert ranges.most.tolist() == [volume * (6 if volumes else 2) for volume in (9, 3, 2)]


def test_files_that_keep_their_orientation_are_cut_along_the_same_axis_of_theirs(
    make_run: Maker, make_config: Callable[..., Any], make_case: Callable[..., Any]
) -> None:
    # The first axis of the file points to the head, and is not turned to the third.
    folder, case = make_run(data={"orientation": "file"}), make_case("a", further=(Path("b"),))
    config = make_config(data={"orientation": "file"})
    write_model_file(folder, config, [case], {"a": facts_of((4, 5, 6), "SRP", 0)}, [case])
    options = find_model([folder]).first.options
    assert (options.axis, options.reorient) == (0, False)


def test_the_ranges_are_of_the_cases_that_were_trained_on(
    make_run: Maker, make_config: Callable[..., Any], make_case: Callable[..., Any]
) -> None:
    folder = make_run()
    cases = [make_case(name) for name in "abc"]
    facts = {"a": facts_of((4, 5)), "b": facts_of((4, 5), voxels=(9, 7, 2)), "c": facts_of((4, 5), voxels=(9, 99, 99))}
    write_model_file(folder, make_config(), cases, facts, cases[:2])
    ranges = find_model([folder]).ranges
    assert ranges is not None and ranges["slice"].most.tolist()[1:] == [14, 4]


def test_spacing_that_training_did_not_believe(
    make_run: Maker, make_config: Callable[..., Any], make_case: Callable[..., Any]
) -> None:
    folder, case = make_run(), make_case("a")
    config = make_config(data={"ignore_affine": True})
    write_model_file(folder, config, [case], {"a": facts_of((4, 5))}, [case])
    model = find_model([folder])
    assert not model.facts.knows_spacing
    assert model.ranges is not None and model.ranges["slice"].most.tolist() == [9, 3, 2]


def test_choices_come_back(
    make_run: Maker, make_config: Callable[..., Any], make_case: Callable[..., Any], tmp_path: Path
) -> None:
    sections = {"inference": {"postprocess": "auto"}}
    folder, case, config = make_run(**sections, postprocess={}), make_case("a"), make_config(**sections)
    write_model_file(folder, config, [case], {"a": facts_of((4, 5))}, [case], CHOICES)
    assert read_choices(folder, config) == CHOICES
    assert find_model([folder]).first.learnt.choices == CHOICES
    assert read_choices(tmp_path / "none", config) is None


@pytest.mark.parametrize(("key", "value"), [
    ("channels", 0), ("channels", "1"), ("axis", 3), ("volumes", 1), ("ranges", None), ("ranges", {"slice": {}}),
    ("ranges", {"slice": {"always": [1] * 3, "least": [1] * 3, "most": [1] * 3, "parts": [1] * 2}}),
    ("postprocess", {}), ("postprocess", [1]),
])  # fmt: skip
def test_values_that_training_never_writes(make_run: Maker, key: str, value: object) -> None:
    folder = make_run()
    content = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**content, key: value}))
    with pytest.raises(RunError, match="does not hold"):
        find_model([folder])


def test_rules_that_were_to_be_chosen_and_are_not_there(make_run: Maker) -> None:
    with pytest.raises(RunError, match="does not hold"):
        find_model([make_run(inference={"postprocess": "auto"})])


def test_the_format_before_knows_no_ranges(make_run: Maker) -> None:
    new, old = make_run(), make_run("old")
    content = json.loads((old / "model.json").read_text())
    kept = {key: value for key, value in content.items() if key not in ("ranges", "postprocess")}
    (old / "model.json").write_text(json.dumps({**kept, "format": 1}))
    model = find_model([new, old])
    assert (model.ranges, model.without_ranges) == (None, (old,))
    assert find_model([new]).ranges == {}
