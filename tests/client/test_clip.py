"""What a consumer gets: arrays that are views where they can be, and copies that are its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as replace_fields

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.pixels import Overwritten
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import PairHeader
from tests.lib.stream import SHAPE, WINDOW_NS, Stream, feed, pixels

LARGE = (12, 8, 3)


def assembled(
    frames: list[FrameHeader], header: PairHeader, assembly: Assembly | None = None
) -> Pair:
    """Return the pair that ``header`` announces."""
    assembly = assembly or Assembly(keep=1, max_bytes=10**9)
    feed(assembly, *frames, header)
    pair = assembly.take()
    assert pair is not None
    return pair


def a_pair(stream: Stream | None = None, assembly: Assembly | None = None, window: int = 3) -> Pair:
    stream = stream or Stream(fps=4)
    return assembled(stream.window(window), stream.pair(window), assembly)


def overwrite(clip: Clip) -> None:
    """Write to the clip's first slot, as a later frame would."""
    slot = clip._pixels.slots[0]
    slot.ring.reserve(slot.index)[:] = 0


def test_a_pair_is_a_mapping_from_sources_to_clips() -> None:
    pair = a_pair()
    assert list(pair) == ["left", "right"]
    assert len(pair) == 2
    assert "left" in pair
    assert "middle" not in pair
    assert [source for source, clip in pair.items() if clip.source == source] == list(pair)
    assert (pair.index, pair.start_ns, pair.end_ns) == (3, 3 * WINDOW_NS, 4 * WINDOW_NS)
    assert (pair.complete, pair.partial, pair.lost) == (True, False, 0)
    assert repr(pair) == "<Pair 3: <Clip left: 4 frames>, <Clip right: 4 frames>>"


def test_a_frame_that_is_not_there_is_named() -> None:
    clip = a_pair()["right"]
    with pytest.raises(IndexError, match=r"^right has frames 0 to 3 here: there is no frame 4$"):
        clip[4]
    away = replace(clip[:0], header=replace_fields(clip.header, missing="offline"))
    with pytest.raises(IndexError, match=r"^right has no frames in this pair \(offline\): check"):
        away[-1]
    with pytest.raises(IndexError, match=r"^right has no frames in this pair: check"):
        clip[:0][0]


def test_a_clip_has_the_pixels_and_headers_of_its_frames_in_order() -> None:
    clip = a_pair()["right"]
    assert clip.array.shape == (4, *SHAPE)
    assert clip.array.dtype == np.uint8
    for frame, image, row in zip(clip.frames, clip.images, clip.array, strict=True):
        assert np.array_equal(image, pixels(frame))
        assert np.array_equal(row, pixels(frame))
    assert clip.seq.dtype == clip.captured_ns.dtype == np.int64
    assert clip.seq.tolist() == [0, 1, 2, 3]
    assert clip.captured_ns.tolist() == [3 * WINDOW_NS + seq for seq in range(4)]
    assert len(clip) == 4
    assert (clip.missing, clip.expected, clip.gaps) == (None, 4, 0)
    assert {frame.window for frame in clip.frames} == {3}


def test_the_array_is_a_read_only_view_of_the_ring() -> None:
    clip = a_pair()["left"]
    assert all(np.shares_memory(clip.array, image) for image in clip.images)
    overwrite(clip)
    assert not clip.array[0].any()
    assert not clip.array.flags.writeable
    assert not clip.images[0].flags.writeable


def test_ready_and_lag_are_measured_to_the_newest_frame() -> None:
    pair = a_pair()
    assert pair["left"].ready_ns == 3 * WINDOW_NS + 3 + 1
    assert pair.ready_ns == 4 * WINDOW_NS + 5
    assert pair.lag_ns == pair.ready_ns - (3 * WINDOW_NS + 3)


def test_there_is_no_lag_in_media_time_or_without_frames() -> None:
    assert a_pair(Stream(pace="max")).lag_ns == 0
    stream = Stream()
    assert assembled([], stream.pair(0)).lag_ns == 0


def test_an_empty_clip_has_an_empty_array_of_the_size_known_last() -> None:
    stream, assembly = Stream(["left"]), Assembly(keep=1, max_bytes=10**9)
    clip = assembled([], stream.pair(0), assembly)["left"]
    assert clip.array.shape == (0, 0, 0, 0)
    assert (clip.ready_ns, len(clip.seq), clip.images, clip.intact) == (0, 0, [], True)
    assembled(stream.window(1), stream.pair(1), assembly)
    assert assembled([], stream.pair(2), assembly)["left"].array.shape == (0, *SHAPE)


def test_frames_of_different_shapes_come_as_images() -> None:
    stream = Stream(["left"])
    frames = [stream.frame("left", 0), stream.frame("left", 0, shape=LARGE)]
    clip = assembled(frames, stream.pair(0))["left"]
    with pytest.raises(ValueError, match="left differ in shape"):
        _ = clip.array
    assert [image.shape for image in clip.images] == [SHAPE, LARGE]
    for frame, image, copied in zip(clip.frames, clip.images, clip.copy().images, strict=True):
        assert np.array_equal(image, pixels(frame))
        assert np.array_equal(copied, pixels(frame))


def test_frames_that_do_not_lie_in_a_row_are_stacked() -> None:
    stream = Stream(["left"])
    frames = stream.window(0)
    header = stream.pair(0)
    clip = assembled([frames[i] for i in (3, 0, 1, 4, 2)], header)["left"]
    assert clip.seq.tolist() == [0, 1, 2, 3, 4], "in order of capture, not of arrival"
    assert np.array_equal(clip.array, np.stack([pixels(frame) for frame in frames]))
    assert not clip.array.flags.writeable
    assert clip.array is clip.array, "it is copied once"


def test_a_copy_has_its_own_memory() -> None:
    pair = a_pair()
    copied = pair.copy()
    expected = copied["left"].array.copy()
    for clip in pair.values():
        overwrite(clip)
    assert not pair.intact
    assert copied.intact
    assert np.array_equal(copied["left"].array, expected)
    copied["left"].images[0][:] = 255
    assert (copied["left"].array[0] == 255).all(), "images and array are the same memory"
    assert copied.copy().intact
    assert (copied.header, copied.ready_ns, list(copied)) == (
        pair.header,
        pair.ready_ns,
        list(pair),
    )


def test_what_was_overwritten_cannot_be_copied() -> None:
    pair = a_pair()
    assert pair.intact
    overwrite(pair["right"])
    assert pair["left"].intact
    assert not pair["right"].intact
    assert not pair.intact
    pair["left"].copy()
    with pytest.raises(Overwritten, match="right"):
        pair.copy()
