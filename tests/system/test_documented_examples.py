"""The programs in the documentation, beside a pipeline that runs, and some as its sink."""

from __future__ import annotations

import contextlib
import http.server
import importlib.util
import json
import os
import queue
import re
import shlex
import shutil
import signal
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from framepair import testing
from tests.lib.launcher import SMALL, launcher
from tests.lib.pages import PAGES, blocks
from tests.lib.processes import PATIENCE_S, ROOT, Running, python
from tests.lib.recordings import WINDOWS, as_jpeg, write

BLOCKS = {
    f"{page.name} {number}": block
    for page in PAGES
    for number, block in enumerate(blocks(page, "python"))
}
BLOCKS |= {path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))}
# What these programs are about need not be installed.
OPTIONAL = re.compile(r"^(?:import|from) (torch|PySide6|jax|ray|rclpy|rerun)\b", re.MULTILINE)
# What shows pairs in a window, and what opens a recording instead of taking pairs.
RERUN, NOTEBOOK = "rerun_viewer.py", "recording_notebook.py"
# Programs of a kind of their own: a web server's is tested by itself.
WEB = [name for name, block in BLOCKS.items() if "FastAPI(" in block]
SHARED = [name for name, block in BLOCKS.items() if "intact" in block]
ENCODED = [name for name, block in BLOCKS.items() if "decode=False" in block and name != RERUN]
(ALERT,) = [name for name, block in BLOCKS.items() if "urlopen" in block]
(JOINED,) = [name for name, block in BLOCKS.items() if "sys.argv[1:])}" in block]
# What listens there by default takes any free port here, as its argument.
PORT = "8080"
# So many start at the same time.
AT_ONCE = 8


def needed(name: str) -> str | None:
    """Return what a program needs and is not there."""
    block = BLOCKS[name]
    package = OPTIONAL.search(block)
    if package and importlib.util.find_spec(package[1]) is None:
        return f"{package[1]} is not installed"
    if '"ffmpeg ' in block and shutil.which("ffmpeg") is None:
        return "there is no ffmpeg"
    if "cv2.imshow" in block and not os.environ.get("DISPLAY"):
        return "there is no display"
    return None


ALONE = [
    name
    for name in BLOCKS
    if name != RERUN and (OPTIONAL.search(BLOCKS[name]) or "cv2.imshow" in BLOCKS[name])
]
OTHERS = {*ALONE, RERUN, NOTEBOOK, *WEB, *SHARED, *ENCODED, ALERT, JOINED}
RAW = [name for name in BLOCKS if name not in OTHERS and needed(name) is None]
GROUPS = [("shm", SHARED), ("jpeg", ENCODED), ("raw", RAW[::2]), ("raw", RAW[1::2])]


@pytest.mark.parametrize(("payload", "names"), GROUPS)
def test_the_examples_get_pairs(directory: Path, payload: str, names: Sequence[str]) -> None:
    with testing.pipeline(flags=["--payload", payload]) as pipeline:
        for i in range(0, len(names), AT_ONCE):
            check(directory, pipeline, names[i : i + AT_ONCE])


@pytest.mark.parametrize("name", ALONE)
def test_an_example_with_another_library_gets_pairs(directory: Path, name: str) -> None:
    if reason := needed(name):
        pytest.skip(reason)
    with testing.pipeline() as pipeline:
        check(directory, pipeline, [name])


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_a_gpu_that_is_not_there_is_one_sentence(directory: Path) -> None:
    command = python(ROOT / "examples" / "torch_consumer.py", "--device", "cuda")
    with Running(command, cwd=directory, env={"CUDA_VISIBLE_DEVICES": ""}) as running:
        assert running.wait() == 2
        assert running.stderr == [
            "--device cuda: PyTorch finds no GPU here; leave it out, or give cpu"
        ]


@pytest.mark.skipif(importlib.util.find_spec("rerun") is None, reason="rerun is not installed")
def test_an_example_saves_pairs_for_rerun(directory: Path) -> None:
    saved = directory / "pairs.rrd"
    with (
        testing.pipeline(flags=["--payload", "jpeg"]) as pipeline,
        program(directory, pipeline, RERUN, "--save", str(saved)) as running,
    ):
        # Its own header and the names of what is in it; each frame is larger.
        while not saved.exists() or saved.stat().st_size < 100_000:
            assert running.process.poll() is None, running.stderr
            time.sleep(0.05)


def test_an_example_opens_a_recording(directory: Path) -> None:
    written = write(directory / "a.mcap", as_picture=as_jpeg)
    command = python(ROOT / "examples" / NOTEBOOK, directory / "a.mcap")
    with Running(command, cwd=directory) as running:
        assert running.wait() == 0, running.stderr
        said = running.stdout
    count = sum(header.source == "left" for header in written)
    assert said[:2] == ["left, right", f"{WINDOWS} pairs, {WINDOWS} complete"]
    assert f"left: {count} frames, 40.0 to 840.0 ms apart" in said
    assert any(line.startswith("right: (6, 8, 3) of jpeg at ") for line in said)


def test_an_example_joins_pipelines(directory: Path) -> None:
    with testing.pipeline("left") as one, testing.pipeline("left") as other:
        arguments = (one.address, other.address)
        with program(directory, one, JOINED, *arguments) as running:
            running.wait_for(r"^\d+ True {'site0/left': 5, 'site1/left': 5}")


def test_an_example_tells_what_is_missing(directory: Path) -> None:
    told: queue.Queue[bytes] = queue.Queue()

    class Chat(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with (
        http.server.HTTPServer(("127.0.0.1", 0), Chat) as server,
        testing.pipeline(flags=["--fault", "left:drop@0.5"]) as pipeline,
        program(directory, pipeline, ALERT, f"http://127.0.0.1:{server.server_port}") as running,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.wait_for(r"^\d+ {'left': \d+}")
        assert "lacks {'left': " in json.loads(told.get(timeout=PATIENCE_S))["text"]
        server.shutdown()


def program(directory: Path, pipeline: testing.Pipeline, name: str, *arguments: str) -> Running:
    """Start a program beside a pipeline."""
    file = directory / f"{name.replace(' ', '-').replace('.', '-')}.py"
    file.write_text(BLOCKS[name])
    environment = {**pipeline.environment(), "PYTHONUNBUFFERED": "1"}
    return Running(python(file, *arguments), cwd=directory, env=environment)


def check(directory: Path, pipeline: testing.Pipeline, names: Sequence[str]) -> None:
    """Run programs, until each has said twice what it took."""
    with ExitStack() as stack:
        started = []
        for name in names:
            arguments = ("0",) if PORT in BLOCKS[name] else ()
            started.append(stack.enter_context(program(directory, pipeline, name, *arguments)))
        for running in started:
            # The first word of each line is a number: of a window, or a frame.
            running.wait_for(r"^\d+", count=2)
            check_page(running)
            with contextlib.suppress(ProcessLookupError):
                # Also what it has started.
                os.killpg(running.process.pid, signal.SIGTERM)
            running.wait()
            said = " ".join(running.stderr)
            assert "Traceback" not in said, said
            assert "malformed" not in said


def check_page(running: Running) -> None:
    """Get the numbers of a program that has printed an address."""
    for address in [line for line in running.stdout if line.startswith("http://")]:
        with urllib.request.urlopen(address, timeout=30) as response:
            assert re.search(rb"^model_pairs_total [1-9]", response.read(), re.MULTILINE)


def test_an_example_stops_with_its_pipeline(directory: Path) -> None:
    sink = shlex.join(python(ROOT / "examples" / "side_by_side.py"))
    command = launcher("--run-dir", directory / "run", "--window", "0.2", "--sink", sink, *SMALL)
    with Running(command, cwd=directory, env={"PYTHONUNBUFFERED": "1"}) as running:
        running.wait_for(r"^\d+", count=2)
        assert running.stop() == 0
        assert not any("Traceback" in line or "malformed" in line for line in running.stderr)
        assert running.processes() == []
