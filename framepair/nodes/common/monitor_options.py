"""What the monitor and the launcher know of the page and the metrics."""

# Not "from __future__ import annotations": cyclopts looks names up in the module of the class that inherits.
import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from framepair.nodes.common import durations
from framepair.nodes.common.options import OUTPUT, Network, SharedMemory
from framepair.nodes.common.plain_words import Detail
from framepair.nodes.common.runtime import Refused

DEFAULT_ADDRESS: Final = "127.0.0.1:7480"
# HOST:PORT, [IPv6]:PORT, or :PORT, which is on this machine only.
ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]*):(\d{1,5})", re.ASCII)
MAX_PORT: Final = 65535
# As many characters cannot be guessed by asking.
MIN_TOKEN: Final = 16


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the monitor listens."""

    host: str
    port: int

    @property
    def is_local(self) -> bool:
        """Whether programs on this machine alone can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def tcp(self) -> str:
        """The same as an address of ZeroMQ is written."""
        return f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The page's address for a browser on this machine, or on one that reaches ``host``."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"


def parse_address(text: str) -> Listening:
    """Return what HOST:PORT or :PORT means; raises ValueError for anything else."""
    matched = ADDRESS.fullmatch(text)
    if not matched or int(matched[2]) > MAX_PORT:
        raise ValueError(f"It is HOST:PORT or :PORT, such as {DEFAULT_ADDRESS}.")
    return Listening(matched[1].strip("[]") or "127.0.0.1", int(matched[2]))


def address(_type: object, value: str | None) -> None:
    """Raise ValueError unless ``value`` is an address, or none is given."""
    if value is not None:
        parse_address(value)


def refuse_open(listening: Listening, token: Path | None) -> None:
    """Raise Refused for an address that others reach, without a token that keeps them out."""
    if not listening.is_local and token is None:
        raise Refused(
            f"the monitor at {listening.host} shows every picture to all that can reach it: give"
            " --monitor-token FILE, or an address on this machine such as 127.0.0.1"
        )


def read_token(path: Path | None) -> str | None:
    """Return the token in a file, None without one; raises Refused if it can't be used."""
    if path is None:
        return None
    try:
        token = path.read_text().strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Refused(f"cannot read --monitor-token {path}: {why}") from None
    if not (len(token) >= MIN_TOKEN and token.isascii() and token.isprintable()):
        raise Refused(
            f"--monitor-token {path} holds no line of {MIN_TOKEN} characters or more: make one, as with"
            " openssl rand -hex 32"
        )
    return token


def _time(_type: object, value: str) -> None:
    durations.parse_s(value)


@dataclass(frozen=True, kw_only=True)
class Monitoring(SharedMemory, Network):
    """Who may look, and what is healthy."""

    monitor_token: Annotated[Path | None, OUTPUT] = None
    """File with the token that the monitor asks for, 16 characters at the least. An address that is not on
    this machine needs one."""

    unhealthy_after: Annotated[str, OUTPUT, Detail(validator=_time)] = "10s"
    """Time without a pair, such as 10s or 1min, after which the monitor's /healthz answers 503."""
