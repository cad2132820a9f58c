"""Codes of measures and of their units in DICOM structured reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interactivepet.core.uptake import UptakeUnit, name_total, name_uptake, name_volume

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

__all__ = ["MeasureCode", "find_procedure", "list_codes"]

_PROCEDURES = {
    "PT": "Positron emission tomography",
    "NM": "Nuclear Medicine",
    "CT": "Computed Tomography",
    "MR": "Magnetic Resonance",
}
"""Modality -> its name in PS3.16 CID 29."""


@dataclass(frozen=True, slots=True)
class MeasureCode:
    """How one measure is coded.

    Attributes:
        measure: its name in `MeasuredRegion.values`.
        name: what is measured.
        unit: of the value, in UCUM.
        derivation: such as the maximum of all voxels; None where the name says everything.
    """

    measure: str
    name: Code
    unit: Code
    derivation: Code | None = None


def list_codes(unit: UptakeUnit) -> tuple[MeasureCode, ...]:
    """List the measures that have codes, in the order of the report.

    Uptake has codes in SUV only (PS3.16 CID 85): for activity and counts the standard has a unit but no name.

    Args:
        unit: of the uptake.
    """
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    ucum, dcm, sct = codes.UCUM, codes.DCM, codes.SCT
    one, millimetre = ucum.NoUnits, ucum.Millimeter
    shape = (
        MeasureCode("n_lesions", sct.NumberOfLesions, one),
        MeasureCode("maximum_diameter_mm", codes.IBSI.Maximum3DDiameterOfAMesh, millimetre),
        MeasureCode("sphericity", codes.IBSI.Sphericity, one),
    )
    volume = MeasureCode(name_volume(unit), sct.Volume, ucum.CubicCentimeter)
    uptake = {
        "suv": (dcm.Suvbw, ucum.StandardizedUptakeValueBodyWeight),
        # Janmahasatian is the formula that DICOM is converted with.
        "sul": (dcm.SuvlbmJanma, ucum.StandardizedUptakeValueLeanBodyMassJanma),
        "suv_ibw": (dcm.Suvibw, ucum.StandardizedUptakeValueIdealBodyWeight),
        "suv_bsa": (dcm.Suvbsa, ucum.StandardizedUptakeValueBodySurfaceArea),
    }
    if unit not in uptake:
        return (volume, *shape)
    name, scale = uptake[unit]
    # A mean in g/ml times a volume in ml; for body surface it is in cm2/ml.
    total = ucum.SquareCentimeter if unit == "suv_bsa" else Code("g", "UCUM", "gram")
    return (
        volume,
        MeasureCode(name_uptake("max", unit), name, scale, sct.Maximum),
        MeasureCode(name_uptake("mean", unit), name, scale, sct.Mean),
        MeasureCode(name_uptake("peak_global", unit), name, scale, dcm.PeakValueWithinROI),
        MeasureCode(name_total(unit), dcm.TotalLesionGlycolysis, total),
        *shape,
    )


def find_procedure(modality: str) -> Code:
    """Give the code of the procedure that a series of a modality belongs to."""
    from pydicom.sr.coding import Code

    if modality in _PROCEDURES:
        return Code(modality, "DCM", _PROCEDURES[modality])
    return Code("363679005", "SCT", "Imaging procedure")
