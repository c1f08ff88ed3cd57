"""Shared memory for tests: directories of their own, and a look at what is in them."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lib.processes import PATIENCE_S


@contextlib.contextmanager
def own_directory() -> Iterator[Path]:
    """Yield a directory that isn't there yet; at the end it must be gone again, as must all mappings of it."""
    parent = Path(tempfile.mkdtemp(prefix="fp-", dir="/dev/shm"))
    try:
        yield parent / "rings"
        left = list(parent.rglob("*"))
    finally:
        shutil.rmtree(parent)
    assert left == []


@contextlib.contextmanager
def small_file_system(nbytes: int) -> Iterator[Path]:
    """Yield a file system in memory of ``nbytes``; skips the test where it may not be mounted."""
    path = Path(tempfile.mkdtemp(prefix="fp-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={nbytes},mode=700", "tmpfs", str(path)]
    try:
        if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("needs the right to mount a file system")
        try:
            yield path
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=True)
    finally:
        path.rmdir()


def rings(directory: Path) -> list[str]:
    """Return the names of the rings in a directory, which need not be there."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(path.name for path in directory.iterdir())
    return []


def mapped(directory: Path) -> int:
    """Return how many mappings this process has of files in ``directory``, also of removed ones."""
    gc.collect()
    return sum(str(directory) in line for line in Path("/proc/self/maps").read_text().splitlines())


def open_descriptors() -> int:
    """Return how many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` holds."""
    tick, deadline_s = threading.Event(), time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s
        tick.wait(0.005)
