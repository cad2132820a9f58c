"""Which frame of a dynamic image is taken."""

from __future__ import annotations

import numpy as np
import pytest

from interactivepet.core.time_frame import parse_time_frame, pick_time_frame
from interactivepet.errors import CaseError

FRAMES = np.stack([np.full((2, 2, 2), value, np.float32) for value in (1, 2, 6)])


@pytest.mark.parametrize(("text", "value"), [("1", 1.0), ("3", 6.0), ("last", 6.0), ("mean", 3.0)])
def test_a_frame_is_picked_by_number_from_one_or_by_word(text: str, value: float) -> None:
    frame = pick_time_frame(FRAMES, parse_time_frame(text), name="c")
    assert frame.shape == (2, 2, 2)
    assert frame.dtype == np.float32
    assert np.all(frame == value)


def test_the_mean_is_weighted_by_durations() -> None:
    frame = pick_time_frame(FRAMES, "mean", durations=np.array([60.0, 60.0, 120.0]), name="c")
    assert np.allclose(frame, (1 + 2 + 12) / 4)


@pytest.mark.parametrize("text", ["0", "-1", "first", "1.5", ""])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_time_frame(text)


def test_a_frame_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(CaseError, match=r"c: 3 frames, but --time-frame 4; choose 1 to 3"):
        pick_time_frame(FRAMES, 4, name="c")
