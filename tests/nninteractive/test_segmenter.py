from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.errors import InteractionError, SegmenterError
from interactivepet.inference.segmenter import Segmenter
from interactivepet.nninteractive.segmenter import NnInteractiveSegmenter, open_segmenter

MakeCase = Callable[..., Case]
Place = Callable[..., Click]


@pytest.fixture(scope="module")
def segmenter(model_folder: Path) -> Iterator[NnInteractiveSegmenter]:
    with NnInteractiveSegmenter.from_folder(model_folder, labels=(1, 2)) as opened:
        yield opened


def dice(mask: np.ndarray, reference: np.ndarray) -> float:
    return float(2 * (mask & reference).sum() / (mask.sum() + reference.sum()))


def test_it_is_a_segmenter_with_a_name_and_a_licence(segmenter: NnInteractiveSegmenter) -> None:
    seen: Segmenter = segmenter
    assert seen.name == "blobs"
    assert seen.licence == "MIT"


def test_clicks_on_both_blobs_find_both(segmenter: NnInteractiveSegmenter, make_case: MakeCase, click: Place) -> None:
    case = make_case(9)
    before = case.image.copy()
    prediction = segmenter.segment(case, [click(case, (14, 16, 15)), click(case, (30, 24, 16))])
    assert case.label is not None
    assert dice(prediction.probabilities[1] == 1, case.label > 0) > 0.7
    assert prediction.probabilities.dtype == np.float32
    assert prediction.probabilities.shape == (3, 40, 36, 32)
    np.testing.assert_array_equal(prediction.probabilities.sum(0), 1)
    assert not prediction.probabilities[2].any()
    assert prediction.geometry.matches(case.geometry)
    assert prediction.labels == (1, 2)
    np.testing.assert_array_equal(case.image, before)


def test_labels_are_segmented_apart_and_share_what_overlaps(
    segmenter: NnInteractiveSegmenter, make_case: MakeCase, click: Place
) -> None:
    case = make_case(9)
    voxel = (14, 16, 15)
    clicks = [click(case, voxel), click(case, voxel, label=2), click(case, (5, 5, 5), is_positive=False)]
    alone = segmenter.segment(case, [clicks[1]]).probabilities[2] == 1
    probabilities = segmenter.segment(case, clicks[:2]).probabilities
    assert alone.any()
    np.testing.assert_array_equal(probabilities[2] == 0.5, alone)
    np.testing.assert_array_equal(probabilities[1], probabilities[2])
    np.testing.assert_array_equal(probabilities.sum(0), 1)


def test_a_second_case_starts_afresh(segmenter: NnInteractiveSegmenter, make_case: MakeCase, click: Place) -> None:
    first, second = make_case(9), make_case(10, shape=(24, 20, 22), centres=((11, 9, 11),))
    expected = segmenter.segment(first, [click(first, (14, 16, 15))]).probabilities
    segmenter.segment(second, [click(second, (11, 9, 11))])
    again = segmenter.segment(first, [click(first, (14, 16, 15))]).probabilities
    np.testing.assert_array_equal(again, expected)


def test_without_a_positive_click_all_is_background(
    segmenter: NnInteractiveSegmenter, make_case: MakeCase, click: Place
) -> None:
    case = make_case(9)
    for clicks in ([], [click(case, (14, 16, 15), is_positive=False)]):
        probabilities = segmenter.segment(case, clicks).probabilities
        assert (probabilities[0] == 1).all()
        assert not probabilities[1:].any()


@pytest.mark.parametrize("shape", [(40, 36, 1), (12, 70, 9), (5, 5, 5)])
def test_flat_and_small_images_work(
    segmenter: NnInteractiveSegmenter, make_case: MakeCase, click: Place, shape: tuple[int, int, int]
) -> None:
    middle = (shape[0] // 2, shape[1] // 2, shape[2] // 2)
    case = make_case(3, shape=shape, centres=(middle,), radius=2.0)
    probabilities = segmenter.segment(case, [click(case, middle)]).probabilities
    assert probabilities.shape == (3, *shape)
    np.testing.assert_array_equal(probabilities.sum(0), 1)


def test_a_click_at_the_outer_face_belongs_to_the_last_voxel(
    segmenter: NnInteractiveSegmenter, make_case: MakeCase
) -> None:
    case = make_case(9)
    x, y, z = (float(v) for v in case.geometry.to_mm((39.49, -0.49, 31.4)))
    prediction = segmenter.segment(case, [Click(position_mm=(x, y, z))])
    assert prediction.case_id == "BLOB_9"


def test_a_click_outside_is_refused_by_number(
    segmenter: NnInteractiveSegmenter, make_case: MakeCase, click: Place
) -> None:
    case = make_case(9)
    with pytest.raises(InteractionError, match=r"BLOB_9: click 2 at .* outside"):
        segmenter.segment(case, [click(case, (1, 1, 1)), click(case, (41, 1, 1))])


def test_a_click_of_an_unknown_label_is_refused(
    segmenter: NnInteractiveSegmenter, make_case: MakeCase, click: Place
) -> None:
    case = make_case(9)
    with pytest.raises(InteractionError, match=r"BLOB_9: click 1 has label 4, expected one of \(1, 2\)"):
        segmenter.segment(case, [click(case, (1, 1, 1), label=4)])


@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN"), (np.inf, "infinite"), (3.0, "3 everywhere")])
def test_images_that_the_session_cannot_normalise_are_refused(
    segmenter: NnInteractiveSegmenter, make_case: MakeCase, click: Place, value: float, message: str
) -> None:
    case = make_case(9)
    image = np.full_like(case.image, value)
    with pytest.raises(SegmenterError, match=f"BLOB_9: .*{message}"):
        segmenter.segment(replace(case, image=image), [click(case, (1, 1, 1))])


def test_the_chosen_channel_is_the_one_that_is_seen(model_folder: Path, make_case: MakeCase, click: Place) -> None:
    case = make_case(9)
    two = replace(case, image=np.concatenate([np.full_like(case.image, np.nan), case.image]))
    clicks = [click(case, (14, 16, 15))]
    with open_segmenter(str(model_folder), labels=(1,), channel=1) as second:
        assert second.segment(two, clicks).probabilities[1].any()
        with pytest.raises(SegmenterError, match=r"channel 1 .* has 1"):
            second.segment(case, clicks)


def test_threads_and_standard_output_are_left_alone(
    model_folder: Path,
    make_case: MakeCase,
    click: Place,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        case = make_case(9)
        with caplog.at_level(logging.DEBUG), open_segmenter(str(model_folder), labels=(1,)) as opened:
            opened.segment(case, [click(case, (14, 16, 15))])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert capsys.readouterr().out == ""
    assert "licence: MIT" in caplog.text
    assert "point interaction" in caplog.text


def test_a_failing_session_is_named(make_case: MakeCase, click: Place, model_folder: Path) -> None:
    case = make_case(9)
    opened = open_segmenter(str(model_folder), labels=(1,))
    opened.close()
    with pytest.raises(SegmenterError, match="BLOB_9: blobs failed") as caught:
        opened.segment(case, [click(case, (14, 16, 15))])
    assert caught.value.__cause__ is not None


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SegmenterError, match=r"no plans\.json"):
        open_segmenter(str(tmp_path), labels=(1,))


def test_several_folds_are_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "two")
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    with pytest.raises(SegmenterError, match="found fold_0, fold_1"):
        open_segmenter(str(folder), labels=(1,))


def test_a_broken_checkpoint_is_refused(model_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_folder, tmp_path / "broken")
    (folder / "fold_0/checkpoint_final.pth").write_bytes(b"no checkpoint")
    with pytest.raises(SegmenterError, match="cannot be loaded"):
        open_segmenter(str(folder), labels=(1,))


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(SegmenterError, match=r"http://127\.0\.0\.1:9: no nnInteractive session"):
        open_segmenter("http://127.0.0.1:9", labels=(1,))


class Steps:
    """Stands for nnInteractive's session: each prompt adds its voxel to the mask, and each call is noted."""

    license = "MIT"

    def __init__(self) -> None:
        self.calls: list[object] = []

    def set_image(self, image: np.ndarray) -> None:
        self.calls.append("image")

    def set_target_buffer(self, target_buffer: np.ndarray) -> None:
        self.buffer = target_buffer

    def reset_interactions(self) -> None:
        self.calls.append("reset")

    def add_point_interaction(self, coordinates: tuple[int, int, int], include_interaction: bool) -> None:
        self.calls.append((coordinates, include_interaction))
        if coordinates == (0, 0, 0):
            raise RuntimeError("broken")
        self.buffer[coordinates] = include_interaction


def test_added_clicks_are_all_that_the_session_is_told(make_case: MakeCase, click: Place) -> None:
    steps, case = Steps(), make_case(9)
    segmenter = NnInteractiveSegmenter(steps, "steps", labels=(1, 2), close=lambda: None)
    a, b, c, d = (click(case, (n, n, n)) for n in (1, 2, 3, 4))
    minus, other = click(case, (2, 2, 2), is_positive=False), click(case, (5, 5, 5), label=2)

    def ask(*clicks: Click) -> tuple[list[object], np.ndarray]:
        steps.calls.clear()
        found = segmenter.segment(case, clicks).probabilities
        return list(steps.calls), found[1:].argmax(0) + 1 - (found[0] == 1)

    assert ask(a)[0] == ["image", ((1, 1, 1), True)]
    assert ask(a, b)[0] == [((2, 2, 2), True)]
    calls, mask = ask(a, b, c, minus)
    assert calls == [((3, 3, 3), True), ((2, 2, 2), False)]
    assert sorted(map(tuple, np.argwhere(mask))) == [(1, 1, 1), (3, 3, 3)]
    assert ask(a, b, c, minus)[0] == []
    calls, mask = ask(a, b, c, minus, other)
    assert calls == ["reset", ((5, 5, 5), True)]
    assert (mask[1, 1, 1], mask[3, 3, 3], mask[5, 5, 5]) == (1, 1, 2)
    assert ask(a)[0] == ["reset", ((1, 1, 1), True), "reset"], "what was taken back is asked anew"
    assert not ask()[1].any()
    assert ask(minus, a, d)[0] == ["reset", ((1, 1, 1), True), ((2, 2, 2), False), ((4, 4, 4), True)]
    with pytest.raises(SegmenterError, match="broken"):
        ask(minus, a, d, click(case, (0, 0, 0)))
    assert ask(a)[0][0] == "image", "after a failure nothing is taken for granted"
    again = replace(case)
    steps.calls.clear()
    segmenter.segment(again, [a])
    assert steps.calls == ["image", ((1, 1, 1), True)]


def test_a_server_that_forgot_the_session_is_asked_for_another(make_case: MakeCase, click: Place) -> None:
    case, claimed, closed = make_case(9), [Steps()], []

    def connect() -> tuple[Steps, Callable[[], None]]:
        claimed.append(Steps())
        return claimed[-1], lambda: closed.append("second")

    first, second = click(case, (1, 1, 1)), click(case, (2, 2, 2))
    segmenter = NnInteractiveSegmenter(
        claimed[0], "far", labels=(1,), close=lambda: closed.append("first"), connect=connect
    )
    segmenter.segment(case, [first])

    def forget(*_: object) -> None:
        raise RuntimeError("session expired")

    claimed[0].add_point_interaction = forget  # type: ignore[method-assign]
    found = segmenter.segment(case, [first, second]).probabilities
    assert claimed[1].calls == ["image", ((1, 1, 1), True), ((2, 2, 2), True)]
    assert (found[1, 1, 1, 1], found[1, 2, 2, 2]) == (1, 1)
    assert closed == ["first"]
    with pytest.raises(SegmenterError, match="broken"):
        segmenter.segment(case, [first, click(case, (0, 0, 0))])
    assert len(claimed) == 3, "one more attempt, not two"
