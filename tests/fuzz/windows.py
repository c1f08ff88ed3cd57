"""Windows as a state machine: whatever producers say and the clock does, what it announces is right."""

from __future__ import annotations

import contextlib
from collections import Counter

from framepair.nodes.combiner.pace import Rules
from framepair.protocol.wire import frame, pair
from framepair.protocol.wire.frame import Alive, EndReason, FrameHeader, Pace, SourceEnd
from framepair.protocol.wire.header import MAX_INT, ProtocolError
from framepair.protocol.wire.pair import StreamEnd
from tests.fuzz.draws import Draws
from tests.lib.feed import BEGIN_NS, Feed
from tests.lib.units import MS, S

SOURCES = ("left", "right")
PACES: tuple[Pace, ...] = ("realtime", "realtime", "max")
REASONS: tuple[EndReason, ...] = ("stopped", "finished")
RATES = (10.0, 25.0, 0.001, 10_000.0)
# Frames ten times as often as anything else.
STEPS = (
    *["send_frame"] * 10, "send_frame_again", "send_alive", "end_source", "reject", "reject_rival", "overflow",
    "wait", "wait", "sleep",
)  # fmt: skip


class Producers:
    """Says what producers might say, and much that they would not. ``Feed`` checks what comes of it."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        rules = Rules(
            window_ns=draws.choice([200 * MS, S]),
            max_wait_ns=draws.choice([0, S // 2, 5 * S]),
            start_timeout_ns=draws.choice([0, S]),
            pace=draws.choice(PACES),
        )
        self.feed = Feed(" ".join(SOURCES), rules)
        self._seqs: Counter[tuple[str, int]] = Counter()
        self._last: FrameHeader | None = None

    def step(self) -> None:
        """Do one thing."""
        getattr(self, self._draws.choice(STEPS))()

    def send_frame(self) -> None:
        """Send a frame, of any time and number, mostly near those that are its turn."""
        draws = self._draws
        source, run = draws.choice(SOURCES), self._run()
        captured_ns = draws.near(self.feed.now_ns, 10 * MS)
        seq = self._seq(source, run)
        header = FrameHeader(
            source=source, run=run, seq=seq, captured_ns=captured_ns,
            next_ns=min(MAX_INT, captured_ns + draws.near(100 * MS, MS)), sent_ns=captured_ns,
            shape=(2, 2, 3), fps=draws.choice(RATES), dropped=min(seq, draws.number()),
            total=draws.number(), reopened=draws.number(), pace=self.feed.rules.pace,
        )  # fmt: skip
        self._seqs[source, run] = seq + 1
        self._receive(header)

    def send_frame_again(self) -> None:
        """Send the last frame twice."""
        if self._last is not None:
            self._receive(self._last)

    def send_alive(self) -> None:
        """Send a sign of life."""
        draws, source, run = self._draws, self._draws.choice(SOURCES), self._run()
        seq = self._seq(source, run)
        sent_ns, next_ns = (draws.near(self.feed.now_ns, 10 * MS) for _ in range(2))
        word = Alive(source, run, seq, min(seq, draws.number()), sent_ns, next_ns)
        self.feed.windows.alive(word, self.feed.now_ns)

    def end_source(self) -> None:
        """Send a last word."""
        draws, source, run = self._draws, self._draws.choice(SOURCES), self._run()
        seq = self._seq(source, run)
        word = SourceEnd(source, run, seq, min(seq, draws.number()), draws.choice(REASONS))
        self.feed.windows.end(word, self.feed.now_ns)

    def reject(self) -> None:
        """Send a message that cannot be read."""
        self.feed.windows.reject(self._draws.choice(SOURCES))

    def reject_rival(self) -> None:
        """Send as a second producer."""
        if self._last is not None:
            self.feed.windows.reject_rival(self._last)

    def overflow(self) -> None:
        """Have messages dropped unread."""
        self.feed.windows.overflow(self._draws.choice(SOURCES), self._draws.below(256))

    def wait(self) -> None:
        """Let some time pass."""
        self.feed.now_ns += self._draws.below(256) * 10 * MS

    def sleep(self) -> None:
        """Let much time pass, as a machine does that was suspended."""
        self.feed.now_ns += self._draws.below(256) * 60 * S

    def _run(self) -> int:
        draws = self._draws
        return draws.number() if draws.chance(8) else draws.choice([1, 2, BEGIN_NS])

    def _seq(self, source: str, run: int) -> int:
        draws = self._draws
        return (
            draws.near(self._seqs[source, run] + 64, 1)
            if draws.chance(4)
            else self._seqs[source, run]
        )

    def _receive(self, header: FrameHeader) -> None:
        with contextlib.suppress(ProtocolError):
            received = frame.decode(header.encode())
            assert isinstance(received, FrameHeader)
            self._last = received
            self.feed.receive(received)


def run(data: bytes) -> None:
    """Do what ``data`` says, look at the clock after each step, and end the stream."""
    draws = Draws(data)
    producers = Producers(draws)
    while draws.left:
        producers.step()
        producers.feed.tick()
    producers.feed.flush()
    end = StreamEnd(9, len(producers.feed.pairs), "stopped", producers.feed.windows.totals())
    assert pair.decode(end.encode()) == end
