"""Where a consumer receives: from this host's relay where there is one, else from the combiner."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

from framepair.protocol.memory import shared_ring
from framepair.protocol.transport import relays
from framepair.protocol.transport.endpoints import EndpointError
from framepair.protocol.wire.frame import Location

# How often it is looked whether a relay is there while nothing comes.
LOOK_S = 0.5
# A relay that was killed is started again within a second. A busy machine may take longer to start the first.
PATIENCE_S, START_PATIENCE_S = 3.0, 10.0


class Route:
    """The way from the combiner at ``combiner`` to a consumer: by a relay or not, and that may change.

    A relay is used if the launcher has said that there will be one, or if one is there before the first message
    has come; but never where another user's process could be in its place. If it stays away, or its rings in
    ``shm_dir`` can't be seen, the way is direct for good. Without ``shm_dir`` it always is.
    """

    def __init__(
        self,
        combiner: str,
        shm_dir: Path | None = None,
        *,
        listens: Callable[[str], bool] = relays.listens,
    ) -> None:
        self._combiner = combiner
        self._shm_dir = shm_dir
        self._listens = listens
        self._relay: str | None = None
        self._rings: set[str] = set()
        self._looked_s = self._away_s = -math.inf
        self._seen = False
        """Whether the relay has been there."""
        # Without an address for a relay there is none.
        with contextlib.suppress(EndpointError):
            self._relay = relays.address_of(combiner) if shm_dir else None
        used = self._relay and (_is_expected(combiner, self._relay) or listens(self._relay))
        self.address = (used and self._relay) or combiner
        """Where to connect to."""

    @property
    def is_relayed(self) -> bool:
        """Whether that is a relay."""
        return self.address != self._combiner

    def changes(self, now_s: float, heard_s: float | None) -> bool:
        """Return whether the way is another from now on; to be asked several times a second.

        ``heard_s`` is when the newest message came, None before the first.
        """
        if self._relay is None or now_s < self._looked_s + LOOK_S:
            return False
        if heard_s is not None and (not self.is_relayed or now_s < heard_s + LOOK_S):
            self._away_s = -math.inf
            return False
        self._looked_s = now_s
        there = self._listens(self._relay)
        if not self.is_relayed:
            return there and self._take(self._relay)
        self._seen = self._seen or there or heard_s is not None
        if there:
            self._away_s = -math.inf
        elif self._away_s == -math.inf:
            self._away_s = now_s
        patience_s = PATIENCE_S if self._seen else START_PATIENCE_S
        return not there and now_s >= self._away_s + patience_s and self._take_direct()

    def leads_nowhere(self, location: Location) -> bool:
        """Return whether a relay's ring can't be seen here; then the way is another from now on."""
        if location.ring in self._rings:
            return False
        if self._shm_dir is not None and shared_ring.is_visible(self._shm_dir, location.ring):
            self._rings.add(location.ring)
            return False
        return self._take_direct()

    def _take(self, address: str) -> bool:
        self.address = address
        return True

    def _take_direct(self) -> bool:
        self._relay = None
        return self._take(self._combiner)


def _is_expected(combiner: str, relay: str) -> bool:
    return relays.is_expected(combiner) and relays.is_safe(relay)
