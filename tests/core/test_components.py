from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from interactivepet.core.components import SMALL, find_components, number_by_size, number_lesions


@pytest.mark.parametrize("shape", [(12, 9, 7), (16, 16, 17), (5, 1, 9), (7, 7)])
def test_components_are_those_of_scipy(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    assert 12 * 9 * 7 < SMALL < 16 * 16 * 17, "both ways are tried"
    for share in (0.0, 0.05, 0.3, 1.0):
        mask = rng.random(shape) < share
        found, n = find_components(mask) if mask.ndim == 3 else find_components(mask, connectivity=8)
        expected, n_expected = ndimage.label(mask, np.ones((3,) * mask.ndim))
        assert n == n_expected
        assert found.shape == mask.shape
        pairs = np.unique(np.stack((found.ravel(), expected.ravel())), axis=1)
        assert pairs.shape[1] == n + int(not mask.all()), "one number for one number"


def test_labels_are_components_of_their_own() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1], labels[1, 1, 2], labels[3, 3, 3] = 1, 2, 1
    found, n = find_components(labels)
    assert n == 3
    assert len({found[1, 1, 1], found[1, 1, 2], found[3, 3, 3]}) == 3


def test_single_voxels_packed_as_densely_as_they_can_be() -> None:
    for shape in itertools.product((1, 2, 3, 5), repeat=3):
        mask = np.zeros(shape, bool)
        mask[::2, ::2, ::2] = True
        assert find_components(mask)[1] == mask.sum()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(9, 8, 7), (24, 23, 22)])
def test_the_largest_component_is_first_and_equal_ones_are_in_the_order_of_their_first_voxels(
    shape: tuple[int, int, int], order: str
) -> None:
    mask = np.random.default_rng(1).random(shape) < 0.05
    numbers, n = number_by_size(np.asarray(mask, order=order))  # type: ignore[call-overload]
    keys = [(-int((numbers == i).sum()), int(np.flatnonzero(numbers.ravel() == i)[0])) for i in range(1, n + 1)]
    assert keys == sorted(keys)
    assert np.array_equal(numbers > 0, mask)


@pytest.mark.parametrize(
    ("values", "counts", "expected"),
    [
        ([1, 2], (2, 1), [1, 1, 0, 2, 0, 3]),
        ([2, 1], (1, 2), [2, 2, 0, 3, 0, 1]),
        ([1], (2,), [1, 1, 0, 2, 0, 0]),
        ([3, 2], (0, 1), [0, 0, 0, 0, 0, 1]),
        ([], (), [0] * 6),
    ],
    ids=str,
)
def test_lesions_are_numbered_label_by_label(values: list[int], counts: tuple[int, ...], expected: list[int]) -> None:
    mask = np.array([1, 1, 0, 1, 0, 2], np.uint8).reshape(6, 1, 1)
    numbers, found = number_lesions(mask, values)
    assert found == counts
    assert numbers.ravel().tolist() == expected
