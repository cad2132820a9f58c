"""Pages of measured cases: there for every case that was measured, and gone with what they showed."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from interactivepet.cli import measure
from interactivepet.dataset.files.write import write_image
from interactivepet.pipeline.judge.measure_jobs import find_cases
from interactivepet.pipeline.judge.measure_pages import BATCH_PAGE, locate_page
from tests.dicom_series import draw_masks, write_grid
from tests.pipeline.judge.test_measure import GEOMETRY, make_image, put_image, put_mask, run


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def list_pages(out: Path) -> list[str]:
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*.html"))


def put_cases(root: Path, *cases: str) -> tuple[Path, Path]:
    for case in cases:
        put_image(root / "images" / f"{case}.nii.gz")
        put_mask(root / "masks" / f"{case}.nii.gz")
    return root / "images", root / "masks"


def test_every_case_has_a_page_that_the_page_of_all_links(tmp_path: Path) -> None:
    images, masks = put_cases(tmp_path, "A", "B 1", "ü#2")
    out = tmp_path / "out"
    run(find_cases(images, masks), out, pages=True)
    links = re.findall(r'<a href="([^"]+)">', read(out / BATCH_PAGE))
    assert [unquote(link) for link in links] == ["pages/A.html", "pages/B 1.html", "pages/ü#2.html"]
    assert all((out / unquote(link)).is_file() for link in links)
    page = read(locate_page(out, "A"))
    for text in ("8.00", "SUVmax", "label_1", "A.nii.gz", "interactivepet", "numpy", "26 neighbours"):
        assert text in page, text
    assert not list(out.rglob(".partial*"))


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        (True, True, ["index.html", "pages/A.html", "pages/B.html"]),
        (False, True, ["index.html", "pages/A.html", "pages/B.html"]),
        (False, False, []),
    ],
    ids=["twice", "later", "never"],
)
def test_pages_may_be_asked_for_later(tmp_path: Path, first: bool, then: bool, expected: list[str]) -> None:
    found = find_cases(*put_cases(tmp_path, "A", "B"))
    run(found, tmp_path / "out", pages=first)
    assert run(found, tmp_path / "out", pages=then).n_kept == (2 if first == then else 0)
    assert list_pages(tmp_path / "out") == expected


@pytest.mark.parametrize("pages", [True, False], ids=["with pages", "without"])
def test_no_page_shows_what_is_not_measured_any_more(tmp_path: Path, pages: bool) -> None:
    images, masks = put_cases(tmp_path, "A", "B")
    out = tmp_path / "out"
    run(find_cases(images, masks), out, pages=True)
    image = make_image()
    image[0, 0, 0, 0] = np.nan
    write_image(images / "A.nii.gz", image, geometry=GEOMETRY)
    measured = run(find_cases(images, masks), out, pages=pages)
    assert list(measured.failures) == ["A"]
    assert list_pages(out) == ["index.html", "pages/B.html"] if pages else ["pages/B.html"]
    if pages:
        assert "not finite" in read(out / BATCH_PAGE)
        assert "1</b> of 2 patients" in read(out / BATCH_PAGE)


def test_a_change_of_the_mask_changes_the_page(tmp_path: Path) -> None:
    images, masks = put_cases(tmp_path, "A")
    out = tmp_path / "out"
    run(find_cases(images, masks), out, pages=True)
    before = read(locate_page(out, "A"))
    put_mask(masks / "A.nii.gz", value=2)
    run(find_cases(images, masks), out, pages=True)
    assert "label_2" in read(locate_page(out, "A"))
    assert read(locate_page(out, "A")) != before


@pytest.mark.parametrize("unit", ["sul", "bq_per_ml", "counts"])
def test_pages_have_the_unit_of_the_measures(tmp_path: Path, unit: str) -> None:
    found = find_cases(*put_cases(tmp_path, "A"), unit=unit)  # type: ignore[arg-type]
    run(found, tmp_path / "out", unit=unit, pages=True)
    page = read(locate_page(tmp_path / "out", "A"))
    assert {"sul": "SULmax", "bq_per_ml": "Bq/ml", "counts": "counts"}[unit] in page
    assert "SUVmax" not in page


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, masks = put_cases(tmp_path, "A")
    command = ["-i", str(images), "-p", str(masks), "-o", str(tmp_path / "out"), "-np", "1"]
    assert measure.main(command) == 0
    assert "index.html" not in capsys.readouterr().out
    assert measure.main([*command, "--pages", "--liver", "2.1", "0.3"]) == 0
    assert "index.html" in capsys.readouterr().out
    assert "Peak / liver" in read(locate_page(tmp_path / "out", "A"))


def test_a_dicom_tree_has_pages(tmp_path: Path) -> None:
    from interactivepet.dataset.dicom.seg import write_seg

    series, geometry = write_grid(tmp_path / "dicom" / "PT", patient="A^B")
    mask = draw_masks(geometry.shape)["labels"]
    labels = {"tumour": 1, "node": 2, "core": 3}
    write_seg(tmp_path / "dicom" / "a.dcm", mask, geometry=geometry, labels=labels, series=series)
    found = find_cases(tmp_path / "dicom", None)
    measured = run(found, tmp_path / "out", pages=True)
    page = read(locate_page(tmp_path / "out", measured.cases[0].case))
    assert "12 files" in page
    assert "a.dcm" in page
