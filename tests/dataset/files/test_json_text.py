from __future__ import annotations

from pathlib import Path

import pytest

from interactivepet.dataset.files.json_text import read_object
from interactivepet.errors import ArtefactError, MissingArtefactError


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, MissingArtefactError, "plans.json is not there; give a plans.json"),
        (b"{", ArtefactError, r"is no JSON \(.*\); give a plans.json"),
        (b"\xff\xfe", ArtefactError, r"is no JSON \(.*\); give a plans.json"),
        (b"[" * 100_000, ArtefactError, "nested too deeply"),
        (b"[1]", ArtefactError, "plans.json holds no plan; give a plans.json"),
        (b'"plan"', ArtefactError, "plans.json holds no plan; give a plans.json"),
    ],
)
def test_a_file_without_an_object_is_refused(
    tmp_path: Path, content: bytes | None, error: type[Exception], message: str
) -> None:
    path = tmp_path / "plans.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=message):
        read_object(path, kind="plan", example="plans.json")


@pytest.mark.parametrize("content", ['{"a": 1}', '\ufeff{"a": 1}'])
def test_an_object_is_read_with_or_without_a_byte_order_mark(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plans.json"
    path.write_text(content, encoding="utf-8")
    assert read_object(path, kind="plan", example="plans.json") == {"a": 1}
