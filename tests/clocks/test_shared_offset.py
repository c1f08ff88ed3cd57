"""The offset that nodes started by hand agree on, with processes that hold it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.lib.processes import Running, python
from tests.lib.units import S

# Joins, says its offset and the file's, and leaves when it is asked to.
NODE = """
import signal, sys, time
from framepair.protocol.clocks import clock, shared_offset
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
time.time_ns = lambda: time.monotonic_ns() + int(sys.argv[2])
with shared_offset.agreed([sys.argv[1]]):
    print("offset", round(clock.utc_offset_ns(), -9), flush=True)
    signal.pause()
"""


def node(address: str, reading_ns: int, env: dict[str, str] | None = None) -> Running:
    return Running(python("-c", NODE, address, str(reading_ns)), env=env)


def offset(running: Running) -> int:
    return int(running.wait_for("^offset (.*)")[1])


def alone(path: Path, reading_ns: int) -> int:
    """Return the offset of a node that finds ``path`` and no other node."""
    with node(f"ipc://{path.parent}/pairs", reading_ns) as running:
        found = offset(running)
        assert running.stop(signal.SIGTERM) == 0
    return found


def test_later_nodes_take_the_first_ones_offset_as_long_as_any_is_left(directory: Path) -> None:
    address = f"ipc://{directory}/pairs"
    with node(address, 5 * S) as first:
        assert offset(first) == 5 * S
        with node(address, 7 * S) as second:
            assert offset(second) == 5 * S
            assert first.stop(signal.SIGTERM) == 0
            with node(f"ipc://{directory}/left.frames", 9 * S) as third:
                assert offset(third) == 5 * S
                assert third.stop(signal.SIGTERM) == 0
            assert (directory / "utc_offset").exists()
            assert second.stop(signal.SIGTERM) == 0
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("text", ["123\n", "nonsense", ""])
def test_what_a_pipeline_that_is_gone_left_is_not_believed(directory: Path, text: str) -> None:
    path = directory / "utc_offset"
    path.write_text(text)
    assert alone(path, 5 * S) == 5 * S
    assert not path.exists()


def test_what_killed_nodes_left_is_not_believed(directory: Path) -> None:
    path = directory / "utc_offset"
    with node(f"ipc://{directory}/pairs", 5 * S) as killed:
        assert offset(killed) == 5 * S
        killed.stop(signal.SIGKILL)
    assert path.exists()
    assert alone(path, 7 * S) == 7 * S


def test_the_launchers_offset_comes_first(directory: Path) -> None:
    env = {"FRAMEPAIR_UTC_OFFSET_NS": str(3 * S)}
    with node(f"ipc://{directory}/pairs", 5 * S, env) as running:
        assert offset(running) == 3 * S
        assert list(directory.iterdir()) == []


@pytest.mark.parametrize("place", ["tcp://127.0.0.1:7400", "ipc:///nowhere/at/all/pairs"])
def test_without_a_directory_a_node_reads_its_own(place: str) -> None:
    with node(place, 5 * S) as running:
        assert offset(running) == 5 * S


def test_a_link_or_pipe_of_that_name_is_neither_read_nor_removed(directory: Path) -> None:
    path = directory / "utc_offset"
    (directory / "target").write_text("123")
    path.symlink_to(directory / "target")
    assert alone(path, 5 * S) == 5 * S
    assert (directory / "target").read_text() == "123"
    path.unlink()
    os.mkfifo(path)
    assert alone(path, 5 * S) == 5 * S
    assert path.is_fifo()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files to another user")
def test_a_file_of_another_user_is_neither_read_nor_written(directory: Path) -> None:
    path = directory / "utc_offset"
    path.write_text("123")
    os.chown(path, 65534, 65534)
    assert alone(path, 5 * S) == 5 * S
    assert path.read_text() == "123"
