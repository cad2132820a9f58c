"""A container for Grand Challenge: its files, and its entry script run as in the container, but without Docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli import export_model
from interactivepet.core.plan import ConfigurationPlan, TransformerPlan
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import write_image
from interactivepet.errors import ArtefactError, ModelError
from interactivepet.model.folder import open_folder
from interactivepet.pipeline.predict import container
from interactivepet.pipeline.predict.container import REQUIREMENTS, run_container_export
from tests.model.models import describe_model
from tests.pipeline.predict.challenge_inputs import MASK, PET_NAME, make_challenge_plan, make_ct, write_points
from tests.tiny import TASK, make_volume, open_tiny

FILES = {
    "Dockerfile",
    "README.md",
    "do_build.sh",
    "do_save.sh",
    "do_test_run.sh",
    "interactivepet",
    "model",
    "process.py",
    "requirements.txt",
}
FAST = ["--device", "cpu", "--no-tta"]
TELL_MODULES = """
import pathlib, runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = str(pathlib.Path(sys.argv[0]).parent)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as stopped:
    assert stopped.code == 0
print("from", sys.modules["interactivepet"].__file__)
print("loaded", *sorted({name.partition(".")[0] for name in sys.modules}))
"""
"""Runs a script as if it had been started itself, and tells what it imported."""


@pytest.fixture(scope="module")
def folder(finished: tuple[Path, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("container") / "Tiny_GC"
    run_container_export(open_tiny(finished[0]), folder)
    return folder


def write_case(inputs: Path) -> Path:
    """Write one of the tiny task's images and a CT."""
    image, _, geometry = make_volume(70)
    write_image(inputs / "images/pet" / PET_NAME, image, geometry=geometry)
    ct, grid = make_ct(geometry)
    write_image(inputs / "images/ct/ct.mha", ct, geometry=grid)
    return inputs


def run_script(folder: Path, inputs: Path, outputs: Path, *, before: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the entry script from another working directory, with an empty environment."""
    work = outputs.parent / "work"
    work.mkdir(exist_ok=True)
    arguments = [str(folder / "process.py"), "--input", str(inputs), "--output", str(outputs), *FAST]
    environ = {"PATH": os.environ["PATH"], "HOME": str(work), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*before, *arguments], cwd=work, env=environ, capture_output=True, text=True, check=False)


def cut_off_the_network() -> list[str]:
    """Give what runs a program without network; skips where that is not permitted."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("unshare -n is not permitted")
    return [unshare, "-n"]


def list_needed(names: Iterator[str] | tuple[str, ...]) -> set[str]:
    """List distributions, in normalised names, and those that they need without extras."""
    needed: set[str] = set()
    waiting = [re.sub(r"[-_.]+", "-", name).lower() for name in names]
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        texts = [text for text in requires(name) or () if "extra ==" not in text]
        found = [re.match(r"[\w.-]+", text) for text in texts]
        others = [re.sub(r"[-_.]+", "-", match[0]).lower() for match in found if match]
        waiting += [other for other in others if is_installed(other)]
    return needed


def is_installed(name: str) -> bool:
    return name in {re.sub(r"[-_.]+", "-", d).lower() for ds in packages_distributions().values() for d in ds}


def test_the_folder_holds_what_a_container_needs(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not list(folder.rglob("__pycache__"))
    open_folder(folder / "model").verify()
    docker = (folder / "Dockerfile").read_text()
    assert f"FROM python:{sys.version_info.major}.{sys.version_info.minor}-slim\n" in docker
    for name in re.findall(r"^COPY (\S+) ", docker, flags=re.M):
        assert (folder / name).exists(), name
    for path in folder.glob("*.sh"):
        assert path.stat().st_mode & 0o111 == 0o111
        assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
        assert "tiny_gc" in path.read_text()
    assert TASK in (folder / "README.md").read_text()
    assert [p for p in FILES if (folder / p).is_file() and re.search(r"\$[A-Z]", (folder / p).read_text())] == []


def test_requirements_are_pinned_and_are_what_prediction_loads(folder: Path, tmp_path: Path) -> None:
    pinned = (folder / "requirements.txt").read_text().splitlines()
    assert len(pinned) == len(REQUIREMENTS)
    assert all(re.fullmatch(r"[\w.-]+==\d[\w.]*", line) for line in pinned), pinned
    (tmp_path / "tell.py").write_text(TELL_MODULES)
    before = [sys.executable, str(tmp_path / "tell.py")]
    done = run_script(folder, write_case(tmp_path / "input"), tmp_path / "output", before=before)
    assert done.returncode == 0, done.stderr
    assert f"from {folder / 'interactivepet' / '__init__.py'}" in done.stdout
    loaded = set(done.stdout.split("loaded ")[1].split())
    known = packages_distributions()
    needed = list_needed(REQUIREMENTS)
    strange = {
        name for name in loaded & known.keys() if not needed & {re.sub(r"[-_.]+", "-", d).lower() for d in known[name]}
    }
    assert strange <= {"interactivepet"}


def test_the_entry_script_works_without_network(folder: Path, tmp_path: Path) -> None:
    before = [*cut_off_the_network(), sys.executable]
    inputs = write_case(tmp_path / "input")
    done = run_script(folder, inputs, tmp_path / "output", before=before)
    assert done.returncode == 0, done.stderr
    automatic = read_mask(tmp_path / "output" / MASK)[0]
    write_points(inputs / "lesion-clicks.json", [((10, 10, 10), "tumor"), ((1, 1, 1), "background")])
    done = run_script(folder, inputs, tmp_path / "output", before=before)
    assert done.returncode == 0, done.stderr
    clicked = read_mask(tmp_path / "output" / MASK)[0]
    assert (clicked[10, 10, 10], clicked[1, 1, 1]) == (1, 0)
    assert automatic.shape == clicked.shape == make_volume(70)[1].shape
    shutil.rmtree(inputs / "images/pet")
    done = run_script(folder, inputs, tmp_path / "failed", before=before)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "expected the PET of one case" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "failed").exists()


@pytest.mark.real_data
def test_the_entry_script_reads_the_click_files_of_autopet(folder: Path, real_data: Path, tmp_path: Path) -> None:
    before = [*cut_off_the_network(), sys.executable]
    file = real_data / "autopetv/clicks/psma_2109bda82957a5b7_2016-05-16_lesion-clicks.json"
    image, _, _ = make_volume(70)
    inputs = tmp_path / "input"
    # grown until the indices of the points, at most (116, 118, 45), lie in it; of so fine voxels that it stays small
    grown = np.kron(image[0], np.ones((6, 6, 3), dtype=np.float32))
    _, _, geometry = make_volume(70)
    write_image(inputs / "images/pet" / PET_NAME, grown[None], geometry=geometry.resampled(grown.shape))
    shutil.copy(file, inputs / "lesion-clicks.json")
    done = run_script(folder, inputs, tmp_path / "output", before=before)
    assert done.returncode == 0, done.stderr
    mask, _ = read_mask(tmp_path / "output" / MASK)
    assert mask[116, 114, 45] == 1


def test_the_command_writes_the_folder(
    finished: tuple[Path, object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(finished[0] / name))
    monkeypatch.delenv("interactivepet_task", raising=False)
    monkeypatch.chdir(tmp_path)
    assert export_model.main(["--grand-challenge", "gc", "--folds", "1"]) == 0
    assert "gc: a container for autoPET V" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "gc/model/weights").rglob("*.safetensors")] == ["fold_1.safetensors"]


@pytest.mark.parametrize("name", ["a b", ".hidden", "é"])
def test_a_name_that_is_none(name: str, finished: tuple[Path, object], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a name of letters, digits"):
        run_container_export(open_tiny(finished[0]), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_kept(finished: tuple[Path, object], tmp_path: Path) -> None:
    (tmp_path / "gc").mkdir()
    (tmp_path / "gc" / "mine.txt").write_text("mine")
    for path in (tmp_path / "gc", tmp_path / "gc" / "mine.txt"):
        with pytest.raises(ModelError, match="exists already and is not empty"):
            run_container_export(open_tiny(finished[0]), path)
    assert [path.name for path in tmp_path.rglob("*")] == ["gc", "mine.txt"]


def test_a_failed_export_leaves_nothing(
    finished: tuple[Path, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = open_tiny(finished[0])
    with pytest.raises(ArtefactError, match="fold 9 does not exist"):
        run_container_export(workspace, tmp_path / "gc", folds=[9])

    def refuse(*_: object, **__: object) -> None:
        raise ModelError("unfit")

    monkeypatch.setattr(container, "refuse_unfit", refuse)
    with pytest.raises(ModelError, match="unfit"):
        run_container_export(workspace, tmp_path / "gc")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_used(finished: tuple[Path, object], tmp_path: Path) -> None:
    (tmp_path / "gc").mkdir()
    run_container_export(open_tiny(finished[0]), tmp_path / "gc", folds=[0])
    assert (tmp_path / "gc" / "process.py").is_file()


def test_transformers_need_monai() -> None:
    description = describe_model(make_challenge_plan())
    assert "monai" not in container._list_requirements(description)
    network = TransformerPlan(
        architecture="unetr",
        input_channels=4,
        output_channels=2,
        image_size=(16, 16, 16),
        feature_size=4,
        hidden_size=96,
        n_heads=3,
    )
    plans = description.plans
    own = plans.configurations[plans.default]
    changed: dict[str, ConfigurationPlan] = {
        plans.default: own.model_copy(update={"network": network, "patch_size": (16, 16, 16)})
    }
    described = description.model_copy(update={"plans": plans.model_copy(update={"configurations": changed})})
    assert "monai==" in container._list_requirements(described)
