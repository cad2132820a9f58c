"""What the card and the list say of a model's scores: those of what is in the file."""

from __future__ import annotations

import pytest

from interactivepet.cli.models import main
from interactivepet.core.ensemble import ChoiceMode
from interactivepet.model.card import make_card
from interactivepet.model.description import ClickCurve, ModelDescription
from interactivepet.model.installed import install_model
from interactivepet.model.scores import describe_curve, describe_promptable, list_scores
from tests.model.models import PROMPTABLE, describe_model, make_network_plan, make_rule, write_model

ALONE: dict[ChoiceMode, float] = {"extreme": 0.77, "corrected": 0.88}
CURVE = ClickCurve(
    system="ours", user="perfect", start="extreme", n_cases=36, n_clicks=(6.0, 7.0, 8.0), dice=(0.7, 0.75, 0.8)
)


def describe(**told: object) -> ModelDescription:
    return describe_model(make_network_plan()).model_copy(update=told)


NAMES = ("0 clicks", "6 margin points", "6 margin points and 1, 5, 10 corrections")


def test_scores_are_by_number_of_clicks() -> None:
    scores = list_scores(describe(rule=make_rule(share=0.0)))
    assert tuple(score.clicks for score in scores) == NAMES
    assert [(score.nested, score.chosen) for score in scores] == [(0.6, 0.61), (0.8, 0.81), (0.9, 0.91)]
    assert list_scores(describe()) == ()


CARDS: dict[str, tuple[dict[str, object], tuple[str, ...], tuple[str, ...]]] = {
    "folds only": (
        {"rule": make_rule(share=0.0)},
        ("| 6 margin points | 0.800 | 0.810 | 0.700 to 0.900 |", "stored as float32"),
        ("nnInteractive",),
    ),
    "a share that is missing": (
        {"rule": make_rule(share=0.3), "folds_alone": ALONE},
        (
            "| 0 clicks | 0.600 | 0.610 | 0.500 to 0.700 | the same |",
            "| 6 margin points | 0.800 | 0.810 | 0.700 to 0.900 | 0.770 |",
            "6 margin points: 30 %",
            "the folds predict alone unless its model is named with --nninteractive MODEL",
        ),
        (),
    ),
    "a share that is missing, of an older choice": (
        {"rule": make_rule(share=0.3)},
        ("| 6 margin points | 0.800 | 0.810 | 0.700 to 0.900 | not known |",),
        (),
    ),
    "a share that is there": (
        {"rule": make_rule(share=0.3, nninteractive="part of the model"), "promptable": PROMPTABLE},
        (
            "| 6 margin points | 0.800 | 0.810 | 0.700 to 0.900 |\n",
            "The task's own promptable model is in the file and has a share",
            "for channel PET, trained on 9 cases; mean Dice after one click, by its folds on unseen cases: 0.500",
        ),
        ("predict alone",),
    ),
    "no share": (
        {"rule": make_rule(share=0.0), "promptable": PROMPTABLE},
        ("promptable model, which has no share in the choice",),
        ("predict alone",),
    ),
    "a simulation": (
        {"rule": make_rule(share=0.0), "curves": (CURVE,)},
        ("A simulated user corrected 36 cases", "| the folds | perfect | 1 | 7.0 | 0.750 |"),
        (),
    ),
    "float16": ({"precision": "float16"}, ("stored as float16", "were not chosen by cross-validation"), ()),
}


@pytest.mark.parametrize("name", CARDS)
def test_the_card_tells_the_scores(name: str) -> None:
    told, expected, unexpected = CARDS[name]
    card = make_card(describe(**told), name="small")
    for text in expected:
        assert text in card
    for text in unexpected:
        assert text not in card


LISTS: dict[str, tuple[dict[str, object], str]] = {
    "folds only": ({"rule": make_rule(share=0.0)}, "Dice to expect: 0 clicks: 0.600; 6 margin points: 0.800; "),
    "a share that is missing": (
        {"rule": make_rule(share=0.3), "folds_alone": ALONE},
        "0 clicks: 0.600; 6 margin points: 0.770 on the cases of the choice (0.800 with nnInteractive); ",
    ),
    "a share of an older choice": (
        {"rule": make_rule(share=0.3)},
        "0 clicks: 0.600; 6 margin points: unknown (0.800 with nnInteractive); ",
    ),
    "a share that is there": (
        {"rule": make_rule(share=0.3, nninteractive="part of the model"), "promptable": PROMPTABLE},
        "0 clicks: 0.600; 6 margin points: 0.800; ",
    ),
    "a simulation": ({"curves": (CURVE,)}, "0.700 with 6.0, 0.750 with 7.0, 0.800 with 8.0"),
    "nothing": ({}, "Dice to expect: not estimated"),
}


@pytest.mark.parametrize("name", LISTS)
def test_the_list_tells_the_score_of_what_is_in_the_file(
    name: str,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told, expected = LISTS[name]
    folder = tmp_path_factory.mktemp("models")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("interactivepet_models", str(folder / "store"))
    install_model(write_model(folder / "a.zip", **told), folder / "store")
    assert main([]) == 0
    assert expected in capsys.readouterr().out


def test_a_picture_has_four_margin_points() -> None:
    plan = make_network_plan()
    flat = describe(rule=make_rule(share=0.0))
    own = flat.plans.configurations["3d_fullres"].model_copy(update={"median_shape": (64, 64, 1)})
    flat = flat.model_copy(
        update={"plans": flat.plans.model_copy(update={"configurations": {plan.configuration: own}})}
    )
    assert [score.clicks for score in list_scores(flat)][1] == "4 margin points"


def test_a_long_curve_is_shown_at_a_few_steps() -> None:
    long = ClickCurve(
        system="ensemble",
        user="noisy",
        start="none",
        n_cases=3,
        n_clicks=tuple(float(n) for n in range(13)),
        dice=tuple(n / 20 for n in range(13)),
    )
    text = describe_curve(long)
    assert "simulated user 'noisy', by the folds and nnInteractive" in text
    assert text.endswith(
        "0.000 with 0.0, 0.050 with 1.0, 0.100 with 2.0, 0.250 with 5.0, 0.500 with 10.0, 0.600 with 12.0"
    )


def test_nothing_is_said_of_a_promptable_model_that_never_was() -> None:
    assert describe_promptable(describe(rule=make_rule(share=0.0))) == ""
    assert describe_promptable(describe()) == ""
