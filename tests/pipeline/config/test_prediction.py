"""What may be mirrored follows from what training mirrored; which rule is whose follows from the classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import Config
from pipeline.config.prediction import checked_mirror, mirror_axes, mirrored_in_training, postprocess_rules
from pipeline.config.printed import printed_text
from pipeline.config.resolved import resolved_text
from pipeline.config.schema import PostprocessRule
from pipeline.errors import ConfigError, Fault

Load = Callable[..., Config]
FaultsOf = Callable[[Callable[[], Any]], Sequence[Fault]]
PAGE = Path(__file__).resolve().parents[3] / "docs/config.md"

AFFINE = "{_target_: RandAffineBatchd, flip: %s}"
FLIP = "{_target_: RandFlipd, keys: [image, label], prob: 0.5, spatial_axis: %s}"
ANY = "{_target_: RandAxisFlipd, keys: [image, label], prob: 0.5}"
CHAINS: list[tuple[list[str], set[int], tuple[int, ...]]] = [
    ([], set(), ()),
    ([AFFINE % "[]"], set(), ()),
    ([AFFINE % "[0]"], {0}, (0,)),
    ([AFFINE % "[0, 1]"], {0, 1}, (0, 1)),
    (["{_target_: RandAffineBatchd, flip: [0], prob: 0}"], set(), ()),
    ([FLIP % "1"], {1}, (1,)),
    ([FLIP % "[0, 1]"], set(), ()),  # half a turn is no mirror image
    ([FLIP % "0", FLIP % "1"], {0, 1}, (0, 1)),
    (["{_target_: monai.transforms.RandFlipd, keys: [image, label], spatial_axis: 0}"], {0}, (0,)),
    ([ANY], {0, 1}, (0,)),  # never along both at once
    ([ANY, AFFINE % "[]"], {0, 1}, (0,)),
    ([ANY, FLIP % "1"], {0, 1}, (0, 1)),
    ([AFFINE % "[1]", FLIP % "1"], {1}, (1,)),
    (["{_target_: RandFlipBatchd, axes: [0, 1]}"], {0, 1}, (0, 1)),
    (["{_target_: RandFlipBatchd, axes: [1]}"], {1}, (1,)),
    (["{_target_: RandFlipBatchd, axes: [0, 1], prob: [0.5, 0]}"], {0}, (0,)),
]


def with_augment(load: Load, entries: Sequence[str], *more: str) -> Config:
    return load(f"transforms.augment=[{', '.join(entries)}]", *more)


@pytest.mark.parametrize(("entries", "seen", "trained"), CHAINS)
def test_only_what_training_mirrored_is_mirrored(
    load: Load, entries: list[str], seen: set[int], trained: tuple[int, ...]
) -> None:
    settings = with_augment(load, entries).settings
    assert mirrored_in_training(settings) == seen
    assert mirror_axes(settings) == ()
    for axis in {0, 1}:
        if axis in seen:
            assert checked_mirror(settings, [axis, axis], "here") == (axis,)
        else:
            with pytest.raises(ConfigError, match=rf"^here: axis {axis} \((rows|columns)\).*no such mirror images"):
                checked_mirror(settings, [axis], "here")
    if trained:
        asked = with_augment(load, entries, "inference.mirror=trained").settings
        assert mirror_axes(asked) == trained
    assert checked_mirror(settings, (), "here") == ()


def test_two_axes_that_were_never_mirrored_together(load: Load, faults_of: FaultsOf) -> None:
    (fault,) = faults_of(lambda: with_augment(load, [ANY], "inference.mirror=[1, 0]"))
    assert fault.where == "--set inference.mirror"
    assert "both axes at once" in fault.what
    assert fault.remedy == "Give one axis, or add RandFlipBatchd, axes: [0, 1] to transforms.augment and train again"
    both = with_augment(load, [AFFINE % "[0, 1]"], "inference.mirror=[1, 0]").settings
    assert mirror_axes(both) == (0, 1)


def test_a_config_that_mirrors_what_training_did_not_is_refused(load: Load, faults_of: FaultsOf) -> None:
    (fault,) = faults_of(lambda: with_augment(load, [FLIP % "1"], "inference.mirror=[0, 1]"))
    assert fault.where == "--set inference.mirror"
    assert fault.what.startswith("axis 0 (rows): training showed")
    assert fault.remedy.startswith("Mirror along 1,")
    (fault,) = faults_of(lambda: load("inference.mirror=trained"))
    assert "makes no mirror images" in fault.what
    (fault,) = faults_of(lambda: load("inference.mirror=[0, 1]"))
    assert "axis 0 (rows) and 1 (columns)" in fault.what


@pytest.mark.parametrize("wrong", ["[2]", "[true]", "['0']", "rows", "0", "[-1]", "null"])
def test_what_is_no_axis_is_refused(load: Load, faults_of: FaultsOf, wrong: str) -> None:
    (fault,) = faults_of(partial(load, f"inference.mirror={wrong}"))
    assert "expected a list of 0 (rows) and 1 (columns), or trained" in fault.what


def rules_in(config: Config) -> dict[str, PostprocessRule]:
    rules = config.settings.inference.postprocess
    assert rules != "auto"
    return rules


def test_rules_belong_to_classes(load: Load) -> None:
    config = load("data.classes=[air, liver, '1', spleen]", add=(
        "inference:\n  postprocess:\n    spleen: {keep: 2}\n    '1': {largest: true, fill_holes: true}\n"
    ))  # fmt: skip
    rules = postprocess_rules(config.settings)
    assert list(rules) == [2, 3]
    assert rules == {2: PostprocessRule(largest=True, fill_holes=True), 3: PostprocessRule(keep=2)}
    assert postprocess_rules(load().settings) == {}


def test_rules_survive_the_resolved_config(load: Load, tmp_path: Path) -> None:
    from pipeline.config.load import load_config

    config = load("inference.postprocess={organ: {min_mm3: 5, min_voxels: 3}}")
    path = tmp_path / "resolved.yaml"
    path.write_text(resolved_text(config))
    assert load_config(path, (), {}).settings.inference == config.settings.inference
    assert rules_in(config)["organ"].min_mm3 == 5


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("inference.postprocess={orgn: {largest: true}}", "'orgn' is no class of data.classes. The nearest known"),
        ("inference.postprocess={background: {largest: true}}", "'background' is the background"),
        ("inference.postprocess={organ: {larges: true}}", "unknown key 'larges'. The nearest known name is 'larg"),
        ("inference.postprocess.organ.keep=0", "greater than or equal to 1"),
        ("inference.postprocess.organ.keep=1.5", "expected a whole number, got 1.5"),
        ("inference.postprocess.organ.min_mm3=0", "greater than 0"),
        ("inference.postprocess.organ.min_voxels=-1", "greater than or equal to 1"),
        ("inference.postprocess.organ.fill_holes=1", "expected true or false, got 1"),
        ("inference.postprocess.organ=largest", "expected a mapping of keys, got 'largest'"),
        ("inference.postprocess={organ: {largest: true, keep: 2}}", "'largest' is 'keep: 1'"),
        ("inference.postprocess=aut", "got 'aut', expected a mapping or auto. The nearest known name is 'auto'"),
        ("inference.postprocess=[auto]", "expected a mapping, got ['auto']"),
    ],
)  # fmt: skip
def test_faulty_rules_are_told(load: Load, faults_of: FaultsOf, override: str, told: str) -> None:
    (fault,) = faults_of(partial(load, override))
    assert told in str(fault)
    assert fault.where.startswith("--set inference.postprocess")


def test_rules_that_are_to_be_chosen(load: Load, tmp_path: Path) -> None:
    from pipeline.config.load import load_config

    config = load("inference.postprocess=auto")
    assert config.settings.inference.postprocess == "auto"
    assert postprocess_rules(config.settings) == {}
    path = tmp_path / "resolved.yaml"
    path.write_text(resolved_text(config))
    assert load_config(path, (), {}).settings.inference.postprocess == "auto"
    assert re.search(r"^  postprocess: auto +# --set", printed_text(config), re.MULTILINE)


def test_a_size_in_mm_needs_a_spacing(load: Load, faults_of: FaultsOf) -> None:
    rule = "inference.postprocess={organ: {min_mm3: 5}}"
    (fault,) = faults_of(lambda: load(rule, "data.ignore_affine=true"))
    assert "no size in mm" in fault.what
    assert fault.remedy == "Use min_voxels"
    assert rules_in(load(rule))["organ"].min_mm3 == 5


def test_the_page_s_example_is_right(load: Load) -> None:
    (example,) = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL) if "mirror" in text]
    config = load("data.classes=[background, bone, bladder]", f"transforms.augment=[{AFFINE % '[1]'}]", add=example)
    assert mirror_axes(config.settings) == (1,)
    assert [rule.min_voxels for rule in postprocess_rules(config.settings).values()] == [20, None]
