"""How regions are found and segmented, and what is written of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from interactivepet.core.artefact import Record
from interactivepet.core.region import RegionMethod
from interactivepet.detection.find import RegionOptions
from interactivepet.errors import SettingsError

__all__ = ["DEFAULT_FORMATS", "DICOM_FORMATS", "FORMATS", "TABLE_FORMATS", "Outputs", "SegmentOptions", "make_options"]

MASK_FORMATS = ("nii.gz", "nrrd", "mha")
DICOM_FORMATS = ("seg", "rtstruct", "sr")
TABLE_FORMATS = ("csv", "json")
FORMATS = (*MASK_FORMATS, *DICOM_FORMATS, *TABLE_FORMATS)
"""What masks and measures can be written as."""
DEFAULT_FORMATS = ("nii.gz", "csv", "json")
MOST_REGIONS = 255
"""Each region has its own value in a mask of bytes."""


class SegmentOptions(Record):
    """How regions are found and segmented."""

    regions: RegionMethod = "percentile"
    """Where a region begins, as of `detection.find.RegionOptions`."""
    percentile: float = Field(default=90.0, gt=0, lt=100)
    """Of the body's voxels, for the method `percentile`."""
    suv: float = Field(default=2.5, gt=0, allow_inf_nan=False)
    """For the method `suv`."""
    reference_sphere: tuple[float, float, float] | None = None
    """Centre in RAS+ mm of a sphere of 3 cm whose uptake takes the place of that of the liver or the blood pool."""
    min_volume_ml: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    """Smaller bright regions are only counted."""
    max_regions: int = Field(default=10, ge=1, le=MOST_REGIONS)
    """So many are segmented, in the order of their rank; the others are only counted."""
    max_components: int = Field(default=3, ge=1)
    """Connected parts of one region's mask that stay."""

    def find_options(self) -> RegionOptions:
        """Give what the detection needs."""
        return RegionOptions(
            method=self.regions,
            percentile=self.percentile,
            suv=self.suv,
            sphere_mm=self.reference_sphere,
            least_ml=self.min_volume_ml,
        )

    def describe(self) -> dict[str, str]:
        """Name the options that matter, for a page."""
        told = {
            "regions": {"percentile": f"percentile {self.percentile:g}", "suv": f"SUV {self.suv:g}"}.get(
                self.regions, self.regions
            ),
            "smallest region": f"{self.min_volume_ml:g} ml",
            "regions that are segmented": f"at most {self.max_regions}",
            "components of a region": f"at most {self.max_components}",
        }
        if self.reference_sphere is not None:
            told["reference sphere"] = "{:g}, {:g}, {:g} mm".format(*self.reference_sphere)
        return told


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written of every case, beside its page.

    Attributes:
        formats: some of `FORMATS`.
    """

    formats: tuple[str, ...] = DEFAULT_FORMATS

    @property
    def masks(self) -> tuple[str, ...]:
        """The formats of image files."""
        return tuple(name for name in self.formats if name in MASK_FORMATS)

    @property
    def dicom(self) -> tuple[str, ...]:
        """The formats of DICOM."""
        return tuple(name for name in self.formats if name in DICOM_FORMATS)


def make_options(**values: Any) -> SegmentOptions:
    """Check options.

    Raises:
        SettingsError: one is invalid; the message names it.
    """
    try:
        return SegmentOptions(**values)
    except ValidationError as error:
        problems = [f"{details['loc'][0]} {details['input']}: {details['msg']}" for details in error.errors()]
        raise SettingsError("; ".join(problems).replace("_", "-")) from error
