from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.dataset.files.arrays import CHUNK_EDGE, open_array, read_array, write_array, write_channels
from interactivepet.errors import ArtefactError, MissingArtefactError

COMMAND = "interactivepet_plan_and_process"


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
@pytest.mark.parametrize("shape", [(2, 40, 33, 35), (1, 1, 1, 1), (70, 5, 1), (3, 2, 9, 8, 7)])
def test_an_array_comes_back_to_the_last_bit(tmp_path: Path, shape: tuple[int, ...], dtype: type) -> None:
    values = (100 * np.random.default_rng(0).random(shape)).astype(dtype)
    path = tmp_path / "new" / "CASE.b2nd"

    write_array(path, values)

    again = read_array(path, command=COMMAND)
    assert again.dtype == dtype
    assert np.array_equal(again, values)
    assert [p.name for p in path.parent.iterdir()] == ["CASE.b2nd"]


def test_a_part_is_read_like_one_of_a_numpy_array(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 50, 40, 45)).astype(np.float32)
    write_array(tmp_path / "A.b2nd", values)
    opened = open_array(tmp_path / "A.b2nd", command=COMMAND)
    assert opened.shape == values.shape
    assert opened.chunks == (2, CHUNK_EDGE, CHUNK_EDGE, CHUNK_EDGE)
    for box in ((slice(3, 40), slice(0, 7), slice(31, 45)), (slice(9, 9), slice(0, 40), slice(44, 45))):
        assert np.array_equal(opened[(slice(None), *box)], values[(slice(None), *box)])


def test_arrays_in_any_memory_order_are_written(tmp_path: Path) -> None:
    values = np.arange(60.0).reshape(3, 4, 5).T[::-1]
    write_array(tmp_path / "A.b2nd", values)
    assert np.array_equal(read_array(tmp_path / "A.b2nd", command=COMMAND), values)


def test_an_array_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "A.b2nd"
    write_array(path, np.zeros((9, 9, 9)))
    write_array(path, np.ones((4, 4, 4), np.uint8))
    assert read_array(path, command=COMMAND).tolist() == np.ones((4, 4, 4)).tolist()


def test_an_interrupted_write_leaves_the_old_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import blosc2

    path = tmp_path / "A.b2nd"
    write_array(path, np.ones((4, 4, 4)))

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(blosc2, "asarray", stop)
    with pytest.raises(KeyboardInterrupt):
        write_array(path, np.zeros((4, 4, 4)))
    assert read_array(path, command=COMMAND).all()
    assert [p.name for p in tmp_path.iterdir()] == ["A.b2nd"]


def test_a_missing_array_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(MissingArtefactError, match=f"A.b2nd is not there; run {COMMAND} first"):
        open_array(tmp_path / "A.b2nd", command=COMMAND)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.95])
def test_a_truncated_array_is_reported(tmp_path: Path, share: float) -> None:
    path = tmp_path / "A.b2nd"
    write_array(path, np.random.default_rng(0).normal(size=(2, 40, 40, 40)).astype(np.float32))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtefactError, match=f"A.b2nd cannot be read .* delete it and run {COMMAND} again"):
        read_array(path, command=COMMAND)


def test_what_is_no_array_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "A.b2nd"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_array(path, command=COMMAND)


def test_damage_behind_the_header_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "A.b2nd"
    write_array(path, np.arange(2 * 40**3).reshape(2, 40, 40, 40) // 7)
    content = path.read_bytes()
    first, last = len(content) // 4, 3 * len(content) // 4
    path.write_bytes(content[:first] + np.random.default_rng(0).bytes(last - first) + content[last:])
    with pytest.raises(ArtefactError, match="cannot be read"):
        read_array(path, command=COMMAND)


@pytest.mark.parametrize("shape", [(70, 9, 33), (32, 5, 6), (1, 1, 1), (40, 50, 1)])
def test_channels_are_joined_in_one_array(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(2, *shape)).astype(np.float32)
    label = rng.integers(3, size=(1, *shape), dtype=np.uint8)

    digest = write_channels(tmp_path / "A.b2nd", (image[:, ::-1], label))

    found = read_array(tmp_path / "A.b2nd", command=COMMAND)
    assert found.dtype == np.float32
    assert np.array_equal(found[:2], image[:, ::-1])
    assert np.array_equal(found[2:], label)
    assert digest == write_channels(tmp_path / "B.b2nd", (image[:, ::-1].copy(), label))
    assert digest != write_channels(tmp_path / "B.b2nd", (image[:, ::-1], 2 - label))
    assert open_array(tmp_path / "A.b2nd", command=COMMAND).chunks == (3, *(min(CHUNK_EDGE, n) for n in shape))
