"""Vendors' private elements of a PET header, also where an anonymiser dropped the private creator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["GE_PET", "PHILIPS_PET", "PrivateBlock", "read_private"]


@dataclass(frozen=True, slots=True)
class PrivateBlock:
    """Where a vendor keeps its own elements.

    Attributes:
        group: of the elements.
        creator: private creator, which reserves a block of the group.
        makers: first words of Manufacturer (0008,0070), in lower case, which identify the elements at the usual
            place (block 10) when no creator reserves that block. Empty stands for a manufacturer that is missing.
    """

    group: int
    creator: str
    makers: tuple[str, ...]


GE_PET = PrivateBlock(0x0009, "GEMS_PETD_01", ("ge",))
"""GE's block; element 0D holds the start of the scan."""
PHILIPS_PET = PrivateBlock(0x7053, "Philips PET Private Group", ("philips", "adac", ""))
"""Philips' block; 00 holds the SUV factor, 09 the activity concentration factor."""
USUAL_BLOCK = 0x10


def read_private(header: Dataset, block: PrivateBlock, element: int) -> str | None:
    """Read one element of a vendor's block.

    Anonymisers drop private creators and keep elements that a profile lists as safe. Such an element is read by its
    usual number when the manufacturer is the block's own. Philips' group is used by nobody else, so there a missing
    manufacturer will do.

    Returns:
        The value as text; None when it is missing, empty, or may be of somebody else.
    """
    try:
        value = header.private_block(block.group, block.creator)[element].value
    except KeyError:
        if (block.group, USUAL_BLOCK) in header or not _is_maker(header, block):
            return None
        found = header.get((block.group, (USUAL_BLOCK << 8) + element))
        if found is None:
            return None
        value = found.value
    # Explicit files that a tool did not understand give private values as bytes.
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.strip("\0 ") or None


def _is_maker(header: Dataset, block: PrivateBlock) -> bool:
    words = str(header.get("Manufacturer") or "").casefold().split()
    return (words[0] if words else "") in block.makers
