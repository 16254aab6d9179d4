"""No signal that ends a command is missed, at whatever moment it comes."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from llmtrace.cli.stopping import stop_signals
from tests.commands import running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_wait_ends_it(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_signals() as wait:
        assert not wait(0.0)
        os.kill(os.getpid(), number)
        assert wait(30)
    assert signal.getsignal(number) == before


def test_a_signal_that_another_thread_gets_ends_the_wait() -> None:
    with stop_signals() as wait:
        threading.Timer(0.2, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGTERM)).start()
        begin = time.monotonic()
        assert wait(30)
        assert time.monotonic() - begin < 20


def test_a_receiver_that_has_said_its_port_ends_in_order(tmp_path: object) -> None:
    with running("receive", "--json", "--no-grpc", "--http-port", "0", "--store", str(tmp_path)) as (line, process):
        assert "http_port" in line
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
