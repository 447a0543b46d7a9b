"""A run's folder alone says how to predict with it; runs that do not go together are refused with both named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.schema import PostprocessRule
from pipeline.errors import ConfigError, Fault, Faults, RunError
from pipeline.inference.trained import find_model

Maker = Callable[..., Path]


def test_new_volumes_are_cut_as_the_runs_were(make_run: Maker) -> None:
    member = find_model([make_run(axis=1, data={"label_map": {4: 1}})]).first
    assert (member.options.axis, member.options.reorient, member.options.label_map) == (1, True, ())
    named = find_model([make_run("other", volumes=False, axis=None, data={"axis": "coronal"})]).first
    assert named.options.axis == 1


def test_nothing_but_the_folder_is_needed(make_run: Maker, tmp_path: Path) -> None:
    folder = make_run(data={"root": "not/there"})
    moved = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)
    assert find_model([moved]).first.folder == moved
    (tmp_path / "latest").symlink_to(moved)
    assert find_model([tmp_path / "latest"]).first.folder == moved


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda run: (run / "config.yaml").unlink(), "no run in this folder"),
        (lambda run: (run / "model.json").unlink(), "not trained yet: there is no model.json"),
        (lambda run: (run / "model.json").write_text("{"), "cannot be read"),
        (lambda run: (run / "model.json").write_text("[]"), "format None"),
        (lambda run: (run / "model.json").write_text('{"format": 3}'), "format 3; this program reads formats 1 and 2"),
        (lambda run: (run / "model.json").write_text('{"format": 2}'), "does not hold what a run writes"),
        (lambda run: (run / "checkpoints/best.pt").unlink(), "no trained weights"),
    ],
)
def test_what_is_no_finished_run(make_run: Maker, spoil: Callable[[Path], object], words: str) -> None:
    folder = make_run()
    spoil(folder)
    with pytest.raises((ConfigError, RunError), match=words) as fault:
        find_model([folder])
    assert str(folder) in str(fault.value)


def test_all_faulty_runs_are_told(make_run: Maker, tmp_path: Path) -> None:
    with pytest.raises(Faults) as fault:
        find_model([tmp_path / "a", make_run(), tmp_path / "b"])
    assert [one.where for one in fault.value.faults] == [f"--run {tmp_path / name}" for name in "ab"]


def with_folds(make_run: Maker, trained: int, count: int = 3) -> Path:
    """A run of all folds, of which some are trained."""
    folder = make_run("all")
    shutil.rmtree(folder / "checkpoints")
    (folder / "model.json").unlink()
    (folder / "split.json").write_text(json.dumps([{}] * count))
    for number in range(trained):
        make_run(f"all/fold_{number}", move=float(number))
    return folder


def test_the_folds_of_a_run_are_one_model(make_run: Maker) -> None:
    folder = with_folds(make_run, 3)
    members = find_model([folder]).members
    assert [member.folder.name for member in members] == ["fold_0", "fold_1", "fold_2"]
    assert [member.folder.name for member in find_model([folder / "fold_1"]).members] == ["fold_1"]
    with pytest.raises(ConfigError, match=f"given twice: {folder}/fold_1"):
        find_model([folder, folder / "fold_1"])


def test_folds_that_are_not_trained_yet_are_named(make_run: Maker) -> None:
    with pytest.raises(RunError, match=r"not trained yet \(fold_1, fold_2\)"):
        find_model([with_folds(make_run, 1)])


@pytest.mark.parametrize(
    ("sections", "name"),
    [
        ({"data": {"classes": ["background", "a", "c"]}}, "data.classes"),
        ({"data": {"context": 1}}, "data.context"),
        ({"channels": 2}, "channels"),
        ({"axis": 1}, "how files are read"),
        ({"data": {"orientation": "file"}}, "how files are read"),
        ({"transforms": {"prepare": [{"_target_": "LoadImaged", "keys": ["image", "label"]},
                                     {"_target_": "EnsureChannelFirstd", "keys": ["image", "label"]},
                                     {"_target_": "NormalizeIntensityd", "keys": ["image"]},
                                     {"_target_": "ToTensord", "keys": ["image", "label"]}]}}, "transforms.prepare"),
    ],
)  # fmt: skip
def test_runs_that_do_not_go_together(make_run: Maker, sections: dict[str, Any], name: str) -> None:
    one, other = make_run("one"), make_run("other", **sections)
    with pytest.raises(Fault, match=f"the runs differ in {name}") as fault:
        find_model([one, other])
    assert str(one) in str(fault.value)
    assert str(other) in str(fault.value)


def test_runs_that_differ_in_training_alone_go_together(make_run: Maker) -> None:
    runs = [make_run("one"), make_run("other", training={"learning_rate": 1e-4, "batch_size": 2}, step=0)]
    assert [member.folder for member in find_model(runs).members] == runs


def test_the_digest_follows_what_changes_a_prediction(make_run: Maker) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"inference": {"batch_size": 2}}, {"training": {"epochs": 9}}, {"data": {"root": "elsewhere"}},
        {"move": 1.0}, {"inference": {"overlap": 0.25}}, {"axis": 0}, {"step": 1},
    ]  # fmt: skip
    digests = [find_model([make_run(f"r{number}", **more)]).digest() for number, more in enumerate(changes)]
    assert len(set(digests[:4])) == 1
    assert len(set(digests)) == 5


def test_the_digest_follows_a_plugins_code(make_run: Maker, tmp_path: Path) -> None:
    model = find_model([make_run()])
    before = model.digest()
    with (tmp_path / "truthful.py").open("a") as file:
        file.write("# changed\n")
    assert model.digest() != before


def chosen(a: str, b: str = "none") -> dict[str, Any]:
    """What a run of `make_run` keeps of the post-processing that was chosen for its two classes."""
    values = {name: {"chosen": one, "scans": 3, "dice": {}} for name, one in (("a", a), ("b", b))}
    return {"inference": {"postprocess": "auto"}, "postprocess": values}


def test_chosen_rules_are_those_of_most_members(make_run: Maker) -> None:
    largest, filled = PostprocessRule(largest=True), PostprocessRule(fill_holes=True)
    one = make_run("one", **chosen("largest"))
    two = make_run("two", **chosen("largest", "fill_holes"))
    three = make_run("three", **chosen("none", "fill_holes"))
    own = make_run("own", inference={"postprocess": {"b": {"largest": True}}})
    assert find_model([one]).rules == {1: largest}
    assert find_model([one, two, three]).rules == {1: largest, 2: filled}
    assert find_model([one, three]).rules == {}, "no more than half"
    assert find_model([own, two]).rules == {2: largest}, "the first one's inference section holds"
    assert find_model([two, own]).rules == {1: largest, 2: filled}, "who chose nothing has no vote"
    assert find_model([make_run("none")]).rules == {}


def test_the_digest_follows_what_was_chosen(make_run: Maker) -> None:
    models = [find_model([make_run(f"r{number}", **chosen(name))]) for number, name in enumerate(("none", "largest"))]
    assert models[0].digest() != models[1].digest()


def test_ranges_of_members_are_joined(make_run: Maker) -> None:
    def ranges(least: float, most: float, parts: int) -> dict[str, Any]:
        return {"volume": {"always": [True] * 3, "least": [1, least, None], "most": [1, most, None],
                           "parts": [0, parts, 0]}}  # fmt: skip

    runs = [make_run("one", ranges=ranges(3, 5, 2)), make_run("two", ranges=ranges(2, 4, 1))]
    found = find_model(runs).ranges
    assert found is not None
    assert (found["volume"].least[1], found["volume"].most[1], found["volume"].parts[1]) == (2, 5, 2)
