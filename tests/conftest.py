"""Marks each test by the folder that it is in, and gives it a directory of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair.protocol.clocks.clock import OFFSET_VARIABLE
from tests.lib import reaper

TESTS = Path(__file__).parent
# What a test in one of these folders needs is said in pyproject.toml, beside the markers.
MARKED = ("system", "network", "docker", "slow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARKED:
            item.add_marker(folder)


@pytest.fixture(autouse=True, scope="session")
def _reaper() -> None:
    reaper.start()


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
