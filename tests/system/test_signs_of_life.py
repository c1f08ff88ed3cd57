"""What real producers say to a combiner while they have no frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from framepair.protocol.transport import sockets
from framepair.protocol.wire import frame
from framepair.protocol.wire.frame import Alive, FrameHeader, FromProducer, SourceEnd
from tests.lib.pipeline import Pipeline
from tests.lib.processes import PATIENCE_S


@contextmanager
def sent_by(source: str, *flags: str) -> Iterator[Iterator[FromProducer]]:
    """Start a producer; yield what it sends, message by message."""
    with (
        Pipeline(["left"]) as nodes,
        sockets.new_context() as context,
        sockets.pull(context, nodes.endpoints.pull["left"]) as pull,
    ):

        def messages() -> Iterator[FromProducer]:
            while pull.poll(round(PATIENCE_S * 1000)):
                yield frame.decode(pull.recv_multipart()[0])

        nodes.producer("left", source, *flags)
        yield messages()


def test_a_slow_source_says_when_its_next_frame_is_due() -> None:
    with sent_by("synthetic://64x36@0.5") as messages:
        first = next(each for each in messages if isinstance(each, FrameHeader))
        promises = []
        for each in messages:
            if isinstance(each, FrameHeader):
                assert each.captured_ns == first.next_ns
                break
            assert isinstance(each, Alive)
            promises.append(each)
    assert len(promises) >= 2
    assert {each.next_ns for each in promises} == {first.next_ns}
    assert {each.seq for each in promises} == {1}


def test_a_camera_that_hangs_still_has_a_producer() -> None:
    # The grab itself hangs, and so does the work loop: only another thread can say so.
    with sent_by("synthetic://64x36@25", "--fault", "freeze@0.2s,60s") as messages:
        said = next(each for each in messages if isinstance(each, Alive))
    assert said.seq > 0


def test_at_pace_max_nothing_is_said() -> None:
    # Slower than once in half a second, and yet only frames come, and the end.
    flags = ("--pace", "max", "--fault", "slow@0s,700ms")
    with sent_by("synthetic://64x36@25?frames=3", *flags) as messages:
        for each in messages:
            assert not isinstance(each, Alive)
            if isinstance(each, SourceEnd):
                break
