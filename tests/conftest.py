"""Marks each test by the folder that it is in, and gives it a directory of its own."""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair.protocol.clocks.clock import OFFSET_VARIABLE
from tests.lib import reaper

TESTS = Path(__file__).parent
# What a test in one of these folders needs is said in pyproject.toml, beside the markers.
MARKED = ("system", "network", "docker", "slow")


# opencv-python needs libraries that a server may lack; what reads cameras says so, in one sentence.
try:
    import cv2
except ImportError as error:
    MISSING = f"OpenCV cannot be loaded ({error}): apt-get install libgl1 libglib2.0-0"
    collect_ignore = [
        str(path)
        for path in sorted(TESTS.rglob("test_*.py"))
        if re.search(r"^(import cv2|from bench)", path.read_text(), re.MULTILINE)
    ]
else:
    MISSING = f"OpenCV {cv2.__version__}"
    collect_ignore = []


def pytest_report_header() -> str:
    left_out = f"; left out are {len(collect_ignore)} modules of tests" if collect_ignore else ""
    return MISSING + left_out


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARKED:
            item.add_marker(folder)


def pytest_collection_finish() -> None:
    # What is there before the first test stays to the end: no collection of garbage has to look at it.
    gc.freeze()


# No node multiplies matrices: what starts a thread for each core takes a tenth of a process's start.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _reaper() -> None:
    reaper.start()


@pytest.fixture(autouse=True, scope="session")
def _hangups() -> None:
    """Let hangups reach the processes of tests also below nohup, which they would inherit from."""
    if threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    ):
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True)
def _own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the clock that a benchmark has given to all of its processes."""
    monkeypatch.delenv(OFFSET_VARIABLE, raising=False)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Give an empty directory whose path is short enough for sockets: pytest's own are too long."""
    path = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)
