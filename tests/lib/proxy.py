"""A tcp connection that a test can stall, cut or reset, and mend again."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from types import TracebackType

CHUNK_BYTES = 1 << 16
TICK_S = 0.05
# Closing with this sends a reset instead of an orderly end.
RESET = struct.pack("ii", 1, 0)


class Proxy(threading.Thread):
    """Passes on what comes to ``port`` on loopback to ``target``, while it is ``flowing``."""

    def __init__(self, target: int) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._over = False
        self.connections = 0

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over = True
        self._flowing.set()
        self.join()
        self._drop(reset=False)
        self._listener.close()
        self._selector.close()

    def stall(self) -> None:
        """Pass nothing on any more, and keep all connections open: a cable that was pulled out."""
        self._flowing.clear()

    def cut(self) -> None:
        """Close all connections, and each new one at once."""
        self._refusing = True
        self._drop(reset=False)

    def reset(self) -> None:
        """Reset all connections; new ones work."""
        self._drop(reset=True)

    def mend(self) -> None:
        """Have everything flow again."""
        self._refusing = False
        self._flowing.set()

    def run(self) -> None:
        """Pass on whatever comes."""
        while not self._over:
            self._flowing.wait()
            for key, _ in self._selector.select(TICK_S):
                if key.fileobj is self._listener:
                    self._accept()
                elif self._flowing.is_set():
                    self._pass_on(key.fileobj, key.data)  # type: ignore[arg-type]

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._refusing:
            client.close()
            return
        try:
            server = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            client.close()
            return
        with self._lock:
            self.connections += 1
            self._pairs.append((client, server))
            for one, other in (client, server), (server, client):
                self._selector.register(one, selectors.EVENT_READ, other)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            data = source.recv(CHUNK_BYTES)
            if data:
                target.sendall(data)
                return
        except OSError:
            pass
        with self._lock:
            for pair in [pair for pair in self._pairs if source in pair]:
                self._close(pair)

    def _drop(self, *, reset: bool) -> None:
        with self._lock:
            for pair in list(self._pairs):
                for end in pair if reset else ():
                    with contextlib.suppress(OSError):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                self._close(pair)

    def _close(self, pair: tuple[socket.socket, socket.socket]) -> None:
        self._pairs.remove(pair)
        for end in pair:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
