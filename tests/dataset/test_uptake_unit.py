from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactivepet.core.suv import DicomSource, SuvRecord, SuvRule, SuvVariant
from interactivepet.core.uptake import UptakeUnit
from interactivepet.dataset.files.write import write_text
from interactivepet.dataset.uptake_unit import find_unit, read_noted_unit
from interactivepet.errors import ArtefactError


def put_note(folder: Path, variant: SuvVariant) -> None:
    source = DicomSource(
        folder="x", n_files=1, series_uid="1", study_uid="2", frame_of_reference_uid="3", modality="PT"
    )
    rule = SuvRule(variant=variant, units="BQML", rule="a rule", factor=1.0)
    write_text(folder / "A.suv.json", SuvRecord(pet=source, suv=rule).model_dump_json())


@pytest.mark.parametrize(
    ("variant", "channel", "value", "unit"),
    [
        (None, "PET", 2.0, "suv"),
        (None, "FDG", 49.0, "suv"),
        (None, "PET", 0.0, "suv"),
        (None, "PET", 51.0, "unknown"),
        (None, "PET", 20000.0, "unknown"),
        (None, "SPECT", 2.0, "unknown"),
        (None, "CT", 2.0, "unknown"),
        ("bw", "PET", 20000.0, "suv"),
        ("lbm", "PET", 2.0, "sul"),
        ("ibw", "SPECT", 2.0, "suv_ibw"),
        ("bsa", "PET", 300.0, "suv_bsa"),
    ],
)
def test_the_unit_of_an_image(
    variant: SuvVariant | None, channel: str, value: float, unit: UptakeUnit, tmp_path: Path
) -> None:
    if variant is not None:
        put_note(tmp_path, variant)
    values = np.zeros((4, 4, 4), np.float32)
    values[1:3] = value
    assert find_unit(tmp_path / "A_0000.nii.gz", values, case="A", channel=channel) == unit


def test_a_damaged_note_is_refused(tmp_path: Path) -> None:
    (tmp_path / "A.suv.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"A\.suv\.json"):
        read_noted_unit(tmp_path / "A_0000.nii.gz", case="A")


def test_the_note_of_another_case_is_not_read(tmp_path: Path) -> None:
    put_note(tmp_path, "lbm")
    assert read_noted_unit(tmp_path / "B_0000.nii.gz", case="B") is None
