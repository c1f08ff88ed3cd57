"""Measure what the monitor costs, with and without browsers that look, and what it does to the sink's lag."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bench import cpu_time

ROOT = Path(__file__).parents[1]
SETTLING_S, PATIENCE_S, POLL_S = 3.0, 30.0, 0.1
# What a page of 1920 pixels asks for, of two pictures side by side.
WIDTH = 960
# In a line of the sink, of a pair.
LAG = re.compile(r"left 25/25 +right 25/25 +([\d.]+)")

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--size", default="1920x1080", help="of both sources' frames, 25 a second")
parser.add_argument("--seconds", type=float, default=8.0, help="how long to measure at a time")
parser.add_argument("--rounds", type=int, default=5, help="how often, in turns")
parser.add_argument("--payloads", nargs="*", default=["raw", "shm", "jpeg"])
parser.add_argument("--browsers", nargs="*", type=int, default=[0, 1, 5])


@dataclass
class Found:
    """What was measured: processor cores, megabytes, pictures a second of each source, and the sink's lags."""

    cores: list[float] = field(default_factory=list)
    megabytes: float = 0.0
    shown: list[float] = field(default_factory=list)
    lags_ms: list[float] = field(default_factory=list)

    @property
    def lag_ms(self) -> float:
        """The median of the lags."""
        return statistics.median(self.lags_ms)


def main() -> None:
    """Print a line for each payload and number of browsers; the ratio is to the first of them."""
    asked = parser.parse_args()
    print(f"{'':6}{'browsers':>9}{'cores':>8}{'MB':>6}{'shown/s':>9}{'lag p50':>9}{'ratio':>7}")
    for payload in asked.payloads:
        found = measure(payload, asked)
        first = next(iter(found.values()))
        for browsers, one in found.items():
            print(
                f"{payload:6}{browsers:9}{statistics.median(one.cores):8.3f}{one.megabytes:6.0f}"
                f"{statistics.median(one.shown):9.1f}{one.lag_ms:9.2f}{one.lag_ms / first.lag_ms:7.2f}",
                flush=True,
            )


def measure(payload: str, asked: argparse.Namespace) -> dict[int, Found]:
    """Run two sources, with so many browsers in turns; return what was found for each number of them."""
    found = {browsers: Found() for browsers in asked.browsers}
    source = f"synthetic://{asked.size}@25"
    address = f"127.0.0.1:{_free_port()}"
    with tempfile.TemporaryDirectory(prefix="fp-") as directory:
        flags = ["--run-dir", f"{directory}/run", "--payload", payload, "--monitor", address]
        flags += ["--lines", f"left={source}", f"right={source}"]
        log = Path(directory) / "log"
        with log.open("wb") as file:
            command = [sys.executable, str(ROOT / "launch.py"), *flags]
            pipeline = subprocess.Popen(command, stdout=file, stderr=file)  # noqa: S603
        try:
            _wait(lambda: LAG.search(log.read_text(errors="replace")), log)
            _wait(lambda: _listens(address), log)
            pid = _monitor(pipeline.pid)
            for _ in range(asked.rounds):
                for browsers, one in found.items():
                    _watch(address, pid, browsers, asked.seconds, one, log)
        finally:
            pipeline.send_signal(signal.SIGINT)
            pipeline.wait()
    return found


def _watch(address: str, pid: int, browsers: int, seconds: float, found: Found, log: Path) -> None:
    """Measure for so long with so many browsers."""
    over, shown = threading.Event(), [0] * browsers
    threads = [
        threading.Thread(target=_look, args=(address, over, shown, number))
        for number in range(browsers)
    ]
    for thread in threads:
        thread.start()
    time.sleep(SETTLING_S)
    before, seen = sum(shown), len(log.read_bytes())
    began_s, worked_s = time.monotonic(), cpu_time.seconds([pid])
    while time.monotonic() < began_s + seconds:
        time.sleep(POLL_S)
        found.megabytes = max(found.megabytes, _megabytes(pid))
    took_s = time.monotonic() - began_s
    found.cores.append((cpu_time.seconds([pid]) - worked_s) / took_s)
    found.shown.append((sum(shown) - before) / max(1, browsers) / took_s)
    lines = log.read_bytes()[seen:].decode(errors="replace")
    found.lags_ms += [float(lag) for lag in LAG.findall(lines)]
    over.set()
    for thread in threads:
        thread.join()


def _look(address: str, over: threading.Event, shown: list[int], number: int) -> None:
    """Do what a browser does, but for drawing."""
    with contextlib.suppress(WebSocketException), connect(f"ws://{address}/pictures") as client:
        client.send(json.dumps({"width": WIDTH}))
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                client.recv(POLL_S)
                client.send('{"drawn": true}')
                shown[number] += 1


def _wait(is_there: Callable[[], object], log: Path) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_there():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"the pipeline did not start: {log.read_text(errors='replace')}")
        time.sleep(POLL_S)


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
        return True
    return False


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
