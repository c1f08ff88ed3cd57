"""Measure what the monitor costs, with and without browsers that look, and what it does to the sink's lag."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench import cpu_time

ROOT = Path(__file__).parents[1]
SETTLING_S, PATIENCE_S, POLL_S = 4.0, 30.0, 0.1
# What a page of 1920 pixels asks for, of two pictures side by side.
WIDTH = 960
# The first line of the sink that has a pair.
BEGUN = "left 25/25"

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--size", default="1920x1080", help="of both sources' frames, 25 a second")
parser.add_argument("--seconds", type=float, default=10.0, help="how long to measure each")
parser.add_argument("--payloads", nargs="*", default=["raw", "shm", "jpeg"])
parser.add_argument("--browsers", nargs="*", type=int, default=[0, 1, 5])


@dataclass
class Found:
    """What was measured: processor cores, megabytes, pictures a second of each source, and the sink's lag."""

    lag_ms: float = 0.0
    cores: float = 0.0
    megabytes: float = 0.0
    shown: list[int] = field(default_factory=list)


def main() -> None:
    """Print a line for each payload and number of browsers; the first of each payload is without a monitor."""
    asked = parser.parse_args()
    source = f"synthetic://{asked.size}@25"
    print(f"{'':6}{'browsers':>9}{'cores':>8}{'MB':>6}{'shown/s':>9}{'lag p50':>9}{'ratio':>7}")
    for payload in asked.payloads:
        alone = measure(payload, source, asked.seconds, None)
        print(f"{payload:6}{'-':>9}{'':23}{alone.lag_ms:9.2f}")
        for browsers in asked.browsers:
            found = measure(payload, source, asked.seconds, browsers)
            rate = sum(found.shown) / max(1, browsers) / asked.seconds
            print(
                f"{payload:6}{browsers:9}{found.cores:8.3f}{found.megabytes:6.0f}{rate:9.1f}"
                f"{found.lag_ms:9.2f}{found.lag_ms / alone.lag_ms:7.2f}"
            )


def measure(payload: str, source: str, seconds: float, browsers: int | None) -> Found:
    """Run two such sources with so many browsers; None: without a monitor."""
    found = Found()
    with tempfile.TemporaryDirectory(prefix="fp-") as directory:
        flags = ["--run-dir", f"{directory}/run", "--payload", payload, "--lines"]
        flags += ["--json", f"{directory}/report.json"]
        address = f"127.0.0.1:{_free_port()}"
        flags += [] if browsers is None else ["--monitor", address]
        command = [sys.executable, str(ROOT / "launch.py"), *flags]
        log = Path(directory) / "log"
        with log.open("wb") as file:
            pipeline = subprocess.Popen(  # noqa: S603
                [*command, f"left={source}", f"right={source}"], stdout=file, stderr=file
            )
        try:
            _wait_for(BEGUN, log)
            if browsers is None:
                time.sleep(SETTLING_S + seconds)
            else:
                _watch(address, _monitor(pipeline.pid), browsers, seconds, found)
        finally:
            pipeline.send_signal(signal.SIGINT)
            pipeline.wait()
        report = Path(directory) / "report.json"
        if not report.exists():
            raise RuntimeError(f"there is no report: {log.read_text(errors='replace')}")
        found.lag_ms = json.loads(report.read_text())["lag_ms"]["p50"]
    return found


def _watch(address: str, pid: int, browsers: int, seconds: float, found: Found) -> None:
    over = threading.Event()
    found.shown = [0] * browsers
    threads = [
        threading.Thread(target=_look, args=(address, over, found.shown, number))
        for number in range(browsers)
    ]
    for thread in threads:
        thread.start()
    time.sleep(SETTLING_S)
    found.shown[:] = [0] * browsers
    began_s, worked_s = time.monotonic(), cpu_time.seconds([pid])
    while time.monotonic() < began_s + seconds:
        time.sleep(POLL_S)
        found.megabytes = max(found.megabytes, _megabytes(pid))
    found.cores = (cpu_time.seconds([pid]) - worked_s) / (time.monotonic() - began_s)
    over.set()
    for thread in threads:
        thread.join()


def _look(address: str, over: threading.Event, shown: list[int], number: int) -> None:
    with contextlib.suppress(WebSocketException), connect(f"ws://{address}/pictures") as client:
        client.send(json.dumps({"width": WIDTH}))
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                client.recv(POLL_S)
                client.send('{"drawn": true}')
                shown[number] += 1


def _wait_for(words: str, log: Path) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while words not in (text := log.read_text(errors="replace")):
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the pipeline did not start: {text}")
        time.sleep(POLL_S)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _monitor(launcher: int) -> int:
    """Return the process of the monitor that the launcher has started."""
    (pid,) = (pid for pid in _descendants(launcher) if "nodes.monitor" in _command(pid))
    return pid


def _descendants(pid: int) -> Iterator[int]:
    for child in cpu_time.children(pid):
        yield child
        yield from _descendants(child)


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")


def _megabytes(pid: int) -> float:
    """Return what is in memory of a process, without rings that it has mapped."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    kilobytes = [int(fields[name].split()[0]) for name in ("RssAnon", "RssFile")]
    return sum(kilobytes) / 1e3


if __name__ == "__main__":
    main()
