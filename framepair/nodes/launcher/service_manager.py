"""What a service manager such as systemd is told: that all sources flow, and that the launcher works.

The protocol is sd_notify(3): lines NAME=VALUE in a datagram to the socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import contextlib
import os
import socket

from framepair.nodes.launcher.condition import Condition

SOCKET_VARIABLE, WATCHDOG_VARIABLE = "NOTIFY_SOCKET", "WATCHDOG_USEC"
# Of the launcher alone: a node must not speak for it.
VARIABLES = (SOCKET_VARIABLE, WATCHDOG_VARIABLE, "WATCHDOG_PID")
# Half of the time that the manager waits, as sd_watchdog_enabled(3) advises.
WATCHDOG_SHARE = 0.5


class ServiceManager:
    """Tells the manager at ``address`` what has changed, and each ``watchdog_s`` that the loop turns.

    Without an address it does nothing.
    """

    def __init__(self, address: str | None, watchdog_s: float | None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._alive_s = 0.0
        self._told: list[str] = []

    @classmethod
    def from_environment(cls) -> ServiceManager:
        """Return what tells the manager that the environment names, and take it out of the environment."""
        address, watchdog, pid = (os.environ.pop(name, "") for name in VARIABLES)
        ours = not pid or pid == str(os.getpid())
        usec = int(watchdog) if watchdog.isdecimal() and ours else 0
        return cls(address or None, usec / 1e6 * WATCHDOG_SHARE if usec else None)

    def tell(self, condition: Condition, now_s: float) -> None:
        """Tell how the pipeline is at ``now_s``, as far as that is news."""
        if self._address is None:
            return
        lines = [f"STATUS={condition.sentence}"]
        if condition.is_ready:
            lines.append("READY=1")
        if condition.is_stopping:
            lines.append("STOPPING=1")
        news = [line for line in lines if line not in self._told]
        self._told = lines
        if self._watchdog_s is not None and now_s >= self._alive_s:
            self._alive_s = now_s + self._watchdog_s
            news.append("WATCHDOG=1")
        if news:
            self._send(self._address, "\n".join(news))

    def _send(self, address: str, text: str) -> None:
        # An @ stands for the zero byte that names of the abstract namespace begin with.
        name = f"\0{address[1:]}" if address.startswith("@") else address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notify,
        ):
            notify.sendto(text.encode(), name)
