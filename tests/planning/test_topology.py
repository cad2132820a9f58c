from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactivepet.core.geometry import Shape, Spacing
from interactivepet.planning.topology import (
    MINIMUM_EDGE,
    find_topology,
    grow_patch,
    round_patch,
)

edges = st.one_of(st.just(1), st.integers(2, 300))
spacings = st.tuples(*[st.floats(0.5, 8)] * 3)


def test_an_isotropic_patch_is_halved_alike_along_all_axes() -> None:
    topology = find_topology((64, 64, 32), (4.0, 4.0, 4.0))
    assert topology.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    assert topology.kernel_sizes[:4] == ((3, 3, 3),) * 4
    assert topology.divisor == (16, 16, 8)


def test_a_coarse_axis_waits_until_the_others_have_caught_up() -> None:
    topology = find_topology((128, 128, 24), (1.0, 1.0, 5.0))
    assert topology.strides == ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    assert topology.kernel_sizes[:4] == ((3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3))


@pytest.mark.parametrize("single", [0, 1, 2])
def test_an_axis_of_one_voxel_is_neither_pooled_nor_convolved(single: int) -> None:
    patch = tuple(1 if axis == single else 64 for axis in range(3))
    topology = find_topology(patch, (3.0, 3.0, 3.0))
    assert len(topology.strides) == 5
    assert {stride[single] for stride in topology.strides} == {1}
    assert {kernel[single] for kernel in topology.kernel_sizes} == {1}
    assert {kernel[(single + 1) % 3] for kernel in topology.kernel_sizes} == {3}


@pytest.mark.parametrize("patch", [(128, 128, 8), (64, 64, 12), (56, 8, 56)])
def test_a_flat_patch_is_convolved_across_all_axes_at_every_stage(patch: Shape) -> None:
    assert set(find_topology(patch, (4.0, 4.0, 4.0)).kernel_sizes) == {(3, 3, 3)}


@settings(deadline=None)
@given(median=st.tuples(edges, edges, edges).filter(lambda m: max(m) > 1), spacing=spacings, edge=st.floats(1, 500))
def test_a_patch_is_divided_evenly_and_keeps_a_bottleneck(median: Shape, spacing: Spacing, edge: float) -> None:
    patch = grow_patch(median, spacing, edge_mm=edge)
    divisor = find_topology(patch, spacing).divisor
    for n, voxels, d in zip(median, patch, divisor, strict=True):
        assert voxels % d == 0
        assert (voxels == 1) == (n == 1)
        assert n == 1 or voxels // d >= MINIMUM_EDGE
    assert round_patch(patch, spacing) == patch


def test_a_patch_has_equal_edges_in_millimetres_within_the_median_shape() -> None:
    patch = grow_patch((200, 200, 40), (2.0, 4.0, 4.0), edge_mm=256.0)
    assert patch == (128, 64, 40)
