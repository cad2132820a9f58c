"""One image: what is found is clicked on, cut, joined, checked and measured; the same from the Python API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import interactivepet
from interactivepet.core.case import Case
from interactivepet.errors import CaseError, SettingsError
from interactivepet.pipeline.segment import regions as regions_module
from interactivepet.pipeline.segment.options import SegmentOptions
from interactivepet.pipeline.segment.regions import segment_image
from interactivepet.pipeline.segment.result import SegmentedImage
from interactivepet.pipeline.segment.segmenters import ClassicalRegions
from tests.model.models import write_model
from tests.pipeline.segment.bodies import BALLS, SHAPE, find_ball, make_case, make_uptake, write_body, write_file

Answer = Callable[[tuple[int, int, int]], np.ndarray]


@dataclass(frozen=True)
class Scripted:
    """A segmenter that answers a clicked voxel as a function says."""

    answer: Answer
    description: str = "scripted"
    takes_margins: bool = False

    @contextmanager
    def open(self, case: Case) -> Iterator[Callable[[Sequence[tuple[float, float, float]]], np.ndarray]]:
        yield lambda places: self.answer(case.geometry.find_voxel(places[-1]))


def own_ball(voxel: tuple[int, int, int]) -> np.ndarray:
    """The ball that was clicked on."""
    return next(ball for ball in map(find_ball, BALLS) if ball[voxel])


def both_balls(voxel: tuple[int, int, int]) -> np.ndarray:
    return np.logical_or(*map(find_ball, BALLS))


def bridge(voxel: tuple[int, int, int]) -> np.ndarray:
    """Both balls and a way between them."""
    mask = both_balls(voxel)
    mask[9:15, 9:15, 8:17] = True
    return mask


def thin_bridge(voxel: tuple[int, int, int]) -> np.ndarray:
    mask = both_balls(voxel)
    mask[9:15, 9, 8] = mask[14, 9:15, 8] = mask[14, 14, 8:17] = True
    return mask


def reaching(voxel: tuple[int, int, int]) -> np.ndarray:
    """The ball, and a way to the other one that ends between both."""
    mask = own_ball(voxel)
    mask[9:15, 9:12, 12] = True
    mask[9, 9, 8:13] = mask[14, 11:15, 12] = mask[14, 14, 12:17] = True
    return mask & ~np.logical_xor(both_balls(voxel), own_ball(voxel))


def nothing(voxel: tuple[int, int, int]) -> np.ndarray:
    return np.zeros(SHAPE, np.bool_)


def everything(voxel: tuple[int, int, int]) -> np.ndarray:
    return np.ones(SHAPE, np.bool_)


def crumbs(voxel: tuple[int, int, int]) -> np.ndarray:
    """The ball, and single voxels far from it."""
    mask = own_ball(voxel)
    mask[4:20:3, 2, 2] = True
    return mask


def run(answer: Answer = own_ball, **options: object) -> SegmentedImage:
    return segment_image(make_case(), Scripted(answer), unit="suv", options=SegmentOptions(**options))


def test_every_region_is_clicked_at_its_hottest_place_and_measured() -> None:
    found = run()
    first, second = found.regions
    assert (first.id, second.id) == (1, 2)
    assert np.array_equal(first.mask, find_ball(BALLS[0]))
    assert np.array_equal(found.numbers, find_ball(BALLS[0]) + 2 * find_ball(BALLS[1]))
    assert first.mask[make_case().geometry.find_voxel(first.clicks_mm[0])]
    assert first.measures["suv_max"] == pytest.approx(8.0)
    assert first.measures["mtv_ml"] == pytest.approx(find_ball(BALLS[0]).sum() * 0.512)
    assert (first.status, first.rule, first.quality) == ("unsure", "no liver", None)
    assert any("No liver is seen" in note for note in found.notes)
    assert found.mask.sum() == 0
    assert found.totals["n_lesions"] == 0
    assert all(check.passed for check in first.checks)


@pytest.mark.parametrize(
    ("answer", "n_regions", "told"),
    [
        (own_ball, 2, ""),
        (both_balls, 2, "components: 2, expected at most 1"),
        (bridge, 1, "2 bright regions whose masks overlap"),
        (everything, 1, "voxels at the border of the image"),
        (everything, 1, "share below the surroundings"),
        (everything, 1, "volume over that of the bright region"),
        (nothing, 2, "voxels: 1, expected at least 2"),
        (crumbs, 2, "components: 7, expected at most 1"),
    ],
)
def test_what_is_odd_about_a_mask_is_a_reason(answer: Answer, n_regions: int, told: str) -> None:
    found = run(answer, max_components=1)
    assert len(found.regions) == n_regions
    reasons = "; ".join(found.regions[0].reasons)
    assert told in reasons
    assert all(np.isfinite(check.value) for region in found.regions for check in region.checks)
    masks = np.sum([region.mask for region in found.regions], axis=0)
    assert masks.max() == 1


def test_voxels_of_masks_that_share_little_stay_with_the_first() -> None:
    first, second = run(reaching).regions
    shared = reaching((9, 9, 8)) & reaching((14, 14, 16))
    assert shared.any()
    assert first.mask[shared].all()
    assert not second.mask[shared].any()
    assert second.mask[find_ball(BALLS[1])].all()


@pytest.mark.parametrize(("most", "kept"), [(1, 1), (3, 1)])
def test_parts_that_touch_neither_click_nor_region_are_left_out(most: int, kept: int) -> None:
    found = run(crumbs, max_components=most)
    assert np.array_equal(found.regions[0].mask, find_ball(BALLS[0]))
    assert found.regions[0].measures["sphericity"] is not None


def test_parts_of_the_region_stay_up_to_a_number() -> None:
    def split(voxel: tuple[int, int, int]) -> np.ndarray:
        mask = own_ball(voxel)
        mask[voxel[0] + 1 if voxel[0] < 14 else voxel[0] - 1] = False
        return mask

    one, two = run(split, max_components=1).regions[0], run(split, max_components=2).regions[0]
    assert two.voxels.sum() >= one.voxels.sum()
    assert "components: 2, expected at most 1" in "; ".join(one.reasons) or one.voxels.sum() == two.voxels.sum()


@pytest.mark.parametrize(
    ("options", "n_regions", "told"),
    [
        ({"max_regions": 1}, 1, "1 further bright regions were not segmented"),
        ({"min_volume_ml": 1000.0}, 0, "are smaller than --min-volume-ml"),
        ({"regions": "suv", "suv": 7.5}, 1, "No liver is seen"),
        ({"regions": "percentile", "percentile": 95.0}, 2, "No liver is seen"),
    ],
)
def test_options_decide_what_is_looked_at(options: dict[str, object], n_regions: int, told: str) -> None:
    found = run(**options)
    assert sum(region.is_segmented for region in found.regions) == n_regions
    assert any(told in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "options", "unit", "message"),
    [
        (lambda image: image * 0, {}, "suv", "no body is brighter"),
        (lambda image: image * np.nan, {}, "suv", "not finite"),
        (lambda image: image, {"regions": "liver"}, "suv", "no liver is seen"),
        (lambda image: image, {"regions": "bloodpool"}, "suv", "no blood pool is seen"),
        (lambda image: image * 9000, {"regions": "suv"}, "bq_per_ml", "expected SUV for --regions suv"),
        (lambda image: image, {"reference_sphere": (9e3, 0, 0), "regions": "liver"}, "suv", "outside of the image"),
    ],
)
def test_an_image_that_cannot_be_used_is_one_error(
    change: Callable[[np.ndarray], np.ndarray], options: dict[str, object], unit: str, message: str
) -> None:
    case = make_case(change(make_uptake()).astype(np.float32))
    with pytest.raises(CaseError, match=message):
        segment_image(case, Scripted(own_ball), unit=unit, options=SegmentOptions(**options))


def test_a_lesion_makes_all_that_is_joined_with_it_a_lesion_and_normal_uptake_stays_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dataclasses import replace

    real = regions_module.find_regions
    statuses: list[str] = []

    def judged(*args: object, **kwargs: object) -> object:
        found = real(*args, **kwargs)
        named = tuple(replace(region, status=status) for region, status in zip(found.regions, statuses, strict=True))
        return replace(found, regions=named)

    monkeypatch.setattr(regions_module, "find_regions", judged)
    statuses[:] = ["lesion", "unsure"]
    joined = run(bridge)
    assert [region.status for region in joined.regions] == ["lesion"]
    apart = run()
    assert [region.status for region in apart.regions] == ["lesion", "unsure"]
    assert np.array_equal(apart.mask, find_ball(BALLS[0]))
    assert apart.totals["n_lesions"] == 1
    assert apart.totals["mtv_ml"] == pytest.approx(apart.regions[0].measures["mtv_ml"])
    statuses[:] = ["lesion", "physiological"]
    normal = run()
    assert [(region.status, region.is_segmented, region.id) for region in normal.regions] == [
        ("lesion", True, 1),
        ("physiological", False, 2),
    ]
    assert (normal.numbers.max(), normal.every_region.max()) == (1, 2)
    leaking = run(both_balls)
    assert "share in normal uptake" not in "; ".join(leaking.regions[0].reasons)
    leaking = run(thin_bridge)
    assert "share in normal uptake" in "; ".join(leaking.regions[0].reasons)


@pytest.mark.parametrize("kind", ["file", "series", "case"])
def test_the_python_api_takes_files_series_and_cases(kind: str, tmp_path: Path) -> None:
    sources = {
        "file": lambda: write_file(tmp_path / "A.nrrd"),
        "series": lambda: write_body(tmp_path / "dicom"),
        "case": make_case,
    }
    found = interactivepet.segment_regions(sources[kind](), segmenter="threshold41", max_regions=5)
    assert isinstance(found, interactivepet.SegmentedImage)
    assert (len(found.regions), found.unit) == (2, "suv")
    assert found.regions[0].mask.shape == SHAPE
    assert found.regions[0].measures["suv_max"] == pytest.approx(8.0, rel=1e-3)


def test_a_model_segments_as_a_click_in_its_session_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("interactivepet_n_threads", "1")
    monkeypatch.chdir(tmp_path)
    model = interactivepet.load_model(write_model(tmp_path / "small.zip"), device="cpu", tta=False)
    case = make_case()
    found = interactivepet.segment_regions(case, model=model, max_regions=1)
    click = interactivepet.Click(position_mm=found.regions[0].clicks_mm[0], label=1)
    with model.open_session(case) as session:
        session.add_clicks([click])
        alone = session.segment().mask == 1
    assert alone[found.regions[0].mask].all()


def test_an_invalid_option_is_one_error() -> None:
    with pytest.raises(SettingsError, match="percentile 120"):
        interactivepet.segment_regions(make_case(), segmenter="threshold41", percentile=120)


def test_a_method_without_training_is_shown_where_a_large_lesion_ends() -> None:
    uptake = make_uptake(())
    uptake[7:17, 9:15, 4:20] = 6.0
    found = interactivepet.segment_regions(make_case(uptake), segmenter="threshold41")
    assert np.array_equal(found.regions[0].mask, uptake == 6.0)
    assert len(found.regions[0].clicks_mm) > 1


def test_a_method_without_training_says_what_it_is() -> None:
    assert ClassicalRegions("nestle").description == "nestle (a rule, no weights)"
