from __future__ import annotations

import numpy as np
import pytest

from interactivepet.evaluation.consensus import find_consensus
from interactivepet.evaluation.readers import compare_readers, summarise_readers

SHAPE = (12, 10, 8)
LABELS = {"x": 1, "y": 2}


def draw(start: int, stop: int, value: int = 1) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[start:stop, 2:6, 2:6] = value
    return mask


def test_two_readers_of_three_win() -> None:
    consensus = find_consensus({"A": draw(2, 6), "B": draw(2, 6), "C": draw(4, 8)}, labels={"x": 1})
    np.testing.assert_array_equal(consensus.mask, draw(2, 6))
    quality = {one.reader: one for one in consensus.qualities["x"]}
    assert (quality["A"].sensitivity or 0) > 0.99
    assert (quality["C"].sensitivity or 1) < 0.6


def test_the_consensus_does_not_depend_on_the_air_around() -> None:
    masks = {"A": draw(2, 6), "B": draw(2, 7), "C": draw(4, 8)}
    wide = {name: np.pad(mask, 20) for name, mask in masks.items()}
    inner = (slice(20, -20),) * 3
    found = find_consensus(wide, labels={"x": 1}).mask[inner]
    np.testing.assert_array_equal(found, find_consensus(masks, labels={"x": 1}).mask)


@pytest.mark.parametrize(
    "masks",
    [
        {"A": draw(2, 6), "B": draw(2, 6)},
        {"A": draw(2, 6, 2), "B": draw(2, 6, 2), "C": draw(2, 6, 2)},
        {"A": np.ones(SHAPE, np.uint8), "B": np.ones(SHAPE, np.uint8)},
    ],
)
def test_readers_that_agree_are_the_consensus(masks: dict[str, np.ndarray]) -> None:
    np.testing.assert_array_equal(find_consensus(masks, labels=LABELS).mask, masks["A"])


def test_labels_keep_their_values() -> None:
    both = draw(2, 4) + draw(6, 9, 2)
    consensus = find_consensus({"A": both, "B": both, "C": draw(2, 4)}, labels=LABELS)
    np.testing.assert_array_equal(consensus.mask, both)


def test_nothing_drawn_is_a_consensus_of_nothing() -> None:
    empty = np.zeros(SHAPE, np.uint8)
    consensus = find_consensus({"A": empty, "B": empty}, labels=LABELS)
    assert not consensus.mask.any()
    assert consensus.qualities["y"][1].sensitivity is None


@pytest.mark.parametrize(
    ("masks", "dice", "variation"),
    [
        ({"A": draw(2, 6), "B": draw(2, 6)}, [1.0], 0.0),
        # volumes of 4 and 2 units: mean 3, standard deviation sqrt(2)
        ({"A": draw(2, 6), "B": draw(2, 4)}, [2 / 3], 100 * np.sqrt(2) / 3),
        ({"A": draw(2, 6), "B": draw(2, 4), "C": draw(2, 8)}, [2 / 3, 0.8, 0.5], 50.0),
        ({"A": draw(2, 6), "B": draw(2, 4) * 0}, [0.0], 100 * np.sqrt(2)),
        ({"A": draw(2, 6) * 0, "B": draw(2, 4) * 0}, [None], None),
    ],
)
def test_pairs_and_spread(masks: dict[str, np.ndarray], dice: list[float | None], variation: float | None) -> None:
    consensus = find_consensus(masks, labels={"x": 1})
    (row,) = compare_readers("A", masks, consensus=consensus, voxel_volume_ml=0.5, labels={"x": 1})
    assert [pair.dice for pair in row.pairs] == [d if d is None else pytest.approx(d) for d in dice]
    assert row.volume_cv_percent == (variation if variation is None else pytest.approx(variation))
    assert row.volumes_ml["A"] == pytest.approx(0.5 * masks["A"].sum())


def test_means_leave_out_what_is_not_defined() -> None:
    first = {"A": draw(2, 6), "B": draw(2, 6)}
    second = {"A": draw(2, 6) * 0, "B": draw(2, 6) * 0}
    third = {"B": draw(2, 6), "C": draw(2, 4)}
    cases = [
        row
        for name, masks in zip("123", (first, second, third), strict=True)
        for row in compare_readers(
            name,
            masks,
            consensus=find_consensus(masks, labels={"x": 1}),
            voxel_volume_ml=1.0,
            labels={"x": 1},
        )
    ]
    report = summarise_readers(("A", "B", "C"), cases, failed={"4": "damaged"})
    assert [(pair.first, pair.second, pair.dice) for pair in report.pairs["x"]] == [
        ("A", "B", 1.0),
        ("A", "C", None),
        ("B", "C", pytest.approx(2 / 3)),
    ]
    assert report.mean_volume_cv_percent["x"] == pytest.approx(100 * np.sqrt(2) / 6)
    assert report.failed == {"4": "damaged"}
