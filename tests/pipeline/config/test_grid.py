"""The grid of --vary: how values are split, what is refused, and names that any folder may have."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config.grid import axes_of, cells_of, split_values
from pipeline.config.resolved import flow_text
from pipeline.config.yaml_source import parse_yaml
from pipeline.errors import Fault

Faults = Callable[[Callable[[], Any]], Sequence[Fault]]

scalars = st.none() | st.booleans() | st.integers(-99, 99) | st.text("ab ,'\"[]{}:#\\é-", max_size=8)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.text("abc", min_size=1, max_size=3), inner, max_size=3), max_leaves=8)  # fmt: skip


def plain(text: str) -> bool:
    """Whether a value is written without brackets and quotes, or as the whole of them."""
    return text[:1] in ("[", "{", "'", '"') or not re.search(r"[\[\]{},'\"]", text)


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(values, min_size=1, max_size=4))
@example([["a, b", {"c": "it's, so"}], "it's", ", ", "'"])
def test_what_yaml_writes_is_split_where_it_was_joined(items: list[Any]) -> None:
    texts = [flow_text(item) for item in items]
    texts = [text if plain(text) else flow_text([item]) for text, item in zip(texts, items, strict=True)]
    assert split_values(",".join(texts)) == texts
    assert split_values(" , ".join(texts)) == texts
    for text in texts:
        assert text[:1] not in ("[", "{") or parse_yaml(text, "test").value is not None


@settings(deadline=None)  # a busy machine is no fault
@given(st.text("ab,[]{}'\" \\:", max_size=12))
def test_any_text_is_split_without_loss_or_refused(text: str) -> None:
    try:
        found = split_values(text)
    except ValueError:
        return
    assert re.sub(r"\s*,\s*", ",", ",".join(found)) == re.sub(r"\s*,\s*", ",", text).strip()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ["a", "b"]),
        ("it's,b's", ["it's", "b's"]),  # an apostrophe within a word opens nothing
        (r"^(p\d{1,2})_,^(p\d+)_", [r"^(p\d{1,2})_", r"^(p\d+)_"]),
        ("'a,''b',c", ["'a,''b'", "c"]),
        (r'"a\",b",c', [r'"a\",b"', "c"]),
        ("{_target_: UNet, channels: [4, 8]},{_target_: X}", ["{_target_: UNet, channels: [4, 8]}", "{_target_: X}"]),
        ("['a]', b],c", ["['a]', b]", "c"]),
        ("", [""]),
        ("a,,b", ["a", "", "b"]),
    ],
)
def test_commas_by_hand(text: str, expected: list[str]) -> None:
    assert split_values(text) == expected


def test_all_that_is_wrong_is_told_at_once(faults_of: Faults) -> None:
    wrong = ["seed=0,1,1", "a", "b=[1,2", "c=1,,2", "d=1]", "e='x"]
    varied = [*wrong, "x=1,2", "x=3", "data.fold=0", "network.channels=1", "network=UNet"]
    found = [str(fault) for fault in faults_of(lambda: axes_of(varied, ["data.fold=1", "network.dropout=0.1"]))]
    for said in (
        "--vary seed: 1 stands there twice", "got 'a', expected key=value,value", "--vary b: a ']' is missing",
        "--vary c: an empty value", "--vary d: the ']' closes nothing", "--vary e: a text that begins with '",
        "--vary x: is varied twice", "--vary data.fold: is set by --set as well",
        "--vary network: would replace what network.channels was set to",
        "--vary network: would replace what network.dropout was set to",
    ):  # fmt: skip
        assert sum(said in one for one in found) == 1, said
    assert len(found) == 10


@pytest.mark.parametrize("varied", [["a=1,1.0"], ["a=1,true"], ["a='1',1"]])
def test_values_that_are_equal_in_python_alone_are_two(varied: list[str]) -> None:
    assert len(axes_of(varied, [])[0].values) == 2


def test_equal_values_written_in_two_ways_are_one(faults_of: Faults) -> None:
    (fault,) = faults_of(lambda: axes_of(["a=[1, 2],[1,2]"], []))
    assert "twice" in str(fault)
    (fault,) = faults_of(lambda: axes_of([], []))
    assert "nothing to compare" in str(fault)
    (fault,) = faults_of(lambda: cells_of(axes_of([f"{key}={','.join(map(str, range(32)))}" for key in "ab"], []), []))
    assert "1024 runs" in str(fault)


def test_the_product_by_hand() -> None:
    cells = cells_of(axes_of(["transforms=transforms/pad.yaml,t/half.yaml", "seed=0,1"], ["a=1"]), ["a=1"])
    assert [cell.name for cell in cells] == [
        "transforms=pad,seed=0", "transforms=pad,seed=1", "transforms=half,seed=0", "transforms=half,seed=1",
    ]  # fmt: skip
    assert [cell.variant for cell in cells] == ["transforms=pad"] * 2 + ["transforms=half"] * 2
    assert cells[1].overrides == ("a=1", "transforms=transforms/pad.yaml", "seed=1")
    assert cells[3].choices == (("transforms", "t/half.yaml"), ("seed", "1"))
    assert [cell.variant for cell in cells_of(axes_of(["seed=1,2"], []), [])] == ["(as it is)"] * 2


KEYS = [
    "seed",
    "transforms",
    "transforms.prepare.2.spatial_size",
    "training.epochs",
    "other.epochs",
    "a.0",
    "b.0",
    "a b",
]
TEXTS = st.text(
    st.characters(exclude_characters=",[]{}'\"\n\r", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60
)


@settings(deadline=None)  # a busy machine is no fault
@given(
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True),
    st.lists(TEXTS.map(str.strip).filter(bool), min_size=1, max_size=4, unique=True),
)
@example(["a.0", "b.0"], ["x/a.yaml", "y/a.yaml", "A", "..", "/"])
@example(["training.epochs", "other.epochs", "seed"], ["y" * 60, "y" * 59 + "z", "-1", "1"])
def test_names_are_safe_and_each_its_own(keys: list[str], texts: list[str]) -> None:
    keys = sorted(keys, key=len)  # what is set first is not replaced afterwards
    try:
        cells = cells_of(axes_of([f"{key}={','.join(texts)}" for key in keys], []), [])
    except Fault:
        return  # two texts that are read as one value
    names = [cell.name for cell in cells]
    assert len({name.casefold() for name in names}) == len(texts) ** len(keys) == len(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+=,-]*", name) and len(name) < 200 and ".." not in f"{name[:2]}"
    wanted = [tuple(zip(keys, picked, strict=True)) for picked in itertools.product(texts, repeat=len(keys))]
    assert [cell.choices for cell in cells] == wanted
    assert len({cell.variant for cell in cells}) == len(texts) ** len([key for key in keys if key != "seed"])
