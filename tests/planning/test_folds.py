from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactivepet.core.dataset import CaseEntry
from interactivepet.core.plan import Fold
from interactivepet.errors import PlanError
from interactivepet.planning.folds import limit_patients, make_folds


def entry(case: str, *, patient: str | None = None, subtype: str | None = None) -> CaseEntry:
    return CaseEntry(id=case, images=(f"{case}.nii.gz",), patient=patient, subtype=subtype)


@st.composite
def tasks(draw: st.DrawFn) -> tuple[list[CaseEntry], int]:
    n_patients = draw(st.integers(2, 12))
    entries = [
        entry(f"c{p}_{i}", patient=f"p{p}", subtype=draw(st.sampled_from([None, "FDG", "PSMA"])))
        for p in range(n_patients)
        for i in range(draw(st.integers(1, 3)))
    ]
    return entries, draw(st.integers(2, n_patients))


@settings(deadline=None)
@given(task=tasks(), seed=st.integers(0, 5))
def test_each_case_is_validated_once_and_patients_stay_together(task: tuple[list[CaseEntry], int], seed: int) -> None:
    entries, n_folds = task

    folds = make_folds(entries, seed, n_folds=n_folds)

    assert [fold.index for fold in folds] == list(range(n_folds))
    assert sorted(case for fold in folds for case in fold.validation) == sorted(e.id for e in entries)
    patient_of = {e.id: e.patient for e in entries}
    for fold in folds:
        assert fold.validation
        assert sorted(fold.training + fold.validation) == sorted(patient_of)
        assert not {patient_of[c] for c in fold.training} & {patient_of[c] for c in fold.validation}


def test_single_cases_are_spread_evenly() -> None:
    folds = make_folds([entry(f"c{i:02d}") for i in range(13)], 0, n_folds=5)
    assert sorted(len(fold.validation) for fold in folds) == [2, 2, 3, 3, 3]


def test_subtypes_are_spread_evenly() -> None:
    entries = [entry(f"c{i:02d}", subtype="PSMA" if i < 10 else "FDG") for i in range(25)]
    subtype_of = {e.id: e.subtype for e in entries}
    for fold in make_folds(entries, 3, n_folds=5):
        assert Counter(subtype_of[case] for case in fold.validation) == {"PSMA": 2, "FDG": 3}


def test_the_seed_alone_decides() -> None:
    entries = [entry(f"c{i:02d}") for i in range(20)]
    assert make_folds(entries, 4) == make_folds(list(reversed(entries)), 4)
    assert make_folds(entries, 4) != make_folds(entries, 5)


def test_a_large_patient_does_not_make_a_large_fold() -> None:
    entries = [entry(f"big{i}", patient="big") for i in range(4)] + [entry(f"c{i}") for i in range(8)]
    sizes = sorted(len(fold.validation) for fold in make_folds(entries, 0, n_folds=3))
    assert sizes == [4, 4, 4]


@pytest.mark.parametrize(("n_folds", "n_patients"), [(5, 4), (1, 4), (0, 4)])
def test_an_impossible_number_of_folds_is_refused(n_folds: int, n_patients: int) -> None:
    entries = [entry(f"c{i}", patient=f"p{i % n_patients}") for i in range(8)]
    with pytest.raises(PlanError, match=rf"{n_folds} folds .* {n_patients} patients .* -f"):
        make_folds(entries, 0, n_folds=n_folds)


POSSIBLE = {
    (
        1,
        2,
    ): "2 folds were asked for, but all training cases are of one patient, .* add cases of other",
    (1, 5): "all training cases are of one patient",
    (2, 3): r"3 folds were asked for, but with 2 patients there can be 2, each .* with -f",
    (2, 1): "with 2 patients there can be 2, each",
    (4, 5): "with 4 patients there can be 2 to 4, each",
    (4, 1): "1 folds were asked for, but with 4 patients there can be 2 to 4",
}


@pytest.mark.parametrize(("n_patients", "n_folds"), POSSIBLE)
def test_the_folds_that_there_can_be_are_told(n_patients: int, n_folds: int) -> None:
    entries = [entry(f"c{p}_{i}", patient=f"p{p}") for p in range(n_patients) for i in range(2)]
    with pytest.raises(PlanError, match=POSSIBLE[n_patients, n_folds]):
        make_folds(entries, 0, n_folds=n_folds)


COHORT = [entry(f"c{p:02d}_{i}", patient=f"p{p:02d}") for p in range(10) for i in range(1 + p % 3)]
COHORT_FOLDS = make_folds(COHORT, 0)


def find_patients(cases: tuple[str, ...]) -> set[str]:
    return {case.split("_")[0] for case in cases}


@pytest.mark.parametrize("fold", COHORT_FOLDS, ids=lambda fold: f"fold {fold.index}")
def test_fewer_patients_are_among_more(fold: Fold) -> None:
    n_patients = len(find_patients(fold.training))
    limited = [limit_patients(fold, COHORT, most=n, seed=0) for n in range(1, n_patients + 1)]
    for n, small in enumerate(limited, 1):
        assert len(find_patients(small.training)) == n, "patients are counted, not cases"
        assert find_patients(small.training) == {c.split("_")[0] for c in small.training}
        assert set(small.training) == {c for c in fold.training if c.split("_")[0] in find_patients(small.training)}
        assert (small.index, small.validation) == (fold.index, fold.validation)
    assert all(set(a.training) < set(b.training) for a, b in pairwise(limited))
    assert limited[-1] == fold


def test_the_order_of_patients_is_that_of_the_seed() -> None:
    fold = COHORT_FOLDS[0]
    first = [limit_patients(fold, COHORT, most=4, seed=seed).training for seed in (0, 0, 1, 2, 3)]
    assert first[0] == first[1] == limit_patients(fold, list(reversed(COHORT)), most=4, seed=0).training
    assert len(set(first)) > 1


@pytest.mark.parametrize("most", [0, -1, 9, 100])
def test_patients_that_are_not_there_are_counted(most: int) -> None:
    with pytest.raises(PlanError, match=rf"--patients {most}: fold 0 has 8 training patients; ask for 1 to 8"):
        limit_patients(COHORT_FOLDS[0], COHORT, most=most, seed=0)
