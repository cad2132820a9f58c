"""Files of a DICOM tree that cannot be read: which PET series they may belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from interactivepet.dataset.dicom.tree import FoundSeries

__all__ = ["find_flaws", "list_unclaimed"]


def find_flaws(
    pets: Sequence[FoundSeries], *, unreadable: Mapping[Path, str], damaged: Mapping[FoundSeries, str]
) -> dict[str, str]:
    """Find the PET series that lack a file which cannot be read, as far as can be told.

    A file without a readable header may be a slice or a mask of any series with files in its folder or below it. A
    mask with a damaged content belongs to the patient of its header.

    Args:
        pets: the series that become cases.
        unreadable: files and folders without a readable header -> why.
        damaged: series of masks that cannot be read -> why.

    Returns:
        SeriesInstanceUID -> why the series is left out.
    """
    flaws: dict[str, str] = {}
    for pet in pets:
        near = [path for path in sorted(unreadable) if _may_own(pet, path)]
        if near:
            more = f", as {len(near) - 1} more" if len(near) > 1 else ""
            flaws[pet.uid] = (
                f"{near[0]} cannot be read ({unreadable[near[0]]}){more}, and may be a part of this case; copy it "
                "again, or remove it"
            )
        for mask, reason in damaged.items():
            if mask.shares_patient(pet):
                flaws.setdefault(pet.uid, reason)
    return flaws


def list_unclaimed(pets: Sequence[FoundSeries], *, unreadable: Mapping[Path, str], root: Path) -> dict[str, str]:
    """Give the files that cannot be read and that no PET series may own -> why, relative to `root`."""
    return {
        path.relative_to(root).as_posix(): f"cannot be read ({reason}); copy it again, or remove it"
        for path, reason in sorted(unreadable.items())
        if not any(_may_own(pet, path) for pet in pets)
    }


def _may_own(pet: FoundSeries, path: Path) -> bool:
    return any(file.is_relative_to(path.parent) for file in pet.paths)
