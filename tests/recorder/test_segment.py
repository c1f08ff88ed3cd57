"""Recordings as files: what another library reads of them, and what is left of one that was cut anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from msgspec.structs import replace

from framepair.protocol.recording import images, ledger
from framepair.protocol.recording.reading import NotARecording, RecordingFile
from framepair.protocol.recording.repair import BeingWritten, repair
from framepair.protocol.recording.segment import Segment
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.headers import PAIR
from tests.lib.recordings import ENTRY, WINDOWS, as_jpeg, write
from tests.lib.stream import Stream, pixels


def found(path: Path) -> list[FrameHeader]:
    """Return the headers of the frames that are in a recording."""
    with RecordingFile(path) as file:
        messages = [logged for logged in file.messages() if logged.schema]
    headers = [frame.decode(images.decode(m.schema, m.message.data).header) for m in messages]
    return [header for header in headers if isinstance(header, FrameHeader)]


def test_another_library_reads_pictures_pairs_and_times(directory: Path) -> None:
    written = write(directory / "a.mcap")
    with (directory / "a.mcap").open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == len(written) + 2 * WINDOWS
        assert {c.topic for c in summary.channels.values()} == {
            "/left/image", "/right/image", "/pairs", "/ledger",
        }  # fmt: skip
        left = [c for c in summary.channels.values() if c.topic == "/left/image"]
        assert left[0].metadata == {
            "source": "left", "run": "7", "fps": "5", "width": "8", "height": "6", "encoding": "bgr8",
            "pace": "realtime",
        }  # fmt: skip
        decoded = list(reader.iter_decoded_messages(topics=["/left/image", "/right/image"]))
    assert len(decoded) == len(written)
    headers = {(header.source, header.captured_ns): header for header in written}
    for schema, _, message, image in decoded:
        assert schema is not None
        header = headers[image.frame_id, message.log_time]
        assert image.timestamp.ToNanoseconds() == message.log_time == header.captured_ns
        assert message.sequence == header.seq
        if header.source == "left":
            assert schema.name == "foxglove.CompressedImage"
            assert (image.format, image.data) == ("jpeg", as_jpeg(header).data)
        else:
            assert schema.name == "foxglove.RawImage"
            assert (image.encoding, image.width, image.height, image.step) == ("bgr8", 8, 6, 24)
            assert image.data == pixels(header).tobytes()


def test_all_that_was_written_is_read_in_its_order(directory: Path) -> None:
    written = write(directory / "a.mcap")
    assert found(directory / "a.mcap") == written
    with RecordingFile(directory / "a.mcap") as file:
        assert file.is_whole()
        messages = list(file.messages())
    pairs = [ledger.decode_announcement(m.message.data) for m in messages if m.topic == "/pairs"]
    assert [pair.seq for pair in pairs] == list(range(WINDOWS))
    entries = [ledger.decode_entry(m.message.data) for m in messages if m.topic == "/ledger"]
    assert entries == [ENTRY] * WINDOWS


def test_a_header_with_every_field_stays_as_it_is() -> None:
    assert ledger.decode_announcement(ledger.encode(PAIR)) == PAIR


def test_a_file_cut_anywhere_is_read_up_to_there_and_repaired(directory: Path) -> None:
    path, cut = directory / "a.mcap", directory / "b.mcap"
    written = write(path, finish=False)
    whole = path.read_bytes()
    with RecordingFile(path) as file:
        ends = {0, 1, 8, len(whole), *(record.end for record in file.records())}
    places = {place + by for place in ends for by in (-1, 0, 1)} | set(range(0, len(whole), 3331))
    for place in sorted(places):
        if not 0 <= place <= len(whole):
            continue
        cut.write_bytes(whole[:place])
        before = found(cut) if place >= 8 else []
        repaired = repair(cut)
        assert repaired is not None
        assert found(cut) == before == written[: len(before)]
        assert len(before) % (2 * 5) == 0, "chunks are whole or not there"
        with RecordingFile(cut) as file:
            assert file.is_whole()
        with cut.open("rb") as opened:
            reader = make_reader(opened, validate_crcs=True)
            summary = reader.get_summary()
            assert summary is not None
            assert summary.statistics is not None
            assert summary.statistics.message_count == repaired.messages
            topics = ["/left/image", "/right/image"]
            assert len(list(reader.iter_messages(topics=topics))) == len(before)
        assert repair(cut) is None, "it needs no second repair"


def test_a_damaged_chunk_is_left_out_and_those_after_it_are_not(directory: Path) -> None:
    path = directory / "a.mcap"
    written = write(path, finish=False)
    data = bytearray(path.read_bytes())
    with RecordingFile(path) as file:
        chunks = [record for record in file.records() if record.opcode == 6]
    data[chunks[1].offset + 200] ^= 0xFF
    path.write_bytes(data)
    left = written[:10] + written[20:]
    assert found(path) == left
    repair(path)
    assert found(path) == left
    with RecordingFile(path) as file:
        assert len(list(file.messages())) == len(left) + 2 * (WINDOWS - 1)
        assert file.damaged == 1


def test_a_recording_that_is_being_written_is_not_repaired(directory: Path) -> None:
    segment = Segment(directory / "a.mcap")
    with pytest.raises(BeingWritten, match=r"a\.mcap is being written: stop its recorder first"):
        repair(directory / "a.mcap")
    segment.close()
    assert repair(directory / "a.mcap") is not None


def test_nothing_is_overwritten(directory: Path) -> None:
    (directory / "a.mcap").write_bytes(b"something")
    with pytest.raises(FileExistsError):
        Segment(directory / "a.mcap")
    assert (directory / "a.mcap").read_bytes() == b"something"


@pytest.mark.parametrize("data", [b"", b"no recording", bytes(100), bytes(range(64))])
def test_what_is_no_recording_is_refused(directory: Path, data: bytes) -> None:
    (directory / "a.mcap").write_bytes(data)
    with pytest.raises(NotARecording, match=r"a\.mcap is (empty|no MCAP file): name a recording"):
        RecordingFile(directory / "a.mcap")


def test_garbage_behind_the_last_chunk_is_cut_off(directory: Path) -> None:
    path = directory / "a.mcap"
    written = write(path, finish=False)
    for garbage in (bytes(5000), os.urandom(5000)):
        with path.open("ab") as file:
            file.write(garbage)
        assert repair(path) is not None
        assert found(path) == written


def test_a_source_of_many_runs_has_a_channel_for_each(directory: Path) -> None:
    header = Stream().frame("left", 0)
    segment = Segment(directory / "a.mcap")
    for run in (1, 2, 1):
        segment.add_frame(replace(header, run=run), as_jpeg(header))
    segment.finish()
    with RecordingFile(directory / "a.mcap") as file:
        runs = [logged.channel.metadata["run"] for logged in file.messages()]
    assert runs == ["1", "2", "1"]
