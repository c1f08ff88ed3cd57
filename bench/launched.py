"""A pipeline that a benchmark starts: ``launch.py`` as a process, stopped at the end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def launched(
    arguments: Sequence[str],
    *,
    failure: type[Exception],
    stop_s: float,
    inside: Sequence[str] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``launch.py``, then stop it; what it says is only shown if ``failure`` is raised meanwhile.

    It is killed if it takes longer than ``stop_s`` to stop. ``inside`` is a command that runs another one,
    such as in a network namespace.
    """
    with tempfile.TemporaryFile() as said:
        launcher = subprocess.Popen(  # noqa: S603
            [*inside, sys.executable, "launch.py", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            yield launcher
        except failure:
            said.seek(0)
            sys.stderr.write(said.read().decode(errors="replace"))
            raise
        finally:
            launcher.send_signal(signal.SIGINT)
            try:
                launcher.wait(stop_s)
            except subprocess.TimeoutExpired:
                launcher.kill()
                launcher.wait()
