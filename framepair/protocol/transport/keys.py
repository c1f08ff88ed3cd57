"""CURVE keys: the files that say which machines may take part in a pipeline over tcp.

A directory of keys has the combiner's ``server.key`` and a client's ``client.key``, both with a secret of their
own in ``….key_secret``, and in ``clients/`` the public keys that the combiner accepts. A machine that only
connects needs ``server.key`` and ``client.key_secret``. A key in ``clients/`` with a line
``sources = "left,right"`` under ``metadata`` may send these sources only.
"""

from __future__ import annotations

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

log = logging.getLogger(__name__)


# The public key of each client, and the sources that it may send; None: all of them.
Clients = Mapping[bytes, frozenset[str] | None]


@dataclass(frozen=True, slots=True, repr=False)
class _Certificate:
    """What a file of keys says; ``sources`` are those that its client may send, None: all of them."""

    public: bytes
    secret: bytes | None
    sources: frozenset[str] | None


@dataclass(frozen=True, slots=True, repr=False)
class ClientKeys:
    """What a node that connects needs: its own keys, and the public key that the combiner must have."""

    public: bytes
    secret: bytes
    server: bytes


@dataclass(frozen=True, slots=True, repr=False)
class ServerKeys:
    """What the combiner needs: its own keys, and the public keys that it accepts.

    Each of those comes with the sources that it may send, None if all. ``reread`` returns those of now, None if
    no other are listed; raises EndpointError if other users could have listed some.
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
    return ClientKeys(public, secret, _load(path / f"{SERVER}{PUBLIC}").public)


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
    files.refuse_missing()
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
    certificate = _load(path)
    if certificate.secret is None:
        raise EndpointError(f"{path} holds no secret key: {HOW}")
    status = path.stat()
    # An engine that mounts a secret lets us read it by our group only, and owns it.
    ours = status.st_uid == os.getuid()
    if stat.S_IMODE(status.st_mode) & (0o077 if ours else 0o007):
        raise EndpointError(f"{path} can be read by other users: chmod 600 it")
    return certificate.public, certificate.secret


class _ClientFiles:
    """The files of the clients' public keys in a directory of keys, which may come and go."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._clients: Clients | None = None
        self._failures: set[str] = set()

    def refuse_missing(self) -> None:
        """Raise EndpointError if there is no place for them."""
        clients = self._directory / LISTED
        if not clients.is_dir() and not _client_files(self._directory):
            raise EndpointError(
                f"{clients} is not there: put the public key of each client into it"
            )

    def reread(self) -> Clients | None:
        """Return the listed clients, None if they are those of the last call; raises EndpointError.

        A file that cannot be read keeps out its own client only. Without any file no client is listed.
        """
        clients: dict[bytes, frozenset[str] | None] = {}
        failures: set[str] = set()
        for path in _client_files(self._directory):
            try:
                certificate = _load(path)
                clients[certificate.public] = certificate.sources
            except EndpointError as error:
                failures.add(str(error))
        for failure in sorted(failures - self._failures):
            log.warning("a client cannot connect: %s", failure)
        self._failures = failures
        if clients == self._clients:
            return None
        self._clients = clients
        return clients


def _client_files(directory: Path) -> list[Path]:
    """Return the files of the clients' public keys; raises EndpointError if others could add some."""
    clients = directory / LISTED
    try:
        if clients.is_dir():
            _refuse_writable(clients)
            return sorted(clients.glob(f"*{PUBLIC}"))
        # systemd's credentials have no folders: LoadCredential=clients:DIR makes a file clients_NAME of each.
        return sorted(directory.glob(f"{LISTED}_*{PUBLIC}"))
    except OSError as error:
        raise _unreadable(directory, error) from None


def _refuse_writable(directory: Path) -> None:
    """Raise EndpointError if another user could add keys to ``directory``, or replace some."""
    try:
        status = directory.stat()
        # Engines mount secrets with mode 1777, but read-only.
        read_only = os.statvfs(directory).f_flag & os.ST_RDONLY
    except OSError as error:
        raise _unreadable(directory, error) from None
    if not read_only and stat.S_IMODE(status.st_mode) & 0o022:
        raise EndpointError(
            f"{directory} can be changed by other users: chmod go-w it, and look at what it holds"
        )
    if not read_only and status.st_uid not in (0, os.getuid()):
        raise EndpointError(
            f"{directory} belongs to another user: make keys of your own with framepair keygen DIR"
        )


def _unreadable(directory: Path, error: OSError) -> EndpointError:
    return EndpointError(f"cannot read keys from {directory}: {error.strerror}: {HOW}")


def _warn_of_local(addresses: list[str]) -> None:
    local = [at for at in addresses if at.startswith("tcp://") and endpoints.is_on_this_machine(at)]
    if local:
        log.warning(
            "%s without keys: every user of this machine can read the pairs, and send frames; %s",
            ", ".join(local),
            HOW,
        )


def _load(path: Path) -> _Certificate:
    """Return what a certificate's file says; raises EndpointError if that can't be read, or is none."""
    try:
        # Once: another file may have its name by the next time.
        content = path.read_bytes()
        public, secret = _key("public", content), _key("secret", content)
        if public is None:
            raise ValueError("no public key")
        return _Certificate(public, secret, _sources(content))
    except (OSError, ValueError, KeyError, struct.error) as error:
        # The text of the error could hold what is in the file.
        raise EndpointError(
            f"cannot read a key from {path}: {type(error).__name__}: {HOW}"
        ) from None


def _key(which: str, content: bytes) -> bytes | None:
    """Return the public or the secret key, None if there is none; raises an error if it can't be one."""
    from zmq.utils import z85

    value = _value(f"{which}-key", content)
    if value is not None and len(z85.decode(value)) != KEY_BYTES:
        raise ValueError("a key of another length")
    return value


def _sources(content: bytes) -> frozenset[str] | None:
    """Return the sources that a certificate's metadata name, None if they name none."""
    value = _value("sources", content)
    if value is None:
        return None
    return frozenset(re.split(r"[,\s]+", value.decode(errors="replace"))) - {""}


def _value(name: str, content: bytes) -> bytes | None:
    """Return what follows ``name`` and = in a certificate (ZPL, rfc.zeromq.org/spec/4), without its quotes."""
    found = re.search(rb"^\s*%b\s*=[ \t]*(.*?)\s*$" % name.encode(), content, re.MULTILINE)
    return found[1].strip(b"\"'") if found else None
