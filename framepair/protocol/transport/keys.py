"""CURVE keys: who may take part in a pipeline over tcp, and the files that hold them.

A directory of keys has the combiner's ``server.key`` and a client's ``client.key``, both with a secret of their
own in ``….key_secret``, and in ``clients/`` the public keys that the combiner accepts. A machine that only
connects needs ``server.key`` and ``client.key_secret``.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError

KEYS_VARIABLE = "FRAMEPAIR_KEYS"
INSECURE_VARIABLE = "FRAMEPAIR_INSECURE"
SERVER, CLIENT, LISTED = "server", "client", "clients"
PUBLIC, SECRET = ".key", ".key_secret"
HOW = "python launch.py --keygen DIR makes keys for --keys DIR"


@dataclass(frozen=True, slots=True, repr=False)
class ClientKeys:
    """What a node that connects needs: its own keys, and those that the combiner must have."""

    public: bytes
    secret: bytes
    server: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ServerKeys:
    """What the combiner needs: its own keys, and the directory of the public keys that it accepts."""

    public: bytes
    secret: bytes
    clients: Path


def directory(asked: Path | None) -> Path | None:
    """Return the directory of keys: the one asked for, else FRAMEPAIR_KEYS, else none."""
    named = os.environ.get(KEYS_VARIABLE)
    return asked or (Path(named) if named else None)


def client(asked: Path | None, address: str, *, insecure: bool) -> ClientKeys | None:
    """Return the keys to connect to ``address`` with, None if it needs none.

    Raises EndpointError if an address that others can reach has no keys, or the keys can't be read.
    """
    path = _needed(asked, address, insecure=insecure)
    if path is None:
        return None
    public, secret = _pair(path / f"{CLIENT}{SECRET}")
    return ClientKeys(public, secret, _public(path / f"{SERVER}{PUBLIC}"))


def server(asked: Path | None, addresses: list[str], *, insecure: bool) -> ServerKeys | None:
    """Return the keys to listen at ``addresses``, None if they need none; raises EndpointError too."""
    paths = [_needed(asked, address, insecure=insecure) for address in addresses]
    path = next((path for path in paths if path is not None), None)
    if path is None:
        return None
    clients = path / LISTED
    if not clients.is_dir():
        raise EndpointError(
            f"{clients} is not there: it holds the public keys of those who may connect"
        )
    return ServerKeys(*_pair(path / f"{SERVER}{SECRET}"), clients)


def refuse_open(asked: Path | None, address: str, *, insecure: bool) -> None:
    """Raise EndpointError if ``address`` can be reached by others, and there are no keys for it."""
    _needed(asked, address, insecure=insecure)


def make(path: Path) -> None:
    """Make keys for a combiner and for one client in ``path``; raises EndpointError if there are some."""
    from zmq import auth

    endpoints.make_run_dir(path, "directory of keys")
    if any(path.iterdir()):
        raise EndpointError(
            f"{path} is not empty: keys are never overwritten, name another directory"
        )
    former = os.umask(0o077)
    try:
        for name in (SERVER, CLIENT):
            auth.create_certificates(path, name)
        (path / LISTED).mkdir()
        (path / LISTED / f"{CLIENT}{PUBLIC}").write_bytes((path / f"{CLIENT}{PUBLIC}").read_bytes())
    finally:
        os.umask(former)


def _needed(asked: Path | None, address: str, *, insecure: bool) -> Path | None:
    """Return the directory of keys for ``address``; raises EndpointError if it needs some and has none."""
    if not address.startswith("tcp://"):
        return None
    path = directory(asked)
    insecure = insecure or os.environ.get(INSECURE_VARIABLE) == "1"
    if path is None and not insecure and not endpoints.is_on_this_machine(address):
        raise EndpointError(
            f"{address} is open to the network: {HOW}, or say --insecure if you trust everybody there"
        )
    return path


def _pair(path: Path) -> tuple[bytes, bytes]:
    public, secret = _load(path)
    if secret is None:
        raise EndpointError(f"{path} holds no secret key: {HOW}")
    status = path.stat()
    # An engine that mounts a secret lets us read it by our group only, and owns it.
    ours = status.st_uid == os.getuid()
    if stat.S_IMODE(status.st_mode) & (0o077 if ours else 0o007):
        raise EndpointError(f"{path} can be read by other users: chmod 600 it")
    return public, secret


def _public(path: Path) -> bytes:
    return _load(path)[0]


def _load(path: Path) -> tuple[bytes, bytes | None]:
    from zmq import auth

    try:
        return auth.load_certificate(path)
    except (OSError, ValueError) as error:
        # The text of the error could hold what is in the file.
        raise EndpointError(
            f"cannot read a key from {path}: {type(error).__name__}: {HOW}"
        ) from None
