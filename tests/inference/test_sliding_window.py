from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from interactivepet.core.geometry import Shape
from interactivepet.inference.sliding_window import TILE_STEP, find_tiles, make_weights, predict_volume

edges = st.tuples(*[st.integers(1, 12)] * 3)


class Echo(nn.Module):
    """Gives the first channel as the logit of the label, and 0 for the background."""

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        return torch.cat((torch.zeros_like(tile[:, :1]), tile[:, :1]), 1)


class Deep(Echo):
    """The same, as one of several resolutions."""

    def forward(self, tile: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        return [super().forward(tile), tile[:, :, :1]]


class Position(nn.Module):
    """Gives the place within the tile along the first axis, so that mirroring shows."""

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        place = torch.arange(tile.shape[2], dtype=torch.float32).view(1, 1, -1, 1, 1).expand_as(tile[:, :1])
        return torch.cat((torch.zeros_like(place), place), 1)


def predict(network: nn.Module, volume: torch.Tensor, patch: Shape, *, axes: tuple[int, ...] = ()) -> torch.Tensor:
    return predict_volume(network, volume, patch=patch, n_outputs=2, mirror_axes=axes, precision=None)


@settings(deadline=None)
@given(patch=edges, more=st.tuples(*[st.integers(0, 20)] * 3))
def test_tiles_cover_every_voxel_and_stay_inside(patch: Shape, more: Shape) -> None:
    shape = tuple(a + b for a, b in zip(patch, more, strict=True))
    covered = np.zeros(shape, int)

    tiles = find_tiles(shape, patch)

    for start in tiles:
        assert all(0 <= a <= n - edge for a, n, edge in zip(start, shape, patch, strict=True))
        covered[tuple(slice(a, a + edge) for a, edge in zip(start, patch, strict=True))] += 1
    assert covered.min() >= 1
    assert len(set(tiles)) == len(tiles)


def test_neighbouring_tiles_overlap_by_half_and_are_evenly_spread() -> None:
    starts = sorted({start[0] for start in find_tiles((70, 16, 16), (16, 16, 16))})
    assert starts[0] == 0
    assert starts[-1] == 54
    assert np.diff(starts).max() <= TILE_STEP * 16
    assert np.ptp(np.diff(starts)) <= 1
    assert find_tiles((16, 16, 16), (16, 16, 16)) == [(0, 0, 0)]


def test_a_tile_weighs_most_in_its_centre_and_never_nothing() -> None:
    weights = make_weights((16, 15, 1))
    assert weights.shape == (16, 15, 1)
    assert float(weights.max()) == pytest.approx(float(weights[7, 7, 0]))
    assert float(weights.min()) > 0
    assert float(weights[7, 7, 0] / weights.min()) == pytest.approx(1000, rel=0.01)
    assert torch.equal(weights, weights.flip((0, 1)))
    # one standard deviation, an eighth of the edge, away from the centre
    assert float(make_weights((1, 17, 1))[0, 10, 0]) == pytest.approx(np.exp(-0.5 * (2 / 2.125) ** 2))


@pytest.mark.parametrize(
    ("shape", "patch"),
    [
        ((5, 7, 3), (8, 8, 8)),
        ((8, 8, 8), (8, 8, 8)),
        ((21, 13, 17), (8, 8, 8)),
        ((3, 20, 8), (8, 8, 8)),
        ((19, 12, 1), (8, 8, 1)),
        ((1, 1, 1), (8, 4, 2)),
        ((9, 9, 4), (8, 8, 1)),
    ],
)
@pytest.mark.parametrize("network", [Echo(), Deep()])
@pytest.mark.parametrize("axes", [(), (0, 1, 2)])
def test_every_voxel_gets_its_own_probability(
    shape: Shape, patch: Shape, network: nn.Module, axes: tuple[int, ...]
) -> None:
    volume = torch.randn((3, *shape), generator=torch.Generator().manual_seed(0))
    before = volume.clone()

    out = predict(network, volume, patch, axes=axes)

    assert out.shape == (2, *shape)
    assert out.dtype == torch.float32
    assert torch.allclose(out[1], torch.sigmoid(volume[0]), atol=1e-5)
    assert torch.allclose(out.sum(0), torch.ones(shape), atol=1e-5)
    assert torch.equal(volume, before)
    assert not out.is_inference()


def test_a_small_volume_is_padded_with_zeros_around_it() -> None:
    seen = []

    class Watch(Echo):
        def forward(self, tile: torch.Tensor) -> torch.Tensor:
            seen.append(tile)
            return super().forward(tile)

    predict(Watch(), torch.ones(1, 3, 4, 9), (6, 4, 8))

    assert all(tile.shape == (1, 1, 6, 4, 8) for tile in seen)
    assert all(torch.equal(tile[0, 0, :, 0, 0], torch.tensor([0.0, 1, 1, 1, 0, 0])) for tile in seen)


def test_mirroring_averages_over_every_combination() -> None:
    calls = []

    class Count(Position):
        def forward(self, tile: torch.Tensor) -> torch.Tensor:
            calls.append(tile.shape)
            return super().forward(tile)

    volume = torch.zeros(1, 8, 8, 8)
    plain = predict(Count(), volume, (8, 8, 8))
    assert torch.allclose(plain[1, :, 0, 0], torch.sigmoid(torch.arange(8.0)))
    assert len(calls) == 1

    mirrored = predict(Count(), volume, (8, 8, 8), axes=(0, 1, 2))
    assert len(calls) == 9
    assert torch.allclose(mirrored[1], torch.sigmoid(torch.full((8, 8, 8), 3.5)))

    other = predict(Position(), volume, (8, 8, 8), axes=(1, 2))
    assert torch.allclose(other, plain)


def test_mirroring_changes_nothing_for_a_symmetric_network() -> None:
    torch.manual_seed(0)
    network = nn.Conv3d(1, 2, 3, padding=1)
    with torch.no_grad():
        network.weight.copy_(
            sum(network.weight.flip(d) for d in [(), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)])
        )
    volume = torch.randn(1, 13, 9, 11)
    plain, mirrored = (predict(network, volume, (8, 8, 8), axes=axes) for axes in ((), (0, 1, 2)))
    assert torch.allclose(plain, mirrored, atol=1e-5)
    assert float(plain.std()) > 0.01


def test_half_precision_stays_close() -> None:
    network = nn.Conv3d(1, 2, 1)
    volume = torch.randn(1, 9, 9, 9)
    exact = predict(network, volume, (8, 8, 8))
    rounded = predict_volume(network, volume, patch=(8, 8, 8), n_outputs=2, mirror_axes=(), precision=torch.bfloat16)
    assert rounded.dtype == torch.float32
    assert torch.allclose(exact, rounded, atol=0.02)
    assert not torch.equal(exact, rounded)
