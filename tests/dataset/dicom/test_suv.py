from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import pytest

from interactivepet.core.suv import SuvRule
from interactivepet.dataset.dicom.pet_tags import PetTags, parse_date, parse_datetime, parse_time, read_pet_tags
from interactivepet.dataset.dicom.suv import find_missing_tags, find_suv_factors
from interactivepet.errors import CaseError
from tests.dicom_series import make_header

DOSE, HALF_LIFE, WEIGHT = 3.5e8, 6588.0, 70.0


def read(**changes: Any) -> PetTags:
    return read_pet_tags([make_header(**changes)] * 2)


def convert(variant: Any = "bw", **changes: Any) -> SuvRule:
    tags = read(**changes)
    assert find_missing_tags(tags, variant=variant) == ()
    factors, rule = find_suv_factors(tags, variant=variant)
    assert rule.factor == factors[0]
    return rule


def expected(uptake_s: float, *, size_g: float = 1000 * WEIGHT, dose: float = DOSE) -> float:
    return float(size_g / (dose * 2 ** (-uptake_s / HALF_LIFE)))


def test_start_refers_to_series_time() -> None:
    rule = convert(AcquisitionTime="100500.25")
    assert rule.factor == pytest.approx(expected(3600))
    assert rule.reference_time == datetime(2020, 1, 2, 10)
    assert rule.injection_time == datetime(2020, 1, 2, 9)
    assert "SeriesTime" in rule.reference_reason
    assert rule.warnings == ()


def test_a_late_series_time_gives_way_to_the_earliest_acquisition() -> None:
    headers = [make_header(SeriesTime="130000", AcquisitionTime=f"10{m}00") for m in ("20", "10", "30")]
    factors, rule = find_suv_factors(read_pet_tags(headers), variant="bw")
    assert factors == (pytest.approx(expected(4200)),)
    assert "earliest AcquisitionTime" in rule.reference_reason


def test_a_series_made_days_later_gives_way_too() -> None:
    rule = convert(SeriesDate="20200105", SeriesTime="080000", AcquisitionTime="101000")
    assert rule.factor == pytest.approx(expected(4200))


@pytest.mark.parametrize(
    ("start", "reason", "uptake"),
    [
        ("20200102100500.00", "GE's private", 3900),
        # The date was shifted elsewhere but not in a private tag.
        ("20070809100500.00", "GE's private", 3900),
        # A start after the first slice cannot be one.
        ("20200102110000.00", "earliest AcquisitionTime", 4200),
    ],
)
def test_ge_keeps_the_start_of_the_scan(start: str, reason: str, uptake: float) -> None:
    header = make_header(SeriesTime="130000", AcquisitionTime="101000")
    header.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", start)
    _, rule = find_suv_factors(read_pet_tags([header]), variant="bw")
    assert rule.factor == pytest.approx(expected(uptake))
    assert reason in rule.reference_reason


def test_admin_needs_no_times() -> None:
    rule = convert(
        DecayCorrection="ADMIN",
        SeriesTime=None,
        AcquisitionTime=None,
        RadiopharmaceuticalStartTime=None,
        RadionuclideHalfLife=None,
    )
    assert rule.factor == pytest.approx(1000 * WEIGHT / DOSE)
    assert rule.reference_time is None


def test_none_corrects_each_slice() -> None:
    headers = [make_header(DecayCorrection="NONE", SeriesTime=None, AcquisitionTime=t) for t in ("101000", "100000")]
    factors, rule = find_suv_factors(read_pet_tags(headers), variant="bw")
    assert factors == (pytest.approx(expected(4200)), pytest.approx(expected(3600)))
    assert rule.slice_factors == factors
    assert any("middle" in warning for warning in rule.warnings)


def test_injection_before_midnight() -> None:
    night = {"SeriesTime": "003000", "AcquisitionTime": "003000", "RadiopharmaceuticalStartTime": "233000"}
    rule = convert(**night)
    assert rule.factor == pytest.approx(expected(3600))
    assert rule.injection_time == datetime(2020, 1, 1, 23, 30)
    assert any("midnight" in warning for warning in rule.warnings)
    dated = convert(**night, RadiopharmaceuticalStartDateTime="20200101233000")
    assert dated.factor == pytest.approx(rule.factor)
    assert dated.warnings == ()


def test_a_dated_injection_goes_before_a_time_of_day() -> None:
    rule = convert(RadiopharmaceuticalStartDateTime="20200102083000.5", RadiopharmaceuticalStartTime="090000")
    assert rule.uptake_s == 5399.5
    assert any("although RadiopharmaceuticalStartTime is 09:00:00" in warning for warning in rule.warnings)


@pytest.mark.parametrize("moment", ["20070809090000", "20300101090000.00", "20191231090000"])
def test_shifted_dates_leave_the_time_of_day(moment: str) -> None:
    rule = convert(RadiopharmaceuticalStartDateTime=moment, RadiopharmaceuticalStartTime=None)
    assert rule.factor == pytest.approx(expected(3600))
    assert any("dates were shifted" in warning for warning in rule.warnings)


def test_midnight_to_the_second_is_no_time_of_injection() -> None:
    changes = {"RadiopharmaceuticalStartTime": "000000.00", "RadiopharmaceuticalStartDateTime": "20200102000000"}
    (missing,) = find_missing_tags(read(**changes), variant="bw")
    assert "RadiopharmaceuticalStartDateTime (0018,1078)" in missing


def test_a_series_date_that_was_shifted_alone() -> None:
    rule = convert(SeriesDate="20000102")
    assert rule.factor == pytest.approx(expected(3600))
    assert any("SeriesDate" in warning for warning in rule.warnings)


def test_no_dates_at_all() -> None:
    rule = convert(SeriesDate=None, AcquisitionDate=None)
    assert rule.factor == pytest.approx(expected(3600))
    assert any("AcquisitionDate is missing" in warning for warning in rule.warnings)
    headers = [make_header(SeriesDate=None, AcquisitionDate=None, AcquisitionTime=t) for t in ("235900", "000100")]
    with pytest.raises(CaseError, match="across midnight is open"):
        find_suv_factors(read_pet_tags(headers), variant="bw")


def test_an_injection_after_the_scan_is_refused() -> None:
    with pytest.raises(CaseError, match=r"injection at 10:05:00 .* at most 6 half-lives \(10 h 59 min\) before"):
        convert(RadiopharmaceuticalStartTime="100500")


def test_long_half_lives_need_the_date() -> None:
    zirconium = {"RadionuclideHalfLife": "282240"}
    with pytest.raises(CaseError, match=r"half-life of 78.4 h needs the date of injection"):
        convert(**zirconium)
    rule = convert(**zirconium, RadiopharmaceuticalStartDateTime="20191230090000")
    assert rule.uptake_s == 3 * 86400 + 3600
    copper = convert(RadionuclideHalfLife="45721")
    assert any("within a day" in warning for warning in copper.warnings)


def test_a_series_long_before_its_slices_is_noted() -> None:
    rule = convert(AcquisitionTime="104700")
    assert rule.uptake_s == 3600
    assert any("starts 47 min before" in warning for warning in rule.warnings)


@pytest.mark.parametrize("series_time", ["000000", "060000"])
def test_a_series_time_that_is_not_of_the_scan_is_refused(series_time: str) -> None:
    with pytest.raises(CaseError, match=r"SeriesTime .* is not of this scan; restore SeriesTime \(0008,0031\)"):
        convert(SeriesTime=series_time)


def test_midnight_in_every_slice_is_no_acquisition_time() -> None:
    (missing,) = find_missing_tags(read(AcquisitionTime="000000"), variant="bw")
    assert missing.startswith("AcquisitionTime (0008,0032)")


@pytest.mark.parametrize("dose", ["350", "350.0"])
def test_a_dose_in_mbq_is_mended(dose: str) -> None:
    rule = convert(RadionuclideTotalDose=dose)
    assert rule.factor == pytest.approx(expected(3600))
    assert rule.dose_bq == DOSE
    assert rule.warnings == ("RadionuclideTotalDose 350 was taken as MBq",)


@pytest.mark.parametrize("dose", ["0.35", "350000", "1e12"])
def test_a_dose_in_no_known_unit_is_refused(dose: str) -> None:
    with pytest.raises(CaseError, match=r"RadionuclideTotalDose .* expected 1e\+06 to 1e\+11 Bq"):
        convert(RadionuclideTotalDose=dose)


def test_a_weight_in_grams_is_mended() -> None:
    rule = convert(PatientWeight="70000")
    assert rule.factor == pytest.approx(expected(3600))
    assert rule.weight_kg == WEIGHT
    assert rule.warnings == ("PatientWeight 70000 was taken as grams: 70 kg",)


def test_impossible_bodies_are_refused() -> None:
    with pytest.raises(CaseError, match="neither in kg nor in g"):
        convert(PatientWeight="900000")
    with pytest.raises(CaseError, match="neither in m nor in cm"):
        convert("lbm", PatientSize="1750")


def test_a_mouse_is_no_mistake() -> None:
    rule = convert(PatientWeight="0.025", RadionuclideTotalDose="6000000")
    assert rule.factor == pytest.approx(expected(3600, size_g=25, dose=6e6))
    assert rule.warnings == ()


def test_philips_suv_factor_goes_first() -> None:
    factor, rule = convert_philips({0x00: "0.0005", 0x09: "2.5"}, PatientWeight=None, DecayCorrection=None)
    assert factor == 0.0005
    assert "(7053,1000)" in rule.rule
    lean, _ = convert_philips({0x00: "0.0005"}, variant="lbm")
    assert lean / 0.0005 == pytest.approx(convert("lbm").factor / convert().factor)


@pytest.mark.parametrize("elements", [{0x09: "2.5"}, {0x00: "0", 0x09: "2.5"}])
def test_philips_activity_factor_follows(elements: dict[int, str]) -> None:
    factor, rule = convert_philips(elements)
    assert factor == pytest.approx(2.5 * expected(3600))
    assert "(7053,1009)" in rule.rule


def convert_philips(elements: dict[int, str], *, variant: Any = "bw", **changes: Any) -> tuple[float, SuvRule]:
    header = make_header(Units="CNTS", **changes)
    block = header.private_block(0x7053, "Philips PET Private Group", create=True)
    for element, value in elements.items():
        block.add_new(element, "DS", value)
    tags = read_pet_tags([header])
    assert find_missing_tags(tags, variant=variant) == ()
    factors, rule = find_suv_factors(tags, variant=variant)
    return factors[0], rule


def test_a_private_value_that_a_tool_left_as_bytes() -> None:
    header = make_header(Units="CNTS")
    header.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "UN", b"0.5 ")
    assert read_pet_tags([header]).philips_suv_factor == 0.5


def test_counts_without_a_factor_name_both() -> None:
    (missing,) = find_missing_tags(read(Units="CNTS"), variant="bw")
    assert "(7053,1000)" in missing
    assert "(7053,1009)" in missing


def test_gml_stays_as_it_is() -> None:
    nothing = {"PatientWeight": None, "RadionuclideTotalDose": None, "SeriesTime": None, "DecayCorrection": None}
    assert convert(Units="GML", **nothing).factor == 1
    assert convert("lbm", Units="GML", SUVType="LBMJANMA", **nothing).factor == 1
    lean = convert("lbm", Units="GML", SUVType="BW")
    assert lean.factor == pytest.approx(convert("lbm").factor / convert().factor)
    with pytest.raises(CaseError, match=r"SUVType .* BSA with Units .* GML, expected BW or LBM"):
        convert(Units="GML", SUVType="BSA")
    with pytest.raises(CaseError, match=r"SUVType .* BW with Units .* CM2ML, expected BSA"):
        convert(Units="CM2ML", SUVType="BW")


def test_variants() -> None:
    body_mass_index = WEIGHT / 1.75**2
    man = 1000 * 9270 * WEIGHT / (6680 + 216 * body_mass_index)
    woman = 1000 * 9270 * WEIGHT / (8780 + 244 * body_mass_index)
    assert convert("lbm").factor == pytest.approx(expected(3600, size_g=man))
    assert 50_000 < man < 60_000
    assert convert("lbm", PatientSex="F").factor == pytest.approx(expected(3600, size_g=woman))
    centimetres = convert("lbm", PatientSize="175")
    assert centimetres.factor == pytest.approx(convert("lbm").factor)
    assert any("centimetres" in warning for warning in centimetres.warnings)
    # A man of 70 kg and 1.75 m has 1.85 m2 (Du Bois), which is 18,480 cm2.
    assert convert("bsa").factor == pytest.approx(expected(3600, size_g=18_480), rel=1e-3)
    assert convert("bsa").body == "body surface of Du Bois 1916"


def test_every_missing_tag_is_listed() -> None:
    empty = dict.fromkeys(
        (
            "Units",
            "DecayCorrection",
            "SeriesTime",
            "AcquisitionTime",
            "PatientWeight",
            "RadionuclideTotalDose",
            "RadionuclideHalfLife",
            "RadiopharmaceuticalStartTime",
        )
    )
    missing = find_missing_tags(read(**empty), variant="bw")
    assert len(missing) == 9
    for number in ("0054,1001", "0054,0016", "0010,1030", "0018,1074", "0018,1072", "0008,0031", "0008,0032"):
        assert any(number in tag for tag in missing)
    assert all(": " in tag for tag in missing)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientWeight", "0"),
        ("PatientWeight", ""),
        ("RadionuclideTotalDose", "0.0"),
        ("RadionuclideHalfLife", "-1"),
        ("RadiopharmaceuticalStartTime", "000000.00"),
        ("SeriesTime", ""),
        ("DecayCorrection", ""),
    ],
)
def test_empty_and_zero_are_missing(keyword: str, value: str) -> None:
    (missing,) = find_missing_tags(read(**{keyword: value}), variant="bw")
    assert keyword in missing


def test_variants_miss_their_own_tags() -> None:
    tags = read(PatientSize=None, PatientSex=None)
    assert find_missing_tags(tags, variant="bw") == ()
    assert len(find_missing_tags(tags, variant="lbm")) == 2
    assert len(find_missing_tags(tags, variant="bsa")) == 1
    assert len(find_missing_tags(tags, variant="ibw")) == 2
    stored_lean = read(Units="GML", SUVType="LBM", PatientSize=None, PatientSex=None, PatientWeight=None)
    assert len(find_missing_tags(stored_lean, variant="bw")) == 3


def test_units_and_corrections_without_a_rule_are_refused() -> None:
    with pytest.raises(CaseError, match=r"Units .* PROPCPS, expected BQML"):
        convert(Units="PROPCPS")
    with pytest.raises(CaseError, match=r"DecayCorrection .* LATER, expected START, ADMIN or NONE"):
        convert(DecayCorrection="LATER")


def test_corrections_that_the_header_does_not_name_are_noted() -> None:
    assert any("ATTN" in warning for warning in convert(CorrectedImage=None).warnings)
    assert any("DECY" in warning for warning in convert(CorrectedImage=["ATTN"]).warnings)
    assert any("RescaleIntercept" in warning for warning in convert(RescaleIntercept="-5").warnings)
    assert convert(RescaleIntercept=None).warnings == ()


def test_slices_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(CaseError, match="mixed units: BQML in 1 slices, CNTS in 1 slices"):
        read_pet_tags([make_header(), make_header(Units="CNTS")])
    with pytest.raises(CaseError, match=r"mixed weight: 70.0 in 1 slices, 80.0 in 1 slices"):
        read_pet_tags([make_header(), make_header(PatientWeight="80")])


def test_several_injections_are_refused() -> None:
    header = make_header()
    header.RadiopharmaceuticalInformationSequence.append(header.RadiopharmaceuticalInformationSequence[0])
    with pytest.raises(CaseError, match="2 items in RadiopharmaceuticalInformationSequence"):
        read_pet_tags([header])


def test_times_and_dates() -> None:
    assert parse_time("235959.5") == time(23, 59, 59, 500000)
    assert parse_time("1122") == parse_time("11:22:00") == time(11, 22)
    assert parse_time("112260") == time(11, 22, 59)
    assert [parse_time(text) for text in ("", None, "11", "250000", "noon")] == [None] * 5
    assert parse_date("20200131") == parse_date("2020.01.31") == date(2020, 1, 31)
    assert [parse_date(text) for text in ("", None, "20200231", "2020")] == [None] * 4
    assert parse_datetime("20200131235959.25+0100") == datetime(2020, 1, 31, 23, 59, 59, 250000)
    assert parse_datetime("20200131233000+0000", local_offset="+0130") == datetime(2020, 2, 1, 1)
    assert parse_datetime("20200131233000-0500", local_offset="-0500") == datetime(2020, 1, 31, 23, 30)
    # A date alone, as de-identification leaves it, is no moment.
    assert [parse_datetime(text) for text in ("20200131", "", None)] == [None] * 3


@pytest.mark.parametrize(
    ("start", "injection"),
    [
        ("20200102080000+0000", datetime(2020, 1, 2, 9)),
        ("20200101233000-0930", datetime(2020, 1, 2, 9)),
        # no time zone is 17 minutes off
        ("20200102084300+0000", datetime(2020, 1, 2, 8, 43)),
        # without an offset the two simply differ
        ("20200102080000", datetime(2020, 1, 2, 8)),
    ],
)
def test_a_start_in_another_time_zone_is_moved_to_the_clock_beside_it(start: str, injection: datetime) -> None:
    rule = convert(RadiopharmaceuticalStartDateTime=start)
    assert rule.injection_time == injection
    assert rule.factor == pytest.approx(expected((datetime(2020, 1, 2, 10) - injection).total_seconds()))
