"""Where the relay of a host is: beside the combiner's ipc socket or, of one elsewhere, in the run directory."""

from __future__ import annotations

import os
import socket

from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError

# The launcher tells the consumers that it starts whose relay it starts, too: the combiner's address.
RELAYED_VARIABLE = "FRAMEPAIR_RELAYED"
SUFFIX = ".relay"
DIRECTORY = "default run directory"
HASH_BYTES = 8


def address_of(combiner: str) -> str:
    """Return where this host's relay of the combiner at that address publishes; raises EndpointError."""
    path = endpoints.ipc_path(combiner)
    if path is None:
        # It loads OpenSSL, which takes some milliseconds of each start.
        import hashlib

        name = hashlib.blake2b(combiner.encode(), digest_size=HASH_BYTES).hexdigest()
        path = endpoints.default_run_dir() / name
    address = f"ipc://{path}{SUFFIX}"
    endpoints.check(address)
    return address


def is_expected(combiner: str) -> bool:
    """Return whether the launcher that started this process starts a relay of that combiner, too."""
    return os.environ.get(RELAYED_VARIABLE) == combiner


def is_safe(address: str) -> bool:
    """Return whether what listens at ``address``, now or later, is this user's.

    Frames of a combiner with keys come from there without keys, and libzmq connects again unasked. A relay
    beside the combiner's own ipc socket is as safe as that, and its directory may be shared.
    """
    path = endpoints.ipc_path(address)
    if path is None:
        return False
    try:
        if path.parent == endpoints.default_run_dir():
            endpoints.refuse_shared(path.parent, DIRECTORY)
        endpoints.refuse_planted(path)
    except (EndpointError, OSError):
        return False
    return True


def listens(address: str) -> bool:
    """Return whether a relay of this user listens at ``address``."""
    path = endpoints.ipc_path(address)
    if path is None or not is_safe(address):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except BlockingIOError:
            # It is there, and has more to accept than it comes to.
            return True
        except OSError:
            return False
    return True


def make_directory(address: str) -> None:
    """Make the directory of a relay's address for this user alone; raises EndpointError if it is another's."""
    path = endpoints.ipc_path(address)
    if path is not None and path.parent == endpoints.default_run_dir():
        endpoints.make_run_dir(path.parent, DIRECTORY)
