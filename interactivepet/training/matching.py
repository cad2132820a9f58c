"""Which input and output channels of a pretrained network become which of another plan's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interactivepet.core.plan import Normalisation, Plan

__all__ = ["ChannelSource", "Interface", "Matching", "match_interfaces"]

SHARED_SCALES = frozenset({"ct", "suv"})
"""Schemes with one scale for all images of a task, so that one task's scale can be expressed in another's."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What a network sees and says: image channels, then two guidance channels and a previous mask per label.

    Attributes:
        channels: names of the image channels; an empty name is not known.
        labels: names in the order of the outputs after the background, likewise.
        normalisation: of each image channel; empty where it is not known.
    """

    channels: tuple[str, ...]
    labels: tuple[str, ...]
    normalisation: tuple[Normalisation, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> Interface:
        """Give the interface of a plan's network."""
        labels = sorted(plan.labels, key=lambda name: plan.labels[name])
        return cls(plan.channels, tuple(labels), plan.normalisation)

    @classmethod
    def guess(cls, n_inputs: int, n_outputs: int) -> Interface | None:
        """Give the interface of a network of which only the numbers of channels are known; None where none has them."""
        n_labels = n_outputs - 1
        n_channels = n_inputs - 3 * n_labels
        return cls(("",) * n_channels, ("",) * n_labels) if n_channels > 0 and n_labels > 0 else None


@dataclass(frozen=True, slots=True)
class ChannelSource:
    """The input channel of the pretrained network that an input channel takes its weights from.

    Attributes:
        index: of that channel.
        scale: what the weights are multiplied by, so that they answer to the same intensity as before.
        shift: what an input of 0 is in the pretrained network's scale.
    """

    index: int
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Matching:
    """How the channels correspond.

    Attributes:
        inputs: per input channel; None begins with zero weights, so that it changes nothing at first.
        outputs: per label, the label of the pretrained network; None keeps random weights.
        notes: what differs, in words.
    """

    inputs: tuple[ChannelSource | None, ...]
    outputs: tuple[int | None, ...]
    notes: tuple[str, ...]


def match_interfaces(own: Interface, given: Interface) -> Matching:
    """Match image channels by name, then by scheme of normalisation, else by position; labels by name or position.

    Every label of a network takes the weights of a model's only label: its clicks, its previous mask and its output
    begin as the model's.
    """
    images = _match_channels(own, given)
    labels = _match_labels(own.labels, given.labels)
    inputs = [_scale(own, given, a, b) for a, b in enumerate(images)]
    first_guidance, first_mask = len(given.channels), len(given.channels) + 2 * len(given.labels)
    for label in labels:
        inputs += [None if label is None else ChannelSource(first_guidance + 2 * label + kind) for kind in (0, 1)]
    inputs += [None if label is None else ChannelSource(first_mask + label) for label in labels]
    return Matching(tuple(inputs), labels, tuple(_describe(own, given, images, labels)))


def _match_channels(own: Interface, given: Interface) -> tuple[int | None, ...]:
    found = _match_names(own.channels, given.channels)
    schemes, others = ([rule.scheme for rule in known.normalisation] for known in (own, given))
    for index, scheme in enumerate(schemes):
        free = [n for n, other in enumerate(others) if other == scheme in SHARED_SCALES and n not in found]
        if found[index] is None and free:
            found[index] = free[0]
    if all(match is None for match in found):
        found = [index if index < len(given.channels) else None for index in range(len(found))]
    return tuple(found)


def _match_labels(own: Sequence[str], given: Sequence[str]) -> tuple[int | None, ...]:
    if len(given) == 1:
        return (0,) * len(own)
    found = _match_names(own, given)
    if len(own) == len(given) and all(match is None for match in found):
        return tuple(range(len(own)))
    return tuple(found)


def _match_names(own: Sequence[str], given: Sequence[str]) -> list[int | None]:
    known = {_fold(name): index for index, name in reversed(list(enumerate(given))) if name}
    return [known.get(_fold(name)) if name else None for name in own]


def _fold(name: str) -> str:
    return name.strip().casefold()


def _scale(own: Interface, given: Interface, channel: int, source: int | None) -> ChannelSource | None:
    """Express the pretrained network's scale of intensities in the plan's, where both are fixed ones."""
    if source is None:
        return None
    if not (own.normalisation and given.normalisation):
        return ChannelSource(source)
    mine, theirs = own.normalisation[channel], given.normalisation[source]
    if mine.scheme not in SHARED_SCALES or theirs.scheme not in SHARED_SCALES:
        return ChannelSource(source)
    return ChannelSource(source, scale=mine.std / theirs.std, shift=(mine.mean - theirs.mean) / theirs.std)


def _describe(
    own: Interface, given: Interface, images: Sequence[int | None], labels: Sequence[int | None]
) -> list[str]:
    notes = []
    for name, source, rule in zip(own.channels, images, own.normalisation, strict=True):
        if source is None:
            notes.append(f"{name} begins with zero weights")
        elif _fold(given.channels[source]) not in ("", _fold(name)):
            notes.append(f"{name} begins as {given.channels[source]}")
        if source is not None and given.normalisation and rule.scheme != given.normalisation[source].scheme:
            notes.append(f"{name} is normalised by {rule.scheme}, there by {given.normalisation[source].scheme}")
    dropped = [name for n, name in enumerate(given.channels) if name and n not in images]
    if dropped:
        notes.append(f"nothing takes the weights of its {', '.join(dropped)}")
    if len(given.labels) == 1 < len(own.labels):
        notes.append(f"all of {', '.join(own.labels)} begin as its {given.labels[0] or 'one label'}")
    for name, source in zip(own.labels, labels, strict=True):
        if source is None:
            notes.append(f"clicks of {name} begin with zero weights, its output with random ones")
    return notes
