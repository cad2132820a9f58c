"""Half-lives of the radionuclides of PET, for headers that give a code but no half-life."""

from __future__ import annotations

__all__ = ["find_half_life"]

_HALF_LIVES_S: dict[tuple[str, str], float] = {
    ("C-105A1", "40565003"): 1221.8,  # carbon-11
    ("C-107A1", "21576001"): 597.9,  # nitrogen-13
    ("C-B1038", "129504001"): 122.24,  # oxygen-15
    ("C-111A1", "77004003"): 6586.2,  # fluorine-18
    ("C-155A1", "71633006"): 8.2105e7,  # sodium-22
    ("C-127A2", "3932008"): 45721.0,  # copper-64
    ("C-131A3", "35337001"): 4062.6,  # gallium-68
    ("C-128A2", "53315004"): 2.3410e7,  # germanium-68
    ("C-159A2", "79197006"): 76.4,  # rubidium-82
    ("C-162A3", "10738001"): 53064.0,  # yttrium-86
    ("C-168A4", "63360001"): 282280.0,  # zirconium-89
    ("C-114A5", "40937006"): 360806.0,  # iodine-124
}
"""Codes in SNOMED RT and SNOMED CT (DICOM CID 4020) -> half-life in seconds (Laboratoire National Henri Becquerel)."""


def find_half_life(code: str | None) -> float | None:
    """Find the half-life in seconds of a code of RadionuclideCodeSequence (0054,0300); None when it is unknown."""
    return next((half_life for codes, half_life in _HALF_LIVES_S.items() if code in codes), None)
