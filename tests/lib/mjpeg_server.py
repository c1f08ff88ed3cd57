"""A camera on the network: an HTTP server of motion JPEG that can freeze, break off and refuse."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Self

import numpy as np
import simplejpeg

from framepair.nodes.producer.sources.pattern import stamp

HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
REFUSAL = b"HTTP/1.0 503 Service Unavailable\r\n\r\n"
PERIOD_S = 0.02
SHAPE = (180, 320, 3)


class MjpegServer:
    """Sends stamped frames, numbered from 0 on for as long as the server lives, to whoever connects.

    Each connection is broken off after ``frames`` frames, if that is given; they come every ``period_s``, or
    later on a busy machine. The stamp's time is the number of the connection, from 1 on.
    """

    def __init__(self, frames: int | None = None, period_s: float = PERIOD_S) -> None:
        self.frozen, self.refusing = threading.Event(), threading.Event()
        self.connections = self.sent = 0
        self.connected = threading.Condition()
        self._frames = frames
        self._period_s = period_s
        self._cut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._acceptor = threading.Thread(target=self._accept)
        self._threads: list[threading.Thread] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"http://user:secret@{self.address}/video"

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Only a shutdown wakes the thread that waits for connections.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def cut(self) -> None:
        """Break off the connections there are; new ones are accepted."""
        cut, self._cut = self._cut, threading.Event()
        cut.set()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self.connected:
                self.connections += 1
                self.connected.notify_all()
            thread = threading.Thread(
                target=self._serve, args=(connection, self._cut, self.connections)
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, cut: threading.Event, number: int) -> None:
        with connection:
            connection.recv(4096)
            if self.refusing.is_set():
                connection.sendall(REFUSAL)
                return
            try:
                connection.sendall(HEAD)
                for part in islice(self._parts(number), self._frames):
                    connection.sendall(part)
                    if cut.wait(self._period_s):
                        return
                    while self.frozen.is_set():
                        if cut.wait(self._period_s):
                            return
            except OSError:
                return

    def _parts(self, number: int) -> Iterator[bytes]:
        while True:
            image = np.full(SHAPE, 90, np.uint8)
            stamp(image, "camera", self.sent, number)
            self.sent += 1
            jpeg = simplejpeg.encode_jpeg(image, 80, "BGR", "420")
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield head.encode() + jpeg + b"\r\n"


@contextmanager
def silent_server() -> Iterator[str]:
    """Accept connections, by the kernel alone, and never say a word; yields host:port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def unused_address() -> str:
    """Return a host:port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def once_connected(
    server: MjpegServer, connections: int, then: Callable[[], None]
) -> Iterator[None]:
    """Do something as soon as the server has had so many connections."""

    def wait() -> None:
        with server.connected:
            server.connected.wait_for(lambda: server.connections >= connections)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield
    thread.join()
