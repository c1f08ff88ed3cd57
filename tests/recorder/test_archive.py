"""The files of a recording: when the next begins, which are deleted, and what a full or vanished disk takes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair.nodes.recorder.archive import CHUNK_NS, RETRY_NS, Archive, Rules, segments
from framepair.nodes.recordings.completeness import Verdict
from framepair.nodes.recordings.judge import judge
from framepair.protocol.recording import chunk_file
from framepair.protocol.recording.images import COMPRESSED, Image
from framepair.protocol.recording.reading import RecordingFile
from framepair.protocol.recording.segment import Segment
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.stream import Stream
from tests.lib.units import S

# Long ago: files are not older than the time that the clock shows.
BEGIN_NS = 1_500_000_000 * S
PICTURE = bytes(10_000)


class Clock:
    def __init__(self) -> None:
        self.now_ns = BEGIN_NS

    def __call__(self) -> int:
        return self.now_ns


class Line:
    """An archive, and a stream of pairs with a second each that goes into it."""

    def __init__(self, directory: Path, rules: Rules | None = None) -> None:
        self.clock = Clock()
        self.directory = directory
        self.archive = Archive(directory, rules or Rules(), 1, self.clock)
        self.stream = Stream(first=BEGIN_NS // S)

    def record(self, windows: int) -> None:
        """Record so many seconds, two chunks each."""
        for _ in range(windows):
            for header in self.stream.next():
                if isinstance(header, FrameHeader):
                    picture = Image(COMPRESSED, PICTURE, "jpeg", header=header.encode())
                    self.archive.add_frame(header, picture)
                    self.wait(S // 10)
                else:
                    self.archive.add_announcement(header)
            self.archive.tick()

    def wait(self, ns: int) -> None:
        self.clock.now_ns += ns
        self.archive.tick()

    def verdict(self) -> Verdict:
        return judge(segments(self.directory)).verdict


def counted(verdict: Verdict) -> dict[str, dict[str, int]]:
    """Return what is lost of each source, all of which must be accounted for."""
    assert verdict.fault is None
    for account in verdict.accounts.values():
        assert account.captured == account.on_disk + account.lost_frames
    return {name: dict(+account.lost) for name, account in verdict.accounts.items()}


def test_a_chunk_is_written_within_half_a_second(directory: Path) -> None:
    line = Line(directory)
    frame = line.stream.frame("left", BEGIN_NS // S)
    line.archive.add_frame(frame, Image(COMPRESSED, PICTURE, "jpeg"))
    [path] = segments(directory)
    line.wait(CHUNK_NS - 1)
    assert path.stat().st_size < len(PICTURE)
    line.wait(1)
    assert path.stat().st_size > len(PICTURE)
    line.archive.close()


def test_files_are_named_by_their_time_and_none_is_overwritten(directory: Path) -> None:
    (directory / "20170714T024000.000Z.mcap").write_bytes(b"another")
    line = Line(directory)
    line.record(1)
    line.archive.close()
    assert [path.name for path in segments(directory)] == [
        "20170714T024000.000Z-1.mcap", "20170714T024000.000Z.mcap",
    ]  # fmt: skip
    assert (directory / "20170714T024000.000Z.mcap").read_bytes() == b"another"


def test_a_file_ends_by_its_length_or_size(directory: Path) -> None:
    line = Line(directory, Rules(segment_ns=3 * S))
    line.record(9)
    line.archive.close()
    # The last announcement comes after nine seconds, and begins another.
    assert len(segments(directory)) == 4
    by_size = directory / "by size"
    by_size.mkdir()
    line = Line(by_size, Rules(segment_bytes=25 * len(PICTURE)))
    line.record(9)
    line.archive.close()
    assert len(segments(by_size)) == 3 + 1
    for path in (*segments(directory), *segments(by_size)):
        with RecordingFile(path) as file:
            assert file.is_whole()
    assert counted(line.verdict()) == {"left": {}, "right": {}}


def test_the_oldest_files_go_when_all_are_too_large(directory: Path) -> None:
    (directory / "mine.mcap").write_bytes(b"not the recorder's")
    rules = Rules(segment_ns=2 * S, segment_bytes=25 * len(PICTURE), max_bytes=100 * len(PICTURE))
    line = Line(directory, rules)
    for second in range(30):
        line.record(1)
        size = sum(path.stat().st_size for path in segments(directory))
        assert size <= rules.max_bytes, f"after {second} s"
    line.archive.close()
    assert size > rules.max_bytes / 2
    assert (directory / "mine.mcap").exists()
    assert counted(line.verdict()) == {"left": {}, "right": {}}


def test_the_oldest_files_go_when_they_are_too_old(directory: Path) -> None:
    line = Line(directory, Rules(segment_ns=2 * S, keep_ns=10 * S))
    line.record(1)
    [first] = segments(directory)
    line.record(3)
    os.utime(first, ns=(BEGIN_NS, BEGIN_NS))
    later = segments(directory)[1]
    os.utime(later, ns=(BEGIN_NS + 20 * S,) * 2)
    line.record(12)
    assert not first.exists()
    assert later.exists()
    line.archive.close()


class SmallDisk:
    """Stands in for os.write: a disk that has room for so many bytes more."""

    def __init__(self) -> None:
        self.left = 1 << 40
        self.write = os.write

    def __call__(self, descriptor: int, data: memoryview) -> int:
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.write(descriptor, data[: self.left])
        self.left -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 9_000, 25_000, 111_111])
def test_a_full_disk_loses_whole_chunks_and_goes_on_when_there_is_room(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    room: int,
) -> None:
    disk = SmallDisk()
    monkeypatch.setattr(f"{chunk_file.__name__}.os.write", disk)
    line = Line(directory)
    line.record(3)
    disk.left = room
    line.record(4)
    disk.left = 1 << 40
    line.wait(RETRY_NS)
    line.record(3)
    line.archive.close()
    verdict = line.verdict()
    lost = counted(verdict)
    assert set(lost["left"]) == {"recorder_disk"}
    assert 5 <= lost["left"]["recorder_disk"] <= 25
    assert {name: dict(account.lost) for name, account in line.archive.received().items()} == lost
    assert len(segments(directory)) == 2
    for path in segments(directory):
        with RecordingFile(path) as file:
            assert file.is_whole()
    said = [record.getMessage() for record in caplog.records]
    assert sum("takes no more frames" in message for message in said) == 1
    assert sum("takes frames again" in message for message in said) == 1


def test_a_file_that_had_no_room_for_its_index_has_it_when_there_is_room(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk()
    monkeypatch.setattr(f"{chunk_file.__name__}.os.write", disk)
    line = Line(directory, Rules(segment_ns=60 * S))
    line.record(3)
    line.wait(CHUNK_NS)
    disk.left = 0
    line.wait(60 * S)
    [first] = segments(directory)
    with RecordingFile(first) as file:
        assert not file.is_whole()
    disk.left = 1 << 40
    line.wait(RETRY_NS)
    line.record(3)
    with RecordingFile(first) as file:
        assert file.is_whole()
    line.archive.close()
    assert counted(line.verdict())


def test_a_disk_that_vanished_and_is_back(directory: Path) -> None:
    place = directory / "disk"
    place.mkdir()
    line = Line(place)
    line.record(2)
    shutil.rmtree(place)
    line.record(2)
    place.mkdir()
    line.wait(RETRY_NS)
    line.record(2)
    line.archive.close()
    # What was on it is gone; the new file begins where the disk was back.
    assert line.archive.received()["left"].came == 30
    assert line.archive.received()["left"].lost["recorder_disk"] >= 10
    assert counted(line.verdict()) == {"left": {}, "right": {}}


@pytest.fixture
def small_disk(directory: Path) -> Iterator[Path]:
    """Mount a file system of 2 MB."""
    place = directory / "tmpfs"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.getuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("to mount a file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_real_disk_that_is_full(small_disk: Path) -> None:
    filler = small_disk / "filler"
    line = Line(small_disk)
    for _ in range(3):
        line.record(2)
        filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
        line.record(2)
        filler.unlink()
        line.wait(RETRY_NS)
    line.record(2)
    line.archive.close()
    lost = counted(line.verdict())
    assert set(lost["left"]) == {"recorder_disk"}
    assert {name: dict(account.lost) for name, account in line.archive.received().items()} == lost


def killed(directory: Path) -> None:
    """Leave what a recorder leaves that was killed."""
    line = Line(directory)
    line.record(3)
    segment = line.archive._segment
    assert isinstance(segment, Segment)
    segment.close()


def test_what_an_earlier_recorder_left_is_repaired_and_not_gone_on_with(directory: Path) -> None:
    killed(directory)
    [path] = segments(directory)
    with path.open("ab") as file:
        file.write(bytes(100))
    (directory / "mine.mcap").write_bytes(path.read_bytes())
    before = (directory / "mine.mcap").read_bytes()
    line = Line(directory)
    line.archive.prepare()
    with RecordingFile(path) as repaired:
        assert repaired.is_whole()
    assert (directory / "mine.mcap").read_bytes() == before
    line.archive.close()
