"""Surface distances: by hand, by brute force over all pairs of corners, and by DeepMind's library."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pipeline.errors import DataError
from pipeline.evaluation import far_search, nearest, point_pairs
from pipeline.evaluation.surface_pieces import piece_sizes
from pipeline.evaluation.surfaces import SurfaceDistances, image_diagonal, surface_distances, surface_figures

SPACINGS = st.sampled_from([0.5, 0.73, 1.0, 1.56, 2.0, 3.3])
ROOT2 = math.sqrt(2)


def masks(rank: int) -> Any:
    """Two masks of one small shape, neither of them empty, and a spacing."""
    shapes = hnp.array_shapes(min_dims=rank, max_dims=rank, min_side=2 if rank == 3 else 1, max_side=6)
    pairs = shapes.flatmap(
        lambda shape: st.tuples(hnp.arrays(np.bool_, shape), hnp.arrays(np.bool_, shape)).filter(
            lambda pair: pair[0].any() and pair[1].any()
        )
    )
    return st.tuples(pairs, st.tuples(*[SPACINGS] * rank))


def on_surface(mask: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Each corner on a mask's surface, found voxel by voxel, and the size of the piece there."""
    padded = np.pad(mask, 1)
    corners = itertools.product(*(range(length + 1) for length in mask.shape))
    boxes = {corner: padded[tuple(slice(at, at + 2) for at in corner)].ravel() for corner in corners}
    found = {corner: box for corner, box in boxes.items() if box.any() and not box.all()}
    codes = [int("".join(str(int(bit)) for bit in box), 2) for box in found.values()]
    return np.array(list(found)) * spacing, piece_sizes(tuple(spacing))[codes]


def by_brute_force(own: np.ndarray, other: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """From each corner on the surface of `own` to the nearest on that of `other`, rising, and the pieces' sizes."""
    points, sizes = on_surface(own, spacing)
    far = np.linalg.norm(points[:, None] - on_surface(other, spacing)[0][None], axis=2).min(axis=1)
    order = np.argsort(far, kind="stable")
    return far[order], sizes[order]


def assert_same_spread(distances: np.ndarray, sizes: np.ndarray, pieces: tuple[np.ndarray, np.ndarray]) -> None:
    """As much of the surface at each distance, where pieces at one distance may have been put together."""
    assert (np.diff(distances) >= 0).all() and (sizes > 0).all()
    values = np.unique(np.concatenate([distances, pieces[0]]).round(6))
    sums = [[size[np.abs(far - value) < 2e-6].sum() for value in values] for far, size in ((distances, sizes), pieces)]
    np.testing.assert_allclose(sums[0], sums[1], rtol=1e-9)


def test_two_squares_by_hand() -> None:
    """A single pixel, and the same one pixel further down.

        1 .        corners of the first:  (0,0) (0,1) (1,0) (1,1)
        . .        and of the second:     (1,0) (1,1) (2,0) (2,1)

    Each corner sees one pixel: a slanted piece of half a diagonal. Two of four lie on the other surface, two are 2 off.
    """
    found = surface_figures(np.array([[1, 0], [0, 0]]), np.array([[0, 0], [1, 0]]), [1], (2.0, 1.0), 1.9)
    assert (found.hd95[0], found.assd[0], found.surface_dice[0]) == (2.0, 1.0, 0.5)
    assert surface_figures(np.eye(2, dtype=int), np.eye(2, dtype=int), [1], (1.0, 1.0), 0.0).surface_dice[0] == 1.0
    at_tolerance = surface_figures(np.array([[1, 0], [0, 0]]), np.array([[0, 0], [1, 0]]), [1], (2.0, 1.0), 2.0)
    assert at_tolerance.surface_dice[0] == 1.0, "what lies at the tolerance is within it"


def test_pieces_count_by_their_length() -> None:
    """A row of three pixels against its first two.

        reference   1 1 1     4 slanted corners of sqrt(2)/2 and 4 straight ones of 1: 2 sqrt(2) + 4
        prediction  1 1 .     4 slanted and 2 straight: 2 sqrt(2) + 2

    The reference's right end, 2 slanted corners, lies 1 off; the prediction's right end lies on the reference.
    """
    found = surface_distances(np.array([[1, 1, 1]]), np.array([[1, 1, 0]]), (1.0, 1.0))
    assert found.from_reference.tolist() == [0, 1]
    assert found.reference_sizes.tolist() == pytest.approx([4 + ROOT2, ROOT2])
    assert found.from_prediction.tolist() == [0]
    assert found.prediction_sizes.tolist() == pytest.approx([2 + 2 * ROOT2])
    whole = 4 * ROOT2 + 6
    assert found.mean() == pytest.approx(ROOT2 / whole)
    assert found.dice(0.5) == pytest.approx((whole - ROOT2) / whole)
    # 1.41 of 6.83 lies 1 off: 79.3 % of the reference's surface is at 0.
    assert (found.percentile(79.2), found.percentile(79.4), found.percentile(95)) == (0, 1, 1)
    # Of both together, 1.41 of 11.66: 87.9 % is at 0.
    assert (found.pooled_percentile(87.8), found.pooled_percentile(87.9), found.pooled_percentile(95)) == (0, 1, 1)


def test_the_pooled_percentile_by_hand() -> None:
    """A stray surface of 4 far off: 10 % of the prediction's, 4 % of both, so that only the directed one shows it."""
    distances = [np.array(values, dtype=float) for values in ([0.0, 1.0], [0.0, 2.0, 30.0])]
    found = SurfaceDistances(distances[0], distances[1], np.array([50.0, 10.0]), np.array([30.0, 6.0, 4.0]))
    assert (found.percentile(95), found.pooled_percentile(95)) == (30.0, 2.0)
    # 80, 90, 96 and 100 of 100 lie within 0, 1, 2 and 30
    percents = (80, 80.1, 90, 90.1, 96, 96.1, 100)
    assert [found.pooled_percentile(percent) for percent in percents] == [0, 1, 1, 2, 2, 30, 30]
    assert found.percentile(100) == 30 and found.percentile(90) == 2


@settings(max_examples=60, deadline=None)
@given(st.one_of(masks(2), masks(3)), st.sampled_from([5.0, 50.0, 95.0]))
def test_the_pooled_percentile_is_that_of_brute_force(drawn: Any, percent: float) -> None:
    (reference, prediction), spacing = drawn
    found = surface_distances(reference, prediction, spacing).pooled_percentile(percent)
    far, sizes = np.hstack([by_brute_force(reference, prediction, spacing),
                            by_brute_force(prediction, reference, spacing)])  # fmt: skip
    within, below = sizes[far <= found + 1e-6].sum(), sizes[far < found - 1e-6].sum()
    assert np.abs(far - found).min() < 1e-6
    assert within >= percent / 100 * sizes.sum() * (1 - 1e-6), "too little of the surface lies within it"
    assert below <= percent / 100 * sizes.sum() * (1 + 1e-6), "less would do"
    figures = surface_figures(reference, prediction, [1], spacing, 1.0)
    assert figures.hd95_pooled[0] <= figures.hd95[0] + 1e-9
    if percent == 95:
        assert figures.hd95_pooled[0] == found


def test_a_percentile_that_is_met_exactly_stays() -> None:
    """Of 60 pieces, 57 are 95 %, and the 57th lies 56 off; sums of 0.7 or 1.68 round, and must not pass it over."""
    distances, none = np.arange(60, dtype=np.float32), np.zeros(1, dtype=np.float32)
    for size in (1.0, 0.7, 1.68, 1.2253935221751058):
        assert SurfaceDistances(distances, none, np.full(60, size), np.ones(1)).percentile(95) == 56


def test_what_an_empty_class_gives() -> None:
    #               reference  prediction
    # class 1       yes        yes
    # class 2       yes        no
    # class 3       no         yes
    # class 4       no         no
    reference, prediction = np.array([[1, 2, 0, 0]]), np.array([[1, 0, 3, 0]])
    found = surface_figures(reference, prediction, [1, 2, 3, 4], (3.0, 1.0), 1.0)
    assert found.missed.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(found.hd95, [0, 5, np.nan, np.nan])  # 3 x 4 mm
    np.testing.assert_array_equal(found.hd95_pooled, [0, 5, np.nan, np.nan])
    np.testing.assert_array_equal(found.assd, [0, 5, np.nan, np.nan])
    np.testing.assert_array_equal(found.surface_dice, [1, 0, np.nan, np.nan])
    assert image_diagonal((1, 2, 2), (1.0, 1.0, 1.0)) == 3.0


def test_the_background_can_be_asked_for() -> None:
    reference, prediction = np.array([[0, 1, 1]]), np.array([[0, 0, 1]])
    found = surface_figures(reference, prediction, [0, 1], (1.0, 1.0), 0.0)
    swapped = surface_figures(1 - reference, 1 - prediction, [1, 0], (1.0, 1.0), 0.0)
    np.testing.assert_array_equal(found.assd, swapped.assd)
    full = surface_figures(np.ones((2, 2), int), np.zeros((2, 2), int), [0, 1], (1.0, 1.0), 0.0)
    assert full.missed.tolist() == [False, True] and np.isnan(full.hd95[0])


def test_the_border_of_the_image_is_surface() -> None:
    """A mask that fills the image against one that lacks the last column: the right border lies 1 off."""
    full, less = np.ones((3, 3), int), np.array([[1, 1, 0]] * 3)
    assert surface_figures(full, less, [1], (1.0, 1.0), 0.0).hd95[0] == 1.0


@settings(max_examples=60, deadline=None)
@given(st.one_of(masks(2), masks(3)))
def test_distances_are_those_of_brute_force(drawn: Any) -> None:
    (reference, prediction), spacing = drawn
    found = surface_distances(reference, prediction, spacing)
    pieces = by_brute_force(reference, prediction, spacing), by_brute_force(prediction, reference, spacing)
    assert_same_spread(found.from_reference, found.reference_sizes, pieces[0])
    assert_same_spread(found.from_prediction, found.prediction_sizes, pieces[1])


@settings(max_examples=60, deadline=None)
@given(st.one_of(masks(2), masks(3)), st.sampled_from([0.0, 0.61, 1.17, 2.9]))
def test_figures_are_those_of_deepmind(drawn: Any, tolerance: float) -> None:
    (reference, prediction), spacing = drawn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = surface_distance.compute_surface_distances(reference, prediction, spacing)
    found = surface_figures(reference.astype(np.uint8), prediction.astype(np.int16), [1], spacing, tolerance)
    # Where a share is met exactly, rounding decides in theirs: ours lies between theirs a hair to both sides.
    low, high = (surface_distance.compute_robust_hausdorff(theirs, 95 + by) for by in (-1e-6, 1e-6))
    assert low * (1 - 1e-6) <= found.hd95[0] <= high * (1 + 1e-6)
    sums = [(theirs[f"distances_{way}"], theirs[f"surfel_areas_{side}"])
            for way, side in (("gt_to_pred", "gt"), ("pred_to_gt", "pred"))]  # fmt: skip
    assd = sum(far @ area for far, area in sums) / sum(area.sum() for _, area in sums)
    assert found.assd[0] == pytest.approx(assd, rel=1e-6)
    expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance * (1 + 1e-6))
    assert found.surface_dice[0] == pytest.approx(expected, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.one_of(masks(2), masks(3)))
def test_symmetry_scale_and_layout(drawn: Any) -> None:
    (reference, prediction), spacing = drawn
    found = surface_figures(reference, prediction, [1], spacing, 1.3)
    swapped = surface_figures(prediction, reference, [1], spacing, 1.3)
    twice = surface_figures(reference, prediction, [1], [2 * value for value in spacing], 2.6)
    fortran = surface_figures(np.asfortranarray(reference), np.asfortranarray(prediction), [1], spacing, 1.3)
    for other, factor in ((swapped, 1), (twice, 2), (fortran, 1)):
        np.testing.assert_allclose(other.hd95, factor * found.hd95, rtol=1e-6)
        np.testing.assert_allclose(other.hd95_pooled, factor * found.hd95_pooled, rtol=1e-6)
        np.testing.assert_allclose(other.assd, factor * found.assd, rtol=1e-6)
        np.testing.assert_allclose(other.surface_dice, found.surface_dice, rtol=1e-6)
    assert found.assd[0] <= image_diagonal(reference.shape, spacing)
    assert found.hd95[0] <= image_diagonal(reference.shape, spacing) * (1 + 1e-6)
    same = surface_figures(reference, reference, [1], spacing, 0.0)
    assert (same.hd95[0], same.assd[0], same.surface_dice[0]) == (0, 0, pytest.approx(1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_slice_is_that_slice(axis: int) -> None:
    rng = np.random.default_rng(axis)
    reference, prediction = rng.integers(0, 3, (2, 6, 7))
    flat = surface_figures(reference, prediction, [1, 2], (1.5, 0.7), 1.0)
    spacing = [1.5, 0.7]
    spacing.insert(axis, 9.0)
    own, other = (np.expand_dims(array, axis) for array in (reference, prediction))
    deep = surface_figures(own, other, [1, 2], spacing, 1.0)
    np.testing.assert_array_equal([deep.hd95, deep.assd], [flat.hd95, flat.assd])
    np.testing.assert_array_equal(deep.surface_dice, flat.surface_dice)


def test_classes_far_apart_are_each_cropped() -> None:
    """Each class in its own corner of a volume is as it is alone."""
    volume, moved = np.zeros((2, 20, 16, 12), np.uint8)
    volume[1:4, 2:5, 0:3], moved[2:5, 2:5, 0:3] = 1, 1
    volume[15:20, 10:16, 8:12], moved[15:20, 11:16, 8:12] = 2, 2
    both = surface_figures(volume, moved, [2, 1], (1.0, 2.0, 3.0), 0.5)
    assert both.hd95.tolist() == [2.0, 1.0]
    alone = surface_figures(volume == 1, moved == 1, [1], (1.0, 2.0, 3.0), 0.5)
    assert both.assd[1] == alone.assd[0]


def blobs(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of some pieces, about half of the image."""
    return ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(1, 3)) > 0


def moved(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask moved by up to a few voxels, with a few voxels changed."""
    steps = tuple(int(step) for step in rng.integers(-3, 4, mask.ndim))
    return np.roll(mask, steps, tuple(range(mask.ndim))) ^ (rng.random(mask.shape) < 0.003)


def box(rng: np.random.Generator, shape: tuple[int, ...], share: float) -> np.ndarray:
    """A filled box somewhere, whose sides are that share of the image's, at least a voxel."""
    mask, sizes = np.zeros(shape, bool), [max(1, int(share * length)) for length in shape]
    starts = [int(rng.integers(0, length - size + 1)) for length, size in zip(shape, sizes, strict=True)]
    mask[tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))] = True
    return mask


def trouble(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> list[np.ndarray]:
    """A reference and a prediction of a kind that surface distances may get wrong, neither of them empty."""
    ends = np.zeros((2, *shape), bool)
    if kind == "at the border":  # up to every side of the image
        first = ~box(rng, shape, 0.4)
        pair = [first, moved(first, rng)]
    elif kind == "single voxels":
        pair = [box(rng, shape, 0), box(rng, shape, 0)]
    elif kind == "holes":  # one inside the other, of which the prediction has none
        whole = box(rng, shape, 0.8)
        pair = [whole & ~(ndimage.binary_erosion(whole) & blobs(rng, shape)), whole]
    elif kind == "far apart":
        ends[0][tuple(slice(length // 3) for length in shape)] = True
        ends[1][tuple(slice(2 * length // 3, None) for length in shape)] = True
        pair = [end & (blobs(rng, shape) | box(rng, shape, 0.1)) | corner for end, corner in
                zip(ends, (np.indices(shape).sum(0) == 0, np.indices(shape).sum(0) == sum(shape) - len(shape)),
                    strict=True)]  # fmt: skip
    elif kind == "huge and tiny":
        pair = [blobs(rng, shape), box(rng, shape, 0.02)]
    else:
        first = blobs(rng, shape)
        pair = [first, moved(first, rng)]
    return pair[:: rng.choice([-1, 1])]


KINDS = ("at the border", "single voxels", "holes", "far apart", "huge and tiny", "blobs")


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_troubled_masks_are_those_of_deepmind(kind: str, rank: int) -> None:
    """Twenty of each kind and rank, 240 in all: anisotropic, in either layout, with a class that one side lacks."""
    for seed in range(20):
        rng = np.random.default_rng([seed, rank, KINDS.index(kind)])
        shape = tuple(int(length) for length in rng.integers(*((20, 90) if rank == 2 else (8, 36)), rank))
        spacing = tuple(float(value) for value in rng.choice([0.4, 0.73, 1.0, 1.7, 3.3], rank))
        reference, prediction = trouble(kind, rng, shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            theirs = surface_distance.compute_surface_distances(reference, prediction, spacing)
        tolerance = float(rng.choice([0.0, 1.1, 4.7]))
        masks = [np.array(mask, dtype=np.uint8, order=rng.choice(["C", "F"])) for mask in (reference, prediction)]
        found = surface_figures(masks[0], masks[1], [1, 2], spacing, tolerance)
        low, high = (surface_distance.compute_robust_hausdorff(theirs, 95 + by) for by in (-1e-6, 1e-6))
        assert low * (1 - 1e-6) <= found.hd95[0] <= high * (1 + 1e-6), (seed, shape, spacing)
        farthest = surface_distances(reference, prediction, spacing).percentile(100)
        assert farthest == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 100), rel=1e-6)
        there = theirs["surfel_areas_gt"], theirs["surfel_areas_pred"]
        total = theirs["distances_gt_to_pred"] @ there[0] + theirs["distances_pred_to_gt"] @ there[1]
        assert found.assd[0] == pytest.approx(total / (there[0].sum() + there[1].sum()), rel=1e-6)
        dice = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance * (1 + 1e-6))
        assert found.surface_dice[0] == pytest.approx(dice, rel=1e-6)
        assert not found.missed.any() and np.isnan(found.hd95[1]), "of class 2 there is none"
        empty = surface_figures(masks[0], 0 * masks[1], [1, 2], spacing, tolerance)
        assert empty.missed.tolist() == [True, False]
        assert empty.hd95[0] == empty.assd[0] == pytest.approx(math.dist((0,) * rank, np.multiply(shape, spacing)))


def test_the_troubled_masks_go_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """That the test above speaks of tiles, of the tree and of pairs as well as of what is near."""
    taken = set[str]()

    def told(name: str, way: Any, *given: Any) -> Any:
        taken.add(name)
        return way(*given)

    for module, name in ((nearest, "_look"), (far_search, "_one_by_one"), (point_pairs, "_by_pairs"),
                         (point_pairs, "_by_tree")):  # fmt: skip
        monkeypatch.setattr(module, name, functools.partial(told, name, getattr(module, name)))
    search = far_search._Tiles.search_all
    monkeypatch.setattr(far_search._Tiles, "search_all", lambda *given: told("tiles", search, *given))
    for kind in ("far apart", "blobs", "huge and tiny"):
        test_two_hundred_troubled_masks_are_those_of_deepmind(kind, 3)
    assert taken == {"_look", "_one_by_one", "tiles", "_by_pairs", "_by_tree"}


ONE = np.ones((2, 2), dtype=np.uint8)


@pytest.mark.parametrize(
    ("reference", "prediction", "spacing", "tolerance", "classes", "error"),
    [
        (ONE, np.ones((2, 3), np.uint8), (1.0, 1.0), 1.0, [1], DataError),
        (ONE.ravel(), ONE.ravel(), (1.0,), 1.0, [1], DataError),
        (ONE, ONE.astype(float), (1.0, 1.0), 1.0, [1], DataError),
        (ONE, ONE, (1.0,), 1.0, [1], ValueError),
        (ONE, ONE, (1.0, 0.0), 1.0, [1], ValueError),
        (ONE, ONE, (1.0, math.nan), 1.0, [1], ValueError),
        (ONE, ONE, (1.0, 1.0), -1.0, [1], ValueError),
        (ONE, ONE, (1.0, 1.0), math.nan, [1], ValueError),
        (ONE, ONE, (1.0, 1.0), 1.0, [-1], ValueError),
    ],
)
def test_what_cannot_be_rated_is_refused(
    reference: Any, prediction: Any, spacing: Any, tolerance: float, classes: list[int], error: type[Exception]
) -> None:
    with pytest.raises(error):
        surface_figures(reference, prediction, classes, spacing, tolerance)


def test_an_empty_mask_has_no_surface() -> None:
    with pytest.raises(ValueError, match="empty"):
        surface_distances(ONE, 0 * ONE, (1.0, 1.0))


@pytest.mark.parametrize("order", ["C", "F"])
def test_masks_of_some_size_are_those_of_deepmind(order: Any) -> None:
    """Blobs, a shift, and a stray piece far off: by offsets and by the tree, in several blocks of planes."""
    rng = np.random.default_rng(3)
    reference = ndimage.gaussian_filter(rng.standard_normal((40, 32, 24)), 4) > 0.01
    reference[:, :, 12:] = False
    prediction = np.roll(reference, (2, 0, 1), (0, 1, 2))
    prediction[30, 20, 23] = True
    spacing, tolerance = (1.7, 0.8, 3.1), 2.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        theirs = surface_distance.compute_surface_distances(reference, prediction, spacing)
    own, other = (np.array(mask, dtype=np.uint8, order=order) for mask in (reference, prediction))
    found = surface_figures(own, other, [1], spacing, tolerance)
    assert found.hd95[0] == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 95), rel=1e-6)
    dice = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance)
    assert found.surface_dice[0] == pytest.approx(dice, rel=1e-6)
    farthest = surface_distances(own, other, spacing).percentile(100)
    assert farthest == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 100), rel=1e-6) and farthest > 25
