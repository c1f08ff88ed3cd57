"""The documented web applications, served by uvicorn: they start, follow their clients, and stop."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from framepair import testing
from framepair.nodes.producer.sources import pattern
from tests.lib.pages import blocks
from tests.lib.processes import PATIENCE_S, ROOT, Running, python

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("fastapi") is None, reason="fastapi is not installed"
)
VIDEO, NEWEST = (
    block for block in blocks(ROOT / "docs" / "recipes.md", "python") if "FastAPI(" in block
)

# The one that receives, and two of ZeroMQ's.
OF_A_SUBSCRIPTION = 3


@pytest.fixture(scope="module")
def pipeline() -> Iterator[testing.Pipeline]:
    with testing.pipeline() as running:
        yield running


@contextlib.contextmanager
def served(
    directory: Path, program: str, environment: dict[str, str]
) -> Iterator[tuple[Running, str]]:
    """Serve an application as its page says; give its process and address."""
    (directory / "program.py").write_text(program)
    flags = ("--port", "0", "--timeout-graceful-shutdown", "1")
    command = python("-m", "uvicorn", "program:app", *flags)
    with Running(command, cwd=directory, env=environment) as running:
        yield running, running.wait_for(r"running on (http://127\.0\.0\.1:\d+)")[1]


def threads(running: Running) -> int:
    """Return how many threads a process has: a subscription has some of its own."""
    return len(list(Path(f"/proc/{running.process.pid}/task").iterdir()))


def opened(address: str) -> HTTPResponse:
    response: HTTPResponse = urllib.request.urlopen(address, timeout=PATIENCE_S)
    return response


def next_picture(response: HTTPResponse) -> np.ndarray[Any, Any]:
    """Return the next picture of a video."""
    assert response.readline() == b"--next\r\n"
    assert response.readline() == b"Content-Type: image/jpeg\r\n"
    assert response.readline() == b"\r\n"
    jpeg = b""
    while not jpeg.endswith(b"\xff\xd9\r\n"):
        line = response.readline()
        assert line, "the video has ended"
        jpeg += line
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))


def test_a_video_lasts_as_long_as_its_client_and_its_server(
    directory: Path, pipeline: testing.Pipeline
) -> None:
    with served(directory, VIDEO, pipeline.environment()) as (running, address):
        before = threads(running)
        with opened(address) as response:
            stamps = [pattern.read(next_picture(response)) for _ in range(3)]
            assert threads(running) >= before + OF_A_SUBSCRIPTION
        assert len({str(stamp) for stamp in stamps}) == 3
        assert None not in stamps
        deadline_s = time.monotonic() + PATIENCE_S
        # One may stay: that in which the event loop has closed it.
        while threads(running) > before + 1:
            assert time.monotonic() < deadline_s, "a client that went has left its subscription"
        with opened(address) as response:
            next_picture(response)
            assert running.stop() == 0
            assert running.processes() == []
        # uvicorn says of a video that it has cut off that it was cancelled.
        said = " ".join(running.stderr)
        assert "framepair/protocol" not in said
        assert "never retrieved" not in said
        assert "was destroyed" not in said


def test_the_newest_result_is_that_of_a_task_that_ends_with_the_server(
    directory: Path, pipeline: testing.Pipeline
) -> None:
    with served(directory, NEWEST, pipeline.environment()) as (running, address):
        seen: list[int] = []
        deadline_s = time.monotonic() + PATIENCE_S
        while len(seen) < 2:
            assert time.monotonic() < deadline_s
            with opened(f"{address}/newest") as response:
                found = json.load(response)
            if found and found["pair"] not in seen:
                assert found["left"] > 0
                seen.append(found["pair"])
        assert seen[0] < seen[1]
        assert running.stop(signal.SIGINT) == 0
        assert running.processes() == []
        assert "Traceback" not in " ".join(running.stderr)


def test_what_has_ended_the_task_is_an_error_of_the_server(directory: Path) -> None:
    with served(directory, NEWEST, {"FRAMEPAIR_SUB": "tcp://10.0.0.1"}) as (running, address):
        with pytest.raises(urllib.error.HTTPError, match="500"):
            opened(f"{address}/newest")
        running.wait_for("EndpointError")
