from __future__ import annotations

from datetime import datetime

import pytest
from pydantic import ValidationError

from interactivepet.core.suv import DicomSource, SuvRecord, SuvRule

PET = DicomSource(
    folder="/data", n_files=3, series_uid="1.2", study_uid="1", frame_of_reference_uid="1.3", modality="PT"
)


def test_a_record_survives_json() -> None:
    rule = SuvRule(
        variant="lbm",
        units="BQML",
        rule="words",
        reference_time=datetime(2020, 1, 2, 3, 4, 5, 600000),
        factor=0.25,
        slice_factors=(0.25, 0.5),
        warnings=("odd",),
    )
    record = SuvRecord(pet=PET, suv=rule, masks={"a.dcm": {"gtv*": ("GTV_1", "GTV_2")}})
    assert SuvRecord.model_validate_json(record.model_dump_json()) == record


def test_no_place_for_a_name() -> None:
    fields = {*DicomSource.model_fields, *SuvRule.model_fields, *SuvRecord.model_fields}
    assert not any("name" in field or "patient" in field or "birth" in field for field in fields)
    with pytest.raises(ValidationError):
        DicomSource.model_validate(PET.model_dump() | {"patient_name": "A"})


def test_a_note_of_an_older_import_still_loads() -> None:
    note = {"variant": "bw", "units": "BQML", "rule": "activity", "factor": 0.5, "warnings": []}
    rule = SuvRule.model_validate(note)
    assert (rule.reference_candidates, rule.n_time_frames, rule.time_frame) == ({}, 1, None)
