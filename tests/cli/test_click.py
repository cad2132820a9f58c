"""`interactivepet_predict --click` and `--picture`: one image, one command, a mask and a look at it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import interactivepet
from interactivepet.cli import generate_dataset_json, predict
from interactivepet.core.interaction import Click
from interactivepet.dataset.files.read import read_mask
from interactivepet.dataset.files.write import write_image, write_text
from interactivepet.reporting.pictures import MASK_COLOUR, SUV_WINDOW
from tests.model.models import write_model
from tests.reporting.test_pictures import count_pixels
from tests.session.test_session import make_case
from tests.tiny import write_tiny_task

FAST = ["--device", "cpu", "--no-tta"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and an image, where no folder of tasks is set."""
    for name in ("raw", "processed", "results", "nninteractive_model", "nninteractive_url"):
        monkeypatch.delenv(f"interactivepet_{name}", raising=False)
    monkeypatch.setenv("interactivepet_n_threads", "1")
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "small.zip")
    case = make_case()
    write_image(tmp_path / "scan.nii.gz", case.image, geometry=case.geometry)
    return tmp_path


def run(*arguments: str, clicks: Sequence[str] = (), out: str = "mask.nii.gz") -> int:
    lines = [part for click in clicks for part in ("--click", click)]
    return predict.main(["--model", "small.zip", "-i", "scan.nii.gz", "-o", out, *FAST, *lines, *arguments])


def make_clicks(*voxels: tuple[tuple[int, int, int], int, bool]) -> list[Click]:
    geometry = make_case().geometry
    points = [tuple(geometry.to_mm(voxel).tolist()) for voxel, _, _ in voxels]
    return [
        Click(position_mm=point, label=label, is_positive=sign)
        for point, (_, label, sign) in zip(points, voxels, strict=True)
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["+ 48 28 10"], make_clicks(((48, 28, 10), 1, True))),
        (["+ 48 28 10 3"], make_clicks(((48, 28, 10), 3, True))),
        (["- 48 28 10"], make_clicks(((48, 28, 10), 1, False))),
        (["+ 48 28 10", "- 55 28 10"], make_clicks(((48, 28, 10), 1, True), ((55, 28, 10), 1, False))),
        (["scribble 48 28 10 58 28 10"], make_clicks(((48, 28, 10), 1, True), ((58, 28, 10), 1, True))),
        (["  +   48   28  10  "], make_clicks(((48, 28, 10), 1, True))),
    ],
)
def test_lines_are_the_clicks_of_the_api(
    folder: Path, capsys: pytest.CaptureFixture[str], lines: list[str], expected: list[Click]
) -> None:
    assert run("--frame", "voxel", clicks=lines) == 0
    told = capsys.readouterr().out
    assert told.startswith("mask.nii.gz: 1: ")
    assert f"{len(expected)} clicks, unmet: none" in told
    model = interactivepet.load_model("small.zip", device="cpu", tta=False)
    with model.open_session("scan.nii.gz") as session:
        session.add_clicks(expected)
        assert np.array_equal(read_mask(folder / "mask.nii.gz")[0], session.segment().mask)
    if expected[0].is_positive:
        assert np.array_equal(model.predict("scan.nii.gz", expected).mask, read_mask(folder / "mask.nii.gz")[0])


def test_points_are_ras_mm_unless_told_otherwise(folder: Path) -> None:
    masks = []
    x, y, z = make_case().geometry.to_mm((48, 28, 10)).tolist()
    for arguments, point in (((), (x, y, z)), (("--frame", "lps"), (-x, -y, z)), (("--frame", "voxel"), (48, 28, 10))):
        assert run(*arguments, clicks=["+ " + " ".join(map(str, point))]) == 0
        masks.append(read_mask(folder / "mask.nii.gz")[0])
    assert masks[0][48, 28, 10] == 1
    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], masks[2])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["+ 1 2"], "cannot read '+ 1 2'; expected '+ x y z [label]'"),
        ([""], "cannot read ''"),
        (["+ 1 2 x"], "'x' is no number"),
        (["+ 1 2 3 1.5"], "'1.5' is no label"),
        (["+ 1 2 3 2"], "label 2, expected one of"),
        (["+ nan 2 3"], "lies outside of the image"),
        (["+ 99 2 3"], "lies outside of the image"),
        (["+ 48 28 10", "+ 99 2 3"], "lies outside of the image"),
        (["box 1 2 3"], "cannot read 'box 1 2 3'"),
        (["box 90 90 90 95 95 95"], "lies outside of the image"),
        (["undo"], "cannot read 'undo'"),
    ],
)
def test_an_invalid_click_is_one_error_and_no_mask(
    folder: Path, capsys: pytest.CaptureFixture[str], lines: list[str], message: str
) -> None:
    assert run("--frame", "voxel", "--picture", "look.png", clicks=lines) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "undo, redo" not in told
    assert sorted(path.name for path in folder.iterdir()) == ["scan.nii.gz", "small.zip"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--click", "+ 1 2 3"], "--click needs -i IMAGE and -o MASK"),
        (["--click", "+ 1 2 3", "-i", "a", "-o", "b", "-in", "c"], "leave -in out"),
        (["--click", "+ 1 2 3", "-i", "a", "-o", "b", "--interactive"], "leave --click out"),
        (["--click", "+ 1 2 3", "-i", "a", "-o", "b", "--save-probabilities"], "does not go with --click"),
        (["--picture", "a.png"], "--picture needs -i and -o"),
        (["--frame", "ras", "-i", "a", "-o", "b"], "--frame goes with -in, --interactive or --click"),
        (["--segmenter", "nestle", "-i", "a", "-o", "b"], "or give --click"),
    ],
)
def test_arguments_that_do_not_go_together(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        predict.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["whole", "click", "click file", "interactive"])
def test_every_mode_draws_its_mask(folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    write_text(folder / "points.csv", "label,x,y,z\ntumour,48,28,10\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("+ 48 28 10\n"))
    arguments, clicks = {
        "whole": ([], []),
        "click": (["--frame", "voxel"], ["+ 48 28 10"]),
        "click file": (["-in", "points.csv", "--frame", "voxel"], []),
        "interactive": (["--interactive", "--frame", "voxel"], []),
    }[mode]
    assert run(*arguments, "--picture", "look.png", clicks=clicks) == 0
    data = (folder / "look.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert count_pixels(data, MASK_COLOUR) > 200
    assert not list(folder.glob(".partial-*"))


def test_a_method_without_training_takes_clicks_and_draws(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny_task(raw, n_training=2)
    assert generate_dataset_json.main(["-m", "PET", "-l", "lesion"]) == 0
    image = next((raw / "Task901_Tiny" / "imagesTr").glob("*.nii.gz"))
    line = ["-i", str(image), "-o", "mask.nii.gz", "--segmenter", "nestle", "--frame", "voxel"]
    assert predict.main([*line, "--click", "+ 11 10 10", "--picture", "look.png"]) == 0
    assert "mask.nii.gz: " in capsys.readouterr().out
    assert read_mask(raw.parent / "mask.nii.gz")[0][11, 10, 10] == 1
    assert count_pixels((raw.parent / "look.png").read_bytes(), MASK_COLOUR) > 200
    for click, message in (("- 11 10 10", "needs a positive click"), ("+ 99 0 0", "lies outside")):
        (raw.parent / "mask.nii.gz").unlink(missing_ok=True)
        assert predict.main([*line, "--click", click]) == 1
        assert message in capsys.readouterr().err
        assert not (raw.parent / "mask.nii.gz").exists()


@pytest.mark.parametrize(
    ("picture", "message"),
    [("look.jpg", "pictures are PNG files; name it look.png"), ("scan.nii.gz", "pictures are PNG files")],
)
def test_a_picture_is_png(folder: Path, picture: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, clicks in (([], []), (["--frame", "voxel"], ["+ 48 28 10"])):
        assert run(*arguments, "--picture", picture, clicks=clicks) == 1
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["scan.nii.gz", "small.zip"]


def test_a_picture_shows_one_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "in").mkdir()
    for name in ("a", "b"):
        write_image(folder / "in" / f"{name}.nii.gz", make_case().image, geometry=make_case().geometry)
    assert predict.main(["--model", "small.zip", "-i", "in", "-o", "out", "--picture", "look.png", *FAST]) == 1
    assert "--picture shows one mask" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_suv_has_one_grey_scale(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from interactivepet.reporting import pictures

    seen: list[object] = []
    real = pictures.draw_answer
    monkeypatch.setattr(
        pictures, "draw_answer", lambda *a, **k: seen.append((k["window"], k["title"])) or real(*a, **k)
    )
    assert run("--frame", "voxel", "--picture", "look.png", clicks=["+ 48 28 10"]) == 0
    assert seen == [(SUV_WINDOW, "scan, SUV 0 to 7")]
