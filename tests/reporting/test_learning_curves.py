from __future__ import annotations

from io import BytesIO

import pytest
from matplotlib.image import imread

from interactivepet.reporting.learning_curves import draw_learning
from tests.reporting.examples import make_epochs


def read_shape(png: bytes) -> tuple[int, ...]:
    return tuple(imread(BytesIO(png), format="png").shape)


@pytest.mark.parametrize("n", [1, 2, 200])
def test_any_number_of_epochs_is_drawn_and_always_alike(n: int) -> None:
    png = draw_learning(make_epochs(n), labels=["tumour"])
    assert read_shape(png)[:2] == (372, 1512)
    assert png == draw_learning(make_epochs(n), labels=["tumour"])


def test_what_happened_changes_the_picture() -> None:
    plain = draw_learning(make_epochs(5), labels=["tumour"])
    assert plain != draw_learning(make_epochs(5, dice=[0.9]), labels=["tumour"])
    assert plain != draw_learning(make_epochs(5), labels=["node"])


def test_labels_that_never_occur_and_odd_names_are_no_obstacle() -> None:
    epochs = make_epochs(3, dice=[None, 0.4])
    assert read_shape(draw_learning(epochs, labels=["_$x^2", "b"], title="Task_$1_$2"))[1] == 1512
