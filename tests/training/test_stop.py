from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from interactivepet.core.checkpoint import EpochRecord
from interactivepet.errors import SettingsError
from interactivepet.training.inputs import TrainingOptions
from interactivepet.training.stop import (
    Clock,
    Interruption,
    find_best,
    find_reason,
    leave_on_sigterm,
    listen,
    smooth_dice,
    wants_more,
)

OPTIONS = TrainingOptions()


def make_epochs(*dice: float | None, seconds: float = 10.0) -> list[EpochRecord]:
    return [
        EpochRecord(
            epoch=n,
            loss=1.0,
            validation_loss=1.0,
            pseudo_dice=(value, None),
            learning_rate=0.01,
            seconds=seconds,
            memory_gb=1.0,
        )
        for n, value in enumerate(dice)
    ]


def test_the_dice_is_smoothed_from_its_first_value() -> None:
    assert smooth_dice(make_epochs(0.5, 0.5, 0.5)) == pytest.approx([0.5, 0.5, 0.5])
    first, second = smooth_dice(make_epochs(0.2, 0.8))
    assert (first, second) == pytest.approx((0.2, (0.8 * 0.2 * 0.2 + 0.2 * 0.8) / 0.36))


def test_epochs_without_any_label_change_nothing() -> None:
    assert smooth_dice(make_epochs(None, 0.4, None)) == pytest.approx([0.0, 0.4, 0.4])


def test_labels_are_averaged() -> None:
    (epoch,) = make_epochs(0.2)
    assert smooth_dice([epoch.model_copy(update={"pseudo_dice": (0.2, 0.6)})]) == pytest.approx([0.4])


def test_the_best_is_the_first_of_the_smoothed() -> None:
    assert find_best(make_epochs(0.2, 0.9, 0.1, 0.1)) == 1
    assert find_best(make_epochs(0.5, 0.5)) == 0
    assert find_best(make_epochs(None, 0.0, 0.0)) == 2, "nothing speaks for the first"


def test_a_run_without_conditions_goes_on() -> None:
    assert find_reason(make_epochs(1.0, 0.0, 0.0), OPTIONS) is None
    assert find_reason([], replace(OPTIONS, until_dice=0.1, patience=1, time_limit_s=1.0)) is None


def test_a_run_ends_when_it_is_good_enough() -> None:
    options = replace(OPTIONS, until_dice=0.8)
    assert find_reason(make_epochs(0.1, 0.9), options) is None
    assert find_reason(make_epochs(0.85), options) == "the smoothed pseudo Dice 0.850 has reached 0.8"


def test_a_run_ends_when_it_does_not_get_better() -> None:
    options = replace(OPTIONS, patience=2)
    assert find_reason(make_epochs(0.5, 0.4), options) is None
    assert find_reason(make_epochs(0.5, 0.4, 0.9), options) is None
    assert "has not risen for 2 epochs" in str(find_reason(make_epochs(0.5, 0.4, 0.3), options))


def test_a_run_ends_when_its_time_is_over() -> None:
    options = replace(OPTIONS, time_limit_s=25.0)
    assert find_reason(make_epochs(0.5, 0.5), options) is None
    assert find_reason(make_epochs(0.5, 0.5, 0.5), options) == "the time limit of 25 s is reached"


def test_a_complete_fold_goes_on_when_more_epochs_are_named() -> None:
    epochs = make_epochs(0.5, 0.5)
    assert wants_more(epochs, replace(OPTIONS, epochs=3))
    assert not wants_more(epochs, replace(OPTIONS, epochs=2))
    assert not wants_more(epochs, OPTIONS)
    assert not wants_more(epochs, replace(OPTIONS, epochs=3, until_dice=0.4))


def test_progress_follows_the_tighter_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    unlimited, limited = (Clock(100, limit, 50.0, now[0], now[0]) for limit in (None, 80.0))
    assert unlimited.progress(30) == pytest.approx(0.3)
    assert limited.progress(30) == pytest.approx(50 / 80)
    assert limited.progress(90) == pytest.approx(0.9)
    now[0] += 30.0
    assert (unlimited.progress(0), limited.progress(0)) == (0.0, 1.0)
    assert (limited.lap_s(), limited.lap_s()) == (30.0, 0.0)


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)], ids=["term", "int"]
)
def test_a_signal_is_noted_and_acted_on_later(number: signal.Signals, error: type[BaseException]) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    with listen() as interruption:
        interruption.check()
        signal.raise_signal(number)
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
        # a second one acts as if nobody listened
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    with pytest.raises(error) as info:
        interruption.leave()
    if number == signal.SIGTERM:
        assert info.value.code == 143
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def test_no_signal_no_end() -> None:
    Interruption().leave()


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with listen() as interruption:
            signal.raise_signal(signal.SIGINT)
            assert interruption.number is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_listens_to_nothing() -> None:
    found = []

    def work() -> None:
        with listen() as interruption:
            found.append(interruption.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"until_dice": 1.2}, "--until-dice"),
        ({"time_limit_s": 0.0}, "--time-limit"),
        ({"deterministic": True, "time_limit_s": 60.0}, "exclude each other"),
    ],
)
def test_options_without_sense_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        TrainingOptions(**change)


def test_sigterm_closes_what_was_begun() -> None:
    closed = []

    @contextmanager
    def hold() -> Iterator[None]:
        try:
            yield
        finally:
            closed.append(True)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"), leave_on_sigterm(), hold():
        signal.raise_signal(signal.SIGTERM)
    assert closed
    assert signal.getsignal(signal.SIGTERM) is before
