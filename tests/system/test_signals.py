"""Ctrl-C and SIGTERM at any moment of a pipeline's life: over within five seconds, without a word."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lib.busy import allowed
from tests.lib.launcher import launcher
from tests.lib.processes import Running
from tests.lib.shm import until

LIMIT_S = 5.0
NODES = 4
Moment = Callable[[Running], object]


def started(count: int) -> Moment:
    """Return what waits until the launcher has started ``count`` nodes; 0: until it minds signals."""

    def wait(running: Running) -> None:
        until(lambda: minds_signals(running.process.pid) and len(running.session()) > count)

    return wait


def printed(pairs: int) -> Moment:
    """Return what waits until so many ``pairs`` are printed."""
    return lambda running: running.wait_for(r"left +\d+/\d+", count=pairs)


def ready(nodes: int) -> Moment:
    """Return what waits until so many ``nodes`` work."""
    return lambda running: running.wait_for("READY", count=nodes)


MOMENTS = {
    **{f"{count} nodes started": started(count) for count in range(NODES + 1)},
    **{f"{count} nodes ready": ready(count) for count in (1, NODES)},
    **{f"{count} pairs printed": printed(count) for count in (1, 2, 3)},
}
ALWAYS = ("2 nodes started", "1 pairs printed")


def minds_signals(pid: int) -> bool:
    """Tell whether a process handles SIGTERM: before that it is only Python that starts."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize(
    "moment",
    [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow) for name in MOMENTS],
)
def test_a_signal_ends_everything_whenever_it_comes(
    directory: Path, moment: str, number: signal.Signals
) -> None:
    sources = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    command = launcher("--run-dir", directory / "run", "--window", "0.2")
    with Running([*command, "--verbose", *sources]) as running:
        MOMENTS[moment](running)
        assert running.stop(number, timeout_s=allowed(LIMIT_S)) == 0
        assert not any("Traceback" in line or "ended with" in line for line in running.lines)
        assert running.processes() == []
    assert list(directory.iterdir()) == []
