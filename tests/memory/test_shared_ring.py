"""Rings in shared memory: what others see of them, when they go, and when they can't be made."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from framepair.protocol.memory import free_space, ring, shared_ring
from framepair.protocol.memory.free_space import NoRoom
from framepair.protocol.memory.ring import file_bytes
from framepair.protocol.memory.shared_ring import (
    SharedRing,
    attach,
    default_directory,
    remove_stale,
)
from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.wire.header import ProtocolError
from tests.lib.processes import Running, python
from tests.lib.shm import mapped, open_descriptors, own_directory, rings, small_file_system

SHAPE = (16, 64, 4)  # one page
OWNER = f"""
import sys
from pathlib import Path
from framepair.protocol.memory.shared_ring import SharedRing
ring = SharedRing(Path(sys.argv[1]), sys.argv[2], 5, {SHAPE})
print("READY", ring.name, flush=True)
sys.stdin.read() if sys.argv[3:] else __import__("signal").pause()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with own_directory() as path:
        yield path
        remove_stale(path)


def owner(directory: Path, stem: str) -> Running:
    """Start a process that has a ring until it is killed."""
    running = Running(python("-c", OWNER, directory, stem))
    running.wait_for("READY")
    return running


def fill(ring: SharedRing, index: int, value: int) -> None:
    ring.ring.reserve(index)[:] = value
    ring.ring.commit(index, seq=value)


def test_others_see_what_is_written_also_across_the_end(directory: Path) -> None:
    ring = SharedRing(directory, "left.1a.0", 5, SHAPE)
    reader = attach(directory, ring.name, SHAPE)
    for index in range(5):
        fill(ring, index, 10 + index)
    run = reader.view(3, 4)
    assert run[:, 7, 7, 2].tolist() == [13, 14, 10, 11]
    assert run.flags.c_contiguous
    assert [reader.seq(index) for index in range(5)] == [10, 11, 12, 13, 14]
    assert [reader.generation(index) for index in range(5)] == [1, 2, 3, 4, 5]
    ring.ring.reserve(1)
    assert reader.generation(1) == 0
    ring.close()


def test_readers_cannot_write(directory: Path) -> None:
    ring = SharedRing(directory, "left.1.0", 2, SHAPE)
    reader = attach(directory, ring.name, SHAPE)
    with pytest.raises(ValueError, match="read-only"):
        reader.reserve(0)
    view = reader.view(0, 2)
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0, 0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        view.flags.writeable = True
    permissions = [line.split()[1] for line in maps(ring.name)]
    assert sorted(permissions) == ["r--s", "r--s", "rw-s", "rw-s"]
    ring.close()


def maps(name: str) -> list[str]:
    return [line for line in Path("/proc/self/maps").read_text().splitlines() if name in line]


def wait_until_supplied() -> None:
    """Wait until all rings of this process have their memory."""
    for thread in threading.enumerate():
        if thread.name == "framepair-populate":
            thread.join()


def test_its_file_is_private_and_all_of_it_is_there(directory: Path) -> None:
    ring = SharedRing(directory, "left.1.0", 100, (90, 160, 3))
    wait_until_supplied()
    status = (directory / ring.name).stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert status.st_blocks * 512 >= status.st_size > 100 * 90 * 160 * 3
    ring.close()


def test_the_first_lap_has_no_page_faults(directory: Path) -> None:
    ring = SharedRing(directory, "left.1.0", 1000, SHAPE)
    wait_until_supplied()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for index in range(1000):
        fill(ring, index, 1)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 300
    ring.close()


def test_a_ring_that_is_closed_at_once_is_mapped_no_further(directory: Path) -> None:
    ring = SharedRing(directory, "left.1.0", 1000, SHAPE)
    ring.close()
    assert not any(thread.name == "framepair-populate" for thread in threading.enumerate())


def test_a_closed_ring_is_gone_but_stays_with_who_reads_it(directory: Path) -> None:
    descriptors = open_descriptors()
    ring = SharedRing(directory, "left.1.0", 3, SHAPE)
    fill(ring, 2, 7)
    view = attach(directory, ring.name, SHAPE).view(2, 1)
    ring.close()
    assert rings(directory) == []
    assert open_descriptors() == descriptors
    del ring
    assert (view == 7).all()
    del view
    assert mapped(directory) == 0
    remove_stale(directory)
    assert not directory.exists()


def test_closing_twice_does_not_close_what_belongs_to_others(directory: Path) -> None:
    ring = SharedRing(directory, "left.1.0", 3, SHAPE)
    ring.close()
    descriptor = os.open("/dev/null", os.O_RDONLY)
    ring.close()
    os.fstat(descriptor)
    os.close(descriptor)


def test_the_rings_of_the_dead_go_and_those_of_the_living_stay(directory: Path) -> None:
    mine = SharedRing(directory, "mine.1.0", 3, SHAPE)
    with owner(directory, "dead.1.0") as dead, owner(directory, "alive.2.0"):
        dead.stop(signal.SIGKILL)
        assert len(rings(directory)) == 3
        remove_stale(directory)
        assert rings(directory) == ["alive.2.0.5.ring", mine.name]
        with owner(directory, "dead.3.0") as dead:
            dead.stop(signal.SIGKILL)
        new = SharedRing(directory, "new.4.0", 3, SHAPE)
        assert rings(directory) == ["alive.2.0.5.ring", mine.name, new.name]
        new.close()
        mine.close()
        remove_stale(directory)
        assert rings(directory) == ["alive.2.0.5.ring"]


@pytest.mark.timeout(20)
def test_what_is_no_ring_stays_and_holds_nobody_up(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    outside = directory.parent / "outside"
    outside.write_text("a file")
    (directory / "notes.ring").write_text("a file of a user's")
    (directory / "link.1.0.1.ring").symlink_to(outside)
    (directory / "directory.1.0.1.ring").mkdir()
    os.mkfifo(directory / "notes.fifo.ring")
    os.mkfifo(directory / "fifo.1.0.1.ring")
    remove_stale(directory)
    assert rings(directory) == [
        "directory.1.0.1.ring", "link.1.0.1.ring", "notes.fifo.ring", "notes.ring",
    ]  # fmt: skip
    assert outside.exists()
    (directory / "directory.1.0.1.ring").rmdir()
    for path in (outside, *directory.iterdir()):
        path.unlink()


def test_there_need_not_be_a_directory_to_tidy_up(directory: Path) -> None:
    remove_stale(directory / "below")
    assert not directory.exists()


def test_a_directory_open_to_others_is_refused(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    with pytest.raises(EndpointError, match=r"directory of shared memory .* open to other users"):
        SharedRing(directory, "left.1.0", 3, SHAPE)


def test_many_may_come_and_go_at_once(directory: Path) -> None:
    errors: list[BaseException] = []

    def come_and_go(name: str) -> None:
        try:
            for count in range(100):
                ring = SharedRing(directory, f"{name}.1.{count}", 2, SHAPE)
                fill(ring, 1, 9)
                assert (attach(directory, ring.name, SHAPE).view(1, 1) == 9).all()
                ring.close()
                remove_stale(directory)
        except BaseException as error:  # noqa: BLE001 - the test raises it again
            errors.append(error)

    threads = [threading.Thread(target=come_and_go, args=(f"n{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("made_again", [False, True])
def test_a_directory_that_goes_at_the_wrong_moment_is_made_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch, made_again: bool
) -> None:
    real, calls = shared_ring._try_lock, []

    def goes_first(descriptor: int) -> bool:
        calls.append(descriptor)
        if len(calls) == 1:
            directory.rmdir()
            if made_again:
                directory.mkdir(mode=0o700)
        return real(descriptor)

    monkeypatch.setattr(shared_ring, "_try_lock", goes_first)
    ring = SharedRing(directory, "left.1.0", 3, SHAPE)
    assert len(calls) == 2
    assert rings(directory) == [ring.name]
    ring.close()


def test_who_tidies_up_late_leaves_a_new_directory_alone(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, name = shared_ring._try_lock, "left.1.0.5.ring"

    def goes_first(descriptor: int) -> bool:
        directory.rmdir()
        directory.mkdir(mode=0o700)
        # Somebody is about to lock it.
        (directory / name).touch()
        return real(descriptor)

    directory.mkdir(mode=0o700)
    monkeypatch.setattr(shared_ring, "_try_lock", goes_first)
    remove_stale(directory)
    assert rings(directory) == [name]
    monkeypatch.undo()


@pytest.mark.parametrize("kind", ["a file", "a link to nothing", "below a file"])
def test_what_can_be_no_directory_is_refused(directory: Path, kind: str) -> None:
    if kind == "a link to nothing":
        directory.symlink_to(directory.parent / "nothing")
    else:
        directory.touch()
    with pytest.raises(NoRoom, match=r"cannot make a ring .*: choose .*another --shm-dir"):
        SharedRing(directory / "x" if kind == "below a file" else directory, "left.1.0", 3, SHAPE)
    directory.unlink()


def test_a_directory_that_somebody_else_keeps_locked_hangs_nobody(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_ring, "MAKE_PATIENCE_S", 0.05)
    monkeypatch.setattr(shared_ring, "TIDY_PATIENCE_S", 0.05)
    directory.mkdir(mode=0o700)
    lock = os.open(directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    descriptors = open_descriptors()
    with pytest.raises(NoRoom, match="another process has it locked: end the process") as refused:
        SharedRing(directory, "left.1.0", 3, SHAPE)
    assert "--history" not in str(refused.value)
    remove_stale(directory)
    assert directory.exists()
    assert open_descriptors() == descriptors
    os.close(lock)


def test_too_small_a_file_system_is_refused_with_figures(directory: Path) -> None:
    with small_file_system(1024 * 1024) as small:
        with pytest.raises(NoRoom) as refused:
            SharedRing(small / "rings", "left.1.0", 1024, SHAPE)
        assert str(refused.value) == (
            f"a ring of 4.0 MiB is needed and {small}/rings has 1.0 MiB free: choose a smaller --history"
            " (two windows at the least), or give that more (docker: --shm-size, compose: shm_size)"
        )
        assert rings(small / "rings") == []
        SharedRing(small / "rings", "left.1.0", 200, SHAPE).close()


def test_memory_that_another_ring_will_still_take_is_not_free(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_ring._Supply, "_run", lambda _: None)
    with small_file_system(1024 * 1024) as small:
        first = SharedRing(small / "rings", "left.1.0", 150, SHAPE)
        assert (small / "rings" / first.name).stat().st_blocks * 512 < 100_000
        with pytest.raises(NoRoom, match=r"a ring of 0\.6 MiB is needed and .* has 0\.4 MiB free"):
            SharedRing(small / "rings", "right.1.0", 150, SHAPE)
        first.close()
        SharedRing(small / "rings", "right.1.0", 150, SHAPE).close()


def test_memory_that_others_take_before_the_writer_comes_to_it_is_an_error(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_ring._Supply, "_run", lambda _: None)
    with small_file_system(1024 * 1024) as small:
        ring = SharedRing(small / "rings", "left.1.0", 150, SHAPE)
        ring.reserve(1)[:] = 7
        with pytest.raises(OSError, match="No space left"):
            (small / "greedy").write_bytes(bytes(1024 * 1024))
        with pytest.raises(NoRoom, match="No space left on device: choose a smaller --history"):
            ring.reserve(149)
        (small / "greedy").unlink()
        ring.reserve(149)[:] = 8
        assert (ring.ring.view(149, 1) == 8).all()
        ring.close()


def test_too_little_memory_is_refused_with_figures(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(free_space, "free_memory", lambda: 3 * 1024 * 1024)
    descriptors = open_descriptors()
    with pytest.raises(NoRoom, match=r"ring of 4\.0 MiB is needed and memory has 3\.0 MiB free: "):
        SharedRing(directory, "left.1.0", 1024, SHAPE)
    assert rings(directory) == []
    assert open_descriptors() == descriptors
    SharedRing(directory, "left.1.0", 700, SHAPE).close()


@pytest.mark.parametrize("call", ["posix_fallocate", "mmap"])
def test_what_cannot_be_reserved_or_mapped_leaves_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, call) if call == "posix_fallocate" else (ring, "_mmap")), fails)
    descriptors = open_descriptors()
    with pytest.raises(NoRoom, match=r"of 4\.0 MiB in .*: No space left on device: choose"):
        SharedRing(directory, "left.1.0", 1024, SHAPE)
    assert rings(directory) == []
    assert open_descriptors() == descriptors
    assert mapped(directory) == 0


HOSTILE = [
    "", ".", "..", "/", "../../etc/passwd", "/etc/passwd", "left.1.0.5.ring/../x", "left.1.0.5.ring\n",
    "left.1.0.5.ring\0", "left..0.5.ring", "left.1.0.-5.ring", "left.1.0.5e1.ring",
    "left.1.0.\N{FULLWIDTH DIGIT FIVE}.ring", "le ft.1.0.5.ring", "left.1.0.9999999999.ring",
    "left.11111111111111111.0.5.ring", "\ud800", "x" * 160,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_none_is_refused(directory: Path, name: str) -> None:
    with pytest.raises(ProtocolError, match="not the name of a ring"):
        attach(directory, name, SHAPE)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gone.1.0.5.ring", "nothing"),
        ("fifo.1.0.5.ring", "fifo"),
        ("directory.1.0.5.ring", "directory"),
        ("link.1.0.5.ring", "link"),
        ("small.1.0.5.ring", "small"),
        ("none.1.0.0.ring", "empty"),
        ("many.1.0.999999999.ring", "small"),
        ("huge.1.0.999999999.ring", "huge"),
    ],
)
def test_what_is_no_ring_is_refused(directory: Path, name: str, kind: str) -> None:
    descriptors = open_descriptors()
    ring = SharedRing(directory, "left.1.0", 5, SHAPE)
    path = directory / name
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(ring.name)
    elif kind != "nothing":
        path.touch()
        # A file may be said to have any size; nothing of it is there.
        size = file_bytes(999_999_999, SHAPE) if kind == "huge" else 0
        os.truncate(path, {"small": 4096, "huge": size, "empty": 0}[kind])
    before = mapped(directory)
    if kind == "huge":
        # All that is asked for are addresses; this one may be had.
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (2**40, limits[1]))
    try:
        with pytest.raises(ProtocolError):
            attach(directory, name, SHAPE)
    finally:
        if kind == "huge":
            resource.setrlimit(resource.RLIMIT_AS, limits)
    assert mapped(directory) == before
    ring.close()
    assert open_descriptors() == descriptors
    if kind != "nothing":
        path.rmdir() if kind == "directory" else path.unlink()


def test_a_ring_is_not_read_beyond_its_end(directory: Path) -> None:
    ring = SharedRing(directory, "left.1.0", 8, (16, 16, 4))
    assert ring.ring.slots == 8
    with pytest.raises(ProtocolError, match="is not a ring of 8 frames"):
        attach(directory, ring.name, (16, 16, 3))
    # The right size for seven slots, which is no whole number of pages.
    odd = directory / "odd.1.0.7.ring"
    odd.touch()
    os.truncate(odd, file_bytes(7, (16, 16, 4)))
    with pytest.raises(ProtocolError, match="is not a ring of 7 frames"):
        attach(directory, odd.name, (16, 16, 4))
    odd.unlink()
    ring.close()


def test_a_ring_of_another_user_is_refused(directory: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs the right to give files away")
    ring = SharedRing(directory, "left.1.0", 5, SHAPE)
    os.chown(directory / ring.name, 65534, 65534)
    with pytest.raises(ProtocolError, match="is not a ring"):
        attach(directory, ring.name, SHAPE)
    ring.close()


def test_the_directory_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAMEPAIR_SHM_DIR", raising=False)
    assert default_directory() == Path(f"/dev/shm/framepair-rings-{os.getuid()}")
    monkeypatch.setenv("FRAMEPAIR_SHM_DIR", "")
    assert default_directory() == Path(f"/dev/shm/framepair-rings-{os.getuid()}")
    monkeypatch.setenv("FRAMEPAIR_SHM_DIR", "/dev/shm/elsewhere")
    assert default_directory() == Path("/dev/shm/elsewhere")


def test_the_directory_is_not_the_run_directory_which_its_pipeline_locks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in "FRAMEPAIR_SHM_DIR", "XDG_RUNTIME_DIR":
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")
    assert default_directory() != endpoints.default_run_dir()


def test_slots_of_odd_sizes_do_not_run_into_each_other(directory: Path) -> None:
    shape = (7, 11, 3)
    ring = SharedRing(directory, "left.1.0", 9, shape)
    reader = attach(directory, ring.name, shape)
    images = np.random.default_rng(1).integers(0, 256, (ring.ring.slots, *shape), np.uint8)
    for index, image in enumerate(images):
        ring.ring.reserve(index)[:] = image
        ring.ring.commit(index, index)
    assert np.array_equal(reader.view(5, reader.slots), np.roll(images, -5, axis=0))
    ring.close()
