"""Signals: the first sets a flag and is told, the second has its default effect, and all is put back afterwards."""

import signal
import threading

import pytest

from astr_cli.matching.resources.signals import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_is_told_and_the_second_would_end_the_process(number: signal.Signals) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    told: list[str] = []
    with stop_on_signals(told.append) as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
        assert told == [number.name]
        assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_listener_busy_with_its_stream_does_not_break_the_stop() -> None:
    def busy(name: str) -> None:
        raise RuntimeError("reentrant call")

    with stop_on_signals(busy) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested


def test_outside_of_the_main_thread_nothing_is_touched() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with stop_on_signals(lambda name: None) as stop:
            seen.extend([stop.requested, signal.getsignal(signal.SIGINT) == before])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False, True]
