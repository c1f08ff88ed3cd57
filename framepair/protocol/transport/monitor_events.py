"""What a socket's monitor tells.

zmq.utils.monitor reads it too, but imports asyncio for that, which is a tenth of a node's start.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import zmq

# Event and value, as zmq_socket_monitor(3) has them in the first part of a message.
EVENT = struct.Struct("=Hi")


def waiting(monitor: zmq.Socket[bytes]) -> Iterator[tuple[int, int]]:
    """Yield the events that have happened and were not read yet, each with its value; nothing waits."""
    while monitor.poll(0):
        event, value = EVENT.unpack(monitor.recv_multipart()[0])
        yield event, value
