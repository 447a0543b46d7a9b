"""Stacks of slices: batches, neighbours and epochs, each against a plain count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.caching import slices
from pipeline.data.caching.slices import SliceBank, epoch_batches, leaves_room, onto
from pipeline.data.cases import Case
from pipeline.errors import DataError

MakeCase = Callable[..., Case]


def marked(value: float, shape: tuple[int, int, int] = (1, 4, 3)) -> dict[str, torch.Tensor]:
    """A sample whose slices hold value, value + 0.25, value + 0.5 ..., and whose label is empty."""
    steps = torch.arange(shape[0]) * 0.25
    return {"image": (value + steps)[:, None, None].expand(shape), "label": torch.zeros(shape)}


def seen(bank: SliceBank, index: int) -> list[float]:
    """The marks of a slice's channels."""
    image: torch.Tensor = bank.batch(np.array([index]))["image"]
    assert image.shape[:2] == (1, 2 * bank.context + 1)
    assert all(len(channel.unique()) == 1 for channel in image[0])
    return [float(channel[0, 0]) for channel in image[0]]


def test_a_batch_holds_the_slices_that_were_asked_for(make_case: MakeCase) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4, 5), (1, 6, 5), (2, 4, 5), (1, 6, 5)]
    samples = [
        {"image": torch.randn(shape, generator=generator), "label": torch.randint(0, 3, shape, generator=generator)}
        for shape in shapes
    ]
    bank = SliceBank([make_case(f"c{n}") for n in range(4)], samples, 3)

    flat = [(n, s) for n, shape in enumerate(shapes) for s in range(shape[0])]
    assert len(bank) == len(flat) == 7
    assert bank.case.tolist() == [n for n, _ in flat]
    assert bank.sizes == [(4, 5), (6, 5)]
    for asked in ([0, 4, 5], [5, 0, 0], [6, 3], [1]):
        batch = bank.batch(np.array(asked))
        for place, index in enumerate(asked):
            case, number = flat[index]
            assert torch.equal(batch["image"][place, 0], samples[case]["image"][number])
            assert torch.equal(batch["label"][place, 0].long(), samples[case]["label"][number])
    assert batch["image"].dtype == torch.float32
    assert batch["label"].dtype == torch.uint8
    assert bank.bytes() == sum(s * h * w for s, h, w in shapes) * 5
    with pytest.raises(ValueError, match="2 sizes"):
        bank.batch(np.array([0, 3]))


def test_presence_by_hand(make_case: MakeCase) -> None:
    #   slice 0: classes 0, 1   slice 1: class 0   slice 2: class 2     and another size: classes 0, 2
    label = torch.tensor([[[0, 1], [0, 0]], [[0, 0], [0, 0]], [[2, 2], [2, 2]]])
    other = torch.tensor([[[0, 0, 2], [0, 0, 0]]])
    samples = [{"image": label.float(), "label": label}, {"image": other.float(), "label": other.float()}]
    bank = SliceBank([make_case("a"), make_case("b")], samples, 4)
    assert bank.present.astype(int).tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 1, 0]]


def test_a_volumes_neighbours_end_with_it(make_case: MakeCase) -> None:
    # Two volumes of one scan: the last slice of the first is no neighbour of the first of the second.
    cases = [make_case("a", scan="s"), make_case("b", scan="s")]
    bank = SliceBank(cases, [marked(0, (3, 4, 3)), marked(10, (2, 4, 3))], 2, context=2)
    assert seen(bank, 0) == [0, 0, 0, 0.25, 0.5]
    assert seen(bank, 1) == [0, 0, 0.25, 0.5, 0.5]
    assert seen(bank, 2) == [0, 0.25, 0.5, 0.5, 0.5]
    assert seen(bank, 3) == [10, 10, 10, 10.25, 10.25]
    assert seen(bank, 4) == [10, 10, 10.25, 10.25, 10.25]


def test_neighbours_of_2d_files_follow_their_numbers(make_case: MakeCase) -> None:
    numbers = [2, 10, 9]  # as sorted by name: "10" before "2" before "9"; as numbers: 2, 9, 10
    cases = [make_case(f"c{number}", scan="s", number=number) for number in numbers]
    bank = SliceBank(cases, [marked(number) for number in numbers], 2, context=1)
    assert [seen(bank, index) for index in range(3)] == [[2, 2, 9], [9, 10, 10], [2, 9, 10]]


def test_scans_of_equal_names_do_not_mix(make_case: MakeCase) -> None:
    owners = [("p1", 1), ("p2", 1), ("p2", 2), ("p1", 2)]
    cases = [make_case(f"{patient}_{number}", patient, "week_0", number) for patient, number in owners]
    marks = [1, 21, 22, 2]
    bank = SliceBank(cases, [marked(mark) for mark in marks], 2, context=1)
    assert [seen(bank, index) for index in range(4)] == [[1, 1, 2], [21, 21, 22], [21, 22, 22], [1, 2, 2]]
    assert [members.tolist() for members in bank.scans()] == [[0, 3], [1, 2]]


def test_neighbours_are_of_one_size(make_case: MakeCase) -> None:
    cases = [make_case(f"c{number}", scan="s", number=number) for number in range(4)]
    shapes = [(1, 4, 3), (1, 4, 5), (1, 4, 3), (1, 4, 5)]
    bank = SliceBank(cases, [marked(number, shape) for number, shape in enumerate(shapes)], 2, context=1)
    assert [seen(bank, index) for index in range(4)] == [[0, 0, 2], [1, 1, 3], [0, 2, 2], [1, 3, 3]]
    assert [members.tolist() for members in bank.scans()] == [[0, 1, 2, 3]]


@settings(max_examples=25, deadline=None)
@given(
    files=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 30)), min_size=2, max_size=12, unique=True
    ),
    depths=st.lists(st.integers(2, 4), max_size=2),
    context=st.integers(0, 3),
)
def test_neighbours_by_brute_force(
    make_case: MakeCase, files: list[tuple[int, int, int]], depths: list[int], context: int
) -> None:
    # p0 s0 twice, so that some scan has two slices; then 2D files as drawn, then volumes.
    files = [*files, (0, 0, 41), (0, 0, 40)]
    cases = [make_case(f"p{p}s{s}n{n}", f"p{p}", f"s{s}", n) for p, s, n in files]
    cases += [make_case(f"v{number}", f"p{number}", "s0") for number in range(len(depths))]
    samples = [marked(1000 * p + 100 * s + n) for p, s, n in files]
    samples += [marked(5000 + 10 * number, (depth, 4, 3)) for number, depth in enumerate(depths)]
    bank = SliceBank(cases, samples, 2, context)
    index = 0
    for p, s, n in files:
        scan = sorted(number for patient, name, number in files if (patient, name) == (p, s))
        place = scan.index(n)
        near = [scan[min(max(place + step, 0), len(scan) - 1)] for step in range(-context, context + 1)]
        assert seen(bank, index) == [1000 * p + 100 * s + number for number in near]
        index += 1
    for number, depth in enumerate(depths):
        for place in range(depth):
            near = [min(max(place + step, 0), depth - 1) for step in range(-context, context + 1)]
            assert seen(bank, index) == [5000 + 10 * number + 0.25 * step for step in near]
            index += 1
    assert index == len(bank)


def test_slices_without_an_order_are_refused_where_it_matters(make_case: MakeCase) -> None:
    twice = [make_case(name, scan="s", number=1) for name in "ab"]
    samples = [marked(0), marked(1)]
    SliceBank(twice, samples, 2, context=0)
    with pytest.raises(DataError, match="the number 1"):
        SliceBank(twice, samples, 2, context=1)
    with pytest.raises(DataError, match="every scan is a single slice") as fault:
        SliceBank([make_case(name) for name in "ab"], samples, 2, context=1)
    assert "data.scan" in fault.value.remedy
    volume = marked(5, (2, 4, 3))
    assert len(SliceBank([make_case("a"), make_case("v")], [marked(0), volume], 2, context=1)) == 3


@pytest.mark.parametrize(
    ("image", "label", "message", "at"),
    [
        (torch.zeros(1, 4, 3), torch.zeros(1, 4, 4), r"\(1, 4, 3\) and a label \(1, 4, 4\)", "images"),
        (torch.zeros(4, 3), torch.zeros(4, 3), r"\(4, 3\)", "images"),
        (torch.full((1, 2, 2), torch.nan), torch.zeros(1, 2, 2), "not finite", "images"),
        (torch.tensor([[[torch.inf, -torch.inf]]]), torch.zeros(1, 1, 2), "not finite", "images"),
        (torch.zeros(1, 2, 2), torch.tensor([[[0, 0.5], [1, 2]]]), "not all of them whole", "labels"),
        (torch.zeros(1, 2, 2), torch.tensor([[[0, 1.0], [1, 3]]]), "0 to 3; classes are 0 to 2", "labels"),
        (torch.zeros(1, 2, 2), torch.tensor([[[0, -1], [1, 2]]]), "from -1 to 2", "labels"),
        (torch.zeros(1, 2, 2), torch.full((1, 2, 2), torch.nan), "nan", "labels"),
    ],
)
def test_samples_that_are_no_slices_name_their_file(
    make_case: MakeCase, image: torch.Tensor, label: torch.Tensor, message: str, at: str
) -> None:
    with pytest.raises(DataError, match=message) as fault:
        SliceBank([make_case("ok"), make_case("bad")], [marked(0), {"image": image, "label": label}], 3)
    assert fault.value.where == f"{at}/bad.nii.gz"


def test_voxels_whose_sum_is_too_large_are_finite(make_case: MakeCase) -> None:
    image = torch.full((1, 2, 2), 3e38)
    assert not image.sum().isfinite()
    bank = SliceBank([make_case("a")], [{"image": image, "label": torch.zeros(1, 2, 2)}], 2)
    assert torch.equal(bank.batch(np.array([0]))["image"], image[None])


def test_channels_lie_within_their_neighbour(make_case: MakeCase) -> None:
    # (slices, channels): slice s, channel c holds 10 s + c; the channels of the neighbour before come first.
    marks = torch.tensor([[0.0, 1, 2], [10, 11, 12]])
    sample = {"image": marks[:, :, None, None].expand(2, 3, 4, 5), "label": torch.zeros(2, 4, 5)}
    bank = SliceBank([make_case("a")], [sample], 2, context=1)
    image = bank.batch(np.array([1, 0]))["image"]
    assert image.shape == (2, 9, 4, 5)
    assert image[:, :, 3, 4].tolist() == [[0, 1, 2, 10, 11, 12, 10, 11, 12], [0, 1, 2, 0, 1, 2, 10, 11, 12]]
    assert bank.bytes() == 2 * 4 * 5 * (3 * 4 + 1)


def test_cases_of_other_channels_are_refused(make_case: MakeCase) -> None:
    two = {"image": torch.zeros(1, 2, 4, 3), "label": torch.zeros(1, 4, 3)}
    with pytest.raises(DataError, match="2 channels") as fault:
        SliceBank([make_case("a"), make_case("b")], [marked(0), two], 2)
    assert fault.value.where == "images/b.nii.gz"


class Counted:
    """Samples of which it is known how many are alive; each is made of its own memory."""

    def __init__(self, shapes: list[tuple[int, int, int]]) -> None:
        self.samples: list[Any] = [marked(10 * number, shape) for number, shape in enumerate(shapes)]
        self.alive: list[int] = []

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return dict(self.samples[number])

    def drop(self, number: int) -> None:
        self.samples[number] = None
        self.alive.append(sum(sample is not None for sample in self.samples))


def test_each_sample_is_let_go_once_it_is_copied(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    monkeypatch.setattr(slices, "Release", lambda: freed.append)
    shapes = [(2, 4, 3), (1, 6, 3), (3, 4, 3), (1, 6, 3)]
    samples = Counted(shapes)
    bank = SliceBank([make_case(f"c{n}") for n in range(4)], samples, 2, drop=samples.drop)
    assert samples.alive == [3, 2, 1, 0]
    assert freed == [2 * 12 * 5, 3 * 12 * 5, 18 * 5, 18 * 5]
    assert [seen(bank, index)[0] for index in range(7)] == [0, 0.25, 10, 20, 20.25, 20.5, 30]
    kept = Counted(shapes)
    SliceBank([make_case(f"c{n}") for n in range(4)], kept, 2)
    assert kept.alive == []


def test_labels_keep_their_values_in_any_type(make_case: MakeCase) -> None:
    label = torch.tensor([[[0, 1], [199, 255]]])
    for dtype in (torch.uint8, torch.int16, torch.int64, torch.float32, torch.float64):
        bank = SliceBank([make_case("a")], [{"image": torch.zeros(1, 2, 2), "label": label.to(dtype)}], 256)
        assert torch.equal(bank.batch(np.array([0]))["label"].long(), label[None])


def test_monais_tensors_become_plain_ones(make_case: MakeCase) -> None:
    from monai.data import MetaTensor

    sample = {key: MetaTensor(value) for key, value in marked(3).items()}
    batch = SliceBank([make_case("a")], [sample], 2).batch(np.array([0]))
    assert {type(value) for value in batch.values()} == {torch.Tensor}


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=3),
    batch_size=st.integers(1, 8),
    seed=st.integers(0, 2**31),
)
def test_an_epoch_has_each_slice_once(
    make_case: MakeCase, make_bank: Any, counts: list[int], batch_size: int, seed: int
) -> None:
    bank = make_bank([make_case(f"c{n}") for n in range(len(counts))], [(s, 2, 3 + n) for n, s in enumerate(counts)])
    batches = epoch_batches(bank, batch_size, seed)
    assert sorted(np.concatenate(batches)) == list(range(sum(counts))), "a size with a single slice has its turn, too"
    assert len(batches) == sum(-(-count // batch_size) for count in counts)
    for batch in batches:
        (group,) = np.unique(bank.group[batch])
        full = counts[group] / -(-counts[group] // batch_size)
        assert full - 1 < len(batch) < full + 1, "shared out evenly"
        assert len(batch) <= batch_size
    again = epoch_batches(bank, batch_size, seed)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_epochs_differ_by_their_seed(make_case: MakeCase, make_bank: Any) -> None:
    bank = make_bank([make_case("a"), make_case("b")], [(20, 2, 2), (20, 2, 3)])
    orders = [np.concatenate(epoch_batches(bank, 4, seed)).tolist() for seed in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    # The sizes take turns, rather than one after the other.
    groups = [bank.group[batch[0]] for batch in epoch_batches(bank, 4, 0)]
    assert groups != sorted(groups) and groups != sorted(groups, reverse=True)


def rare_bank(make_case: MakeCase, size: int) -> SliceBank:
    """`size` slices of which a tenth show class 1, a twentieth class 2 (others than those), and none class 3."""
    label = torch.zeros(size, 2, 2)
    label[: size // 10, 0, 0] = 1
    label[size // 10 : size // 10 + size // 20, 1, 1] = 2
    return SliceBank([make_case("a")], [{"image": torch.zeros(size, 2, 2), "label": label}], 4)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_draws_shows_each_class_in_turn(make_case: MakeCase, share: float) -> None:
    size, epochs = 200, 40
    bank = rare_bank(make_case, size)
    drawn: Counter[int] = Counter()
    for seed in range(epochs):
        batches = epoch_batches(bank, 16, seed, foreground=share)
        assert len(batches) == 13
        drawn.update(np.concatenate(batches).tolist())
    total = size * epochs
    first = sum(drawn[index] for index in range(20)) / total
    second = sum(drawn[index] for index in range(20, 30)) / total
    # Half of the share goes to each of the two classes that there are; the rest is drawn as it comes.
    assert first == pytest.approx(share / 2 + (1 - share) * 0.1, abs=0.015)
    assert second == pytest.approx(share / 2 + (1 - share) * 0.05, abs=0.015)


def test_without_foreground_there_is_nothing_to_draw_from(make_case: MakeCase) -> None:
    bank = SliceBank([make_case("a")], [marked(0, (6, 2, 2))], 3)
    assert sorted(np.concatenate(epoch_batches(bank, 4, 0, foreground=0.9))) == list(range(6))


def test_every_epoch_has_as_many_batches(make_case: MakeCase, make_bank: Any) -> None:
    # The schedule counts steps by the first epoch. The second size shows no class: draws stay within a size.
    bank = make_bank([make_case("a"), make_case("b")], [(9, 2, 2), (9, 2, 3)])
    bank.present[9:, 1:] = False
    for seed in range(20):
        batches = epoch_batches(bank, 4, seed, foreground=0.5)
        assert [sum(len(batch) for batch in batches if bank.group[batch[0]] == group) for group in (0, 1)] == [9, 9]
        assert len(batches) == 6


@pytest.mark.parametrize(("needed", "room"), [(0, True), (500, True), (501, False)])
def test_slices_leave_room_on_a_gpu(monkeypatch: pytest.MonkeyPatch, needed: int, room: bool) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    assert leaves_room(torch.device("cuda"), needed) == room
    assert leaves_room(torch.device("cpu"), 10**18)


def test_what_is_there_already_is_not_copied() -> None:
    tensor = torch.arange(3)
    assert onto(torch.device("cpu"), tensor) is tensor
    assert onto(torch.device("meta"), tensor).device.type == "meta"


def test_a_bank_that_does_not_fit_stays_and_its_batches_move(
    make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = SliceBank([make_case("c")], [marked(1.0, (3, 4, 3))], 3)
    monkeypatch.setattr(slices, "leaves_room", lambda device, needed: needed != bank.bytes())
    bank.to(torch.device("meta"))
    assert {stack.device.type for stack in (*bank.images, *bank.labels)} == {"cpu"}
    batch = bank.batch(np.array([0, 2]))
    assert {tensor.device.type for tensor in batch.values()} == {"meta"}
    assert batch["image"].shape == (2, 1, 4, 3)
