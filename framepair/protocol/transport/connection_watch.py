"""Whether a socket that connects has found somebody at its address, so that silence can be explained."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import zmq

from framepair.protocol.transport import endpoints, monitor_events

PATIENCE_S = 3.0
EVENTS = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_DISCONNECTED
)

log = logging.getLogger(__name__)


class Contact:
    """Watches ``socket`` and says once what may be wrong if nobody has answered for PATIENCE_S.

    ``address`` is ``what``, in the user's words.
    """

    def __init__(self, socket: zmq.Socket[bytes], address: str, what: str) -> None:
        self._monitor = socket.get_monitor_socket(EVENTS)
        self._socket = socket
        self._address = address
        self._what = what
        self._began_s = time.monotonic()
        self._connected = self._over = False

    def look(self) -> None:
        """Take note of what happened; to be called several times a second."""
        if self._over:
            return
        for event, _ in monitor_events.waiting(self._monitor):
            self._connected = self._connected or event == zmq.EVENT_CONNECTED
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.close()
                return
        if time.monotonic() > self._began_s + PATIENCE_S:
            log.warning("%s Still trying.", self._suspicion())
            self.close()

    def close(self) -> None:
        """Watch no longer."""
        if not self._over:
            self._over = True
            self._socket.disable_monitor()
            self._monitor.close(linger=0)

    def _suspicion(self) -> str:
        if self._connected:
            return (
                f"{self._address} is there and does not let us in: are the keys (--keys) those of its combiner,"
                " and ours in its clients/?"
            )
        path = endpoints.ipc_path(self._address)
        if path is not None and not may_connect(path):
            return f"this user may not use {path}: run as the user that the combiner runs as."
        return (
            f"nobody answers at {self._address}: is the combiner running, and is that {self._what}?"
        )


def may_connect(path: Path) -> bool:
    """Return whether this user may connect to the socket ``path``; also True if there is none yet."""
    try:
        path.stat()
    except PermissionError:
        # Its directory is closed to this user.
        return False
    except OSError:
        return True
    return os.access(path, os.W_OK)
