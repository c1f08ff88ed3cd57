"""Signs of work that a consumer gives to the launcher that started it, so that one that hangs is noticed."""

from __future__ import annotations

import os
import time

# A descriptor that the launcher hands to each node it starts; nodes of our own use it themselves.
DESCRIPTOR_VARIABLE = "FRAMEPAIR_HEALTH_FD"
BEAT_S = 0.5


class Heartbeat:
    """Tells the launcher, if there is one, whenever the consumer asks for a pair or waits for one."""

    def __init__(self) -> None:
        number = os.environ.get(DESCRIPTOR_VARIABLE, "")
        self._descriptor = int(number) if number.isdecimal() else None
        self._next_s = 0.0
        self._line = b"ready\n"

    def beat(self) -> None:
        """Say that the work goes on."""
        now_s = time.monotonic()
        if self._descriptor is None or now_s < self._next_s:
            return
        self._next_s = now_s + BEAT_S
        try:
            os.set_blocking(self._descriptor, False)
            os.write(self._descriptor, self._line)
        except BlockingIOError:
            # A launcher that is stopped doesn't read.
            return
        except OSError:
            self._descriptor = None
        self._line = b"beat\n"
