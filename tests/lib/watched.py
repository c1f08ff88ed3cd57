"""A monitor's state that is fed with a combiner's announcements, by way of the client that a monitor has."""

from __future__ import annotations

from framepair.nodes.monitor.state import State
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.selection import Selection
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import PairHeader, StreamEnd
from tests.lib.stream import WINDOW_NS
from tests.lib.units import MS, S

MAX_BYTES = 1 << 30
LAG_NS = 5 * MS


class Watched:
    """What a monitor knows that started when window 10 began; pairs come ``LAG_NS`` after their end."""

    def __init__(self) -> None:
        self.now_ns = 10 * WINDOW_NS
        self.state = State(self.now_ns, unhealthy_ns=10 * S)
        self._assembly = Assembly(2, MAX_BYTES, selection=Selection(sources=()))

    def hear(self, *messages: FrameHeader | PairHeader | StreamEnd) -> None:
        """Let announcements come in time; frames do not come to a monitor."""
        for message in messages:
            if isinstance(message, PairHeader):
                self.now_ns = message.end_ns + LAG_NS
                self._assembly.add_pair(message, self.now_ns)
                pair = self._assembly.take()
                assert pair is not None
                self.state.add_pair(pair, self._assembly.stats(), self.now_ns)
            elif isinstance(message, StreamEnd):
                self._assembly.end_stream(message)
                self.state.add_end(self._assembly.stats())

    def sentence(self, later_ns: int = 0) -> str:
        """Return what is said at the top, so much later than the newest announcement."""
        return self.state.sentence(self.now_ns + later_ns)
