"""The model that comes with the package gives a first mask, on patients that no training saw."""

import numpy as np
import pytest

import interactivepet
from interactivepet.dataset.phantom.patient import make_patient
from interactivepet.evaluation.metrics import dice
from interactivepet.guidance.click_user import place_click
from interactivepet.guidance.simulate import ClickOptions, simulate_clicks
from interactivepet.model.installed import list_shipped

LARGEST_BYTES = 10 * 10**6


@pytest.fixture(scope="module")
def starter() -> interactivepet.Model:
    return interactivepet.load_model(list_shipped()["starter"], tta=False, threads=1, device="cpu")


@pytest.fixture(scope="module")
def patient() -> interactivepet.Case:
    # lesions, anatomy, blur and noise of the demonstration's patients, which the starter's were not made by
    image, label, geometry = make_patient(np.random.default_rng(12), n_lesions=(1, 1), spacing_mm=(4.0, 4.0, 4.0))
    return interactivepet.Case("patient", image, geometry, label)


def test_it_is_small_and_says_where_it_is_from(starter: interactivepet.Model) -> None:
    path = list_shipped()["starter"]

    assert path.stat().st_size < LARGEST_BYTES
    assert dict(starter.labels) == {"lesion": 1}
    assert starter.channels == ("PET",)
    assert "MIT" in starter.description


@pytest.mark.parametrize("scale", [1.0, 1000.0], ids=["SUV", "another unit"])
def test_one_click_gives_a_mask_of_the_lesion(
    scale: float, starter: interactivepet.Model, patient: interactivepet.Case
) -> None:
    label = patient.label
    assert label is not None
    click = place_click(
        np.zeros_like(label),
        label,
        geometry=patient.geometry,
        labels=(1,),
        aim="perfect",
        rng=np.random.default_rng(0),
    )
    assert click is not None
    case = interactivepet.Case("patient", scale * patient.image, patient.geometry)

    segmentation = starter.predict(case, [click])

    assert segmentation.mask.shape == label.shape
    assert dice(segmentation.mask > 0, label > 0) > 0.6


def test_margin_points_give_one_too(starter: interactivepet.Model, patient: interactivepet.Case) -> None:
    label = patient.label
    assert label is not None
    six = simulate_clicks(label, patient.geometry, options=ClickOptions(), rng=np.random.default_rng(0))

    assert len(six) == 6
    assert dice(starter.predict(patient, six).mask > 0, label > 0) > 0.75
