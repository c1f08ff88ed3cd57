"""CURVE keys: the files that say which machines may take part in a pipeline over tcp.

A directory of keys has the combiner's ``server.key`` and a client's ``client.key``, both with a secret of their
own in ``….key_secret``, and in ``clients/`` the public keys that the combiner accepts. A machine that only
connects needs ``server.key`` and ``client.key_secret``. A key in ``clients/`` with a line
``sources = "left,right"`` under ``metadata`` may send these sources only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from framepair.protocol.transport import endpoints
from framepair.protocol.transport.endpoints import EndpointError

KEYS_VARIABLE = "FRAMEPAIR_KEYS"
INSECURE_VARIABLE = "FRAMEPAIR_INSECURE"
SERVER, CLIENT, LISTED = "server", "client", "clients"
PUBLIC, SECRET = ".key", ".key_secret"
KEY_BYTES = 32
HOW = "framepair keygen DIR makes keys for --keys DIR"
SOURCES = re.compile(r"^\s*sources\s*=\s*(.*?)\s*$", re.MULTILINE)

log = logging.getLogger(__name__)


# The public key of each client, and the sources that it may send; None: all of them.
Clients = Mapping[bytes, frozenset[str] | None]


@dataclass(frozen=True, slots=True, repr=False)
class ClientKeys:
    """What a node that connects needs: its own keys, and the public key that the combiner must have."""

    public: bytes
    secret: bytes
    server: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ServerKeys:
    """What the combiner needs: its own keys, and the public keys that it accepts.

    Each of those comes with the sources that it may send, None if all. ``reread`` returns those of now, if
    their files have changed; raises EndpointError if they can't be read.
    """

    public: bytes
    secret: bytes
    clients: Clients
    reread: Callable[[], Clients | None] = field(default=lambda: None, compare=False)


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
    _refuse_writable(path)
    public, secret = _pair(path / f"{CLIENT}{SECRET}")
    return ClientKeys(public, secret, _load(path / f"{SERVER}{PUBLIC}")[0])


def server(asked: Path | None, addresses: list[str], *, insecure: bool) -> ServerKeys | None:
    """Return the keys to listen at ``addresses``, None if they need none; raises EndpointError as ``client``.

    Warns of addresses that every user of this machine can use, and of files in ``clients/`` that are no keys.
    """
    paths = [_needed(asked, address, insecure=insecure) for address in addresses]
    path = next((path for path in paths if path is not None), None)
    if path is None:
        _warn_of_local(addresses)
        return None
    _refuse_writable(path)
    files = _ClientFiles(path)
    return ServerKeys(*_pair(path / f"{SERVER}{SECRET}"), files.reread() or {}, files.reread)


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
            f"{address} is open to the network: {HOW}, or say --insecure if every machine there is trusted"
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


class _ClientFiles:
    """The files of the clients' public keys in a directory of keys, which may come and go."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: list[tuple[str, int, int]] | None = None

    def reread(self) -> Clients | None:
        """Return the listed clients, None if no file has changed since the last call; raises EndpointError."""
        paths = _client_files(self._directory)
        with contextlib.suppress(OSError):
            stats = [(path.name, path.stat()) for path in paths]
            now = [(name, status.st_ino, status.st_mtime_ns) for name, status in stats]
            if now == self._seen:
                return None
            self._seen = now
        return _listed(paths)


def _client_files(directory: Path) -> list[Path]:
    """Return the files of the clients' public keys; raises EndpointError if there is no place for them."""
    clients = directory / LISTED
    # systemd's credentials have no folders: LoadCredential=clients:DIR makes a file clients_NAME of each.
    flat = sorted(directory.glob(f"{LISTED}_*{PUBLIC}"))
    if not clients.is_dir():
        if flat:
            return flat
        raise EndpointError(f"{clients} is not there: put the public key of each client into it")
    _refuse_writable(clients)
    return sorted(clients.glob(f"*{PUBLIC}"))


def _listed(paths: list[Path]) -> Clients:
    """Return the public keys in ``paths``, and the sources that each may send; None: all of them.

    A file that is damaged keeps out its own client only.
    """
    listed: dict[bytes, frozenset[str] | None] = {}
    for path in paths:
        try:
            listed[_load(path)[0]] = _sources(path)
        except EndpointError as error:
            log.warning("a client cannot connect: %s", error)
    return listed


def _sources(path: Path) -> frozenset[str] | None:
    """Return the sources that a certificate's metadata name, None if they name none."""
    found = SOURCES.search(path.read_text(errors="replace"))
    if found is None:
        return None
    return frozenset(name for name in re.split(r"[,\s]+", found[1].strip("\"'")) if name)


def _refuse_writable(directory: Path) -> None:
    """Raise EndpointError if another user could add keys to ``directory``, or replace some."""
    try:
        status = directory.stat()
    except OSError as error:
        raise EndpointError(f"cannot read keys from {directory}: {error.strerror}: {HOW}") from None
    # Engines mount secrets with mode 1777, but read-only.
    read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
    if not read_only and stat.S_IMODE(status.st_mode) & 0o022:
        raise EndpointError(
            f"{directory} can be changed by other users: chmod go-w it, and look at what it holds"
        )
    if not read_only and status.st_uid not in (0, os.getuid()):
        raise EndpointError(
            f"{directory} belongs to another user: make keys of your own with framepair keygen DIR"
        )


def _warn_of_local(addresses: list[str]) -> None:
    local = [at for at in addresses if at.startswith("tcp://") and endpoints.is_on_this_machine(at)]
    if local:
        log.warning(
            "%s without keys: every user of this machine can read the pairs, and send frames; %s",
            ", ".join(local),
            HOW,
        )


def _load(path: Path) -> tuple[bytes, bytes | None]:
    from zmq import auth
    from zmq.utils import z85

    try:
        public, secret = auth.load_certificate(path)
        for key in (public, secret or public):
            if len(z85.decode(key)) != KEY_BYTES:
                raise ValueError("a key of another length")
        return public, secret
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        # The text of the error could hold what is in the file.
        raise EndpointError(
            f"cannot read a key from {path}: {type(error).__name__}: {HOW}"
        ) from None
