"""Whether what this process has sent over Unix sockets was read, so that it may close them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
import termios
from pathlib import Path

# Standard streams may be sockets of whoever started this process.
FIRST_OWN = 3


def unread_bytes() -> int:
    """Return how many bytes of this process are in Unix sockets, and their peers have not read them.

    libzmq drops them if they are unread when the connection is closed and the peer has stopped reading, as its
    queue is full: the kernel reports the end of a Unix socket at once, and not behind what is in it
    (stream_engine_base.cpp, restart_input).
    """
    numbers = (int(path.name) for path in Path("/proc/self/fd").iterdir())
    return sum(_unread(number) for number in numbers if number >= FIRST_OWN)


def _unread(number: int) -> int:
    # It may be closed meanwhile by its thread.
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            with socket.socket(fileno=os.dup(number)) as connection:
                if connection.family == socket.AF_UNIX:
                    answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
                    return int(struct.unpack("i", answer)[0])
    return 0
