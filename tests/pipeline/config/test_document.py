"""Values and the marks of their keys, while keys come and go."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.document import Document, Mark, dotted
from pipeline.config.yaml_source import parse_yaml


def test_forgetting_a_branch() -> None:
    document = parse_yaml("a: {b: 1}\nab: 2\n", "a.yaml")
    document.marks[("a",)] = Mark("x", 9)
    document.forget(("a",))
    assert set(document.marks) == {(), ("ab",)}


def test_what_a_document_holds() -> None:
    document = parse_yaml("a: {b: [1, {c: null}]}\n'7': x\n", "a.yaml")
    assert all(document.holds(path) for path in [(), ("a",), ("a", "b", 0), ("a", "b", 1, "c"), (7,)])
    assert not any(
        document.holds(path) for path in [("b",), ("a", "b", 2), ("a", "b", "0"), ("a", "b", 0, "c"), ("a", "c")]
    )


def test_removing_a_key_and_an_entry() -> None:
    document = parse_yaml("a:\n  - x\n  - y: 1\n  - z: 2\nb:\n  c: 1\n  d: 2\n", "a.yaml")
    document.remove(("a", 0))
    document.remove(("b", "c"))
    assert document.value == {"a": [{"y": 1}, {"z": 2}], "b": {"d": 2}}
    lines = {dotted(path): mark.line for path, mark in document.marks.items()}
    assert lines == {"": 1, "a": 1, "a.0": 3, "a.0.y": 3, "a.1": 4, "a.1.z": 4, "b": 5, "b.d": 7}
    document.remove(("a", 1))
    assert document.value["a"] == [{"y": 1}]
    assert ("a", 1) not in document.marks


tree = st.recursive(st.integers(0, 9), lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=12)


@settings(max_examples=100, deadline=None)
@given(st.lists(tree, min_size=1, max_size=4), st.data())
def test_after_a_removal_each_mark_is_that_of_its_value(value: list[Any], data: st.DataObject) -> None:
    def paths(node: Any, path: tuple[int, ...]) -> list[tuple[int, ...]]:
        inner = enumerate(node) if isinstance(node, list) else ()
        return [path, *(below for number, item in inner for below in paths(item, (*path, number)))]

    document = Document(value, {path: Mark(str(path), number) for number, path in enumerate(paths(value, ()), 1)})
    before = {path: id(mark) for path, mark in document.marks.items()}
    gone = data.draw(st.sampled_from(paths(value, ())[1:]))
    kept = [path for path in paths(value, ()) if path[: len(gone)] != gone]
    document.remove(gone)
    after = paths(document.value, ())
    # Both walks go from left to right, so that what is left stands in the same order.
    assert [id(document.marks[path]) for path in after] == [before[path] for path in kept]
    assert len(document.marks) == len(after)


def test_a_fault_knows_its_key() -> None:
    fault = parse_yaml("a:\n  b: 1\n", "a.yaml").fault(("a", "b"), "is wrong", "Mend it")
    assert (str(fault), fault.path) == ("a.yaml:2: a.b: is wrong. Mend it.", ("a", "b"))
    assert type(fault.at("x")) is type(fault)
