"""What a recording proves: every frame is on disk or counted, over restarts of all nodes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.nodes.recordings.completeness import Completeness, Seen, Verdict
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.examples import examples
from tests.lib.feed import at, frame
from tests.lib.recorded import Line, Recorder, come_and_go, restarted, seconds


def judged(recorder: Recorder) -> Verdict:
    found = Completeness()
    for item in recorder.written:
        if isinstance(item, FrameHeader):
            found.add_frame(item.source, Seen(item.run, item.seq, item.captured_ns))
        else:
            found.add_announcement(*item)
    return found.verdict()


def test_a_whole_recording_is_complete() -> None:
    recorder = Recorder()
    recorder.take(seconds(Line(), 0, 6))
    found = judged(recorder)
    assert found.fault is None
    assert found.pairs == found.complete == 6
    # Those of the first second came before the first header.
    for account in found.accounts.values():
        assert account.captured == account.on_disk == 50
        assert not account.lost_frames
    assert (found.before, found.after) == (20, 0)


def test_what_the_combiner_counts_as_lost_is_a_reason() -> None:
    recorder = Recorder()
    recorder.take(seconds(Line(), 0, 6, leave_out=range(24, 29)))
    found = judged(recorder)
    assert found.fault is None
    account = found.accounts["left"]
    assert (account.captured, account.on_disk) == (50, 45)
    assert +account.lost == {"transport": 5}


def test_frames_that_never_came_are_lost_on_their_way() -> None:
    recorder = Recorder()
    for message in seconds(Line(), 0, 6):
        if not (
            isinstance(message, FrameHeader) and message.source == "left" and 20 < message.seq < 25
        ):
            recorder.take([message])
    found = judged(recorder)
    assert found.fault is None
    assert +found.accounts["left"].lost == {"publisher_overflow": 4}


@pytest.mark.parametrize("begins", [0, 4])
def test_a_source_that_was_removed_and_returned(begins: int) -> None:
    """Also for a recorder that begins meanwhile: it proves what was published since."""
    recorder = Recorder()
    recorder.take(come_and_go(begins))
    found = judged(recorder)
    assert found.fault is None
    right, left = found.accounts["right"], found.accounts["left"]
    assert left.captured == left.on_disk == (10 * (9 - begins) if begins else 90)
    if begins:
        assert right.captured == right.on_disk == 30
        assert not right.lost_frames
    else:
        # Those of the first second came before the first header.
        assert (right.captured, right.on_disk, +right.lost) == (
            52,
            40,
            {"removed": 7, "startup": 5},
        )


def test_a_header_that_never_came_takes_no_frame_with_it() -> None:
    recorder = Recorder()
    messages = seconds(Line(), 0, 6)
    headers = [message for message in messages if not isinstance(message, FrameHeader)]
    recorder.take(message for message in messages if message is not headers[2])
    found = judged(recorder)
    assert found.fault is None
    assert found.accounts["left"].captured == found.accounts["left"].on_disk == 50


def test_what_the_recorder_lost_is_counted_under_its_reasons() -> None:
    recorder = Recorder()
    for message in seconds(Line(), 0, 6):
        if isinstance(message, FrameHeader) and message.seq in (31, 32):
            recorder.lose(message)
        else:
            recorder.take([message])
    found = judged(recorder)
    assert found.fault is None
    assert +found.accounts["left"].lost == +found.accounts["right"].lost == {"recorder_slow": 2}


def cut_out(recorder: Recorder, gone: Callable[[FrameHeader], bool]) -> None:
    recorder.written = [
        item for item in recorder.written if not (isinstance(item, FrameHeader) and gone(item))
    ]


@pytest.mark.parametrize(("first", "end"), [(33, 34), (30, 40), (23, 47), (49, 50)])
def test_a_hole_that_nothing_counts_is_named(first: int, end: int) -> None:
    recorder = Recorder()
    recorder.take(seconds(Line(), 0, 6))
    cut_out(recorder, lambda header: header.source == "right" and first <= header.seq < end)
    fault = judged(recorder).fault
    assert fault is not None
    assert (fault.source, fault.run, fault.seq) == ("right", 1, first)
    assert fault.why == "they came to the recorder, and are not on disk"


def test_a_frame_that_is_there_twice_is_named() -> None:
    recorder = Recorder()
    recorder.take(seconds(Line(), 0, 6))
    place = next(
        i
        for i, item in enumerate(recorder.written)
        if isinstance(item, FrameHeader) and item.seq == 35
    )
    recorder.written.insert(place, recorder.written[place])
    fault = judged(recorder).fault
    assert fault is not None
    assert fault.seq == 35


@pytest.mark.parametrize("kept", [0, 1, 7, 30])
def test_a_killed_recorder_was_away_exact_to_the_frame(kept: int) -> None:
    """It had written ``kept`` messages of what came after its last whole chunk's header."""
    line, recorder = Line(), Recorder()
    recorder.take(seconds(line, 0, 3))
    unwritten = [*seconds(line, 3, 2), *seconds(line, 5, 2)]
    recorder.take(unwritten[:kept])
    recorder.restart()
    recorder.take(seconds(line, 7, 3))
    found = judged(recorder)
    assert found.fault is None
    assert found.sessions == 2
    for name, account in found.accounts.items():
        gone = sum(isinstance(m, FrameHeader) and m.source == name for m in unwritten[kept:])
        assert +account.lost == {"recorder_away": gone}
        assert account.captured == account.on_disk + gone


def test_frames_of_both_sides_of_an_absence_that_are_cut_out_are_found() -> None:
    line, recorder = Line(), Recorder()
    recorder.take(seconds(line, 0, 3))
    recorder.restart()
    recorder.take(seconds(line, 3, 3))
    recorder.written = [
        item
        for item in recorder.written
        if not (
            isinstance(item, FrameHeader) and item.seq in range(29, 39) and item.source == "left"
        )
    ]
    fault = judged(recorder).fault
    assert fault is not None
    assert fault.source == "left"


def test_a_producer_that_was_restarted() -> None:
    line, recorder = Line(), Recorder()
    recorder.take(seconds(line, 0, 3))
    for seq in range(30):
        line.send(frame("right", 30 + seq))
        if seq >= 10:
            # Its last frames, of which nobody heard, are outside; the new run begins with seq 2: two are lost.
            line.send(frame("left", seq - 8, run=2, captured_ns=at(3 + seq / 10)))
    recorder.take(line.take())
    found = judged(recorder)
    assert found.fault is None
    account = found.accounts["left"]
    assert account.captured == account.on_disk + account.lost_frames
    assert account.lost_frames == 2


@pytest.mark.parametrize("away", [False, True])
def test_a_combiner_that_was_restarted(away: bool) -> None:
    line, recorder = Line(), Recorder()
    recorder.take(seconds(line, 0, 3))
    if away:
        recorder.restart()
    recorder.take(seconds(restarted(line), 4, 4))
    found = judged(recorder)
    assert found.fault is None
    assert found.combiners == 2
    for account in found.accounts.values():
        assert account.captured == account.on_disk + account.lost_frames
        assert set(+account.lost) <= {"recorder_away" if away else "combiner_lost"}
    assert bool(found.unproved) == away


def test_a_producer_and_a_combiner_that_were_restarted_together() -> None:
    line, recorder = Line(), Recorder()
    recorder.take(seconds(line, 0, 3))
    later = restarted(line)
    for seq in range(40):
        later.send(frame("right", 40 + seq))
        later.send(frame("left", seq, run=2, captured_ns=at(4 + seq / 10)))
    recorder.take(later.take())
    found = judged(recorder)
    assert found.fault is None
    for account in found.accounts.values():
        assert account.captured == account.on_disk + account.lost_frames


@settings(max_examples=examples(50), deadline=None, derandomize=True)
@given(st.data())
def test_whatever_happens_all_is_counted_and_what_is_cut_out_is_found(data: st.DataObject) -> None:
    """Frames get lost before the combiner, on the way, in the recorder and while it is away."""
    line, recorder, away = Line(), Recorder(), False
    for seq in range(60):
        for source in ("left", "right"):
            fate = data.draw(st.integers(0, 11))
            if fate:
                line.send(frame(source, seq))
            for message in line.take():
                if away:
                    continue
                if not isinstance(message, FrameHeader) or fate > 2:
                    recorder.take([message])
                elif fate == 2:
                    recorder.lose(message)
            if fate == 3 and data.draw(st.booleans()):
                away = not away
                recorder.restart()
    found = judged(recorder)
    assert found.fault is None
    for account in found.accounts.values():
        assert account.captured == account.on_disk + account.lost_frames
    announced = [i for i, item in enumerate(recorder.written) if isinstance(item, tuple)]
    inside = (
        [
            item
            for item in recorder.written[announced[0] : announced[-1]]
            if isinstance(item, FrameHeader)
        ]
        if announced
        else []
    )
    sessions = {item[1].session for item in recorder.written if isinstance(item, tuple)}
    if inside and len(sessions) == 1:
        gone = data.draw(st.sampled_from(inside))
        cut_out(recorder, lambda header: header is gone)
        fault = judged(recorder).fault
        assert fault is not None
        assert fault.source == gone.source
