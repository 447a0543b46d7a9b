"""Means over mirror images and networks, each against a loop; agreement against Dice counted pair by pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pipeline.inference.mirroring import agreement, mean_probabilities, overlaps, views
from pipeline.networks.apply import Window

WINDOW = Window(None, 0.5, "gaussian", 4)


def network(seed: int, channels: int = 2, classes: int = 3) -> nn.Module:
    """One convolution that tells a slice from its mirror image."""
    torch.manual_seed(seed)
    return nn.Conv2d(channels, classes, 3, padding=1).eval()


def test_views_are_all_combinations() -> None:
    assert views([]) == [()]
    assert views([1]) == [(), (1,)]
    assert views([1, 0, 1]) == [(), (0,), (1,), (0, 1)]


@pytest.mark.parametrize("mirror", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("count", [1, 3])
def test_the_mean_by_brute_force(mirror: tuple[int, ...], count: int) -> None:
    networks = [network(seed) for seed in range(count)]
    images = torch.randn(5, 2, 7, 9)
    total, members = np.zeros((5, 3, 7, 9)), 0
    flips = itertools.product(*[(False, True) if axis in mirror else (False,) for axis in (0, 1)])
    for rows, columns in flips:
        seen = images.numpy()[:, :, :: -1 if rows else 1, :: -1 if columns else 1].copy()
        for one in networks:
            with torch.no_grad():
                logits = one(torch.from_numpy(seen)).double().numpy()
            exponents = np.exp(logits - logits.max(1, keepdims=True))
            found = exponents / exponents.sum(1, keepdims=True)
            total += found[:, :, :: -1 if rows else 1, :: -1 if columns else 1]
            members += 1
    before = images.clone()
    mean, shared = mean_probabilities(networks, images, WINDOW, mirror, compare=True)
    assert mean.dtype == torch.float32 and mean.shape == (5, 3, 7, 9)
    np.testing.assert_allclose(mean.numpy(), total / members, atol=1e-6)
    assert torch.equal(images, before)
    if members == 1:
        assert shared is None
    else:
        assert shared is not None and shared.shape == (5, 3, members, members)
        assert torch.equal(shared.diagonal(dim1=2, dim2=3).sum(1), torch.full((5, members), 63))
    assert mean_probabilities(networks, images, WINDOW, mirror)[1] is None


def test_a_network_is_passed_once_a_view() -> None:
    class Counting(nn.Module):
        calls = 0

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return torch.cat([image, -image], 1)

    one = Counting()
    mean_probabilities([one], torch.zeros(1, 1, 4, 4), WINDOW, (0, 1))
    assert one.calls == 4


def test_windows_are_mirrored_as_whole_slices() -> None:
    # A network of single pixels gives the same for every window and every mirror image.
    torch.manual_seed(0)
    one, images = nn.Conv2d(1, 3, 1).eval(), torch.randn(2, 1, 11, 13)
    whole = mean_probabilities([one], images, WINDOW)[0]
    mirrored = mean_probabilities([one], images, Window((8, 8), 0.5, "gaussian", 3), (0, 1))[0]
    torch.testing.assert_close(mirrored, whole, atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 4), st.integers(2, 4))
def test_agreement_is_the_mean_dice_of_pairs(seed: int, members: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (members, 2, 3, 4))
    labels[labels == rng.integers(0, classes)] = 0
    shared = overlaps(torch.from_numpy(labels), classes).sum(0).numpy()
    for index in range(classes):
        dice = []
        for one, other in itertools.combinations(labels == index, 2):
            if one.any() or other.any():
                dice.append(2 * (one & other).sum() / (one.sum() + other.sum()))
        found = agreement(shared)[index]
        assert np.isnan(found) if not dice else found == pytest.approx(np.mean(dice))


def test_agreement_by_hand() -> None:
    # Two members, one class of 2 and 4 pixels that share 1: 2 * 1 / 6. The other class is nowhere.
    shared = np.array([[[2, 1], [1, 4]], [[0, 0], [0, 0]], [[1, 1], [1, 1]]])
    found = agreement(shared)
    assert found[0] == pytest.approx(1 / 3)
    assert np.isnan(found[1])
    assert found[2] == 1
