"""An address of its own for each test, and a combiner there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest

from tests.lib.publisher import Combiner, combiner_at


@pytest.fixture
def address() -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="fp-")
    yield f"ipc://{directory}/pairs"
    shutil.rmtree(directory)


@pytest.fixture
def combiner(address: str) -> Iterator[Combiner]:
    with combiner_at(address) as node:
        yield node
