"""What is wrong with a config, key by key, and what contradicts itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, get_origin

import pytest
from pydantic import BaseModel

from pipeline.config.document import Document
from pipeline.config.load import Config
from pipeline.config.schema import Settings
from pipeline.config.validation import known_keys, validate
from pipeline.errors import ConfigError, Fault

Load = Callable[..., Config]
FaultsOf = Callable[[Callable[[], Any]], Sequence[Fault]]
CHAIN_START = "{_target_: LoadImaged, keys: [image, label]}, {_target_: EnsureChannelFirstd, keys: [image, label]}"


def leaves(model: type[BaseModel] = Settings, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key of the schema that holds a value of its own, with its type."""
    for name, annotation in known_keys(model).items():
        sections = [kind for kind in (annotation, *getattr(annotation, "__args__", ())) if isinstance(kind, type)]
        inner = [kind for kind in sections if issubclass(kind, BaseModel)]
        if inner and get_origin(annotation) is not dict:
            yield from leaves(inner[0], (*path, name))
        else:
            yield (*path, name), annotation


LEAVES = dict(leaves())
TARGETS = {("network",), ("loss",), ("transforms", "prepare"), ("transforms", "augment")}


def test_the_schema_has_the_keys_that_tests_know_of() -> None:
    assert {("data", "phantom", "validate"), ("training", "epochs"), ("name",)} | TARGETS <= set(LEAVES)
    assert len(LEAVES) > 50


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_a_wrong_type_is_told_with_its_key(load: Load, faults_of: FaultsOf, path: tuple[str, ...]) -> None:
    key = ".".join(path)
    for wrong in ("{an: [odd, value]}", "[[[1]]]"):
        found = faults_of(partial(load, f"{key}={wrong}"))
        told = [fault.what for fault in found if fault.where == f"--set {key}"]
        assert told, f"{key}={wrong}"
        if path not in TARGETS and path != ("data", "label_map"):
            assert any(what.startswith(("expected ", "got ")) for what in told), told


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("seed=true", "expected a whole number, got True (true or false)"),
        ("seed='5'", "expected a whole number, got '5' (text)"),
        ("seed=1.0", "expected a whole number, got 1.0 (number)"),
        ("seed=4294967296", "less than 2147483648"),
        ("training.epochs=0", "greater than or equal to 1"),
        ("training.learning_rate=true", "expected a number, got True"),
        ("training.learning_rate=.inf", "finite number"),
        ("training.learning_rate=.nan", "finite number"),
        ("training.learning_rate=0", "greater than 0"),
        ("training.warmup=1", "less than 1"),
        ("training.device=gpu", "got 'gpu', expected auto, cpu, cuda, or one GPU such as cuda:1"),
        ("training.device=cuda:", "got 'cuda:'"),
        ("training.budget=5", "a budget is a number above 0 and a unit"),
        ("training.budget=5 minutes", "a budget is a number above 0 and a unit"),
        ("training.budget=0s", "a budget is a number above 0 and a unit"),
        ("data.ignore_affine=1", "expected true or false, got 1"),
        ("data.ignore_affine=yes", "expected true or false, got 'yes'"),
        ("data.classes=organ", "expected a list, got 'organ' (text)"),
        ("data.classes=[organ]", "at least 2 items"),
        ("data.classes=[a, a]", "classes named twice: a"),
        ("data.classes=[a, '']", "at least 1 character"),
        ("data.classes=[a, 1]", "expected text, got 1"),
        ("data.classes=[a, b/c]", "'b/c' becomes part of file names"),
        ("data.classes=[a, '..']", "'..' becomes part of file names"),
        (
            "data.layout=hipmir",
            "got 'hipmir', expected one of hipmri, nnunet, decathlon, folders, table. The nearest known name is 'hip",
        ),
        ("data.patient=case", "needs one group in parentheses"),
        ("data.patient=(case", "not a regular expression"),
        ("data.spacing_mm=[1]", "at least 2 items"),
        ("data.spacing_mm=[1, 0]", "greater than 0"),
        ("data.label_map={a: 1}", "expected a whole number, got 'a'"),
        ("data.label_map={01: 1}", "expected a whole number, got '01'"),
        ("data.label_map={1: -1}", "greater than or equal to 0"),
        ("data.label_map=[1]", "expected a mapping, got [1] (list)"),
        ("data.axis=3", "expected 0, 1, 2 or one of sagittal, coronal, axial"),
        ("name=a/b", "'a/b' becomes part of file names"),
        ("name=..", "becomes part of file names"),
        ("name=' '", "becomes part of file names"),
        ("name=" + "x" * 101, "no more than 100 bytes"),
        ("name=null", "expected text, got None (nothing)"),
        ("splits.kind=file", "'kind: file' and 'file: splits_final.json' go together"),
        ("splits={kind: holdout, validation: 0}", "'validation' must be above 0"),
        ("splits={kind: holdout, validation: 0.5, test: 0.5}", "less than a tenth of the patients"),
        ("inference.roi_size=[64]", "roi_size"),
        ("evaluation.confidence=1", "less than 1"),
        ("training.lr=1", "unknown key 'lr'"),
        ("training.classes=1", "It belongs under another section: 'data.classes'"),
        ("epochs=1", "It belongs under another section: 'training.epochs'"),
        ("extends=a.yaml", "unknown key 'extends'"),
        ("transforms.prepair=[]", "The nearest known name is 'prepare'"),
        ("transforms.prepare=[]", "at least 1 item"),
        ("transforms.augment=null", "expected a list, got None (nothing)"),
    ],
)
def test_values(load: Load, faults_of: FaultsOf, override: str, told: str) -> None:
    found = faults_of(lambda: load(override))
    assert any(told in str(fault) and fault.where.startswith("--set ") for fault in found), [str(one) for one in found]


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("{0: background, 1: organ}", ": classes: [background, organ]"),
        ("{1: organ, 0: background}", ": classes: [background, organ]"),
        ("{organ: 1, background: 0}", ": classes: [background, organ]"),
        ("{0: background, 2: organ}", ", from 0 without a gap (data.label_map renumbers them)"),
        ("{background: 0, whole: [1, 2]}", ", from 0 without a gap (data.label_map renumbers them)"),
        ("{}", ", from 0 without a gap (data.label_map renumbers them)"),
        ("organ", ", such as [background, organ]"),
    ],
)
def test_classes_that_are_no_list(load: Load, faults_of: FaultsOf, value: str, remedy: str) -> None:
    (fault,) = faults_of(lambda: load(f"data.classes={value}"))
    assert fault.remedy == f"Write a list in the order of the values in the masks{remedy}"
    assert fault.what.startswith("expected a list, got ")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.fold=alle", "got 'alle', expected the number of a fold, from 0, or all"),
        ("data.fold=-1", "got -1, expected the number of a fold, from 0, or all"),
        ("data.fold=true", "got True, expected the number of a fold, from 0, or all"),
        ("data.fold=0.0", "got 0.0, expected the number of a fold, from 0, or all"),
        ("data.axis=coronall", "got 'coronall', expected 0, 1, 2 or one of sagittal, coronal, axial"),
        ("data.axis=[0]", "got [0], expected 0, 1, 2 or one of sagittal, coronal, axial"),
        ("data.spacing_mm=1.5", "expected a list, got 1.5 (number)"),
        ("data.spacing_mm=[1, x]", "expected a number, got 'x' (text)"),
        ("data.spacing_mm=[1, 1, 1, 1]", "at most 3 items"),
    ],
)
def test_keys_of_several_kinds_are_told_once(load: Load, faults_of: FaultsOf, override: str, told: str) -> None:
    (fault,) = faults_of(lambda: load(override))
    assert told in fault.what


def test_mirrored_sides_are_told_with_their_place(load: Load, faults_of: FaultsOf) -> None:
    flip = "transforms.augment=[{_target_: RandFlipd, keys: [image, label], spatial_axis: 0}]"
    (fault,) = faults_of(lambda: load("data.classes=[background, lung_left, lung_right]", flip))
    assert "lung_left and lung_right" in fault.what
    load("data.classes=[background, lung, liver]", flip)
    for classes in ("lung_left, lung_right", "left lung", "kidney_l, kidney_r"):
        (fault,) = faults_of(partial(load, f"data.classes=[background, {classes}]", "data.mirrored=true"))
        assert classes in fault.what and "data.mirrored" in fault.where
    load("data.classes=[background, lung, liver, left ventricle]", "data.mirrored=true")


@pytest.mark.parametrize("override", ["training.learning_rate=1", "training.weight_decay=0", "training.budget=90 s"])
def test_values_that_are_right(load: Load, override: str) -> None:
    load(override)


@pytest.mark.parametrize("key", ["name", "data", "transforms", "network", "loss", "data.layout", "data.classes"])
def test_what_has_no_default(load: Load, faults_of: FaultsOf, key: str) -> None:
    found = faults_of(lambda: validate(Document(_without(load, key))))
    assert [(fault.where, fault.what) for fault in found] == [("config", "missing; this key has no default")]


def _without(load: Load, key: str) -> dict[str, Any]:
    whole: dict[str, Any] = load().document.value
    value = whole
    *parents, last = key.split(".")
    for parent in parents:
        value = value[parent]
    del value[last]
    return whole


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.layout=folders"], "two folders give no split"),
        (["data.fold=all"], "splits.kind is layout, which has no folds that could all be trained"),
        (["data.fold=all", "splits.kind=holdout"], "splits.kind is holdout, which has no folds"),
        (
            ["data.layout=folders", "splits.kind=holdout", "data.phantom={}"],
            "a phantom is written in the hipmri layout",
        ),
        (["data.label_map={5: 2}"], "maps to 2, but the classes are 0 to 1"),
        (["data.ignore_affine=true", "data.spacing_mm=[1, 1]"], "both 'ignore_affine' (distances in pixels) and"),
        (["loss.weight=[1, 2, 3]"], "3 weights for 2 classes"),
        (["loss.weight=[1]", "loss.include_background=false"], "1 weights for 2 classes"),
        (
            ["loss={_target_: DiceLoss, softmax: true, to_onehot_y: true, include_background: false, weight: [1, 2]}"],
            "2 weights for 1 classes",
        ),
        (["loss.weight=inverse_squared"], "'inverse_squared' is no way to weigh classes"),
        (["loss.softmax=false"], "'softmax' is not true"),
        (["loss={_target_: DiceLoss, softmax: true}"], "'to_onehot_y' is not true"),
        (["loss={_target_: FocalLoss, to_onehot_y: true}"], "'use_softmax' is not true"),
        (["loss={_target_: monai.losses.FocalLoss, to_onehot_y: true}"], "'use_softmax' is not true"),
        ([f"transforms.prepare=[{CHAIN_START}, {{_target_: RandFlipd, keys: [image, label]}}]"], "is random"),
    ],
)
def test_contradictions(load: Load, faults_of: FaultsOf, overrides: list[str], told: str) -> None:
    found = faults_of(lambda: load(*overrides))
    assert len(found) == 1, [str(fault) for fault in found]
    assert told in found[0].what
    assert found[0].where
    assert found[0].remedy


def test_losses_that_fit(load: Load) -> None:
    load("loss={_target_: monai.losses.FocalLoss, use_softmax: true, to_onehot_y: true, weight: [1, 2]}")
    load("loss.weight=[1, 2]", "loss.include_background=false")  # of the cross entropy, which keeps the background
    load("loss={_target_: DiceLoss, softmax: true, to_onehot_y: true, include_background: false, weight: [1]}")
    load("loss.weight=2.0")
    load("loss.weight=inverse_sqrt")


def test_lint_and_types_are_told_together(load: Load, faults_of: FaultsOf) -> None:
    entry = "{_target_: Resized, keys: [image, label], spatial_size: [4, 4]}"
    found = faults_of(lambda: load("seed=x", "loss.softmax=false", f"transforms.prepare=[{CHAIN_START}, {entry}]"))
    told = sorted(fault.what for fault in found)
    assert ["'softmax' is not true" in told[0], "mixes class numbers" in told[1], "whole number" in told[2]] == [
        True
    ] * 3
    assert len(told) == 3


@pytest.mark.parametrize("value", ["5", "null", "[1]", "{_target_: 5}", "{channels: [1]}", "UNet"])
@pytest.mark.parametrize("key", ["network", "loss", "transforms.prepare.0", "transforms.augment"])
def test_what_is_no_target_is_told_once(load: Load, faults_of: FaultsOf, key: str, value: str) -> None:
    text = f"{key}=[{value}]" if key == "transforms.augment" else f"{key}={value}"
    found = faults_of(lambda: load(text))
    assert sum("is a mapping with a '_target_'" in fault.what for fault in found) == 1
    assert not any("expected a mapping, got" in fault.what for fault in found), [str(fault) for fault in found]


@pytest.mark.parametrize("value", [None, 5, [], "text", {}, {"transforms": 5, "network": 5, "loss": 5, "data": 5}])
def test_a_document_of_any_kind_is_answered(value: Any, faults_of: FaultsOf) -> None:
    assert faults_of(lambda: validate(Document(value)))


def test_faults_found_before_are_told_with_the_rest(load: Load, faults_of: FaultsOf) -> None:
    before = ConfigError("found before", where="a")
    document = load().document
    assert faults_of(lambda: validate(document, [before])) == [before]
    document.value["seed"] = "x"
    assert len(faults_of(lambda: validate(document, [before]))) == 2
