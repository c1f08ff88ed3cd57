"""How far a node's clock is from the combiner's, as NTP finds out: four stamps, and the least delay counts.

A ping leaves at t1 on the node's clock and arrives at t2 on the combiner's; its pong leaves at t3 and is here
at t4. If the way there and the way back took equally long, the combiner's clock is
((t2 - t1) + (t3 - t4)) / 2 ahead; however long they took, that is wrong by half of the whole delay at most.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from framepair.protocol.wire.frame import SLEW_PPM
from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.sync import Pong

# No two clocks drift apart faster than this, in millionths of the time: it is what NTP allows for.
MAX_DRIFT_PPM = 500
# An offset is made up for at SLEW_PPM, so that stamps go on steadily; a larger one at once.
STEP_NS = 100_000_000
# A century. A clock that is further away makes no sense, and would lead stamps out of their range.
MAX_OFFSET_NS = 100 * 366 * 86400 * 10**9


@dataclass(frozen=True, slots=True)
class Offset:
    """What to add to a clock to have that of ``combiner``: ``ns``, give or take ``uncertainty_ns``."""

    ns: int
    uncertainty_ns: int
    combiner: int = 0


class Comparison:
    """What a node's pings have told of its clock and one combiner's.

    Each of them bounds the offset from below and from above, the more widely the older it is. As all bounds
    widen alike, the tightest of each side stays so until a tighter one comes, however long ago it was.
    """

    def __init__(self) -> None:
        self._combiner: int | None = None
        self._low_ns = self._high_ns = 0
        self.least_delay_ns = 0
        """How long a ping and its pong take when nothing holds them up."""

    def add(self, pong: Pong, here_ns: int) -> None:
        """Take an answer that was here at ``here_ns``; raises ProtocolError if its times are impossible."""
        took_ns, answering_ns = here_ns - pong.ping_ns, pong.sent_ns - pong.received_ns
        # Meanwhile, too, one clock may have gone faster than the other.
        drift_ns = _drift_ns(abs(took_ns))
        delay_ns = took_ns - answering_ns
        if delay_ns < -drift_ns or answering_ns < 0:
            raise ProtocolError("a pong with impossible times")
        offset_ns = ((pong.received_ns - pong.ping_ns) + (pong.sent_ns - here_ns)) // 2
        if abs(offset_ns) > MAX_OFFSET_NS:
            raise ProtocolError(f"a pong from {offset_ns / 1e9:.0f} s away")
        half_ns = -(-max(0, delay_ns) // 2) + drift_ns
        widening_ns = _drift_ns(here_ns)
        low_ns, high_ns = offset_ns - half_ns + widening_ns, offset_ns + half_ns - widening_ns
        known = pong.combiner == self._combiner
        if known:
            self.least_delay_ns = min(self.least_delay_ns, 2 * half_ns)
            tightest = max(low_ns, self._low_ns), min(high_ns, self._high_ns)
            # Unless a clock was set, or drifts beyond all bounds: then what was found before is void.
            known = tightest[0] - widening_ns <= tightest[1] + widening_ns
        if known:
            self._low_ns, self._high_ns = tightest
        else:
            # Another combiner has another clock.
            self._combiner, self.least_delay_ns = pong.combiner, 2 * half_ns
            self._low_ns, self._high_ns = low_ns, high_ns

    def offset(self, now_ns: int) -> Offset | None:
        """Return the offset now; None if nobody has answered yet."""
        if self._combiner is None:
            return None
        widening_ns = _drift_ns(now_ns)
        low_ns, high_ns = self._low_ns - widening_ns, self._high_ns + widening_ns
        return Offset((low_ns + high_ns) // 2, -((low_ns - high_ns) // 2), self._combiner)


def _drift_ns(time_ns: int) -> int:
    return time_ns * MAX_DRIFT_PPM // 1_000_000 + 1


class Steering:
    """Follows an offset without jumps: a frame's stamp must not fall behind what the one before promised."""

    def __init__(self) -> None:
        self._ns = self._at_ns = 0
        self._combiner: int | None = None

    def follow(self, found: Offset, now_ns: int) -> Offset:
        """Return the offset to use at ``now_ns``; what is still to be made up for is in its uncertainty."""
        error_ns = found.ns - self._ns
        if found.combiner != self._combiner or abs(error_ns) > max(STEP_NS, found.uncertainty_ns):
            self._ns, self._combiner = found.ns, found.combiner
        else:
            most_ns = max(0, now_ns - self._at_ns) * SLEW_PPM // 1_000_000
            self._ns += max(-most_ns, min(most_ns, error_ns))
        self._at_ns = max(self._at_ns, now_ns)
        return replace(
            found, ns=self._ns, uncertainty_ns=found.uncertainty_ns + abs(found.ns - self._ns)
        )
