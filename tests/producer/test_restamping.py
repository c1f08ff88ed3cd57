"""Stamps that go over to a camera's clock, or back from it: a new run begins, and no promise is broken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepair.nodes.common.runtime import Stop
from framepair.nodes.producer.outbox import Origin, Outbox
from framepair.nodes.producer.sources.source import Format, Position
from framepair.nodes.producer.stamps import LiveStamps, Stamp
from framepair.protocol.memory.payload import Packed
from framepair.protocol.transport import sockets
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import Alive, FrameHeader, FromProducer, SourceEnd, StampGrade
from tests.lib.pipeline import Pipeline
from tests.lib.processes import PATIENCE_S

MS = 1_000_000
SHAPE = (36, 64, 3)
FORMAT = Format(SHAPE, fps=25.0, live=True)
PIXELS = np.zeros(SHAPE, np.uint8).data
NOW_NS = 10**18
GRADES: list[StampGrade] = ["media", "media", "camera", "camera", "media"]


def position(at_ms: float, grade: StampGrade) -> Position:
    at_ns = NOW_NS + round(at_ms * MS)
    return Position(at_ns, at_ns + 20 * MS, grade, MS)


def stamps_of(*positions: Position, offset_ns: int = 0) -> list[Stamp]:
    stamps = LiveStamps(25.0, lambda: NOW_NS, offset_ns)
    return [stamps.stamp(each) for each in positions]


def test_stamps_by_the_camera_s_clock_are_not_put_off_by_what_was_promised() -> None:
    media, camera = stamps_of(position(100, "media"), position(80, "camera"))
    assert not media.anew
    assert camera.anew
    assert camera.captured_ns == NOW_NS + 80 * MS
    assert camera.uncertainty_ns == MS


def test_within_one_clock_what_was_promised_holds() -> None:
    first, second = stamps_of(position(100, "media"), position(110, "arrival"))
    assert not second.anew
    assert second.captured_ns == first.next_ns == NOW_NS + 120 * MS
    assert second.uncertainty_ns == 11 * MS


def test_an_offset_is_added_to_all_stamps() -> None:
    (stamp,) = stamps_of(position(100, "media"), offset_ns=-30 * MS)
    assert (stamp.captured_ns, stamp.next_ns) == (NOW_NS + 70 * MS, NOW_NS + 90 * MS)
    stamps = LiveStamps(25.0, lambda: NOW_NS, 5 * MS)
    assert stamps.stamp(None).captured_ns == NOW_NS + 5 * MS
    assert stamps.earliest_ns() == NOW_NS + 5 * MS


@given(
    st.lists(
        st.tuples(st.integers(-200, 200), st.sampled_from(["media", "arrival", "camera"])),
        max_size=50,
    )
)
def test_stamps_of_a_run_strictly_increase(steps: list[tuple[int, StampGrade]]) -> None:
    at_ms = itertools.accumulate(step for step, _ in steps)
    grades = [grade for _, grade in steps]
    stamps = stamps_of(*map(position, at_ms, grades))
    for early, late in itertools.pairwise(stamps):
        assert late.anew or late.captured_ns >= early.next_ns > early.captured_ns


@dataclass
class Sent:
    """What a producer whose stamps go over to another clock sends."""

    headers: list[FromProducer] = field(default_factory=list)
    outbox: Outbox | None = None


@pytest.fixture
def sent() -> Iterator[Sent]:
    with (
        Pipeline(["left"]) as nodes,
        sockets.new_context() as context,
        sockets.pull(context, nodes.endpoints.pull["left"]) as pull,
        sockets.push(context, nodes.endpoints.pull["left"], hwm=20, lossless=False) as push,
    ):
        origin = Origin("left", 7, "realtime", lossless=False)
        outbox = Outbox(push, origin, stop=Stop(), heartbeat=Heartbeat(), now_ns=lambda: NOW_NS)
        outbox.wait_for_combiner()
        stamps = LiveStamps(25.0, lambda: NOW_NS)
        for number, grade in enumerate(GRADES):
            stamp = outbox.stamp(stamps, position(40 * number, grade))
            outbox.drop() if number == 1 else outbox.send(Packed(PIXELS), stamp, FORMAT)
            if number == 2:
                outbox.say_alive(stamps, 0.0)
        outbox.end("finished")
        headers: list[FromProducer] = []
        while not (
            isinstance(headers[-1:] and headers[-1], SourceEnd) and headers[-1].run > NOW_NS
        ):
            assert pull.poll(round(PATIENCE_S * 1000))
            headers.append(frame.decode(pull.recv_multipart()[0]))
        yield Sent(headers, outbox)


def test_a_run_ends_as_restamped_and_the_next_begins_at_once(sent: Sent) -> None:
    ends = [header for header in sent.headers if isinstance(header, SourceEnd)]
    assert [(end.run, end.seq, end.dropped, end.reason) for end in ends] == [
        (7, 2, 1, "restamped"),
        (NOW_NS, 2, 0, "restamped"),
        (NOW_NS + 1, 1, 0, "finished"),
    ]
    frames = [header for header in sent.headers if isinstance(header, FrameHeader)]
    assert [(header.run, header.seq, header.dropped, header.stamp) for header in frames] == [
        (7, 0, 0, "media"),
        (NOW_NS, 0, 0, "camera"),
        (NOW_NS, 1, 0, "camera"),
        (NOW_NS + 1, 0, 0, "media"),
    ]


def test_a_sign_of_life_says_of_which_clock_its_promise_is(sent: Sent) -> None:
    (alive,) = (header for header in sent.headers if isinstance(header, Alive))
    assert (alive.run, alive.seq, alive.stamp) == (NOW_NS, 1, "camera")


def test_what_was_captured_in_all_runs_is_known(sent: Sent) -> None:
    assert sent.outbox is not None
    assert (sent.outbox.captured, sent.outbox.lost) == (5, 1)
