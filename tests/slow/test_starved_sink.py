"""A sink that gets a tenth of a processor, as in a container that is limited to that, ends with its report."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tests.lib.pipeline import Pipeline

SLICE_S, PAUSE_S = 0.01, 0.09


@contextlib.contextmanager
def starving(pid: int) -> Iterator[None]:
    """Let a process run for a tenth of the time only, in slices such as a limited container gets."""
    over = threading.Event()

    def deal() -> None:
        number = signal.SIGSTOP
        while not over.wait(SLICE_S if number == signal.SIGSTOP else PAUSE_S):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            number = signal.SIGCONT if number == signal.SIGSTOP else signal.SIGSTOP
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=deal)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("payload", ["raw", "jpeg"])
def test_a_stop_ends_it_with_its_report(payload: str) -> None:
    with Pipeline(["left", "right"]) as nodes:
        nodes.combiner()
        sink = nodes.sink()
        for name in nodes.sources:
            nodes.producer(name, "synthetic://640x480@25", "--payload", payload)
        sink.wait_for("left 5/5 +right 5/5", count=2)
        with starving(sink.process.pid):
            printed = len(sink.stdout)
            sink.wait_for(r"left +\d+/5 +right +\d+/5", count=printed + 2)
            assert sink.stop(signal.SIGTERM) == 0, sink.lines
    sink.wait_for("The ledger balances")
