"""Models under a name: installed whole or not at all, found by path or name."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import pytest

from interactivepet.errors import ModelError
from interactivepet.model.archive import write_archive
from interactivepet.model.installed import find_model, install_model, list_installed
from tests.model.models import list_files, make_network_plan, write_model


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_model(tmp_path / "a.zip")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "home" / "models"


def extract(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder


@pytest.mark.parametrize("name", [None, "mine", "v1.2_b-c"])
def test_a_file_and_a_folder_give_the_same(name: str | None, archive: Path, store: Path, tmp_path: Path) -> None:
    first = install_model(archive, store, name=name)
    again = install_model(extract(archive, tmp_path / "folder"), store, name=name)
    assert first.path == again.path == store / (name or "small")
    first.verify()
    assert [path.name for path in store.iterdir()] == [name or "small"]
    assert [model.path for model in list_installed(store)] == [first.path]


def test_a_damaged_model_leaves_nothing(archive: Path, store: Path) -> None:
    content = bytearray(archive.read_bytes())
    # in the last weights, before the manifest
    content[content.rindex(b"PK\3\4") - 5] ^= 1
    archive.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged"):
        install_model(archive, store)
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("missing", ["LICENSE", "model.json", "weights/3d_fullres/fold_1.safetensors"])
def test_an_incomplete_folder_is_refused(missing: str, archive: Path, store: Path, tmp_path: Path) -> None:
    folder = extract(archive, tmp_path / "folder")
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=rf"folder: {missing} is missing"):
        install_model(folder, store)
    assert list(store.iterdir()) == []


def test_a_folder_with_a_link_is_refused(archive: Path, store: Path, tmp_path: Path) -> None:
    folder = extract(archive, tmp_path / "folder")
    (folder / "LICENSE").unlink()
    (folder / "LICENSE").symlink_to(archive)
    with pytest.raises(ModelError, match="LICENSE is a symbolic link"):
        install_model(folder, store)
    assert list(store.iterdir()) == []


def test_another_model_of_the_same_name_is_kept(archive: Path, store: Path, tmp_path: Path) -> None:
    install_model(archive, store)
    write_archive(tmp_path / "b.zip", list_files(make_network_plan(), n_folds=1), name="small")
    with pytest.raises(
        ModelError, match="small is another model; remove it with --remove small, or choose another --name"
    ):
        install_model(tmp_path / "b.zip", store)
    assert len(list_installed(store)[0].description.folds["3d_fullres"]) == 2
    assert [path.name for path in store.iterdir()] == ["small"]


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "é", "x" * 101])
def test_a_name_that_is_no_name_is_refused(name: str, archive: Path, store: Path) -> None:
    with pytest.raises(ModelError, match="cannot name a model"):
        install_model(archive, store, name=name)
    assert not store.exists()


def test_a_path_wins_over_a_name(archive: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_model(archive, store)
    monkeypatch.chdir(tmp_path)
    assert find_model("small", store) == store / "small"
    extract(archive, tmp_path / "small")
    assert find_model("small", store) == Path("small")
    assert find_model(str(archive), store) == archive


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", r"nothing is neither a file nor a folder nor an installed model; installed in .*: small"),
        ("no/such.zip", "is neither a file nor a folder"),
        ("../small", "is neither a file nor a folder"),
        ("", "it holds no manifest.json"),
    ],
)
def test_what_is_no_model(text: str, message: str, archive: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_model(archive, store)
    monkeypatch.chdir(store.parent)
    with pytest.raises(ModelError, match=message):
        find_model(text, store)


def test_a_damaged_installed_model_is_named_and_the_others_listed(
    archive: Path, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install_model(archive, store)
    install_model(archive, store, name="other")
    (store / "other" / "model.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert [model.path.name for model in list_installed(store)] == ["small"]
    assert "other: model.json has SHA-256" in caplog.text
