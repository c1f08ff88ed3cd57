"""What a pipeline may leave in the file system: sockets and locks, their directory, rings."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError


@dataclass(frozen=True, slots=True)
class Remains:
    """Where there may be something to remove; what somebody else uses stays."""

    addresses: Sequence[str] = ()
    made: str | None = None
    """The run directory, if it was made for this pipeline."""
    shared: bool = False
    shm_dir: str | None = None
    """Whether there may be rings, and where, if not in the default directory."""

    @classmethod
    def parse(cls, text: str) -> Remains:
        """Return what ``str`` gave the text of; what it takes to clear that is imported by then."""
        remains = cls(**json.loads(text))
        if remains.shared:
            pass
        return remains

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    def clear(self) -> None:
        """Remove all of it; who calls this holds the run directory."""
        self.clear_run_dir()
        self.clear_rings()

    def clear_run_dir(self) -> None:
        """Remove the sockets and locks that killed nodes left, and the directory if it was made."""
        for address in self.addresses:
            with contextlib.suppress(EndpointError, OSError), endpoints.reserved(address):
                pass
        if self.made is not None:
            # Somebody else's file keeps the directory.
            with contextlib.suppress(OSError):
                Path(self.made).rmdir()

    def clear_rings(self) -> None:
        """Remove the rings of producers that were killed."""
        if self.shared:
            # It imports numpy: the launcher has no use for that before its end, if ever.
            from framepair.protocol.memory import shared_ring

            shared_ring.remove_stale(self._ring_directory())

    def has_rings(self) -> bool:
        """Tell whether there are rings, or a directory for them, be they anybody's."""
        return self.shared and self._ring_directory().exists()

    def _ring_directory(self) -> Path:
        from framepair.protocol.memory import shared_ring

        return Path(self.shm_dir) if self.shm_dir else shared_ring.default_directory()
