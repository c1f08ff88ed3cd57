"""What was announced and is not delivered is counted, once, under the right name."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.frame_store import WindowTooLarge
from framepair.protocol.memory.ring import slot_bytes
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import Totals
from tests.lib.stream import Stream, feed, lost_frames, missed_frames


def assembly_of(keep: int = 2) -> Assembly:
    return Assembly(keep, max_bytes=10**9)


def joined(stream: Stream, keep: int = 2) -> Assembly:
    """Return an assembly that has had one whole pair, window 0, already."""
    assembly = assembly_of(keep)
    feed(assembly, *stream.whole(0))
    assert assembly.take() is not None
    return assembly


def counts(assembly: Assembly) -> tuple[int, int, int]:
    """Return lost pairs, lost frames and missed frames of ``left``."""
    stats = assembly.stats()
    lost, missed = lost_frames(stats).get("left", 0), missed_frames(stats).get("left", 0)
    return stats.lost_pairs, lost, missed


def next_pair(assembly: Assembly) -> tuple[int, int]:
    """Take a pair; return its window and how many were lost before it."""
    pair = assembly.take()
    assert pair is not None
    return pair.index, pair.lost


def test_the_oldest_waiting_pair_is_dropped() -> None:
    stream = Stream()
    assembly = joined(stream, keep=2)
    for window in range(1, 6):
        feed(assembly, *stream.whole(window))
    assert counts(assembly) == (3, 15, 0)
    assert assembly.stats().queued == 2
    assert next_pair(assembly) == (4, 3)
    assert next_pair(assembly) == (5, 0)


def test_what_is_dropped_before_the_first_pair_was_taken_is_the_start() -> None:
    stream, assembly = Stream(), assembly_of(keep=2)
    for window in range(6):
        # Window 3 is lost on the way, between one that is dropped and one that is not.
        feed(
            assembly,
            *(stream.window(3)[1:] if window == 3 else stream.window(window)),
            stream.pair(window),
        )
    assert assembly.stats().lost_pairs == 0
    assert assembly.stats().lost_frames["left"] == {"startup": 15, "publisher_overflow": 5}
    assert next_pair(assembly) == (4, 0)
    for window in range(6, 9):
        feed(assembly, *stream.whole(window))
    assert next_pair(assembly) == (7, 2)
    assert assembly.stats().lost_pairs == 2
    assert assembly.stats().lost_frames["left"] == {
        "startup": 15,
        "publisher_overflow": 5,
        "subscriber_slow": 10,
    }


def test_a_pair_of_which_a_frame_is_missing_is_lost() -> None:
    stream = Stream()
    assembly = joined(stream)
    feed(assembly, *stream.window(1)[:-1], stream.pair(1))
    assert assembly.take() is None
    assert counts(assembly) == (1, 5, 0)
    feed(assembly, *stream.whole(2))
    assert next_pair(assembly) == (2, 1)


def test_pairs_whose_announcement_was_lost_are_a_hole_in_seq() -> None:
    stream = Stream()
    assembly = joined(stream)
    for window in (1, 2):
        feed(assembly, *stream.window(window))
        stream.pair(window)
    feed(assembly, *stream.whole(3))
    assert counts(assembly) == (2, 10, 0)
    assert next_pair(assembly) == (3, 2)


def test_losses_of_all_kinds_add_up_in_the_next_pair() -> None:
    stream = Stream()
    assembly = joined(stream, keep=1)
    feed(assembly, *stream.whole(1))  # to be dropped
    stream.window(2)
    stream.pair(2)  # nothing of it comes
    feed(assembly, *stream.window(3)[1:], stream.pair(3))  # not whole
    feed(assembly, *stream.whole(4))
    assert counts(assembly) == (3, 15, 0)
    assert next_pair(assembly) == (4, 3)


def test_what_was_announced_before_we_joined_is_missed_not_lost() -> None:
    stream, assembly = Stream(), assembly_of()
    for window in range(3):
        stream.window(window)
        stream.pair(window)
    feed(assembly, *stream.window(3)[4:], stream.pair(3))
    assert counts(assembly) == (0, 0, 20), "three pairs, and one that had begun"
    feed(assembly, *stream.whole(4))
    assert next_pair(assembly) == (4, 0)
    assert counts(assembly) == (0, 0, 20)


def test_a_new_run_of_the_combiner_begins_afresh() -> None:
    first = Stream(run=1)
    assembly = joined(first)
    feed(assembly, *first.window(1))
    second = Stream(run=2)
    for window in range(1, 3):
        second.window(window)
        second.pair(window)
    feed(assembly, *second.window(3)[2:], second.pair(3), *second.whole(4))
    assert counts(assembly) == (3, 0, 15)
    assert next_pair(assembly) == (4, 3)
    assert assembly.stats().totals["left"].paired == 5 + 20


def gaps(*streams: Stream, windows: list[int]) -> list[tuple[int, int]]:
    """Return lost and skipped of each pair, of one combiner after another, of which all else arrives."""
    assembly = assembly_of()
    found = []
    for stream in streams:
        while windows and (stream.newest is None or windows[0] > stream.newest):
            feed(assembly, *stream.whole(windows.pop(0)))
            pair = assembly.take()
            assert pair is not None
            found.append((pair.lost, pair.skipped))
            if stream is not streams[-1] and len(found) == 2:
                break
    return found


def test_windows_that_no_combiner_announced_are_skipped_not_lost() -> None:
    first, second = Stream(run=1), Stream(run=2)
    assert gaps(first, second, windows=[457, 458, 461, 462]) == [(0, 0), (0, 0), (0, 2), (0, 0)]


def test_windows_that_a_combiner_passed_over_are_skipped_too() -> None:
    assert gaps(Stream(), windows=[3, 4, 20, 21]) == [(0, 0), (0, 0), (0, 15), (0, 0)]


def test_lost_and_skipped_before_a_pair_are_told_apart_and_kept_if_it_is_dropped() -> None:
    stream = Stream()
    assembly = joined(stream, keep=1)
    for window in (2, 3):
        stream.window(window)
        stream.pair(window)  # nothing of them comes
    feed(assembly, *stream.whole(6))  # to be dropped
    feed(assembly, *stream.whole(8))
    pair = assembly.take()
    assert pair is not None
    # 2, 3 and 6 were lost, 1, 4, 5 and 7 never announced.
    assert (pair.index, pair.lost, pair.skipped) == (8, 3, 4)


def test_what_another_combiner_announced_before_we_heard_of_it_is_lost_if_it_is_between() -> None:
    first, second, again = Stream(run=1), Stream(run=2), Stream(run=3)
    assembly = joined(first)
    for window in (2, 3):
        second.window(window)
        second.pair(window)
    feed(assembly, *second.whole(6))
    pair = assembly.take()
    assert pair is not None
    assert (pair.index, pair.lost, pair.skipped) == (6, 2, 3)
    # One that begins at an earlier window, as with media time.
    for window in range(5):
        again.window(window)
        again.pair(window)
    feed(assembly, *again.whole(5))
    pair = assembly.take()
    assert pair is not None
    assert (pair.index, pair.lost, pair.skipped) == (5, 0, 0)


def test_nothing_is_missing_before_the_first_pair() -> None:
    stream, assembly = Stream(), assembly_of()
    for window in (1, 5):
        stream.window(window)
        stream.pair(window)
    feed(assembly, *stream.window(7)[3:], stream.pair(7), *stream.whole(9))
    pair = assembly.take()
    assert pair is not None
    assert (pair.index, pair.lost, pair.skipped) == (9, 0, 0)
    assert counts(assembly) == (0, 0, 15)


def test_a_window_larger_than_max_bytes_is_lost_for_that_reason_and_no_other_is() -> None:
    stream = Stream(["left", "right"])
    frame_bytes = slot_bytes(stream.shape)
    assembly = Assembly(2, max_bytes=8 * frame_bytes)
    large = [stream.frame("left", 0) for _ in range(9)] + [stream.frame("right", 0)]
    for frame in large[:8] + large[9:]:
        feed(assembly, frame)
    with pytest.raises(WindowTooLarge, match=r"a window of left, 1 s, .* max_bytes is \d+:"):
        assembly.reserve(large[8])
    feed(assembly, *stream.window(1), stream.pair(0))
    assert assembly.stats().lost_frames == {"left": {"too_large": 9}, "right": {"too_large": 1}}
    assert assembly.stats().lost_pairs == 1
    feed(assembly, stream.pair(1))
    assert next_pair(assembly) == (1, 1)


def test_a_new_run_may_begin_at_an_earlier_window() -> None:
    first = Stream(run=1)
    assembly = assembly_of()
    feed(assembly, *first.whole(50), *first.window(51))
    second = Stream(run=2)
    frames = [replace(frame, run=8) for frame in second.window(0)]
    header = second.pair(0)
    clips = {
        source: replace(clip, spans=(replace(clip.spans[0], run=8),))
        for source, clip in header.clips.items()
    }
    feed(assembly, *frames, replace(header, clips=clips))
    assert next_pair(assembly) == (50, 0)
    assert next_pair(assembly) == (0, 0)
    assert counts(assembly) == (0, 0, 0)


def test_pairs_of_the_former_run_still_wait_and_may_still_be_lost() -> None:
    first, second = Stream(run=1), Stream(run=2)
    assembly = joined(first, keep=1)
    feed(assembly, *first.whole(1), *second.whole(2))
    assert counts(assembly) == (1, 5, 0)
    assert next_pair(assembly) == (2, 1)


def test_the_end_tells_of_pairs_that_were_lost_last() -> None:
    stream = Stream()
    assembly = joined(stream)
    for window in (1, 2):
        stream.window(window)
        stream.pair(window)
    feed(assembly, stream.end("stopped"))
    assert counts(assembly) == (2, 10, 0)
    assert assembly.stats().end == stream.end("stopped")
    assert assembly.stats().totals == stream.totals
    feed(assembly, *Stream(run=2).whole(3))
    assert next_pair(assembly) == (3, 2)


def test_an_end_that_is_all_we_hear_makes_everything_missed() -> None:
    stream, assembly = Stream(), assembly_of()
    stream.window(0)
    stream.pair(0)
    feed(assembly, stream.end())
    assert counts(assembly) == (0, 0, 5)


def test_the_end_is_forgotten_when_a_combiner_announces_again() -> None:
    first, second = Stream(run=1), Stream(run=2)
    assembly = joined(first)
    feed(assembly, first.end("stopped"))
    assert assembly.end is not None
    feed(assembly, *second.whole(1))
    assert assembly.end is None
    assert next_pair(assembly) == (1, 0)


def test_an_announcement_that_contradicts_earlier_ones_is_refused_and_changes_nothing() -> None:
    stream = Stream()
    assembly = joined(stream)
    feed(assembly, *stream.whole(1))
    before = assembly.stats()
    repeated = stream.pair(1)
    fewer = replace(stream.pair(2), seq=9)
    fewer = replace(
        fewer, clips={name: replace(clip, totals=Totals()) for name, clip in fewer.clips.items()}
    )
    for hostile in (replace(repeated, seq=1), fewer):
        with pytest.raises(ProtocolError, match="contradicts"):
            feed(assembly, hostile)
    with pytest.raises(ProtocolError, match="contradicts"):
        feed(assembly, replace(stream.end(), seq=1))
    assert assembly.stats() == before
    assert next_pair(assembly) == (1, 0)
