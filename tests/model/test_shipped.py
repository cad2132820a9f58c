"""Models that come with the package, with a small one standing in; and removing models that were installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from interactivepet.cli import install_model, models
from interactivepet.errors import ModelError
from interactivepet.model import installed
from interactivepet.model.folder import open_model
from interactivepet.model.installed import find_model, list_installed, list_shipped, remove_model
from tests.model.models import write_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("interactivepet_models", str(tmp_path / "store"))
    monkeypatch.setattr(installed, "SHIPPED", tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


def ship(folder: Path, form: str, *, name: str = "standin") -> Path:
    """Put a model where those of the package are, as a folder or a file."""
    folder.mkdir(exist_ok=True)
    archive = write_model(folder / f"{name}.zip", name=name)
    if form == "zip":
        return archive
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder / name)
    archive.unlink()
    return folder / name


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_a_shipped_model_is_found_by_name_and_listed(
    form: str, store: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = ship(tmp_path / "shipped", form)
    assert find_model("standin", store) == path
    with open_model(path) as model:
        model.verify()
    assert models.main([]) == 0
    shown = capsys.readouterr().out
    assert "standin (comes with the package)\n  labels: edema = 3, tumour = 1" in shown
    assert f"no model is installed in {store}" in shown


def test_an_installed_model_of_the_same_name_wins(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ship(tmp_path / "shipped", "zip")
    assert install_model.main([str(write_model(tmp_path / "own.zip", name="standin"))]) == 0
    assert "takes the place of the model of this name that comes with the package" in capsys.readouterr().out
    assert find_model("standin", store) == store / "standin"
    assert models.main([]) == 0
    shown = capsys.readouterr().out
    assert "standin (comes with the package; the installed model of this name is used)" in shown
    assert shown.startswith("standin\n")
    assert install_model.main(["--remove", "standin"]) == 0
    assert "--model standin now means the model that comes with the package" in capsys.readouterr().out
    assert find_model("standin", store) == tmp_path / "shipped" / "standin.zip"


def test_what_is_no_model_beside_them_is_not_listed(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shipped"
    ship(folder, "zip")
    (folder / "notes.txt").write_text("x")
    (folder / ".partial-x").mkdir()
    assert list(list_shipped()) == ["standin"]
    shutil.rmtree(folder)
    assert list_shipped() == {}
    with pytest.raises(ModelError, match=r"standin is neither .* with the package: none"):
        find_model("standin", store)


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_the_built_package_holds_it(form: str, tmp_path: Path) -> None:
    """With the project's own setup.py, on a package that holds little else."""
    for name in (
        "setup.py",
        "interactivepet/__init__.py",
        "interactivepet/version.py",
        "interactivepet/model/__init__.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
    ship(tmp_path / "interactivepet" / "model" / "shipped", form)
    build = [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", "built"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    built = tmp_path / "built" / "interactivepet" / "model" / "shipped"
    with open_model(built / ("standin.zip" if form == "zip" else "standin")) as model:
        model.verify()
    sdist = [sys.executable, "setup.py", "--quiet", "sdist", "--formats", "zip", "--dist-dir", "dist"]
    subprocess.run(sdist, cwd=tmp_path, check=True, capture_output=True)
    (archive,) = (tmp_path / "dist").iterdir()
    inside = {path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file()}
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
    assert inside
    for name in inside:
        assert any(known.endswith(f"interactivepet/model/shipped/{name}") for known in names), name


def test_removing_leaves_the_other_models(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = str(write_model(tmp_path / "a.zip"))
    for name in ("one", "two"):
        assert install_model.main([archive, "--name", name]) == 0
    (store / "one" / "model.json").write_text("damaged")
    assert install_model.main(["--remove", "one"]) == 0
    assert f"one: removed from {store}" in capsys.readouterr().out
    assert [path.name for path in store.iterdir()] == ["two"]
    assert [model.path.name for model in list_installed(store)] == ["two"]


def test_removing_a_link_keeps_what_it_leads_to(store: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("x")
    store.mkdir()
    (store / "linked").symlink_to(tmp_path / "elsewhere")
    remove_model("linked", store)
    assert not (store / "linked").exists()
    assert (tmp_path / "elsewhere" / "x").is_file()


REMOVALS = {
    "nothing": "'nothing' is not installed; installed in",
    "../shipped": "'../shipped' is not installed",
    "": "'' is not installed",
    "standin": "'standin' comes with the package and stays",
    ".": "'.' is not installed",
}


@pytest.mark.parametrize("name", REMOVALS)
def test_what_cannot_be_removed_is_one_error(
    name: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ship(tmp_path / "shipped", "folder")
    store.mkdir()
    assert install_model.main(["--remove", name]) == 1
    error = capsys.readouterr().err
    assert REMOVALS[name] in error
    assert error.count("\n") == 1
    assert path.is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments FILE|FOLDER|models:/NAME/VERSION --remove is required"),
        (["a.zip", "--remove", "a"], "not allowed with argument"),
        (["--remove", "a", "--name", "b"], "--name goes with a FILE or FOLDER"),
    ],
)
def test_options_that_exclude_each_other(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        install_model.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
