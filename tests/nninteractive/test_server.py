"""The same model behind a real `nninteractive-server` on the loopback device."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.case import Case
from interactivepet.core.interaction import Click
from interactivepet.errors import SegmenterError
from interactivepet.nninteractive.segmenter import open_segmenter
from tests.nninteractive.servers import serve

pytestmark = pytest.mark.slow

KEY = "a-key-of-the-test"


@pytest.fixture(scope="module")
def server_url(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve(model_folder, key=KEY, log=tmp_path_factory.mktemp("server") / "log.txt") as url:
        yield url


def test_the_server_gives_what_the_folder_gives(
    server_url: str, model_folder: Path, make_case: Callable[..., Case], click: Callable[..., Click]
) -> None:
    case = make_case(9)
    clicks = [
        click(case, (14, 16, 15)),
        click(case, (30, 24, 16)),
        click(case, (20, 5, 8), is_positive=False),
        click(case, (30, 24, 16), label=2),
    ]
    with open_segmenter(server_url, labels=(1, 2), api_key=KEY) as remote:
        assert remote.name == server_url
        assert remote.licence == "MIT"
        found = remote.segment(case, clicks)
    with open_segmenter(str(model_folder), labels=(1, 2)) as local:
        expected = local.segment(case, clicks)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert found.probabilities[1].any()
    assert found.geometry.matches(case.geometry)


# A client that is refused leaves its connection to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_wrong_key_and_a_full_server_are_named(server_url: str) -> None:
    with pytest.raises(SegmenterError, match="401"):
        open_segmenter(server_url, labels=(1,), api_key="another")
    with (
        open_segmenter(server_url, labels=(1,), api_key=KEY),
        pytest.raises(SegmenterError, match="ServerAtCapacityError"),
    ):
        open_segmenter(server_url, labels=(1,), api_key=KEY)
    open_segmenter(server_url, labels=(1,), api_key=KEY).close()
    gc.collect()
