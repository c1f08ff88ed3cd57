"""A combiner's core whose messages are recorded in tests, and a recorder without files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from framepair.protocol.recording.ledger import Announcement, LedgerEntry, Received
from framepair.protocol.wire.frame import FrameHeader
from tests.lib.feed import Feed, frame, frames, in_order_of_capture
from tests.lib.units import MS

Message = FrameHeader | Announcement


@dataclass
class Recorder:
    """A recorder without files: what it has ``written``, and how it lost the rest."""

    session: int = 1
    written: list[FrameHeader | tuple[Announcement, LedgerEntry]] = field(default_factory=list)
    came: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if isinstance(message, FrameHeader):
                self.came[message.source] += 1
                self.written.append(message)
            else:
                self.written.append((message, self.entry()))

    def lose(self, message: FrameHeader) -> None:
        self.came[message.source] += 1
        self.lost[message.source] += 1

    def entry(self) -> LedgerEntry:
        return LedgerEntry(
            self.session,
            {
                name: Received(came, {"recorder_slow": self.lost[name]} if self.lost[name] else {})
                for name, came in self.came.items()
            },
        )

    def restart(self) -> None:
        self.session += 1
        self.came.clear()
        self.lost.clear()


class Line(Feed):
    """A real core of a combiner; what it publishes, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[Message] = []

    def take(self) -> list[Message]:
        taken, self.published = self.published, []
        return taken

    def _accept(self, accepted: list) -> None:  # type: ignore[type-arg]
        super()._accept(accepted)
        self.published += [item.header for item in accepted]

    def _announce(self, header: object) -> None:
        super()._announce(header)  # type: ignore[arg-type]
        self.published.append(self.pairs[-1])


def seconds(line: Line, first: int, count: int, leave_out: Iterable[int] = ()) -> list[Message]:
    """Let both sources capture ``count`` seconds, without some seqs of left; return what is published."""
    gone = set(leave_out)
    for seq in range(10 * first, 10 * (first + count)):
        if seq not in gone:
            line.send(frame("left", seq))
        line.send(frame("right", seq))
    return line.take()


def restarted(line: Line, run: int = 10) -> Line:
    """Return the next combiner, which begins where ``line`` was killed."""
    after = Line()
    after.now_ns = line.now_ns
    after.windows._run = run
    return after


def come_and_go(begins: int = 0) -> list[Message]:
    """Return what is published of ten seconds from second ``begins`` on, ten frames a second of each source.

    Right is removed in second 1, returns at 5.55 s as another run, and is in the pairs from second 6 to 8.
    """
    line = Line()
    line.send(*in_order_of_capture(frames("left", range(15)), frames("right", range(15))))
    line.windows.remove_source("right", line.now_ns)
    line.send(*in_order_of_capture(frames("left", range(15, 30)), frames("right", range(15, 27))))
    line.end("right", 27, "stopped")
    line.windows.forget_source("right")
    for second in (3, 4):
        if second == begins:
            line.take()
        line.send(*frames("left", range(10 * second, 10 * second + 10)))
    line.windows.add_sources(["right"])
    left, right = (
        frames("left", range(50, 100)),
        frames("right", range(40), offset_ns=5550 * MS, run=2),
    )
    for header in in_order_of_capture(left, right):
        if header == left[35]:
            line.windows.remove_source("right", line.now_ns)
        line.send(header)
    return line.take()
