"""SUV of headers as IBSI's manual for SUV describes them: what each gives, or why it is refused."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import pytest
from pydicom.dataset import Dataset

from interactivepet.core.suv import SuvRule
from interactivepet.dataset.dicom.pet_tags import PetTags, read_pet_tags
from interactivepet.dataset.dicom.suv import find_missing_tags, find_suv_factors
from interactivepet.errors import CaseError
from tests.dicom_series import make_header

DOSE, HALF_LIFE, WEIGHT, HEIGHT_CM = 3.5e8, 6588.0, 70.0, 175.0
DECAY = math.log(2) / HALF_LIFE
JAMES_M = 1.10 * 70 - 128 * (70 / 175) ** 2
MORGAN_M, MORGAN_F = 1.10 * 70 - 120 * (70 / 175) ** 2, 1.07 * 70 - 148 * (70 / 175) ** 2
JANMA_M = 9270 * 70 / (6680 + 216 * 70 / 1.75**2)
JANMA_F = 9270 * 70 / (8780 + 244 * 70 / 1.75**2)
IBW_M, IBW_F = 48.0 + 1.06 * (175 - 152), 45.5 + 0.91 * (175 - 152)
BSA_CM2 = 1e4 * 0.007184 * 175**0.725 * 70**0.425
CORRECTIONS = ["NORM", "DTIM", "ATTN", "SCAT", "DECY", "RAN"]


def by_dose(uptake_s: float, *, size: float = 1000 * WEIGHT, half_life: float = HALF_LIFE) -> float:
    return size / (DOSE * 2 ** (-uptake_s / half_life))


def mean_time(duration_s: float) -> float:
    return math.log(DECAY * duration_s / (1 - math.exp(-DECAY * duration_s))) / DECAY


def read(*slices: dict[str, Any]) -> PetTags:
    """Read headers of one slice each; `private` holds elements (group, element) without a private creator."""
    headers: list[Dataset] = []
    for changes in slices:
        header = make_header(**{name: value for name, value in changes.items() if name != "private"})
        for tag, (representation, value) in changes.get("private", {}).items():
            header.add_new(tag, representation, value)
        headers.append(header)
    return read_pet_tags(headers)


def convert(
    *slices: dict[str, Any], variant: Any = "bw", long_uptake: bool = False
) -> tuple[tuple[float, ...], SuvRule]:
    tags = read(*slices)
    assert find_missing_tags(tags, variant=variant) == ()
    return find_suv_factors(tags, variant=variant, long_uptake=long_uptake)


GML = {"Units": "GML"}
PHILIPS = {"Units": "CNTS", "Manufacturer": "Philips Medical Systems"}
SUV_FACTOR, ACTIVITY_FACTOR, GE_START = (0x7053, 0x1000), (0x7053, 0x1009), (0x0009, 0x100D)
COUNTS = {"CorrectedImage": CORRECTIONS, "ActualFrameDuration": 300_000}
"""PixelSpacing 4 x 2 mm and SliceThickness 5 mm: 0.04 ml."""

ONE_SLICE: list[tuple[str, dict[str, Any], str, float]] = [
    # name, header, variant, factor
    ("GML of no type is by body weight", GML, "bw", 1.0),
    ("GML by body weight", GML | {"SUVType": "BW"}, "bw", 1.0),
    ("LBM, man", GML | {"SUVType": "LBM"}, "bw", WEIGHT / MORGAN_M),
    ("LBM, woman", GML | {"SUVType": "LBM", "PatientSex": "F"}, "bw", WEIGHT / MORGAN_F),
    ("LBM, other", GML | {"SUVType": "LBM", "PatientSex": "O"}, "bw", WEIGHT / ((MORGAN_M + MORGAN_F) / 2)),
    ("LBMJAMES128, man", GML | {"SUVType": "LBMJAMES128"}, "bw", WEIGHT / JAMES_M),
    ("LBMJAMES128, woman", GML | {"SUVType": "LBMJAMES128", "PatientSex": "F"}, "bw", WEIGHT / MORGAN_F),
    ("LBMJANMA, man", GML | {"SUVType": "LBMJANMA"}, "bw", WEIGHT / JANMA_M),
    ("LBMJANMA, woman", GML | {"SUVType": "LBMJANMA", "PatientSex": "F"}, "bw", WEIGHT / JANMA_F),
    ("IBW, man", GML | {"SUVType": "IBW"}, "bw", WEIGHT / IBW_M),
    ("IBW, woman", GML | {"SUVType": "IBW", "PatientSex": "F"}, "bw", WEIGHT / IBW_F),
    ("IBW, other", GML | {"SUVType": "IBW", "PatientSex": "O"}, "bw", WEIGHT / ((IBW_M + IBW_F) / 2)),
    ("LBM to Janmahasatian", GML | {"SUVType": "LBM"}, "lbm", JANMA_M / MORGAN_M),
    ("IBW to body surface", GML | {"SUVType": "IBW"}, "bsa", BSA_CM2 / (1000 * IBW_M)),
    ("IBW as it is", GML | {"SUVType": "IBW", "PatientWeight": None, "PatientSex": None}, "ibw", 1.0),
    ("height in cm", GML | {"SUVType": "IBW", "PatientSize": "175"}, "bw", WEIGHT / IBW_M),
    ("CM2ML", {"Units": "CM2ML", "SUVType": "BSA"}, "bw", 1000 * WEIGHT / BSA_CM2),
    ("CM2ML of no type, other", {"Units": "CM2ML", "PatientSex": "O"}, "bw", 1000 * WEIGHT / BSA_CM2),
    ("CM2ML as it is", {"Units": "CM2ML", "PatientWeight": None}, "bsa", 1.0),
    ("Bq/ml to ideal body weight", {}, "ibw", by_dose(3600, size=1000 * IBW_M)),
    ("Bq/ml to ideal body weight, other", {"PatientSex": "O"}, "ibw", by_dose(3600, size=500 * (IBW_M + IBW_F))),
    ("Bq/ml to lean body mass, other", {"PatientSex": "O"}, "lbm", by_dose(3600, size=500 * (JANMA_M + JANMA_F))),
    ("Philips' SUV factor, no creator", PHILIPS | {"private": {SUV_FACTOR: ("DS", "0.0005")}}, "bw", 0.0005),
    ("the same as bytes", PHILIPS | {"private": {SUV_FACTOR: ("UN", b"0.0005 ")}}, "bw", 0.0005),
    (
        "Philips' SUV factor to ideal body weight",
        PHILIPS | {"private": {SUV_FACTOR: ("DS", "0.5")}},
        "ibw",
        0.5 * IBW_M / WEIGHT,
    ),
    (
        "Philips' activity factor, no creator",
        PHILIPS | {"private": {ACTIVITY_FACTOR: ("DS", "2.5")}},
        "bw",
        2.5 * by_dose(3600),
    ),
    (
        "Philips' SUV factor of 0",
        PHILIPS | {"private": {SUV_FACTOR: ("DS", "0.0"), ACTIVITY_FACTOR: ("DS", "2.5")}},
        "bw",
        2.5 * by_dose(3600),
    ),
    (
        "Philips' factor, no manufacturer",
        {"Units": "CNTS", "Manufacturer": "", "private": {SUV_FACTOR: ("DS", "0.5")}},
        "bw",
        0.5,
    ),
    (
        "counts per second, calibration factor",
        COUNTS | {"Units": "CPS", "DoseCalibrationFactor": "164"},
        "bw",
        164 / 0.04 * by_dose(3600),
    ),
    (
        "counts per second, calibrated",
        COUNTS | {"Units": "CPS", "CorrectedImage": [*CORRECTIONS, "DCAL"]},
        "bw",
        1 / 0.04 * by_dose(3600),
    ),
    (
        "counts without Philips' factors",
        COUNTS | {"Units": "CNTS", "CorrectedImage": [*CORRECTIONS, "DCAL"]},
        "bw",
        1 / 300 / 0.04 * by_dose(3600),
    ),
    ("dose in MBq", {"RadionuclideTotalDose": "350"}, "bw", by_dose(3600)),
    ("weight in g", {"PatientWeight": "70000"}, "bw", by_dose(3600)),
    ("ADMIN", {"DecayCorrection": "ADMIN"}, "bw", 1000 * WEIGHT / DOSE),
    (
        "only a date and time of injection",
        {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": "20200102090000.000000"},
        "bw",
        by_dose(3600),
    ),
    ("only a time of injection", {"RadiopharmaceuticalStartTime": "090000.000000"}, "bw", by_dose(3600)),
    (
        "over midnight, only a time of injection",
        {"SeriesTime": "003000", "AcquisitionTime": "003000", "RadiopharmaceuticalStartTime": "233000"},
        "bw",
        by_dose(3600),
    ),
    (
        "AcquisitionTime missing",
        {"AcquisitionTime": None, "AcquisitionDate": None, "AcquisitionDateTime": "20200102100000.000000"},
        "bw",
        by_dose(3600),
    ),
    ("gallium-68", {"RadionuclideHalfLife": "4057.74"}, "bw", by_dose(3600, half_life=4057.74)),
    (
        "SeriesTime missing",
        {"SeriesTime": None, "ActualFrameDuration": 300_000, "FrameReferenceTime": "149605"},
        "bw",
        by_dose(3600),
    ),
]


@pytest.mark.parametrize(
    ("header", "variant", "factor"), [row[1:] for row in ONE_SLICE], ids=[row[0] for row in ONE_SLICE]
)
def test_headers_that_become_suv(header: dict[str, Any], variant: str, factor: float) -> None:
    (found,), rule = convert(header, variant=variant)
    assert found == pytest.approx(factor, rel=2e-5)
    assert rule.variant == variant


@pytest.mark.parametrize(
    ("code", "half_life"), [("C-111A1", 6586.2), ("77004003", 6586.2), ("C-131A3", 4062.6), ("C-105A1", 1221.8)]
)
def test_a_missing_half_life_is_that_of_the_code(code: str, half_life: float) -> None:
    header = make_header(RadionuclideHalfLife=None)
    item = Dataset()
    item.CodeValue = code
    header.RadiopharmaceuticalInformationSequence[0].RadionuclideCodeSequence = [item]
    (factor,), rule = find_suv_factors(read_pet_tags([header]), variant="bw")
    assert factor == pytest.approx(by_dose(3600, half_life=half_life))
    assert any("RadionuclideHalfLife is missing" in warning for warning in rule.warnings)
    item.CodeValue = "C-99999"
    (missing,) = find_missing_tags(read_pet_tags([header]), variant="bw")
    assert missing.startswith("RadionuclideHalfLife")


def bed(clock: str, offset_ms: float, *, duration_ms: int = 600_000, **changes: Any) -> dict[str, Any]:
    """One slice of a bed position."""
    values = {"AcquisitionTime": clock, "FrameReferenceTime": f"{offset_ms:.3f}", "ActualFrameDuration": duration_ms}
    return values | changes


MEAN_MS = 1000 * mean_time(600)
LATE = {"SeriesTime": "103000"}
MULTIPLE: list[tuple[str, list[dict[str, Any]], tuple[float, ...], str, str]] = [
    # name, slices, uptake of each factor in s, part of the reason, part of a warning (empty: none)
    (
        "beds that agree",
        [bed("100000", MEAN_MS), bed("101000", MEAN_MS + 600_000)],
        (3600,),
        "on which all slices agree",
        "",
    ),
    (
        "a later SeriesTime",
        [bed("100230", MEAN_MS + 150_000, **LATE), bed("100500", MEAN_MS + 300_000, **LATE)],
        (3600,),
        "on which all slices agree",
        "SUV by SeriesTime (2020-01-02 10:30:00) would differ by more than 1 %",
    ),
    (
        "only beds that lie late in the scan",
        [bed("104000", MEAN_MS + 2_400_000)],
        (3600,),
        "on which all slices agree",
        "",
    ),
    (
        "GE's start differs",
        [bed("100000", MEAN_MS, Manufacturer="GE MEDICAL SYSTEMS", private={GE_START: ("DT", "20200102094500.00")})],
        (3600,),
        "on which all slices agree",
        "SUV by GE's private scan start (0009,100D) (2020-01-02 09:45:00)",
    ),
    (
        "GE's start without a creator, frames unknown",
        [
            {"Manufacturer": "GE MEDICAL SYSTEMS", "private": {GE_START: ("DT", "20200102100000.00")}}
            | {"AcquisitionTime": "100500"}
            | LATE
        ],
        (3600,),
        "GE's private",
        "",
    ),
    (
        "another maker's element is not GE's",
        [
            {"Manufacturer": "SIEMENS", "private": {GE_START: ("DT", "20200102094500.00")}, "AcquisitionTime": "100500"}
            | LATE
        ],
        (3900,),
        "earliest AcquisitionTime",
        "",
    ),
    (
        "FrameReferenceTime counts to the frame's start, as DecayFactor shows",
        [
            bed("100000", 0, DecayFactor=f"{math.exp(DECAY * mean_time(600)):.6f}"),
            bed("100000", 600_000, DecayFactor=f"{math.exp(DECAY * (600 + mean_time(600))):.6f}"),
        ],
        (3600,),
        "SeriesTime, which is not later than the earliest AcquisitionTime; FrameReferenceTime counts to the start",
        "",
    ),
    (
        "the same for a single bed",
        [bed("100000", 600_000, DecayFactor=f"{math.exp(DECAY * (600 + mean_time(600))):.6f}")],
        (3600,),
        "as DecayFactor shows",
        "",
    ),
    (
        "beds that contradict each other",
        [bed("100000", MEAN_MS), bed("100000", MEAN_MS + 600_000)],
        (3600,),
        "SeriesTime",
        "contradict each other",
    ),
    (
        "FrameReferenceTime of zero",
        [bed("100000", 0)],
        (3600,),
        "SeriesTime",
        "before the middle of its own frame",
    ),
    (
        "FrameReferenceTime in s",
        [bed("100000", MEAN_MS / 1000)],
        (3600,),
        "SeriesTime",
        "before the middle of its own frame",
    ),
    (
        "FrameReferenceTime of a day",
        [bed("100000", 86_400_000)],
        (3600,),
        "SeriesTime",
        "longer than any scan",
    ),
    (
        "beds on both sides of midnight",
        [
            bed("235500", MEAN_MS, SeriesTime="235500", RadiopharmaceuticalStartTime="225500"),
            bed(
                "000500",
                MEAN_MS + 600_000,
                AcquisitionDate="20200103",
                SeriesTime="235500",
                RadiopharmaceuticalStartTime="225500",
            ),
        ],
        (3600,),
        "on which all slices agree",
        "",
    ),
    (
        "SeriesTime of another day's time",
        [bed("100000", MEAN_MS, SeriesTime="060000")],
        (3600,),
        "on which all slices agree",
        "SUV by SeriesTime",
    ),
    (
        "no correction, two beds",
        [
            bed("100000", 1, DecayCorrection="NONE", CorrectedImage=["ATTN"]),
            bed("100500", 1, DecayCorrection="NONE", CorrectedImage=["ATTN"]),
        ],
        (3600 + MEAN_MS / 1000, 3900 + MEAN_MS / 1000),
        "mean time of each slice's frame",
        "",
    ),
]


@pytest.mark.parametrize(
    ("slices", "uptakes", "reason", "warning"), [row[1:] for row in MULTIPLE], ids=[row[0] for row in MULTIPLE]
)
def test_the_time_that_voxels_refer_to(
    slices: list[dict[str, Any]], uptakes: tuple[float, ...], reason: str, warning: str
) -> None:
    factors, rule = convert(*slices)
    assert factors == pytest.approx([by_dose(uptake) for uptake in uptakes], rel=1e-5)
    assert reason in rule.reference_reason
    if warning:
        assert any(warning in text for text in rule.warnings)
    else:
        assert rule.warnings == ()


def test_no_correction_is_the_manuals_formula() -> None:
    (factor,), _ = convert(bed("100000", 1, DecayCorrection="NONE"))
    decay = DECAY * 600 / (1 - math.exp(-DECAY * 600))
    assert factor == pytest.approx(1000 * WEIGHT / DOSE * decay * math.exp(DECAY * 3600))


def test_every_candidate_is_kept() -> None:
    _, rule = convert(bed("100500", MEAN_MS + 300_000, **LATE), bed("100230", MEAN_MS + 150_000, **LATE))
    candidates = rule.reference_candidates
    assert candidates["SeriesTime"] == (datetime(2020, 1, 2, 10, 30),)
    assert candidates["earliest AcquisitionTime"] == (datetime(2020, 1, 2, 10, 2, 30),)
    (frames,) = (found for name, found in candidates.items() if "FrameReferenceTime" in name)
    assert all(abs((moment - datetime(2020, 1, 2, 10)).total_seconds()) < 0.01 for moment in frames)
    assert SuvRule.model_validate_json(rule.model_dump_json()) == rule


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "injection in the night before",
        {"AcquisitionTime": "110000", "SeriesTime": "110000", "RadiopharmaceuticalStartTime": "235959"},
        r"injection at 23:59:59 .* at most 6 half-lives \(10 h 59 min\) before.*--long-uptake",
    ),
    ("injection after the scan", {"RadiopharmaceuticalStartTime": "100001"}, "--long-uptake"),
    (
        "seven half-lives, dated",
        {"RadiopharmaceuticalStartDateTime": "20200101211100", "RadiopharmaceuticalStartTime": None},
        "--long-uptake",
    ),
    (
        "more than an hour for oxygen-15",
        {"RadionuclideHalfLife": "122", "RadiopharmaceuticalStartTime": "085900"},
        r"at most an hour \(1 h 0 min\) before",
    ),
    ("units that are proportional to something", {"Units": "PROPCNTS"}, r"Units \(0054,1001\) PROPCNTS, expected BQML"),
    ("units of an attenuation map", {"Units": "1CM"}, r"Units \(0054,1001\) 1CM, expected BQML"),
    (
        "SUV of an unknown type",
        GML | {"SUVType": "FAT"},
        r"SUVType \(0054,1006\) FAT with Units .* GML, expected BW or LBM",
    ),
    ("body surface in GML", GML | {"SUVType": "BSA"}, r"SUVType \(0054,1006\) BSA with Units"),
    (
        "a child's ideal weight",
        GML | {"SUVType": "IBW", "PatientSize": "0.9", "PatientWeight": "13"},
        r"ideal body weight .* is -17.7 kg .* choose --suv bw",
    ),
    (
        "counts without corrections",
        {"Units": "CPS", "DoseCalibrationFactor": "164"},
        "does not name NORM, DTIM, SCAT, RAN",
    ),
]


@pytest.mark.parametrize(("header", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_headers_that_are_refused(header: dict[str, Any], message: str) -> None:
    with pytest.raises(CaseError, match=message):
        convert(header)


MISSING: list[tuple[str, dict[str, Any], str]] = [
    (
        "another maker's counts",
        {"Units": "CNTS", "Manufacturer": "SIEMENS", "private": {SUV_FACTOR: ("DS", "0.5")}},
        "Philips' SUV factor",
    ),
    ("a factor of zero", PHILIPS | {"private": {SUV_FACTOR: ("DS", "0")}}, "Philips' SUV factor"),
    (
        "a stranger's block",
        PHILIPS | {"private": {(0x7053, 0x0010): ("LO", "SOMEBODY"), SUV_FACTOR: ("DS", "0.5")}},
        "Philips' SUV factor",
    ),
    ("height for a lean type", GML | {"SUVType": "LBM", "PatientSize": None}, "PatientSize"),
    ("sex for a lean type", GML | {"SUVType": "LBM", "PatientSex": None}, "PatientSex"),
    ("height for CM2ML", {"Units": "CM2ML", "PatientSize": "0"}, "PatientSize"),
    ("calibration of counts per second", {"Units": "CPS"}, "DoseCalibrationFactor"),
    ("no SeriesTime, no frame times", {"SeriesTime": None}, "SeriesTime (0008,0031), or FrameReferenceTime"),
]


@pytest.mark.parametrize(("header", "message"), [row[1:] for row in MISSING], ids=[row[0] for row in MISSING])
def test_tags_that_a_rule_misses(header: dict[str, Any], message: str) -> None:
    (missing,) = find_missing_tags(read(header), variant="bw")
    assert missing.startswith(message) or message in missing


@pytest.mark.parametrize(
    ("header", "uptake_s"),
    [
        ({"AcquisitionTime": "110000", "SeriesTime": "110000", "RadiopharmaceuticalStartTime": "235959"}, 39601),
        ({"RadiopharmaceuticalStartDateTime": "20200101211100", "RadiopharmaceuticalStartTime": None}, 46140),
        ({"RadionuclideHalfLife": "122", "RadiopharmaceuticalStartTime": "085900"}, 3660),
        # during a dynamic scan
        ({"RadiopharmaceuticalStartTime": "100030"}, -30),
        ({"RadiopharmaceuticalStartDateTime": "20200102100030", "RadiopharmaceuticalStartTime": None}, -30),
        (
            {"AcquisitionTime": "235950", "SeriesTime": "235950", "RadiopharmaceuticalStartTime": "000020"},
            -30,
        ),
        # later than that it was the day before
        ({"RadiopharmaceuticalStartTime": "110001"}, -3601 + 86400),
    ],
)
def test_a_long_uptake_is_accepted_on_request(header: dict[str, Any], uptake_s: float) -> None:
    _, rule = convert(header, long_uptake=True)
    assert rule.uptake_s == uptake_s
    assert any("s after the time" in warning for warning in rule.warnings) == (uptake_s < 0)


@pytest.mark.parametrize("clock", ["090000", "093000"])
def test_an_hour_is_possible_for_any_half_life(clock: str) -> None:
    _, rule = convert({"RadionuclideHalfLife": "122", "RadiopharmaceuticalStartTime": clock})
    assert rule.warnings == ()
