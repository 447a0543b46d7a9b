"""The room that slices will take, by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.data.caching.demand import PlaneShape, bank_bytes, estimated_shapes, working_bytes
from pipeline.data.cases import Case
from pipeline.data.facts import CaseFacts

NONE = np.zeros(0)
BASE = CaseFacts("", (1, 1), (1.0, 1.0), "", -1, 1, 0.0, 1.0, 0.5, NONE, NONE, NONE, b"", b"", NONE)


def facts(**shapes: tuple[int, ...]) -> dict[str, CaseFacts]:
    """2D slices, and volumes that are cut along their last axis."""
    return {
        name: replace(
            BASE, case=name, shape=shape, axis=2 if len(shape) == 3 else -1, slices=shape[2] if len(shape) == 3 else 1,
            spacing_mm=(1.0,) * len(shape),
        )
        for name, shape in shapes.items()
    }  # fmt: skip


def test_bytes_by_hand() -> None:
    known = facts(a=(4, 5), b=(4, 5, 7))
    # One slice and seven, of 6 x 3 pixels with 2 channels of 4 bytes and a label of 1.
    assert bank_bytes(known.values(), lambda fact: (2, 6, 3)) == 8 * 18 * 9
    assert bank_bytes([], lambda fact: (1, 1, 1)) == 0


def test_working_bytes_are_those_of_the_largest_case() -> None:
    known = facts(a=(4, 5), b=(4, 5, 7), c=(30, 2))
    # b: seven slices of 4 x 5, or of 6 x 3, whichever are more; 20 bytes a pixel and channel.
    assert working_bytes(known.values(), lambda fact: (2, 6, 3)) == 20 * 7 * 2 * 20
    assert working_bytes(known.values(), lambda fact: (1, 6, 4)) == 20 * 7 * 24
    assert working_bytes([known["a"], known["c"]], lambda fact: (1, 1, 1)) == 20 * 60
    assert working_bytes([], lambda fact: (1, 1, 1)) == 0


@pytest.fixture
def shapes_of(make_case: Callable[..., Any]) -> Callable[..., tuple[Callable[[CaseFacts], PlaneShape], list[str]]]:
    def estimate(known: dict[str, CaseFacts], chain: Callable[[tuple[int, ...]], PlaneShape]) -> Any:
        tried: list[str] = []

        def prepare(case: Case) -> PlaneShape:
            tried.append(case.id)
            return chain(known[case.id].shape)

        return estimated_shapes([make_case(name) for name in known], known, prepare), tried

    return estimate


def test_each_size_is_tried_once(shapes_of: Any) -> None:
    known = facts(a=(4, 5), b=(6, 7), c=(4, 5), d=(4, 5, 9))
    shape_of, tried = shapes_of(known, lambda shape: (1, shape[0] + 1, shape[1] + 2))
    assert sorted(tried) == ["a", "b", "d"]
    assert [shape_of(fact) for fact in known.values()] == [(1, 5, 7), (1, 7, 9), (1, 5, 7), (1, 5, 7)]


def test_a_chain_that_makes_all_alike_needs_few_tries(shapes_of: Any) -> None:
    known = facts(**{f"c{number}": (10 + number, 20) for number in range(30)})
    shape_of, tried = shapes_of(known, lambda shape: (2, 64, 32))
    assert len(tried) == 3
    assert {shape_of(fact) for fact in known.values()} == {(2, 64, 32)}


def test_sizes_that_were_not_tried_grow_as_the_others_did(shapes_of: Any) -> None:
    # The three frequent sizes come out twice as long on each side; 10 x 20 was not tried.
    sizes = {"a": (4, 4), "b": (4, 6), "c": (6, 4)}
    known = facts(**{f"{name}{number}": size for name, size in sizes.items() for number in range(2)}, rare=(10, 20))
    shape_of, tried = shapes_of(known, lambda shape: (3, 2 * shape[0], 2 * shape[1]))
    assert sorted(tried) == ["a0", "b0", "c0"]
    assert shape_of(known["rare"]) == (3, 20, 40)
    # The one that grows most decides, whichever it is: 4 x 4 to 12 x 12.
    shape_of, _ = shapes_of(known, lambda shape: (1, 3 * shape[0], 3 * shape[1]) if shape == (4, 4) else (1, *shape))
    assert shape_of(known["rare"]) == (1, 30, 60)


def test_one_size_says_nothing_of_others(shapes_of: Any, make_case: Callable[..., Any]) -> None:
    known = facts(a=(4, 4))
    shape_of, _ = shapes_of(known, lambda shape: (1, 8, 8))
    assert shape_of(facts(b=(10, 20))["b"]) == (1, 20, 40)


def test_spacing_and_axis_make_sizes_differ(shapes_of: Any) -> None:
    known = facts(a=(4, 5), b=(4, 5), c=(4, 5, 4))
    known["b"] = replace(known["b"], spacing_mm=(2.0, 1.0))
    known["c"] = replace(known["c"], axis=0, slices=4)
    _, tried = shapes_of(known, lambda shape: (1, 1, 1))
    assert tried == ["a", "b", "c"]
