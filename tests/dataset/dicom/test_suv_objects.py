"""The benchmark of IBSI's reference objects for SUV, on objects made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.dataset import Dataset

from tests.benchmarks import suv_objects
from tests.dicom_series import SPACING_MM, write_series

DOSE, DECAYED = 3.5e8, 3.5e8 * 2 ** (-3600 / 6588)
BSA_CM2 = 1e4 * 0.007184 * 175**0.725 * 70**0.425
HEADER = "id,section,description,suv_min,suv_median,suv_max\n"


def write_object(folder: Path, *, scale: float, slope: float, **changes: Any) -> None:
    """Write an object of SUV 0.2, 1 and 4 inside its mask, 0 around.

    Args:
        folder: of the object.
        scale: what SUV of 1 is in the series' units.
        slope: of the rescaling; what does not fit is cut off, as in IBSI's objects.
        **changes: of `make_header`.
    """
    suv = np.ones((4, 5))
    suv[0], suv[1, 0], suv[1, 1] = 0.0, 0.2, 4.0

    def store(k: int, header: Dataset) -> None:
        header.PixelData = np.floor(suv * scale / slope + 1e-6).astype("<i2").tobytes()

    write_series(folder / "PT", change=store, RescaleSlope=f"{slope:.8g}", **changes)
    (folder / "mask").mkdir()
    mask = np.zeros((5, 4, 6), np.uint8)
    mask[:, 1:] = 1
    affine = np.diag([-2.0, -4.0, SPACING_MM, 1.0])
    affine[:3, 3] = 10, 20, 30
    nibabel.save(nibabel.Nifti1Image(mask, affine), folder / "mask" / "DRO_mask.nii.gz")


def run(folder: Path, rows: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> int:
    lines = "".join(f"{name},x,x,{values}\n" for name, values in rows.items())
    (folder / "expected.csv").write_text(HEADER + lines)
    monkeypatch.setattr("sys.argv", ["suv_objects.py", str(folder)])
    return suv_objects.main()


def test_objects_that_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_object(tmp_path / "bqml", scale=DECAYED / 70_000, slope=1.0)
    write_object(tmp_path / "admin", scale=DOSE / 70_000, slope=1.0, DecayCorrection="ADMIN")
    write_object(tmp_path / "gml", scale=1.0, slope=0.1, Units="GML")
    write_object(tmp_path / "fine", scale=BSA_CM2 / 70_000, slope=0.0001, Units="CM2ML", SUVType="BSA")
    write_object(tmp_path / "coarse", scale=BSA_CM2 / 70_000, slope=0.01, Units="CM2ML", SUVType="BSA")
    rows = dict.fromkeys(("bqml", "admin", "gml", "fine", "coarse"), "0.20,1.00,4.00")
    assert run(tmp_path, rows, monkeypatch) == 0
    shown = capsys.readouterr().out
    for name in ("bqml", "admin", "gml", "fine"):
        assert f"| {name} | 0.20 / 1.00 / 4.00 | 0.20 / 1.00 / 4.00 | right |" in shown
    assert "| coarse | 0.20 / 1.00 / 4.00 | 0.19 / 0.98 / 3.98 | right to the file's steps of 0.038 |" in shown
    assert "5 of 5 right" in shown


def test_objects_that_are_wrong_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_object(tmp_path / "early", scale=DOSE / 70_000, slope=1.0)
    write_object(tmp_path / "coarse", scale=1.03, slope=0.1, Units="GML")
    write_object(tmp_path / "refused", scale=1.0, slope=0.1, Units="1CM")
    rows = dict.fromkeys(("early", "coarse", "refused", "absent"), "0.20,1.00,4.00")
    assert run(tmp_path, rows, monkeypatch) == 1
    shown = capsys.readouterr().out
    assert "| early | 0.20 / 1.00 / 4.00 | 0.29 / 1.46 / 5.84 | wrong |" in shown
    assert "| coarse | 0.20 / 1.00 / 4.00 | 0.20 / 1.00 / 4.10 | wrong |" in shown
    assert "| refused | 0.20 / 1.00 / 4.00 | - | error: Units (0054,1001) 1CM" in shown
    assert "| absent | 0.20 / 1.00 / 4.00 | - | error: " in shown
    assert "0 of 4 right" in shown
