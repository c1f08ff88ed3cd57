"""A consumer's queue as a state machine: whatever a combiner says, a pair is what its header says."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from framepair.nodes.sink.ledger import Ledger
from framepair.protocol.client.pair_queue import PairQueue
from framepair.protocol.wire import published
from framepair.protocol.wire.frame import FrameHeader, Pace
from framepair.protocol.wire.header import MAX_INT, ProtocolError
from framepair.protocol.wire.pair import ClipHeader, PairHeader, Span, StreamEnd, Totals
from tests.fuzz.draws import Draws
from tests.lib.stream import WINDOW_NS, Stream, pixels, spans
from tests.lib.world import SOURCES, STEP_NAMES, World

Told = TypeVar("Told", bound=Struct)

SHAPES = ((1, 1, 3), (2, 1, 3), (1, 1, 1))
NOWHERE = Path("/nonexistent")
MAX_BYTES = 1 << 16
STEPS = (
    *["send_frame"] * 12, *["announce"] * 5, *["take"] * 4, "lie_in_frame", "lie_in_pair", "lie_in_end",
    "end", "restart",
)  # fmt: skip


def honest(data: bytes) -> None:
    """Lose any messages of an honest combiner: each announced frame is delivered once, or counted."""
    draws = Draws(data)
    world = World(keep=1 + draws.below(3), max_frames=draws.choice([4, 10**5]))
    while draws.left:
        kind = draws.below(256)
        step, source = STEP_NAMES[kind % len(STEP_NAMES)], draws.below(len(SOURCES))
        getattr(world, step)(source, kind % 2, not draws.chance(20))
        world.check()


def lying(data: bytes) -> None:
    """Let a combiner say anything."""
    draws = Draws(data)
    liar = Liar(draws)
    while draws.left:
        getattr(liar, draws.choice(STEPS))()
        liar.check()


class Liar:
    """A combiner that says the truth mostly, and a consumer of it."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._queue = PairQueue(1 + draws.below(3), MAX_BYTES, NOWHERE)
        self._ledger = Ledger()
        self._window = 0
        self._runs = 0
        self.restart()

    def restart(self) -> None:
        """Begin as a new combiner."""
        self._runs += 1
        pace: Pace = "max" if self._draws.chance(4) else "realtime"
        self._stream = Stream(SOURCES, run=self._runs, shape=self._draws.choice(SHAPES), pace=pace)

    def send_frame(self) -> None:
        """Send a frame of this window or the next."""
        draws = self._draws
        source, window = draws.choice(SOURCES), self._window + draws.below(2)
        self._publish_frame(self._stream.frame(source, window))

    def lie_in_frame(self) -> None:
        """Send a frame of which something is wrong."""
        draws = self._draws
        header = self._stream.frame(draws.choice(SOURCES), self._window)
        lies = {
            "run": draws.number(), "seq": draws.number(), "window": draws.near(self._window, 1),
            "window_ns": max(1, draws.number()), "captured_ns": draws.number(), "next_ns": MAX_INT,
            "shape": draws.choice([(1, 1, 3), (3, 1, 3), (40, 40, 3)]), "encoding": "bgr8",
            "fps": draws.choice([0.001, 1.0, 10_000.0]),
        }  # fmt: skip
        self._publish_frame(self._lied(header, lies))

    def announce(self) -> None:
        """Announce a pair."""
        self._publish(self._stream.pair(self._window))
        self._window += 1

    def lie_in_pair(self) -> None:
        """Announce a pair of which something is wrong."""
        draws = self._draws
        header = self._stream.pair(self._window)
        lies = {
            "run": draws.number(), "seq": draws.near(header.seq, 1), "previous": draws.number(),
            "window": draws.near(self._window, 1), "complete": draws.chance(2),
            "clips": {name: self._clip(clip) for name, clip in header.clips.items() if not draws.chance(4)},
        }  # fmt: skip
        self._publish(self._lied(header, lies))

    def end(self) -> None:
        """Say a last word."""
        self._publish(self._stream.end("stopped"))

    def lie_in_end(self) -> None:
        """Say a last word that is wrong."""
        totals = {name: self._totals(Totals()) for name in SOURCES}
        lies = {"run": self._draws.number(), "seq": self._draws.number(), "totals": totals}
        self._publish(self._lied(self._stream.end("stopped"), lies))

    def take(self) -> None:
        """Take a pair: it is what its header says."""
        pair = self._queue.take(0)
        if pair is None:
            return
        self._ledger.add_pair(pair)
        assert pair.lost >= 0
        assert pair.skipped >= 0
        for source, clip in pair.items():
            assert spans(clip.frames) == clip.header.spans
            assert len(clip.images) == len(clip.frames)
            assert len({(header.run, header.seq) for header in clip.frames}) == len(clip.frames)
            for header, image in zip(clip.frames, clip.images, strict=True):
                assert (header.source, header.window) == (source, pair.index)
                assert np.array_equal(image, pixels(header))

    def check(self) -> None:
        """Check what holds at any moment."""
        stats = self._queue.stats()
        self._ledger.accounts(stats)
        assert stats.lost_pairs >= 0
        assert stats.rejected >= 0
        for counts in (*stats.lost_frames.values(), stats.damaged_frames, stats.waiting_frames):
            assert all(count >= 0 for count in counts.values())

    def _lied(self, truth: Told, lies: dict[str, object]) -> Told:
        """Return ``truth`` with some of the lies, as far as they can be told together."""
        told = {name: lie for name, lie in lies.items() if self._draws.chance(3)}
        with contextlib.suppress(ProtocolError):
            return replace(truth, **told)
        return truth

    def _clip(self, clip: ClipHeader) -> ClipHeader:
        draws = self._draws
        run, first = (clip.spans[0].run, clip.spans[0].first) if clip.spans else (7, 0)
        own = Span(run, first + draws.below(4), 1 + draws.below(4))
        any_span = Span(draws.number(), draws.number(), 1 + draws.below(256))
        drawn = draws.choice([(), (own,), (any_span,)])
        lies = {
            "spans": (*clip.spans, *drawn),
            "gaps": draws.number(),
            "totals": self._totals(clip.totals),
        }
        return self._lied(clip, lies)

    def _totals(self, totals: Totals) -> Totals:
        draws = self._draws
        lies = {
            "captured": draws.number(), "paired": draws.near(totals.paired, 1), "open": draws.number(),
            "dropped": {"startup": draws.number(), draws.choice(["transport", "x"]): draws.number()},
            "runs": draws.number(), "reopened": draws.number(),
        }  # fmt: skip
        return self._lied(totals, lies)

    def _publish_frame(self, header: FrameHeader) -> None:
        data = pixels(header).tobytes()
        assert len(data) == math.prod(header.shape)
        self._receive([published.topic_of(header), header.encode(), data])

    def _publish(self, header: PairHeader | StreamEnd) -> None:
        topic = published.PAIR if isinstance(header, PairHeader) else published.END
        self._receive([topic, header.encode()])

    def _receive(self, parts: Sequence[bytes]) -> None:
        try:
            self._queue.add(published.decode([memoryview(part) for part in parts]), _now)
        except ProtocolError as error:
            self._queue.reject(error)


def _now() -> tuple[int, int | None]:
    return WINDOW_NS, 0
