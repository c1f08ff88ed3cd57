"""imagezmq as its documentation begins: request and reply, with the pixels in the message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bench.frames import Frame
from bench.hop.raw_ipc import link
from bench.hop.way import Place, Receive, Send

__all__ = ["NAME", "NEEDS", "link", "receiver", "sender"]

NAME = "imagezmq, ipc"
NEEDS = ("imagezmq",)


@contextlib.contextmanager
def sender(place: Place) -> Iterator[Send]:
    """Send an image and wait for the reply."""
    import imagezmq

    with imagezmq.ImageSender(connect_to=place.link) as image_sender:
        yield lambda frame: image_sender.send_image("bench", frame)


@contextlib.contextmanager
def receiver(place: Place) -> Iterator[Receive]:
    """Receive an image, and reply before it is used."""
    import imagezmq

    with imagezmq.ImageHub(open_port=place.link) as hub:

        def receive() -> tuple[Frame, None]:
            _, frame = hub.recv_image()
            hub.send_reply()
            return frame, None

        yield receive
