"""How long pixels can be read, and what takes them along: copies, pickles, frames and slices of a clip."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.clip import Clip, Pair
from framepair.protocol.client.pixels import Overwritten
from framepair.protocol.client.single_frame import Frame
from tests.lib.stream import WINDOW_NS, Stream, feed, pixels

PICTURE = (48, 64, 3)
LARGE = (60, 64, 3)


def pickled(pair: Pair) -> Pair:
    return cast(Pair, pickle.loads(pickle.dumps(pair)))


WAYS: list[Callable[[Pair], Pair]] = [Pair.copy, copy.deepcopy, pickled]


def taken(assembly: Assembly) -> Pair:
    pair = assembly.take()
    assert pair is not None
    return pair


def pairs(count: int = 1, keep: int = 5) -> tuple[Assembly, Stream]:
    """Return an assembly in which ``count`` pairs wait."""
    assembly, stream = Assembly(keep, max_bytes=10**9), Stream(shape=PICTURE)
    for window in range(count):
        feed(assembly, *stream.whole(window))
    return assembly, stream


def check(clip: Clip) -> None:
    for frame, image in zip(clip.frames, clip.images, strict=True):
        assert np.array_equal(image, pixels(frame))
        assert np.array_equal(clip[frame.seq - clip.frames[0].seq].image, image)


# numpy writes twice the bytes with older protocols.
@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_pair_takes_little_more_than_its_pixels(protocol: int) -> None:
    pair = taken(pairs()[0])
    nbytes = sum(clip.array.nbytes for clip in pair.values())
    data = pickle.dumps(pair, protocol)
    assert nbytes < len(data) < 1.1 * nbytes
    back = pickle.loads(data)
    for name, clip in back.items():
        check(clip)
        assert clip.frames == pair[name].frames
    assert (back.header, back.ready_ns, back.intact) == (pair.header, pair.ready_ns, True)


def test_one_frame_is_pickled_alone() -> None:
    frame = taken(pairs()[0])["left"][2]
    data = pickle.dumps(frame)
    assert len(data) < 1.2 * frame.image.nbytes
    assert np.array_equal(pickle.loads(data).image, pixels(frame.header))


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_stays_and_can_be_written_to(way: Callable[[Pair], Pair]) -> None:
    assembly, _ = pairs(2)
    copied = way(taken(assembly))
    taken(assembly)
    assert copied.intact
    for clip in copied.values():
        check(clip)
        clip[0].image[:] = 7
        assert (clip.array[0] == 7).all(), "frame, images and array are the same memory"


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_frames_that_lay_apart_is_one_array_like_any_other(
    way: Callable[[Pair], Pair],
) -> None:
    stream, assembly = Stream(["left"], shape=PICTURE), Assembly(1, max_bytes=10**9)
    frames, header = stream.window(0), stream.pair(0)
    feed(assembly, *[frames[i] for i in (3, 0, 1, 4, 2)], header)
    clip = way(taken(assembly))["left"]
    check(clip)
    assert clip.array.flags.writeable
    assert all(np.shares_memory(clip.array, image) for image in clip.images)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_overwritten_cannot_be_copied(way: Callable[[Pair], Pair]) -> None:
    pair = taken(pairs()[0])
    slot = pair["right"]._pixels.slots[0]
    slot.ring.reserve(slot.index)
    assert not pair.intact
    with pytest.raises(Overwritten, match="right were overwritten before"):
        way(pair)


@pytest.mark.parametrize(
    "look",
    [
        lambda pair: pair["left"].array,
        lambda pair: pair["left"].images,
        lambda pair: pair["left"].shape,
        lambda pair: np.asarray(pair["left"]),
        lambda pair: pair["left"][0].image,
        lambda pair: pair["left"][1:3].array,
        lambda pair: pair["left"][0].copy(),
        Pair.copy,
        pickle.dumps,
    ],
)
def test_pixels_are_gone_as_soon_as_a_later_pair_was_taken(look: Callable[[Pair], object]) -> None:
    assembly, _ = pairs(2)
    first = taken(assembly)
    look(first)
    second = taken(assembly)
    assert not first.intact
    assert not first["left"][0].intact
    with pytest.raises(Overwritten, match=r"left went when a later pair was taken: copy\(\)"):
        look(first)
    look(second)
    assert first["left"].seq.tolist() == [0, 1, 2, 3, 4], "what is known of them stays"


def test_pixels_stay_while_no_later_pair_is_there() -> None:
    assembly, stream = pairs()
    pair = taken(assembly)
    for _ in range(3):
        assert assembly.take() is None
        feed(assembly, *stream.window(1)[:2])
        check(pair["left"])
    assembly.clear()
    check(pair["left"])


def test_a_clip_is_the_sequence_of_its_frames() -> None:
    clip = taken(pairs()[0])["left"]
    assert [frame.seq for frame in clip] == [0, 1, 2, 3, 4]
    assert [frame.seq for frame in reversed(clip)] == [4, 3, 2, 1, 0]
    assert clip[-1].seq == 4
    for frame, header in zip(clip, clip.frames, strict=True):
        assert np.array_equal(frame.image, pixels(header))
        assert np.shares_memory(frame.image, clip.array)
        assert not frame.image.flags.writeable
    with pytest.raises(IndexError):
        clip[5]


def test_a_slice_of_a_clip_is_a_clip_in_the_same_memory() -> None:
    clip = taken(pairs()[0])["left"]
    part = clip[1:4]
    check(part)
    assert np.shares_memory(part.array, clip.array)
    assert (part.header.frames, part.seq.tolist(), part.gaps) == (3, [1, 2, 3], 0)
    assert [frame.seq for frame in clip[::-2]] == [4, 2, 0]
    assert np.array_equal(clip[::-2].array, clip.array[::-2])
    assert len(clip[9:]) == 0
    assert clip[9:].array.shape == (0, *PICTURE)


def test_a_clip_of_several_shapes_is_a_sequence_too() -> None:
    stream, assembly = Stream(["left"], shape=PICTURE), Assembly(1, max_bytes=10**9)
    frames = [stream.frame("left", 0), stream.frame("left", 0, shape=LARGE)]
    feed(assembly, *frames, stream.pair(0))
    clip = taken(assembly)["left"]
    assert [frame.image.shape for frame in clip] == [PICTURE, LARGE]
    assert clip[1:].array.shape == (1, *LARGE)
    with pytest.raises(ValueError, match="left differ in shape"):
        _ = clip.shape
    assert [image.shape for image in pickle.loads(pickle.dumps(clip)).images] == [PICTURE, LARGE]


def test_a_clip_is_an_array() -> None:
    clip = taken(pairs()[0])["left"]
    array = np.asarray(clip)
    assert np.shares_memory(array, clip.array)
    assert clip.shape == array.shape == (5, *PICTURE)
    assert np.array(clip).flags.writeable
    assert np.asarray(clip, np.float32).dtype == np.float32
    assert np.mean(clip) == clip.array.mean()
    assert clip.fps == 5.0


def test_a_clip_without_frames_has_no_rate() -> None:
    assembly = Assembly(1, max_bytes=10**9)
    feed(assembly, Stream(["left"]).pair(0))
    assert taken(assembly)["left"].fps == 0.0


def test_a_frame_tells_what_is_known_of_it() -> None:
    stream, assembly = Stream(["left"], shape=PICTURE), Assembly(1, max_bytes=10**9)
    known = {"stamp": "camera", "stamp_uncertainty_ns": 300, "uncertainty_ns": 20}
    frames = [
        stream.frame("left", 0, **known),
        stream.frame("left", 0, seq=4, next_ns=5),
        stream.frame("left", 0, seq=5, run=8),
    ]
    feed(assembly, *frames, stream.pair(0))
    first, second, third = taken(assembly)["left"]
    assert (first.source, first.run, first.seq, first.captured_ns) == ("left", 7, 0, 0)
    assert (first.stamp, first.uncertainty_ns) == ("camera", 320)
    assert (second.stamp, second.uncertainty_ns) == (None, None)
    assert [frame.skipped for frame in (first, second, third)] == [0, 3, 0]
    assert repr(second) == "<Frame 4 of left>"


def age_ms(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> float:
    assembly = Assembly(1, max_bytes=10**9)
    feed(assembly, *stream.whole(3))
    frame: Frame = taken(assembly)["left"][0]
    monkeypatch.setattr(
        "framepair.protocol.clocks.clock.now_ns", lambda: 3 * WINDOW_NS + 250_000_000
    )
    return frame.age_ms()


def test_a_frame_has_an_age_unless_its_time_is_that_of_a_video(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert age_ms(Stream(), monkeypatch) == 250.0
    assert age_ms(Stream(pace="max"), monkeypatch) == 0.0


def test_a_source_that_is_not_there_is_named_with_those_that_are() -> None:
    pair = taken(pairs()[0])
    with pytest.raises(KeyError, match="'lefft' is no source of this pair: there are left, right"):
        pair["lefft"]
    assert pair.get("lefft") is None
    assert "lefft" not in pair
