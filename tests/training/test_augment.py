from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.geometry import Shape
from interactivepet.training import augment
from interactivepet.training.augment import Augmentation, Patch, find_source_shape, make_augmentation


def make_spatial(patch: Shape, monkeypatch: pytest.MonkeyPatch) -> Augmentation:
    """Rotation and scaling in every sample, and no change of intensities."""
    monkeypatch.setattr(augment, "SPATIAL_PROBABILITY", 1.0)
    made = make_augmentation(patch)
    return Augmentation(made.spatial, lambda **data: data)


def make_cube(shape: Shape, *, label: int = 1) -> Patch:
    """An off-centre cuboid, the same in image, guidance and label."""
    cube = np.zeros(shape, np.float32)
    box = tuple(slice(n // 2 - n // 6, n // 2 + n // 4 + 1) for n in shape)
    cube[box] = 1.0
    return Patch(cube[None].copy(), np.stack([cube, 0 * cube]), (label * cube).astype(np.uint8))


def make_noise(shape: Shape, seed: int = 0) -> Patch:
    rng = np.random.default_rng(seed)
    image = rng.gamma(2.0, size=(2, *shape)).astype(np.float32)
    guidance = rng.random((2, *shape), np.float32)
    return Patch(image, guidance, rng.integers(3, size=shape, dtype=np.uint8))


def test_the_source_is_wider_than_the_patch() -> None:
    assert find_source_shape((16, 33, 48)) == (20, 42, 60)
    assert find_source_shape((16, 33, 1)) == (20, 42, 1)


@pytest.mark.parametrize("patch", [(24, 24, 24), (24, 16, 20), (24, 20, 1), (1, 24, 20)])
def test_guidance_and_label_move_with_the_image(patch: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    spatial = make_spatial(patch, monkeypatch)
    rng = np.random.default_rng(0)
    places = set()
    for _ in range(12):
        out = spatial.apply(make_cube(find_source_shape(patch), label=2), rng)
        assert out.image.shape == (1, *patch)
        assert out.guidance.shape == (2, *patch)
        assert out.label.shape == patch
        assert out.label.dtype == np.uint8
        assert set(np.unique(out.label)) == {0, 2}
        assert np.allclose(out.image[0], out.guidance[0], atol=1e-6)
        assert not out.guidance[1].any()
        clear = np.abs(out.image[0] - 0.5) > 0.01
        assert np.array_equal((out.image[0] > 0.5)[clear], (out.label == 2)[clear])
        places.add(tuple(np.argwhere(out.label).mean(0).round(1)))
    assert len(places) > 6


@pytest.mark.parametrize("single", [0, 2])
def test_a_2d_patch_stays_in_its_plane(single: int, monkeypatch: pytest.MonkeyPatch) -> None:
    patch = tuple(1 if axis == single else 24 for axis in range(3))
    spatial = make_spatial(patch, monkeypatch)
    rng = np.random.default_rng(0)
    source = find_source_shape(patch)
    full = Patch(np.ones((1, *source), np.float32), np.ones((2, *source), np.float32), np.ones(source, np.uint8))
    middle = tuple(0 if n == 1 else slice(8, 16) for n in patch)
    for _ in range(12):
        # turned out of its plane, a slice of ones would fade
        assert spatial.apply(full, rng).image[0][middle] == pytest.approx(np.ones((8, 8)))


@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 16, 1), (1, 16, 16), (16, 1, 16)])
def test_every_transform_works_on_every_kind_of_patch(patch: Shape) -> None:
    made = make_augmentation(patch)
    spatial = Augmentation(made.spatial, lambda **data: data)
    for step in made.intensity.transforms:
        step.apply_probability = 1.0
        changed = 0
        for seed in range(4):
            noise = make_noise(find_source_shape(patch), seed)
            plain = spatial.apply(noise, np.random.default_rng(seed))
            only = Augmentation(made.spatial, step).apply(noise, np.random.default_rng(seed))
            assert only.image.shape == (2, *patch)
            assert np.isfinite(only.image).all()
            assert np.array_equal(only.guidance, plain.guidance)
            assert np.array_equal(only.label, plain.label)
            changed += not np.allclose(only.image, plain.image)
        assert changed, step


def test_one_seed_gives_one_sample_whatever_was_drawn_before() -> None:
    import torch

    made = make_augmentation((16, 16, 16))

    def draw(seed: int) -> np.ndarray:
        return made.apply(make_noise((20, 20, 20)), np.random.default_rng(seed)).image

    samples = {}
    for seed in range(6):
        samples[seed] = draw(seed)
        np.random.seed(99)
        torch.rand(3)
        assert np.array_equal(samples[seed], draw(seed))
    assert not np.array_equal(samples[0], samples[1])


def test_the_sample_given_is_not_changed() -> None:
    made = make_augmentation((8, 8, 8))
    patch = make_noise((10, 10, 10))
    copies = [patch.image.copy(), patch.guidance.copy(), patch.label.copy()]
    for seed in range(60):
        made.apply(patch, np.random.default_rng(seed))
    assert np.array_equal(patch.image, copies[0])
    assert np.array_equal(patch.guidance, copies[1])
    assert np.array_equal(patch.label, copies[2])


def test_without_rotation_the_patch_is_the_centre_of_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "SPATIAL_PROBABILITY", 0.0)
    made = make_augmentation((16, 24, 1))
    source = make_noise(find_source_shape((16, 24, 1)))
    out = Augmentation(made.spatial, lambda **data: data).apply(source, np.random.default_rng(0))
    centre = source.label[2:18, 3:27]
    mirrored = [np.flip(centre, axes) for axes in ((), (0,), (1,), (0, 1))]
    assert any(np.array_equal(out.label, candidate) for candidate in mirrored)


def test_axes_of_unlike_spacing_are_not_turned_into_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = (24, 24, 16)
    source = find_source_shape(patch)
    planes = np.broadcast_to(np.arange(source[2]) % 4 < 2, source)
    turned = {}
    for spacing_mm in ((1.0, 1.0, 1.0), (1.0, 1.0, 5.0)):
        monkeypatch.setattr(augment, "SPATIAL_PROBABILITY", 1.0)
        made = make_augmentation(patch, mirror_axes=(), spacing_mm=spacing_mm)
        spatial = Augmentation(made.spatial, lambda **data: data)
        given = Patch(planes[None].astype(np.float32), np.zeros((2, *source), np.float32), planes.astype(np.uint8))
        out = spatial.apply(given, np.random.default_rng(0)).label
        turned[spacing_mm] = bool((out != out[12:13, 12:13]).any())
    assert list(turned.values()) == [True, False]
