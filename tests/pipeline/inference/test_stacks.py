"""Batches of slices: every slice once, in order, beside its own neighbours, and no batch smaller than it need be."""

from __future__ import annotations

from itertools import groupby

import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inference.stacks import Opinion, Stack, filled


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 2)), max_size=9), st.integers(1, 7), st.integers(0, 2)
)  # fmt: skip
def test_every_slice_once_and_no_batch_smaller_than_it_need_be(
    drawn: list[tuple[int, int]], size: int, context: int
) -> None:
    stacks = [Stack(torch.arange(count).float()[:, None, None, None].expand(-1, 1, 1, width), context)
              for count, width in drawn]  # fmt: skip
    batches = list(filled(stacks, lambda: size))
    for batch in batches:
        for part in batch:
            seen = part.stack.inputs(part.start, part.end)
            last = len(part.stack) - 1
            wanted = [[min(max(number + step, 0), last) for step in range(-context, context + 1)]
                      for number in range(part.start, part.end)]  # fmt: skip
            assert seen[..., 0, 0].tolist() == wanted
            part.stack.take(Opinion(seen[:, context : context + 1], None))
    assert all(stack.is_known for stack in stacks)
    assert all(torch.equal(stack.opinion().probabilities, stack.slices) for stack in stacks)
    counts = [sum(part.size for part in batch) for batch in batches]
    wanted_counts: list[int] = []
    for _, run in groupby(drawn, key=lambda one: one[1]):
        whole, rest = divmod(sum(count for count, _ in run), size)
        wanted_counts += [size] * whole + [rest] * (rest > 0)
    assert counts == wanted_counts


def test_stacks_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def stacks() -> object:
        for number in range(5):
            taken.append(number)
            yield Stack(torch.zeros(3, 1, 2, 2), 0)

    sizes = iter([4, 2, 2, 2, 2, 2, 2, 2])
    batches = filled(stacks(), lambda: next(sizes))  # type: ignore[arg-type]
    assert taken == []
    assert sum(part.size for part in next(batches)) == 4
    assert taken == [0, 1]
    assert [part.size for part in next(batches)] == [2], "the size is asked anew"
    assert taken == [0, 1]
