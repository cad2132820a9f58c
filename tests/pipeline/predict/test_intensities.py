"""Images in another unit than the training cases: told or refused wherever a trained model meets them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path

import numpy as np
import pytest

from interactivepet.cli import predict, simulate, test
from interactivepet.core.case import Case
from interactivepet.core.checkpoint import CheckpointCard
from interactivepet.core.dataset import IssueList
from interactivepet.core.fingerprint import Fingerprint
from interactivepet.core.geometry import Geometry
from interactivepet.core.intensities import FACTOR_LIMIT, IntensityRange, measure_range
from interactivepet.core.plan import Plans
from interactivepet.dataset.files.read import read_image
from interactivepet.dataset.files.write import read_artefact, write_artefact, write_image, write_mask
from interactivepet.dataset.folders.mip import read_projection
from interactivepet.errors import CaseError
from interactivepet.pipeline.executor import InlineExecutor
from interactivepet.pipeline.predict.intensities import check_intensities
from interactivepet.pipeline.predict.model import open_trained_model
from interactivepet.pipeline.predict.models import Models, PredictionOptions, open_models
from interactivepet.pipeline.predict.requests import make_folder_request
from interactivepet.pipeline.prepare.steps import run_generate_dataset_json, run_verification
from interactivepet.pipeline.workspace import Workspace
from interactivepet.planning.plan import make_plans
from tests.planning.factory import make_fingerprint
from tests.tiny import TASK, make_volume, open_tiny

OPTIONS = PredictionOptions(tta=False, device="cpu")
REFUSED = r"new: PET [\d.e+]+ to [\d.e+]+, in the training cases 0\.[\d]+ to [\d.]+: \d+ times more than in any of them"
FAINT = r"new: PET .* times less than in any of them, so it is in another unit; convert the image, or .*--any-intensity"


def make_image(factor: float, offset: float = 0.0) -> tuple[np.ndarray, Geometry]:
    image, _, geometry = make_volume(77)
    return (image * factor + offset).astype(np.float32), geometry


@pytest.fixture
def command(
    finished: tuple[Path, object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[float], list[str]]:
    """Write an image, and give the command line that predicts it."""
    monkeypatch.chdir(tmp_path)
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(finished[0] / name))
    monkeypatch.delenv("interactivepet_task", raising=False)

    def make(factor: float) -> list[str]:
        image, geometry = make_image(factor)
        write_image(tmp_path / "new.nii.gz", image, geometry=geometry)
        return ["-i", str(tmp_path / "new.nii.gz"), "-o", str(tmp_path / "mask.nii.gz"), "--no-tta", "--device", "cpu"]

    return make


@pytest.fixture(scope="module")
def models(finished: tuple[Path, object]) -> Models:
    with open_models(open_tiny(finished[0]), OPTIONS) as opened:
        return opened


@pytest.mark.parametrize(
    ("factor", "offset", "expected"),
    [
        (1.0, 0.0, None),
        (0.3, 0.0, None),
        (4.0, 0.0, None),
        (20.0, 0.0, "in another unit its mask is wrong"),
        (0.05, 0.0, "in another unit its mask is wrong"),
        (1.0, 100.0, "in another unit its mask is wrong"),
        (100.0, 0.0, REFUSED),
        (6000.0, 0.0, REFUSED),
        (1e-3, 0.0, FAINT),
    ],
)
def test_an_image_is_compared_with_training(
    models: Models, factor: float, offset: float, expected: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    image, geometry = make_image(factor, offset)
    case = Case("new", image, geometry)
    if expected in (REFUSED, FAINT):
        with pytest.raises(CaseError, match=str(expected)):
            check_intensities(case, models, any_intensity=False)
        expected = "in another unit its mask is wrong"
    with caplog.at_level(logging.WARNING):
        check_intensities(case, models, any_intensity=True)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (expected is not None)
    if expected is not None:
        assert expected in told[0]
        assert "in the training cases" in told[0]


def test_normalised_by_each_image_nothing_is_compared(models: Models, caplog: pytest.LogCaptureFixture) -> None:
    own = models.plans.configurations["3d_fullres"]
    free = own.model_copy(update={"normalisation": (own.normalisation[0].model_copy(update={"scheme": "zscore"}),)})
    plans = models.plans.model_copy(update={"configurations": {"3d_fullres": free}})
    image, geometry = make_image(1e6)
    check_intensities(Case("new", image, geometry), replace(models, plans=plans), any_intensity=False)
    unknown = replace(models, intensities=None)
    check_intensities(Case("new", image, geometry), unknown, any_intensity=False)
    assert not caplog.records


@pytest.mark.parametrize(
    ("factors", "refused"),
    [
        ((1.0, 1.0), None),
        ((5000.0, 1.0), "PET"),
        ((1.0, 0.001), "CT"),
        ((1.0, 100.0), "CT"),
        # the other one of the channels has no unit
        ((1.0, 1.0, 1e6), None),
    ],
)
def test_every_channel_with_a_unit_is_compared(factors: tuple[float, ...], refused: str | None) -> None:
    names = ("PET", "CT", "MR")[: len(factors)]
    plans = make_plans(make_fingerprint(channels=names), "cpu")
    pet, geometry = make_image(1.0)
    image = np.concatenate((pet, pet * 200 - 1000, pet))[: len(factors)]
    seen = tuple(found for channel in image if (found := measure_range(channel)) is not None)
    models = Models(plans, {}, None, None, (), seen)
    case = Case("new", (image * np.reshape(factors, (-1, 1, 1, 1))).astype(np.float32), geometry)
    if refused is None:
        check_intensities(case, models, any_intensity=False)
        return
    with pytest.raises(CaseError, match=f"^new: {refused} "):
        check_intensities(case, models, any_intensity=False)


def test_old_cards_leave_it_to_the_fingerprint_and_old_fingerprints_to_their_percentiles(copied: Path) -> None:
    workspace = open_tiny(copied)
    with open_models(workspace, OPTIONS) as now:
        assert now.intensities is not None
    fingerprint = read_artefact(workspace.fingerprint, Fingerprint, command="")
    assert fingerprint.intensities == now.intensities
    old = fingerprint.model_copy(update={"intensities": None})
    write_artefact(workspace.fingerprint, old)
    plans = read_artefact(workspace.plans, Plans, command="")
    write_artefact(workspace.plans, plans.model_copy(update={"made_from": old.content_hash()}))
    for fold in range(3):
        path = workspace.card("3d_fullres", fold)
        card = read_artefact(path, CheckpointCard, command="")
        write_artefact(path, card.model_copy(update={"intensities": None}))
    workspace.ensemble.unlink()
    with open_models(workspace, OPTIONS) as before:
        assert before.intensities is not None
    (known,) = before.intensities
    assert known.low <= now.intensities[0].low
    assert known.high == pytest.approx(now.intensities[0].high, rel=0.2)
    workspace.fingerprint.unlink()
    with open_models(workspace, OPTIONS) as without:
        assert without.intensities is None


def test_predict_refuses_another_unit_unless_told(
    command: Callable[[float], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = command(5000.0)
    assert predict.main(line) == 1
    assert "--any-intensity" in capsys.readouterr().err
    assert not (tmp_path / "mask.nii.gz").exists()
    assert predict.main([*line, "--interactive"]) == 1
    assert "error: new: PET" in capsys.readouterr().err
    assert predict.main([*line, "--any-intensity"]) == 0
    assert (tmp_path / "mask.nii.gz").is_file()


def test_a_session_refuses_another_unit(finished: tuple[Path, object], command: Callable[[float], list[str]]) -> None:
    command(5000.0)
    workspace = open_tiny(finished[0])
    request = make_folder_request(workspace, Path("new.nii.gz"), clicks_folder=None, out=Path("out"))
    case = request.read(request.entries[0], channels=["PET"])
    with pytest.raises(CaseError, match=REFUSED):
        open_trained_model(workspace, OPTIONS).open_session(case)


def test_test_and_simulate_have_the_option(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    for name in ("raw", "processed", "results"):
        monkeypatch.setenv(f"interactivepet_{name}", str(copied / name))
    image, _, geometry = make_volume(6)
    write_image(copied / "raw" / TASK / "imagesTs" / "TINY_006_0000.nii.gz", image * 5000, geometry=geometry)
    for main, line in (
        (test.main, ["--no-tta", "--device", "cpu"]),
        (simulate.main, ["--test", "--clicks", "1", "--no-tta", "--device", "cpu"]),
    ):
        assert main(line) == 1
        assert "TINY_006: PET" in capsys.readouterr().err
        assert main([*line, "--any-intensity"]) == 0
        capsys.readouterr()


def write_task(root: Path, factors: dict[str, float], *, channel: str = "PET", offset: float = 0.0) -> Workspace:
    workspace = Workspace.of("T", raw=root / "raw", processed=root / "processed", results=root / "results")
    for number, (name, factor) in enumerate(factors.items()):
        image, label, geometry = make_volume(number)
        if channel == "CT":
            image = image * 20 - 1000.0 * (image < 1)
        write_image(
            workspace.raw / "imagesTr" / f"{name}.nii.gz",
            (image * factor + (offset if factor == 1.0 and name == "D" else 0)).astype(np.float32),
            geometry=geometry,
        )
        write_mask(workspace.raw / "labelsTr" / f"{name}.nii.gz", label, geometry=geometry)
    run_generate_dataset_json(workspace, channels=[channel], labels=["lesion"])
    return workspace


@pytest.mark.parametrize(
    ("channel", "factors", "offset", "told"),
    [
        ("PET", {"A": 1, "B": 1, "C": 1, "D": 1}, 0, []),
        ("PET", {"A": 1, "B": 2, "C": 0.5, "D": 3}, 0, []),
        ("PET", {"A": 1, "B": 1, "C": 5000, "D": 1}, 0, ["C"]),
        ("PET", {"A": 5000, "B": 5000, "C": 5000, "D": 1}, 0, ["D"]),
        ("PET", {"A": 1, "B": 1, "C": 5000, "D": 1e-4}, 0, ["C", "D"]),
        ("PET", {"A": 1, "B": 1, "C": 1, "D": 1}, 200, ["D"]),
        ("PET", {"A": 1}, 0, []),
        ("CT", {"A": 1, "B": 1, "C": 1, "D": 0.001}, 0, ["D"]),
        ("CT", {"A": 1, "B": 1, "C": 1, "D": 1}, 4000, ["D"]),
        ("MR", {"A": 1, "B": 1, "C": 5000, "D": 1}, 0, []),
        ("SPECT", {"A": 1, "B": 1, "C": 5000, "D": 1}, 0, []),
    ],
)
def test_verification_tells_cases_in_another_unit(
    channel: str, factors: dict[str, float], offset: float, told: list[str], tmp_path: Path
) -> None:
    found: IssueList = run_verification(write_task(tmp_path, factors, channel=channel, offset=offset), InlineExecutor())
    units = [issue for issue in found.issues if issue.kind == "intensity"]
    assert [issue.case for issue in units] == told
    for issue in units:
        assert issue.severity == "note"
        assert issue.found.startswith(f"{channel} from ")
        assert "other cases" in issue.expected


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("Task501_STSPET", "imagesTr/*_0000.nii.gz"),
        ("Task502_STSPETCT", "imagesTr/*_0001.nii.gz"),
        ("MPI_SPECT", "NIfTI/*[!k].nii.gz"),
        ("mip_pet", "*/imgs/*.png"),
    ],
)
def test_no_false_alarm(real_data: Path, folder: str, pattern: str) -> None:
    images = [
        (read_projection(path) if path.suffix == ".png" else read_image([path]))[0]
        for path in sorted((real_data / folder).glob(pattern))
    ]
    ranges = [measure_range(image[0]) for image in images]
    known = [found for found in ranges if found is not None]
    assert len(known) == len(ranges) > 30
    for number, found in enumerate(known):
        seen = reduce(IntensityRange.joined, [*known[:number], *known[number + 1 :]])
        assert not found.is_outside(seen)
        assert found.factor(seen) < FACTOR_LIMIT / 20
