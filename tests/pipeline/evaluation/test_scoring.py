"""Reading, checking and scoring pairs of masks; a bad one stops no other."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import Fault, Faults, RunError
from pipeline.evaluation import scoring
from pipeline.evaluation.confusion import CaseCounts, SliceCounts, count_slices, slice_confusions
from pipeline.evaluation.masks import Rules, read_masks
from pipeline.evaluation.pairing import Identity, MaskPair
from pipeline.evaluation.scoring import Failure, Score, same_classes, score_pair, score_pairs
from pipeline.evaluation.surfaces import surface_figures
from transforms.nifti import ReadOptions

Writer = Callable[..., Path]
SPACING = (2.0, 3.0, 4.0)


@pytest.fixture
def pair(tmp_path: Path, write_nifti: Writer) -> Callable[..., MaskPair]:
    """A function that writes a label and a prediction, and pairs them."""

    def make(
        label: np.ndarray, prediction: np.ndarray | None, name: str = "a", predicted: tuple[float, ...] = SPACING
    ) -> MaskPair:
        spacing = {"label": SPACING, "prediction": predicted}
        paths = [
            None if mask is None else write_nifti(tmp_path / side / f"{name}.nii.gz", mask, spacing[side])
            for side, mask in (("label", label), ("prediction", prediction))
        ]
        assert paths[0] is not None
        return MaskPair(Identity(name, f"p{name}", f"s{name}"), paths[1], paths[0])

    return make


def volumes(seed: int = 0, values: int = 3) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.random.default_rng(seed).integers(0, values, size=(2, 4, 5, 6), dtype=np.uint8)
    return first, second


def test_a_volume_is_counted_and_measured(pair: Callable[..., MaskPair]) -> None:
    label, prediction = volumes()
    found = score_pair(pair(label, prediction), Rules(classes=3, tolerance=2.5)).counts
    assert (found.case, found.patient, found.scan) == ("a", "pa", "sa")
    np.testing.assert_array_equal(
        found.slices.tallies, count_slices(label, prediction, 3, axis=2).tallies
    )  # 4 mm apart
    assert found.voxel_volume_mm3 == pytest.approx(24)
    assert found.distances is not None
    expected = surface_figures(label, prediction, [1, 2], SPACING, 2.5)
    for name in ("hd95", "assd", "surface_dice"):
        np.testing.assert_allclose(found.distances.figures[name], [np.nan, *getattr(expected, name)])
    assert (found.distances.unit, found.distances.tolerance, found.distances.rank) == ("mm", 2.5, 3)


def test_without_a_spacing_all_is_in_pixels(pair: Callable[..., MaskPair]) -> None:
    label, prediction = volumes()
    found = score_pair(pair(label, prediction), Rules(classes=3, knows_spacing=False)).counts
    assert found.voxel_volume_mm3 is None
    assert found.distances is not None
    assert found.distances.unit == "pixels"
    expected = surface_figures(label, prediction, [1, 2], (1, 1, 1), 2.0)
    np.testing.assert_allclose(found.distances.figures["hd95"][1:], expected.hd95)


def test_a_slice_has_no_volume(pair: Callable[..., MaskPair]) -> None:
    label, prediction = (mask[..., :1] for mask in volumes())
    found = score_pair(pair(label, prediction), Rules(classes=3)).counts
    assert found.voxel_volume_mm3 is None
    assert found.slices.tallies.shape == (1, 3, 3)
    assert found.distances is not None
    assert found.distances.rank == 2
    expected = surface_figures(label[..., 0], prediction[..., 0], [1, 2], SPACING[:2], 2.0)
    np.testing.assert_allclose(found.distances.figures["assd"][1:], expected.assd)


def test_a_missing_prediction_counts_as_empty(pair: Callable[..., MaskPair]) -> None:
    label = np.zeros((3, 3, 3), dtype=np.uint8)
    label[1, 1, 1] = 1
    found = score_pair(pair(label, None), Rules(classes=2)).counts
    assert found.slices.confusion.tolist() == [[26, 0], [1, 0]]
    assert found.distances is not None
    assert found.distances.figures["hd95"][1] == pytest.approx(np.linalg.norm([6, 9, 12]))


def test_maps_rename_each_side_by_itself(pair: Callable[..., MaskPair]) -> None:
    label, prediction = volumes()
    rules = Rules(
        labels=ReadOptions(label_map=((1, 2), (2, 1))), predictions=ReadOptions(label_map=((2, 0),)), classes=3
    )
    found = score_pair(pair(label, prediction), rules).counts
    renamed = np.array([0, 2, 1])[label], np.array([0, 1, 0])[prediction]
    np.testing.assert_array_equal(found.slices.confusion, slice_confusions(*renamed, 3).sum(axis=0))


def moved(label: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    return label, (2.0, 3.0, 4.1)


def cut(label: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    return label[1:], SPACING


def strange(label: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]]:
    return np.where(np.arange(label.size).reshape(label.shape) == 3, 7, label).astype(np.uint8), SPACING


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (moved, ["affine differs", "by 0.1", "label/a.nii.gz", "--ignore-affine"]),
        (cut, ["shape (3, 5, 6)", "(4, 5, 6)", "label/a.nii.gz"]),
        (strange, ["holds 7, expected 0 to 2", "--prediction-map"]),
    ],
)
def test_a_fault_names_the_files(
    pair: Callable[..., MaskPair], spoil: Callable[[np.ndarray], tuple[np.ndarray, object]], words: list[str]
) -> None:
    label, _ = volumes()
    prediction, spacing = spoil(label)
    made = pair(label, prediction, predicted=spacing)
    with pytest.raises(Fault) as caught:
        read_masks(made, Rules(classes=3))
    for word in (str(made.prediction), *words):
        assert word in str(caught.value)


def test_affines_may_differ_by_the_tolerance(pair: Callable[..., MaskPair]) -> None:
    label, prediction = volumes()
    made = pair(label, prediction, predicted=(2.0, 3.0, 4.1))
    read_masks(made, Rules(classes=3, affine_tolerance=0.2))
    ignoring = ReadOptions(ignore_affine=True)
    read_masks(made, Rules(labels=ignoring, predictions=ignoring, classes=3))


def test_what_is_wrong_with_both_files_is_told(pair: Callable[..., MaskPair]) -> None:
    made = pair(*volumes())
    assert made.prediction is not None
    for path in (made.prediction, made.label):
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Faults) as caught:
        score_pair(made, Rules(classes=3))
    assert len(caught.value.faults) == 2


def test_values_beyond_any_class_look_like_an_image(pair: Callable[..., MaskPair]) -> None:
    label, prediction = volumes()
    with pytest.raises(Fault, match=r"holds 900, expected 0 to 255\. Is it an image"):
        score_pair(pair(label.astype(np.int16), np.where(prediction == 2, 900, 0).astype(np.int16)), Rules())


@pytest.mark.parametrize("high", [5, 255])
def test_found_values_equal_a_recount(pair: Callable[..., MaskPair], high: int) -> None:
    """The label of the first case has 0 and `high`, its prediction 3 as well; the second has 0 and 1."""
    rng = np.random.default_rng(1)
    masks = [
        (rng.choice([0, high], (4, 4, 4)), rng.choice([0, 3, high], (4, 4, 4))),
        tuple(rng.integers(0, 2, (2, 4, 4, 4))),
    ]
    scores = [
        score_pair(pair(label.astype(np.uint8), prediction.astype(np.uint8), str(number)), Rules())
        for number, (label, prediction) in enumerate(masks)
    ]
    values, counts = same_classes(scores)
    assert values == [0, 1, 3, high]
    for one, (label, prediction) in zip(counts, masks, strict=True):
        places = [np.searchsorted(values, mask) for mask in (label, prediction)]
        expected_counts = slice_confusions(places[0], places[1], 4, axis=2)
        np.testing.assert_array_equal(one.slices.confusion, expected_counts.sum(axis=0))
        np.testing.assert_array_equal(one.slices.tallies, SliceCounts.of(expected_counts).tallies)
        expected = surface_figures(places[0], places[1], [1, 2, 3], SPACING, 2.0)
        assert one.distances is not None
        np.testing.assert_allclose(one.distances.figures["hd95"], [np.nan, *expected.hd95])


def test_found_values_always_hold_the_background() -> None:
    counts = CaseCounts("a", "s", "p", SliceCounts.of(np.array([[[0, 0], [0, 8]]])))
    values, (one,) = same_classes([Score(counts, (0, 1), b"")])
    assert values == [0, 1]
    assert one.slices.confusion.tolist() == [[0, 0], [0, 8]]


@pytest.mark.parametrize(("patience", "workers"), [(3600.0, 2), (0.0, 2), (0.0, 3)])
def test_a_bad_pair_stops_no_other(
    pair: Callable[..., MaskPair], monkeypatch: pytest.MonkeyPatch, patience: float, workers: int
) -> None:
    """In one process and, with no patience, in several; the results are the same, in the order of the pairs."""
    monkeypatch.setattr("pipeline.evaluation.scoring._PATIENCE_S", patience)
    pairs = [pair(*volumes(seed), name=str(seed)) for seed in range(5)]
    pairs[3].label.write_bytes(b"no NIfTI")
    ticks: list[int] = []
    found = score_pairs(pairs, Rules(classes=3), workers, lambda: ticks.append(1))
    assert len(ticks) == 5
    assert [isinstance(one, Failure) for one in found] == [False, False, False, True, False]
    failure = found[3]
    assert isinstance(failure, Failure)
    assert str(pairs[3].label) in str(failure.faults[0])
    for seed, one in enumerate(found):
        if isinstance(one, Score):
            assert one.counts.case == str(seed)
            np.testing.assert_array_equal(one.counts.slices.confusion, slice_confusions(*volumes(seed), 3).sum(axis=0))


def test_this_process_scores_beside_the_others(pair: Callable[..., MaskPair], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of seven pairs one other process has two at a time; a single pair needs none, whatever the patience."""
    here: list[str] = []
    attempt = scoring._attempt

    def told(one: MaskPair, rules: Rules) -> Score | Failure:
        here.append(one.identity.case)
        return attempt(one, rules)

    monkeypatch.setattr(scoring, "_PATIENCE_S", 0.0)
    pairs = [pair(*volumes(seed), name=str(seed)) for seed in range(7)]
    with ThreadPoolExecutor(1) as other:  # in the other's place, so that it starts at once and takes what it is given
        monkeypatch.setattr(scoring, "_attempt", told)
        monkeypatch.setattr(scoring, "ProcessPoolExecutor", lambda *_, **__: other)
        found = score_pairs(pairs, Rules(classes=3), 2)
    assert [one.counts.case for one in found if isinstance(one, Score)] == [str(seed) for seed in range(7)]
    assert sorted(here) == [str(seed) for seed in range(7)], "each of them once"
    monkeypatch.setattr(scoring, "ProcessPoolExecutor", None)
    assert len(score_pairs(pairs[:1], Rules(classes=3), 2)) == 1


def test_a_process_that_is_killed_is_told(pair: Callable[..., MaskPair], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_PATIENCE_S", 0.0)
    monkeypatch.setattr(scoring, "_leave_signals", functools.partial(os._exit, 1))
    with pytest.raises(RunError, match="a process that scored cases was killed"):
        score_pairs([pair(*volumes(seed), name=str(seed)) for seed in range(4)], Rules(classes=3), 2)


def test_the_digest_follows_the_files(pair: Callable[..., MaskPair]) -> None:
    label, prediction = volumes()
    first = score_pair(pair(label, prediction), Rules(classes=3)).digest
    assert score_pair(pair(label, prediction), Rules(classes=3)).digest == first
    assert score_pair(pair(prediction, label), Rules(classes=3)).digest != first
