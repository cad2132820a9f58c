"""Several PET series of one study: which of them becomes the case."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from fnmatch import fnmatchcase

from interactivepet.dataset.dicom.tree import FoundSeries
from interactivepet.errors import CaseError

__all__ = ["ALL_SERIES", "choose_series"]

ALL_SERIES = "*"
"""The pattern that makes every series a case."""
PROTOCOL = (
    "ReconstructionMethod",
    "ConvolutionKernel",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
)
"""What two reconstructions by one protocol share."""
SHOWN = 10

logger = logging.getLogger(__name__)


def choose_series(
    pets: Sequence[FoundSeries], pattern: str | None, *, drawn_on: Collection[str] = ()
) -> tuple[tuple[FoundSeries, ...], dict[FoundSeries, str]]:
    """Choose the PET series that become cases.

    With a pattern these are all that match it. Without one it is one series of each study: the one whose description,
    else whose protocol, most other patients have, else the one that masks are drawn on.

    Args:
        pets: of the whole tree.
        pattern: of SeriesDescription such as `*TOF*`, without regard to case, or a SeriesInstanceUID.
        drawn_on: SeriesInstanceUIDs that masks refer to.

    Returns:
        The series that were chosen, in their order; the others -> why not.

    Raises:
        CaseError: no series matches the pattern, or nothing tells which series of a study to take.
    """
    if pattern is not None:
        return _match(pets, pattern)
    by_study: dict[Hashable, list[FoundSeries]] = defaultdict(list)
    for pet in pets:
        by_study[pet.patient_key, pet.study].append(pet)
    dropped: dict[FoundSeries, str] = {}
    undecided: list[str] = []
    for found in by_study.values():
        if len(found) == 1:
            continue
        chosen, reason = _choose_one(found, pets, drawn_on)
        if chosen is None:
            undecided.append(_list_descriptions(found))
            continue
        logger.warning(
            "%s: %d PET series in one study; %s was taken, as %s (--series chooses others)",
            found[0].patient or found[0].study,
            len(found),
            _name(chosen),
            reason,
        )
        dropped |= {pet: f"PET {_name(pet)}: of one study, {_name(chosen)} was taken" for pet in found if pet != chosen}
    if undecided:
        raise CaseError(
            f"{len(undecided)} studies have several PET series, and nothing tells which to take; choose by description "
            f"with --series PATTERN, or make each a case with --series '{ALL_SERIES}':" + "".join(undecided[:SHOWN])
        )
    return tuple(pet for pet in pets if pet not in dropped), dropped


def _match(pets: Sequence[FoundSeries], pattern: str) -> tuple[tuple[FoundSeries, ...], dict[FoundSeries, str]]:
    """Choose by description or UID."""
    chosen = tuple(
        pet
        for pet in pets
        if pet.uid == pattern or fnmatchcase(pet.description.casefold(), pattern.casefold()) or pattern == ALL_SERIES
    )
    if pets and not chosen:
        raise CaseError(f"no PET series matches --series {pattern!r}; there are:{_list_descriptions(pets)}")
    return chosen, {pet: f"PET {_name(pet)}: no match of --series {pattern}" for pet in pets if pet not in chosen}


def _choose_one(
    found: Sequence[FoundSeries], pets: Sequence[FoundSeries], drawn_on: Collection[str]
) -> tuple[FoundSeries | None, str]:
    """Choose one series of a study, with the reason; None when nothing tells."""
    others = [pet for pet in pets if pet.patient_key != found[0].patient_key]
    best = list(found)
    for describe, what in ((_normalise, "name"), (_read_protocol, "protocol")):
        counts = [_count_patients(others, describe, describe(pet)) for pet in best]
        best = [pet for pet, count in zip(best, counts, strict=True) if count == max(counts)]
        if len(best) == 1:
            n_others = len({pet.patient_key for pet in others})
            return best[0], f"{max(counts)} of {n_others} other patients have one of this {what}"
    with_masks = [pet for pet in best if pet.uid in drawn_on]
    return (with_masks[0], "masks are drawn on it") if len(with_masks) == 1 else (None, "")


def _count_patients(others: Sequence[FoundSeries], describe: Callable[[FoundSeries], str], wanted: str) -> int:
    """Count the patients who have a series of this description."""
    return len({pet.patient_key for pet in others if describe(pet) == wanted}) if wanted else 0


def _normalise(pet: FoundSeries) -> str:
    return re.sub(r"[\W_]+", " ", pet.description.casefold()).strip()


def _read_protocol(pet: FoundSeries) -> str:
    from interactivepet.dataset.dicom.slices import read_slices

    header = read_slices(pet.paths[:1])[0].header
    return " | ".join(str(header.get(keyword) or "") for keyword in PROTOCOL)


def _list_descriptions(pets: Sequence[FoundSeries]) -> str:
    """List what there is to choose from, one line per series."""
    shown = [f"\n  {pet.patient or 'no PatientID'}: {_name(pet)} ({len(pet.paths)} files)" for pet in pets[:SHOWN]]
    return "".join(shown) + (f"\n  and {len(pets) - SHOWN} more" if len(pets) > SHOWN else "")


def _name(pet: FoundSeries) -> str:
    return pet.description or pet.uid
