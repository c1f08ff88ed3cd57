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
class Leftovers:
    """Where there may be something to remove; what another process uses stays."""

    addresses: Sequence[str] = ()
    run_dir: str | None = None
    """The directory with sockets of sources that came later, which no other pipeline has."""
    files: Sequence[str] = ()
    """The launcher's own: its socket, and what it tells the combiner in."""
    made: str | None = None
    """The run directory, if it was made for this pipeline."""
    shared: bool = False
    shm_dir: str | None = None
    """Whether there may be rings, and where, if not in the default directory."""

    @classmethod
    def parse(cls, text: str) -> Leftovers:
        """Return what ``str`` gave the text of."""
        return cls(**json.loads(text))

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    def remove(self) -> None:
        """Remove all of it; the caller has locked the run directory."""
        self.remove_sockets()
        self.remove_rings()

    def remove_sockets(self) -> None:
        """Remove the sockets and locks that killed nodes left, and the directory if it was made."""
        for path in map(Path, self.files):
            with contextlib.suppress(OSError):
                path.unlink()
        for address in (*self.addresses, *self._later()):
            with contextlib.suppress(EndpointError, OSError), endpoints.reserved(address):
                pass
        if self.made is not None:
            # Another program's file keeps the directory.
            with contextlib.suppress(OSError):
                Path(self.made).rmdir()

    def _later(self) -> list[str]:
        """Return the addresses of sources that killed nodes left, also of those that were added."""
        return endpoints.frames_in(Path(self.run_dir)) if self.run_dir else []

    def remove_rings(self) -> None:
        """Remove the rings of producers that were killed."""
        if self.shared:
            # It imports numpy: the launcher has no use for that before its end, if ever.
            from framepair.protocol.memory import shared_ring

            shared_ring.remove_stale(self._ring_directory())

    def has_rings(self) -> bool:
        """Return whether there are rings, or a directory for them, of this pipeline or another."""
        return self.shared and self._ring_directory().exists()

    def _ring_directory(self) -> Path:
        from framepair.protocol.memory import shared_ring

        return Path(self.shm_dir) if self.shm_dir else shared_ring.default_directory()
