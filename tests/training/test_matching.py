"""Which channel of a pretrained network becomes which of another task's."""

from __future__ import annotations

import pytest

from interactivepet.core.plan import Normalisation
from interactivepet.training.matching import Interface, match_interfaces

SUV, WIDE, CT, OWN = (
    Normalisation(scheme="suv", std=2.0),
    Normalisation(scheme="suv", std=6.0),
    Normalisation(scheme="ct", mean=30.0, std=60.0),
    Normalisation(scheme="zscore"),
)

PET = Interface(("PET",), ("lesion",), (SUV,))

CASES = {
    # own interface, pretrained interface, input channel -> its source, output -> its label, in the notes
    "the same": (PET, PET, [0, 1, 2, 3], [0], []),
    "another letter case": (Interface((" pet ",), ("Lesion",), (SUV,)), PET, [0, 1, 2, 3], [0], []),
    "CT after PET": (
        Interface(("PET", "CT"), ("lesion",), (SUV, CT)),
        PET,
        [0, None, 1, 2, 3],
        [0],
        ["CT begins with zero weights"],
    ),
    "CT before PET": (
        Interface(("CT", "PET"), ("lesion",), (CT, SUV)),
        PET,
        [None, 0, 1, 2, 3],
        [0],
        ["CT begins with zero weights"],
    ),
    "CT before a PET of another name": (
        Interface(("CT", "FDG"), ("lesion",), (CT, SUV)),
        PET,
        [None, 0, 1, 2, 3],
        [0],
        ["CT begins with zero weights", "FDG begins as PET"],
    ),
    "one image of another name and scale": (
        Interface(("SPECT",), ("heart",), (OWN,)),
        PET,
        [0, 1, 2, 3],
        [0],
        ["SPECT begins as PET", "SPECT is normalised by zscore, there by suv"],
    ),
    "an image less": (
        PET,
        Interface(("CT", "PET"), ("lesion",), (CT, SUV)),
        [1, 2, 3, 4],
        [0],
        ["nothing takes the weights of its CT"],
    ),
    "two labels of one": (
        Interface(("PET",), ("tumour", "node"), (SUV,)),
        PET,
        [0, 1, 2, 1, 2, 3, 3],
        [0, 0],
        ["all of tumour, node begin as its lesion"],
    ),
    "one label of two": (
        PET,
        Interface(("PET",), ("node", "lesion"), (SUV,)),
        [0, 3, 4, 6],
        [1],
        [],
    ),
    "labels in another order": (
        Interface(("PET",), ("node", "tumour"), (SUV,)),
        Interface(("PET",), ("tumour", "node"), (SUV,)),
        [0, 3, 4, 1, 2, 6, 5],
        [1, 0],
        [],
    ),
    "as many labels of other names": (
        Interface(("PET",), ("a", "b"), (SUV,)),
        Interface(("PET",), ("c", "d"), (SUV,)),
        [0, 1, 2, 3, 4, 5, 6],
        [0, 1],
        [],
    ),
    "a label more than two": (
        Interface(("PET",), ("tumour", "node", "bone"), (SUV,)),
        Interface(("PET",), ("tumour", "node"), (SUV,)),
        [0, 1, 2, 3, 4, None, None, 5, 6, None],
        [0, 1, None],
        ["clicks of bone begin with zero weights, its output with random ones"],
    ),
    "names are not known": (
        Interface(("PET", "CT"), ("lesion",), (SUV, CT)),
        Interface.guess(4, 2),
        [0, None, 1, 2, 3],
        [0],
        ["CT begins with zero weights"],
    ),
}


@pytest.mark.parametrize(("own", "given", "inputs", "outputs", "notes"), CASES.values(), ids=CASES)
def test_channels_and_labels_are_matched(
    own: Interface, given: Interface, inputs: list[int | None], outputs: list[int | None], notes: list[str]
) -> None:
    found = match_interfaces(own, given)
    assert [None if source is None else source.index for source in found.inputs] == inputs
    assert list(found.outputs) == outputs
    assert list(found.notes) == notes


@pytest.mark.parametrize(
    ("own", "given", "scale", "shift"),
    [
        (SUV, WIDE, 1 / 3, 0.0),
        (WIDE, SUV, 3.0, 0.0),
        (CT, Normalisation(scheme="ct", mean=0.0, std=30.0), 2.0, 1.0),
        (OWN, SUV, 1.0, 0.0),
        (SUV, OWN, 1.0, 0.0),
        (OWN, OWN, 1.0, 0.0),
    ],
)
def test_a_scale_of_intensities_is_expressed_in_another(
    own: Normalisation, given: Normalisation, scale: float, shift: float
) -> None:
    mine, theirs = (Interface(("A",), ("b",), (rule,)) for rule in (own, given))
    source = match_interfaces(mine, theirs).inputs[0]
    assert source is not None
    assert (source.scale, source.shift) == pytest.approx((scale, shift))


@pytest.mark.parametrize(("n_inputs", "n_outputs"), [(1, 2), (3, 2), (1, 1), (4, 1), (6, 3)])
def test_a_network_without_clicks_has_no_interface(n_inputs: int, n_outputs: int) -> None:
    assert n_outputs == 1 or n_inputs <= 3 * (n_outputs - 1)
    assert Interface.guess(n_inputs, n_outputs) is None
