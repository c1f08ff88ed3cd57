"""Two producers that send as one source at the same time: mixed, their frames would look like one video."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.frame import FrameHeader, SourceEnd

# After so long without a frame of its own, and so many periods, a producer may be replaced by another.
QUIET_NS, QUIET_PERIODS = 250_000_000, 3


@dataclass(slots=True)
class _Sender:
    """The run that is a source's now, when a frame of it came last, and how often they come."""

    run: int
    heard_ns: int
    period_ns: int


class Rivals:
    """Knows whose frames are each source's: of the run that was there first, as long as it goes on."""

    def __init__(self) -> None:
        self._senders: dict[str, _Sender] = {}

    def is_one(self, header: FrameHeader | SourceEnd, received_ns: int) -> bool:
        """Take note of a message that came at ``received_ns``; return whether it is of a second producer."""
        sender = self._senders.get(header.source)
        if sender is not None and header.run != sender.run:
            quiet_ns = max(QUIET_NS, QUIET_PERIODS * sender.period_ns)
            if received_ns < sender.heard_ns + quiet_ns:
                return True
        if isinstance(header, SourceEnd):
            self._senders.pop(header.source, None)
        else:
            self._senders[header.source] = _Sender(header.run, received_ns, header.period_ns)
        return False
