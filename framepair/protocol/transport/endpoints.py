"""Where nodes meet: names to ipc and tcp addresses, the run directory, and locks on bound addresses."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import ipaddress
import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

# Linux's sockaddr_un holds 107 bytes and a NUL; libzmq refuses what is longer, macOS has room for 103.
MAX_IPC_PATH_BYTES = 103
MAX_PORT = 65535
# The socket that pairs are published at, in a run directory.
PAIRS = "pairs"
# What follows a source's name in that of its socket.
FRAMES = ".frames"
# That of the launcher.
CONTROL = "control"
# Where consumers that were told nothing find the pairs; the launcher tells those that it starts.
SUB_VARIABLE = "FRAMEPAIR_SUB"
# Where they find the combiner's clock, if it isn't their own.
SYNC_VARIABLE = "FRAMEPAIR_SYNC"


class EndpointError(RuntimeError):
    """An address that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses of one pipeline: one for each source's frames, one for pairs, over tcp one for the time."""

    pull: dict[str, str]
    pub: str
    sync: str | None = None

    def listening(self) -> list[str]:
        """Return all addresses, each of which the combiner listens at."""
        return [*self.pull.values(), self.pub, *([self.sync] if self.sync else [])]


def default_run_dir() -> Path:
    """Return the directory for this user's sockets: below XDG_RUNTIME_DIR, else below /tmp."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "framepair"
    return Path(tempfile.gettempdir()) / f"framepair-{os.getuid()}"


def claim_default_sub() -> str:
    """Return where to find pairs: what FRAMEPAIR_SUB says, else in the default run directory.

    That directory is made if need be, and stays: below /tmp another user could make one of that name and
    publish there. Raises EndpointError if it, or the socket in it, is not this user's alone.
    """
    named = os.environ.get(SUB_VARIABLE)
    if named:
        return named
    path = default_run_dir()
    try:
        make_run_dir(path, "default run directory")
        refuse_planted(path / PAIRS)
    except EndpointError as error:
        raise EndpointError(
            f"{error}; a pipeline elsewhere needs its address, as an argument or in {SUB_VARIABLE}"
        ) from None
    return ipc_endpoints(path, []).pub


def default_sync(address: str) -> str | None:
    """Return where a combiner that publishes at ``address`` tells the time: FRAMEPAIR_SYNC, or nowhere."""
    named = os.environ.get(SYNC_VARIABLE)
    return named if named and not is_on_this_machine(address) else None


def make_run_dir(path: Path, what: str = "run directory") -> Path:
    """Make ``path`` (mode 0700) if need be and return it; raises EndpointError if it isn't ours alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_shared(path, what)
    except OSError as error:
        raise EndpointError(f"cannot make the {what} {path}: {error.strerror}") from None
    if not os.access(path, os.W_OK):
        raise EndpointError(f"cannot write to the {what} {path}: name another one")
    return path


def refuse_shared(path: Path, what: str) -> None:
    """Raise EndpointError if other users could put something into ``path``; OSError if it is missing."""
    status, owners = path.stat(), {path.stat().st_uid, path.lstat().st_uid}
    # Also a link to a directory of ours: its owner can change what it leads to.
    if owners != {os.getuid()}:
        raise EndpointError(f"the {what} {path} belongs to another user: name another one")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise EndpointError(
            f"the {what} {path} is open to other users: chmod 700 it, or name another one"
        )


def refuse_planted(path: Path) -> None:
    """Raise EndpointError if ``path`` is there and is not a socket of this user."""
    # Its directory may have been open to other users before.
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        if status.st_uid != os.getuid() or not stat.S_ISSOCK(status.st_mode):
            raise EndpointError(f"{path} is not a socket of this user: remove it")


def ipc_endpoints(run_dir: Path, sources: list[str]) -> Endpoints:
    """Return ipc addresses for ``sources`` below ``run_dir``."""
    pull = {name: f"ipc://{run_dir}/{name}{FRAMES}" for name in sources}
    return Endpoints(pull=pull, pub=f"ipc://{run_dir}/{PAIRS}")


def frames_in(run_dir: Path) -> list[str]:
    """Return the addresses of sources whose socket, or its lock, is in ``run_dir``."""
    names = {path.name.removesuffix(".lock") for path in run_dir.glob(f"*{FRAMES}*")}
    return [f"ipc://{run_dir}/{name}" for name in sorted(names) if name.endswith(FRAMES)]


def tcp_endpoints(
    base: str, sources: list[str], ports: Mapping[str, int] = MappingProxyType({})
) -> Endpoints:
    """Return tcp addresses from ``tcp://HOST:PORT`` on: pairs at PORT, the time after it, then the sources.

    So a source that is added at the end, or removed there, moves no other one, and not the time. Sources in
    ``ports`` have those; the others have the next ones that are free. Raises EndpointError if there are not as
    many, or if two nodes would have the same.
    """
    host, _, text = base.removeprefix("tcp://").rpartition(":")
    if not base.startswith("tcp://") or not host or not text.isdecimal():
        raise EndpointError(f"{base!r} is not tcp://HOST:PORT")
    port = int(text)
    free = (number for number in range(port + 2, MAX_PORT + 1) if number not in ports.values())
    numbers = {name: ports.get(name) or next(free, 0) for name in sources}
    if not 1 <= port < MAX_PORT or 0 in numbers.values():
        raise EndpointError(
            f"{base!r} leaves no room for {len(sources) + 1} more ports up to {MAX_PORT}"
        )
    _refuse_same(numbers, {"pairs": port, "the clock": port + 1})
    pull = {name: f"tcp://{host}:{number}" for name, number in numbers.items()}
    return Endpoints(pull=pull, pub=base, sync=f"tcp://{host}:{port + 1}")


def _refuse_same(of_sources: Mapping[str, int], of_combiner: Mapping[str, int]) -> None:
    """Raise EndpointError if a source has the port of another one, or of the combiner."""
    owners = {port: what for what, port in of_combiner.items()}
    for name, port in of_sources.items():
        if port in owners:
            raise EndpointError(
                f"port {port} is that of {owners[port]} and of {name}: choose another"
            )
        owners[port] = name


def control_path(run_dir: Path, host: str | None = None) -> Path:
    """Return the socket at which a launcher hears what is to change, that of ``host`` if others are there."""
    return run_dir / (f"{CONTROL}-{host}" if host else CONTROL)


def changed(former: Endpoints, fresh: Endpoints) -> Endpoints:
    """Return ``fresh`` with the addresses that are in use already: the others would have to listen elsewhere.

    A source that is new gets its own port, or the first one after that of the pairs if another node has that.
    """
    pull: dict[str, str] = {}
    for name, address in fresh.pull.items():
        if name in former.pull:
            pull[name] = former.pull[name]
        else:
            pull[name] = _free(address, former.pub, {*former.listening(), *pull.values()})
    return Endpoints(pull, former.pub, former.sync)


def _free(address: str, pub: str, taken: Collection[str]) -> str:
    """Return ``address``, or the first one after ``pub`` that is not ``taken`` if it is taken and no file's."""
    if address not in taken or not address.startswith("tcp://"):
        return address
    host, _, port = pub.rpartition(":")
    for number in range(int(port) + 1, MAX_PORT + 1):
        if f"{host}:{number}" not in taken:
            return f"{host}:{number}"
    raise EndpointError(f"{pub!r} leaves no room for one more port up to {MAX_PORT}")


def is_on_this_machine(address: str) -> bool:
    """Return whether what connects to ``address`` is sure to be on this machine."""
    if address.startswith("ipc://"):
        return True
    host, _, _ = address.removeprefix("tcp://").rpartition(":")
    if host == "localhost":
        return True
    # Parsed, since 127.example.org is the name of a host anywhere.
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    return False


def check(*addresses: str) -> None:
    """Raise EndpointError if one of ``addresses`` can't be one."""
    for address in addresses:
        ipc_path(address)


def ipc_path(address: str) -> Path | None:
    """Return the file of an ipc address, None for tcp; raises EndpointError if it can't be one."""
    if address.startswith("tcp://"):
        _refuse_bad_port(address)
        return None
    path = Path(address.removeprefix("ipc://"))
    if not address.startswith("ipc://") or not path.is_absolute():
        raise EndpointError(f"{address!r} is neither ipc:///ABSOLUTE/PATH nor tcp://HOST:PORT")
    length = len(os.fsencode(path))
    if length > MAX_IPC_PATH_BYTES:
        raise EndpointError(
            f"{path} has {length} bytes, more than the {MAX_IPC_PATH_BYTES} that a socket's path may have:"
            " choose a shorter run directory"
        )
    return path


def as_address(given: str | Path) -> str:
    """Return an address as text; a Path is that of an ipc socket, or an address that was taken for a path."""
    if isinstance(given, str):
        return given
    scheme, slash, rest = str(given).partition(":/")
    if slash and scheme == "tcp":
        return f"tcp://{rest}"
    return f"ipc://{Path('/', rest) if slash and scheme == 'ipc' else given.absolute()}"


def _refuse_bad_port(address: str) -> None:
    # libzmq takes the lower 16 bits of a larger number, and connects to another port.
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    # * is for who listens: any port that is free.
    if not host or (port != "*" and not (port.isdecimal() and 1 <= int(port) <= MAX_PORT)):
        raise EndpointError(f"{address!r} is not tcp://HOST:PORT with a port from 1 to {MAX_PORT}")


def make_directories(addresses: Sequence[str]) -> Sequence[str]:
    """Make the missing directories of ipc ``addresses`` for this user alone, and return ``addresses``."""
    for path in filter(None, map(ipc_path, addresses)):
        if not path.parent.exists():
            make_run_dir(path.parent)
    return addresses


def reason(number: int | None, text: str | None) -> str:
    """Return ``text`` of an error, and what to do about it if it is that too many files are open."""
    if number in (errno.EMFILE, errno.ENFILE):
        return f"{text}: allow more open files (ulimit -n), or use fewer sources"
    return text or f"error {number}"


@contextlib.contextmanager
def reserved(address: str) -> Iterator[None]:
    """Hold the lock on ``address`` while it is bound, and remove its files afterwards; its directory stays.

    libzmq unlinks whatever stands at an ipc path before it binds, a video as well as a live socket
    (ipc_listener.cpp; libzmq #2059), so this looks first. Raises EndpointError naming the holder's pid if
    another process has the address, or if the path is something other than a socket.
    """
    path = ipc_path(address)
    if path is None:
        yield
        return
    make_directories([address])
    lock_path = path.with_name(path.name + ".lock")
    lock = _lock(lock_path, address)
    try:
        if path.exists() and not path.is_socket():
            raise EndpointError(
                f"{path} is there and is not a socket: it stays, name another address"
            )
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        lock_path.unlink(missing_ok=True)
        os.close(lock)


def _lock(path: Path, address: str) -> int:
    """Return a descriptor that holds ``path`` locked, with our pid in it."""
    while True:
        lock = _try_lock(path, address)
        # The former holder may have removed the file between our open and our lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), path.stat()):
                _write_pid(lock, path)
                return lock
        os.close(lock)


def _write_pid(lock: int, path: Path) -> None:
    try:
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    except OSError as error:
        os.close(lock)
        path.unlink(missing_ok=True)
        raise EndpointError(f"cannot write to {path}: {error.strerror}") from None


def _try_lock(path: Path, address: str) -> int:
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        why = reason(error.errno, error.strerror)
        raise EndpointError(f"cannot make {path}: {why}") from None
    said = os.pread(lock, 32, 0).decode(errors="replace").strip()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise EndpointError(f"{address} is in use by process {said or '?'}") from None
    if said and not said.isdecimal():
        os.close(lock)
        raise EndpointError(f"{path} is there and is not a lock: it stays, name another address")
    return lock
