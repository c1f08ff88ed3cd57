"""Directories that a pipeline cannot use, and what others left in them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair import subscribe
from framepair.protocol.transport.endpoints import MAX_IPC_PATH_BYTES
from tests.lib.launcher import launcher
from tests.lib.pipeline import free_ports
from tests.lib.processes import PATIENCE_S, Running
from tests.lib.shm import small_file_system

SOURCES = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
WHOLE = r"left +\d/\d +right +\d/\d"


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Mount ``path`` again, so that not even root may write to it."""
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(path)], check=True)


def launch(run_dir: Path, *arguments: str | Path) -> Running:
    command = launcher("--run-dir", run_dir, "--window", "0.2")
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


def test_a_path_that_is_too_long_for_a_socket(directory: Path) -> None:
    long = directory / ("d" * MAX_IPC_PATH_BYTES)
    assert "choose a shorter run directory" in refused(long)
    assert not long.exists()


@pytest.mark.parametrize("name", ["left.frames", pytest.param("pairs", marks=pytest.mark.slow)])
def test_a_video_in_the_place_of_a_socket_survives(directory: Path, name: str) -> None:
    (directory / name).write_bytes(b"the only copy")
    directory.chmod(0o700)
    assert "is not a socket: it stays, name another address" in refused(directory)
    assert (directory / name).read_bytes() == b"the only copy"


def test_a_disk_that_fills_while_a_pipeline_runs(directory: Path) -> None:
    with (
        small_file_system(256 * 1024) as disk,
        launch(directory / "run", "--json", disk / "report.json") as running,
    ):
        running.wait_for(WHOLE)
        with (disk / "film").open("wb", buffering=0) as film, contextlib.suppress(OSError):
            while True:
                film.write(bytes(4096))
        assert running.stop() == 1
        # What is shown is not lost with what can't be written.
        assert any("The ledger balances" in line for line in running.stdout)
        running.wait_for("^sink: cannot write the report to .*: No space left on device")
        assert not any("Traceback" in line for line in running.stderr)


def test_a_log_on_a_full_disk_stops_nothing(directory: Path) -> None:
    command = launcher("--run-dir", directory / "run", "--window", "0.2")
    report = directory / "report.json"
    arguments = [*command, *SOURCES, "--json", str(report)]
    to_nowhere = ["sh", "-c", 'exec "$@" >/dev/full', "sh", *arguments]
    with Running(to_nowhere) as running:
        running.wait_for("nothing can be printed any more: No space left on device")
        with subscribe(f"ipc://{directory}/run/pairs") as pairs:
            assert any(next(pairs).complete for _ in range(100))
        assert running.stop() == 0
        assert json.loads(report.read_text())["ledger_balanced"]
        assert not any("started again" in line or "Traceback" in line for line in running.stderr)


def test_a_reader_that_stops_reading_does_not_stop_the_launcher(directory: Path) -> None:
    reader, writer = os.pipe()
    # Says more than a pipe holds.
    chatter = "sh -c 'yes words | head -c 1000000 >&2; exec sleep 1000'"
    command = launcher("--run-dir", directory / "run", "--sink", chatter)
    try:
        process = subprocess.Popen([*command, *SOURCES], stderr=writer, start_new_session=True)
        # Its socket is there as soon as the combiner works.
        while not (directory / "run/pairs").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) in (0, 1)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_port_that_somebody_has_is_named_with_its_holder(directory: Path) -> None:
    port = free_ports(5)
    listen = ("--listen", f"tcp://127.0.0.1:{port}")
    with launch(directory / "first", *listen) as first:
        first.wait_for(WHOLE, count=2)
        combiner = first.pid_of("framepair.nodes.combiner")
        sentence = refused(directory / "second", *listen)
        assert f"tcp://127.0.0.1:{port + 2} is in use by process {combiner}: " in sentence
        first.wait_for(WHOLE, count=2 + len(first.stdout))
        assert first.stop() == 0
        assert not any("dropped" in line and "backpressure" in line for line in first.stdout)
    assert "cannot listen on tcp://192.0.2.1:7402" in refused(
        directory / "run", "--listen", "tcp://192.0.2.1:7400", "--insecure"
    )


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


def test_the_default_directory_stays_so_that_another_user_cannot_make_it(directory: Path) -> None:
    command = launcher("--window", "0.2", *SOURCES)
    with Running(command, env={"XDG_RUNTIME_DIR": "", "TMPDIR": str(directory)}) as running:
        running.wait_for(WHOLE)
        assert running.stop() == 0
    run_dir = directory / f"framepair-{os.getuid()}"
    assert run_dir.stat().st_mode & 0o777 == 0o700
    assert list(run_dir.iterdir()) == []
