"""Signs of life for the combiner, from a producer that waits for its next frame."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from framepair.nodes.producer.outbox import Outbox
from framepair.nodes.producer.stamps import Stamps

# The design's "twice a second": idle sources must be told from dead ones within --idle-timeout (2 s).
ALIVE_S = 0.5


@contextlib.contextmanager
def saying_alive(outbox: Outbox, stamps: Stamps, lost: threading.Event) -> Iterator[None]:
    """While entered, send a sign of life after each ALIVE_S in which nothing was sent.

    From a thread: a grab waits for the camera inside a library, which cannot be interrupted. Not while a camera
    is ``lost`` and being opened again: a combiner that hears nothing reports it as offline, as it should.
    """
    over = threading.Event()

    def run() -> None:
        pause_s = ALIVE_S
        while not over.wait(pause_s):
            pause_s = ALIVE_S if lost.is_set() else outbox.say_alive(stamps, ALIVE_S)

    thread = threading.Thread(target=run, name="framepair-alive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
