"""Split a task for cross-validation: patients stay together, subtypes are spread evenly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from interactivepet.core.dataset import CaseEntry
from interactivepet.core.plan import Fold
from interactivepet.errors import PlanError

__all__ = ["limit_patients", "make_folds"]


def make_folds(entries: Sequence[CaseEntry], seed: int, *, n_folds: int = 5) -> tuple[Fold, ...]:
    """Split cases into folds.

    All cases of one patient fall into one fold, since a network that saw a patient's other scan
    would be judged too well. Patients are dealt out, largest groups first and in random order
    among equals, to the fold that has the fewest cases of their subtype, then the fewest at all.

    Args:
        entries: training cases; `patient` defaults to the case itself, `subtype` to one for all.
        seed: of the order; the same seed gives the same folds.
        n_folds: at least 2.

    Raises:
        PlanError: fewer patients than folds, or fewer than two folds.
    """
    groups = _group_patients(entries)
    if not groups:
        raise PlanError("there is no training case to plan from: add images and labels of some, or import them")
    if not 2 <= n_folds <= len(groups):
        raise PlanError(f"{n_folds} folds were asked for, but {_list_possible(len(groups))}")
    assigned = _deal(groups, seed, n_folds=n_folds)
    everyone = {entry.id for entry in entries}
    return tuple(
        Fold(index=index, training=tuple(sorted(everyone - set(cases))), validation=tuple(sorted(cases)))
        for index, cases in enumerate(assigned)
    )


def limit_patients(fold: Fold, entries: Sequence[CaseEntry], *, most: int, seed: int) -> Fold:
    """Leave the first patients of a random order in a fold's training part; its validation part stays.

    The order depends on the fold's training patients and on the seed alone, so the patients of a smaller number are
    among those of a larger one: the points of a learning curve are comparable.

    Args:
        fold: to limit.
        entries: training cases of the task, which know their patients.
        most: number of training patients, at least 1.
        seed: of the order; that of the split.

    Raises:
        PlanError: the fold has fewer training patients.
    """
    known = set(fold.training)
    groups = _group_patients([entry for entry in entries if entry.id in known])
    if not 1 <= most <= len(groups):
        raise PlanError(
            f"--patients {most}: fold {fold.index} has {len(groups)} training patients; ask for 1 to {len(groups)}, or "
            "leave it out to train on all"
        )
    order = np.random.default_rng((seed, fold.index)).permutation(len(groups))
    patients = [list(groups)[index] for index in order[:most]]
    chosen = {entry.id for patient in patients for entry in groups[patient]}
    return fold.model_copy(update={"training": tuple(name for name in fold.training if name in chosen)})


def _group_patients(entries: Sequence[CaseEntry]) -> dict[str, list[CaseEntry]]:
    """Give the cases of each patient, in the order of their identifiers."""
    groups: dict[str, list[CaseEntry]] = defaultdict(list)
    for entry in sorted(entries, key=lambda e: e.id):
        groups[entry.patient or entry.id].append(entry)
    return groups


def _list_possible(n_patients: int) -> str:
    """Say how many folds there can be."""
    if n_patients == 1:
        return (
            "all training cases are of one patient, and every fold needs one to hold out and another to train on; add "
            "cases of other patients"
        )
    numbers = "there can be 2" if n_patients == 2 else f"there can be 2 to {n_patients}"
    return f"with {n_patients} patients {numbers}, each with a patient to hold out; choose their number with -f"


def _deal(groups: dict[str, list[CaseEntry]], seed: int, *, n_folds: int) -> list[list[str]]:
    """Give the case identifiers of each fold's validation part."""
    rng = np.random.default_rng(seed)
    order = [list(groups)[i] for i in rng.permutation(len(groups))]
    order.sort(key=lambda patient: -len(groups[patient]))
    folds: list[list[str]] = [[] for _ in range(n_folds)]
    subtypes: list[Counter[str]] = [Counter() for _ in range(n_folds)]
    for patient in order:
        wanted = Counter(entry.subtype or "" for entry in groups[patient])
        target = min(
            range(n_folds),
            key=lambda k: (sum(subtypes[k][name] * n for name, n in wanted.items()), len(folds[k]), k),
        )
        folds[target].extend(entry.id for entry in groups[patient])
        subtypes[target].update(wanted)
    return folds
