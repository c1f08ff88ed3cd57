"""What this process has sent, and nobody has read."""

from __future__ import annotations

import socket

from framepair.protocol.transport.unread import unread_bytes


def test_bytes_count_until_the_peer_has_read_them() -> None:
    before = unread_bytes()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"something")
        assert unread_bytes() >= before + len(b"something")
        theirs.recv(100)
        assert unread_bytes() == before
