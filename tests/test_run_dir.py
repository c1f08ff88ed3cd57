"""Directories that a pipeline cannot use, and what others left in them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.endpoint import MAX_IPC_PATH_BYTES
from tests.processes import ROOT, Running, python
from tests.shm import small_file_system

SOURCES = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
WHOLE = r"left +\d/\d +right +\d/\d"


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Mount ``path`` again, so that not even root may write to it."""
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(path)], check=True)


def launch(run_dir: Path, *arguments: str | Path) -> Running:
    command = python(ROOT / "launch.py", "--run-dir", run_dir, "--window", "0.2")
    return Running([*command, *SOURCES, *map(str, arguments)])


def refused(run_dir: Path, *arguments: str | Path) -> str:
    """Return the one sentence with which a pipeline refuses to start."""
    with launch(run_dir, *arguments) as running:
        assert running.wait() == 2
        assert running.stdout == []
        assert running.processes() == []
        assert running.stderr != []
        assert not any("Traceback" in line for line in running.stderr)
        return running.stderr[0]


def works(run_dir: Path, *arguments: str | Path) -> None:
    with launch(run_dir, *arguments) as running:
        running.wait_for(WHOLE)
        assert running.stop() == 0


def test_a_full_disk() -> None:
    with small_file_system(64 * 1024) as disk:
        (disk / "run").mkdir(mode=0o700)
        with (disk / "film").open("wb", buffering=0) as film, contextlib.suppress(OSError):
            while True:
                film.write(bytes(4096))
        assert "No space left" in refused(disk / "run")
        assert list((disk / "run").iterdir()) == []
        (disk / "film").unlink()
        works(disk / "run")


def test_a_read_only_disk() -> None:
    with small_file_system(64 * 1024) as disk:
        (disk / "run").mkdir(mode=0o700)
        with read_only(disk):
            assert "cannot write to the run directory" in refused(disk / "run")
            assert "Read-only file system" in refused(disk / "other")
        works(disk / "run")


def test_a_path_that_is_too_long_for_a_socket(directory: Path) -> None:
    long = directory / ("d" * MAX_IPC_PATH_BYTES)
    assert "choose a shorter run directory" in refused(long)
    assert not long.exists()


@pytest.mark.parametrize("name", ["left.frames", "pairs"])
def test_a_video_in_the_place_of_a_socket_survives(directory: Path, name: str) -> None:
    (directory / name).write_bytes(b"the only copy")
    directory.chmod(0o700)
    assert "is not a socket: it stays, name another address" in refused(directory)
    assert (directory / name).read_bytes() == b"the only copy"


def test_a_socket_and_a_ring_of_the_dead_are_no_hindrance(directory: Path) -> None:
    rings = Path(tempfile.mkdtemp(prefix="fp-", dir="/dev/shm"))
    try:
        for name in ("left.frames", "pairs"):
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(directory / name))
            (directory / f"{name}.lock").write_text("1\n")
        shared = ("--payload", "shm", "--shm-dir", rings, "--history", "1")
        with launch(directory, *shared) as running:
            running.wait_for(WHOLE)
            made = set(rings.iterdir())
            everything = running.processes()
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in everything:
                    os.kill(pid, number)
        assert len(made) == 2
        with launch(directory, *shared) as running:
            running.wait_for(WHOLE)
            assert not made & set(rings.iterdir())
            assert running.stop() == 0
        assert list(directory.iterdir()) == []
    finally:
        shutil.rmtree(rings, ignore_errors=True)
