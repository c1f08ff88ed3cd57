"""A thread that has a listening socket: the one that started it learns whether it listens, and why it ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from framepair.protocol.transport.sockets import Opening, Socket


class ListeningThread(threading.Thread):
    """Opens a socket, and calls ``work`` with it; the socket belongs to this thread.

    ``failed`` is called in this thread if ``work`` raises.
    """

    def __init__(
        self,
        name: str,
        opening: Opening,
        work: Callable[[Socket], None],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(name=name)
        self._opening = opening
        self._work = work
        self._failed = failed
        self._bound: Future[None] = Future()
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Work until that is over."""
        try:
            with self._opening as socket:
                self._bound.set_result(None)
                self._work(socket)
        except BaseException as error:  # noqa: BLE001 - the thread that started this one raises it again
            if self._bound.done():
                self._failure = error
                self._failed()
            else:
                self._bound.set_exception(error)

    def wait_until_bound(self) -> None:
        """Return once the socket listens; raises EndpointError if it can't."""
        self._bound.result()

    def check(self) -> None:
        """Raise what ended the thread, if it failed."""
        if self._failure:
            raise self._failure
