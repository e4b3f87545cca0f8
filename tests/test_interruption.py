"""Signals as a flag, and the way a stopped run exits."""

from __future__ import annotations

import signal
import threading

import pytest

from mmi_tvr.utils import interruption


def test_a_signal_sets_the_event_and_the_former_handler_returns() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with interruption.stop_event(signal.SIGTERM) as requested:
        assert not requested.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert requested.is_set()
    assert signal.getsignal(signal.SIGTERM) is former


def test_signals_that_were_not_named_act_as_before() -> None:
    with interruption.stop_event(signal.SIGTERM) as requested:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert not requested.is_set()


def test_handlers_return_after_an_error() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="inside"), interruption.stop_event(signal.SIGTERM, signal.SIGINT):
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGTERM) is former
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_thread_changes_no_handler() -> None:
    former = signal.getsignal(signal.SIGTERM)
    handlers = []

    def work() -> None:
        with interruption.stop_event(signal.SIGTERM) as requested:
            handlers.append((signal.getsignal(signal.SIGTERM), requested.is_set()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [(former, False)]


def test_sigterm_raises_where_a_command_runs_and_the_former_handler_returns() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(interruption.Interrupted), interruption.raise_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is former


def test_a_command_in_another_thread_changes_no_handler() -> None:
    former = signal.getsignal(signal.SIGTERM)
    handlers = []

    def work() -> None:
        with interruption.raise_on_sigterm():
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [former]


def test_interrupted_exits_with_130() -> None:
    with pytest.raises(SystemExit) as raised:
        raise interruption.Interrupted
    assert raised.value.code == interruption.EXIT_CODE == 130
