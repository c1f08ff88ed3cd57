"""A switch between tap devices that passes frames on late, and loses some: for kernels without netem."""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time

TUN = "/dev/net/tun"
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
MAX_FRAME = 65536
TICK_S = 0.05
MAC = 6


class Switch(threading.Thread):
    """Passes each frame on after ``delay_s``, except a share ``loss`` of them."""

    def __init__(self, delay_s: float, loss: float = 0.0) -> None:
        super().__init__(daemon=True)
        self._delay_s = delay_s
        self._loss = loss
        self._ports: list[int] = []
        self._where: dict[bytes, int] = {}
        self._late: list[tuple[float, int, int, bytes]] = []
        self._count = itertools.count()
        self._chance = random.Random(1)
        self._over = False

    def plug(self, name: str) -> None:
        """Make the device ``name``, whose frames come to this switch; raises OSError if that can't be done."""
        port = os.open(TUN, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        self._ports.append(port)
        fcntl.ioctl(port, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))

    def stop(self) -> None:
        """Unplug everything."""
        self._over = True
        if self.is_alive():
            self.join()
        for port in self._ports:
            os.close(port)
        self._ports.clear()

    def run(self) -> None:
        """Pass on whatever comes."""
        while not self._over:
            wait_s = self._late[0][0] - time.monotonic() if self._late else TICK_S
            ready, _, _ = select.select(self._ports, [], [], max(0.0, min(wait_s, TICK_S)))
            for port in ready:
                self._take(port)
            while self._late and self._late[0][0] <= time.monotonic():
                _, _, port, frame = heapq.heappop(self._late)
                self._pass_on(port, frame)

    def _take(self, port: int) -> None:
        frame = os.read(port, MAX_FRAME)
        self._where[frame[MAC : 2 * MAC]] = port
        if self._chance.random() >= self._loss:
            due_s = time.monotonic() + self._delay_s
            heapq.heappush(self._late, (due_s, next(self._count), port, frame))

    def _pass_on(self, source: int, frame: bytes) -> None:
        known = self._where.get(frame[:MAC])
        for port in self._ports if known is None else [known]:
            if port != source:
                try:
                    os.write(port, frame)
                except OSError:
                    # Its queue is full, or it is down: a frame more that is lost.
                    continue
