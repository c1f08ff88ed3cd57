"""What a monitor that no browser looks at takes of a processor."""

from __future__ import annotations

from pathlib import Path

from tests.lib.pipeline import Pipeline, free_ports

PAIRS, WINDOW_S = 20, 1.0
MOST_OF_A_CORE = 0.01


def taken_s(pid: int) -> float:
    """Return the processor time of a process so far, in seconds."""
    return sum(
        int((thread / "schedstat").read_text().split()[0]) / 1e9
        for thread in Path(f"/proc/{pid}/task").iterdir()
    )


def test_a_monitor_that_is_not_looked_at_takes_less_than_a_hundredth_of_a_core() -> None:
    with Pipeline(["left", "right"], window_s=WINDOW_S) as nodes:
        nodes.combiner()
        sink = nodes.sink()
        monitor = nodes.start("monitor", f":{free_ports(1)}", "--sub", nodes.pub)
        monitor.wait_for("READY")
        for name in nodes.sources:
            nodes.producer(name, "synthetic://640x480@25")
        sink.wait_for(r"left +\d+/25", count=3)
        before_s = taken_s(monitor.process.pid)
        sink.wait_for(r"left +\d+/25", count=3 + PAIRS)
        took_s = taken_s(monitor.process.pid) - before_s
    assert took_s < MOST_OF_A_CORE * PAIRS * WINDOW_S
