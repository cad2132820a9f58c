"""Small digital pages of every kind, with names that HTML must escape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from interactivepet.core.checkpoint import CheckpointCard, EpochRecord
from interactivepet.core.plan import (
    ClickSampling,
    GuidancePlan,
    MemoryEstimate,
    Normalisation,
    Plan,
    TrainingPlan,
    TransformerPlan,
    UNetPlan,
)
from interactivepet.core.report import CaseScores, LabelScores, MeasurePair, Report
from interactivepet.core.simulation import SimulatedCase, SimulatedStep, Simulation
from interactivepet.evaluation.agreement import compare_measures
from interactivepet.evaluation.curves import find_areas, make_simulation
from interactivepet.evaluation.summarise import make_report

VERSION = "0.0.0"
"""Stands on every page, so that a page stays the same when the version changes."""

UNET = UNetPlan(
    input_channels=4,
    output_channels=2,
    features_per_stage=(32, 64),
    kernel_sizes=((3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (2, 2, 2)),
    n_conv_per_stage=(2, 2),
    n_conv_per_stage_decoder=(2,),
)
TRANSFORMER = TransformerPlan(
    architecture="swinunetr", input_channels=4, output_channels=2, image_size=(32, 32, 32), feature_size=24
)

Render = Callable[..., str]


def make_example_pages(render_report: Render, render_fold: Render, render_simulation: Render) -> dict[str, str]:
    """Give a page of every kind by its name; pictures are a few bytes."""
    names = ("good", "bad & <i>", 'it\'s "quoted"', "none")
    scores = dict(zip(names, ((0.87654, 0.5), (0.1, None), (0.5, 1.0), (None, None)), strict=True))
    report, empty = make_example_report(scores, made_from="0123456789abcdef"), make_example_report({})
    n_clicks = {"good": 6, "bad & <i>": 12}
    cases = [
        make_simulated_case("A<1>", [0.7, 0.8, 0.91]),
        make_simulated_case("B", [0.5, 0.3, 0.7], fold=None),
        make_simulated_case("F", [0.0, 0.0, 1.0], f1=None),
    ]
    unclicked = make_card().model_copy(update={"validation_dice": {"extreme": {"good": 0.9}}, "tta": False})
    unmeasured = make_card().model_copy(update={"validation_dice": {}})
    pictures = {"bad & <i>": b"first picture", "good": b"second picture"}
    return {
        "report": render_report(report, pictures=pictures, agreement={"a<b": b"third picture"}),
        "report_empty": render_report(empty, pictures={}),
        "fold": render_fold(make_card(), make_plan(), n_clicks=n_clicks, curves=b"curves", pictures=pictures),
        "fold_clicked": render_fold(unclicked, make_plan(TRANSFORMER), n_clicks={}, curves=b"c", pictures={}),
        "fold_unmeasured": render_fold(unmeasured, make_plan(), n_clicks={}, curves=b"c", pictures={}),
        "simulation": render_simulation(make_example_simulation(cases), cases, curves=b"curves"),
        "simulation_first": render_simulation(
            make_example_simulation([make_simulated_case("A", [0.7])]), [make_simulated_case("A", [0.7])], curves=b""
        ),
    }


def make_example_report(dice: dict[str, tuple[float | None, float | None]], **options: str) -> Report:
    """Make a report of two labels; a case whose Dice are None has an empty reference."""
    cases = [
        CaseScores(
            case=name,
            n_clicks=6,
            labels=tuple(_score(label, value) for label, value in zip(("a<b", "node"), values, strict=True)),
        )
        for name, values in dice.items()
    ]
    report = make_report("Task<1>", cases, title="A <i> & B", provenance='held "out" <b>', **options)
    pairs = make_pairs() if cases else ()
    measured = {"measures": pairs, "agreement": compare_measures(pairs)}
    return report.model_copy(update={"package_version": VERSION, **measured})


def _score(label: str, dice: float | None) -> LabelScores:
    return LabelScores(
        label=label,
        dice=dice,
        hausdorff95_mm=None if dice is None else 4.5678,
        surface_distance_mm=1.234,
        volume_ml=1.0,
        reference_volume_ml=0.0 if dice is None else 2.0,
        false_positive_ml=0.3,
        false_negative_ml=0.0,
        iou=None if dice is None else dice / (2 - dice),
        precision=dice,
        recall=None if dice is None else 0.75,
        specificity=0.9876,
        hausdorff_mm=None if dice is None else 9.5,
        relative_volume_difference=None if dice is None else -0.5,
    )


def make_pairs() -> tuple[MeasurePair, ...]:
    """Measures of four cases: one label with limits of agreement, one of a single case, and an empty mask."""
    values = {
        ("a<b", "suv_max"): [(5.0, 4.0), (7.5, 8.0), (6.0, 6.0), (None, 3.0)],
        ("a<b", "mtv_ml"): [(10.0, 12.0), (20.0, 19.0), (1234.5678, 1200.0), (0.0, 4.0)],
        ("node", "mtv_ml"): [(2.0, 1.0)],
    }
    return tuple(
        MeasurePair(case=str(number), label=label, measure=measure, value=value, reference=reference)
        for (label, measure), found in values.items()
        for number, (value, reference) in enumerate(found)
    )


def make_plan(network: UNetPlan | TransformerPlan = UNET) -> Plan:
    return Plan(
        task="Task<1>",
        budget="cpu",
        channels=("PET",),
        labels={"tumour <b>": 1},
        spacing_mm=(4.0728, 4.0728, 3.0),
        median_shape=(40, 40, 60),
        patch_size=(32, 32, 32),
        normalisation=(Normalisation(scheme="suv"),),
        network=network,
        guidance=GuidancePlan(scale_mm=6.0),
        training=TrainingPlan(batch_size=2, epochs=3, iterations_per_epoch=5, clicks=ClickSampling(noise_mm=1.0)),
        memory=MemoryEstimate(float32_gb=1.5, mixed_gb=0.9),
    )


def make_card(n_epochs: int = 3) -> CheckpointCard:
    return CheckpointCard(
        package_version=VERSION,
        made_from="0123456789abcdef",
        task="Task<1>",
        fold=2,
        training=("A", "B", "C"),
        validation=("good", "bad & <i>", "middle"),
        cases_hash="x",
        weights_sha256="f" * 64,
        licence="decided by <owner>",
        device="Card 9000",
        tta=True,
        epochs=tuple(make_epochs(n_epochs)),
        validation_dice={
            "none": {"good": 0.8, "bad & <i>": 0.3, "middle": 0.7},
            "extreme": {"good": 0.9, "bad & <i>": 0.25, "middle": 0.8},
        },
    )


def make_epochs(n: int, *, dice: Sequence[float | None] = (0.5,)) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch=number,
            loss=1.0 / (number + 1),
            validation_loss=1.2 / (number + 1),
            pseudo_dice=tuple(dice),
            learning_rate=0.01 * (1 - number / n),
            seconds=10.0,
            memory_gb=1.5,
            iterations_per_second=5.0,
            wait_share=0.1,
        )
        for number in range(n)
    ]


def make_step(dice: float, n_clicks: int, *, f1: float | None = 1.0, seconds: float | None = 0.1) -> SimulatedStep:
    return SimulatedStep(
        n_clicks=n_clicks,
        added=(),
        dice=dice,
        false_positive_ml=1 - dice,
        false_negative_ml=2 * (1 - dice),
        lesion_f1=f1,
        surface_dice_2mm=dice,
        surface_dice_5mm=dice,
        n_disobeyed=0,
        seconds=seconds,
    )


def make_simulated_case(name: str, dice: Sequence[float], *, first: int = 0, **options: Any) -> SimulatedCase:
    """Make a case of one step a Dice; `options` are `f1`, None for a lesion-free case, and `fold`."""
    f1 = options.get("f1", 1.0)
    steps = tuple(make_step(value, first + n, f1=f1, seconds=float(n)) for n, value in enumerate(dice))
    return SimulatedCase(
        case=name,
        fold=options.get("fold", 0),
        models="networks (MIT)",
        is_lesion_free=f1 is None,
        steps=steps,
        areas=find_areas(steps),
    )


def make_example_simulation(cases: Sequence[SimulatedCase]) -> Simulation:
    simulation = make_simulation(
        "Task900", cases, name="ours", provenance="who & what", user="perfect", start="none", seed=0
    )
    return simulation.model_copy(update={"package_version": VERSION})
