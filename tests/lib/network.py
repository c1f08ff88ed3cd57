"""Hosts of one network, each in a network namespace of its own; needs root, and makes nothing outside them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lib.processes import Running
from tests.lib.switch import Switch

HOSTS = ("cam-pi", "nuc", "desk")
ADDRESS = "10.77.0.{}"


class Network:
    """A namespace for each host, all on one switch in a namespace of its own."""

    def __init__(self) -> None:
        self._names = {name: f"fp-{uuid.uuid4().hex[:6]}" for name in ("switch", *HOSTS)}

    def build(self) -> None:
        for name in self._names.values():
            ip("netns", "add", name)
        self("switch", "link", "add", "bridge", "type", "bridge")
        self("switch", "link", "set", "bridge", "up")
        for i, host in enumerate(HOSTS, start=1):
            port = f"port{i}"
            namespaces = self._names["switch"], self._names[host]
            ip("link", "add", port, "netns", namespaces[0], "type", "veth",
               "peer", "name", "eth0", "netns", namespaces[1])  # fmt: skip
            self("switch", "link", "set", port, "master", "bridge", "up")
            self._set_up(host, i)

    def __call__(self, host: str, *words: str) -> None:
        ip("-n", self._names[host], *words)

    def cable(self, host: str, state: str) -> None:
        """Pull out a host's cable (down), or put it in again (up); the host itself doesn't notice."""
        self("switch", "link", "set", f"port{HOSTS.index(host) + 1}", state)

    def discipline(self, host: str, *words: str, device: str = "eth0") -> None:
        """Have what a host sends queue as tc says; raises CalledProcessError if this kernel can't do that."""
        run("tc", "-n", self._names[host], "qdisc", "add", "dev", device, "root", *words)

    def discipline_towards(self, host: str, *words: str) -> None:
        """Have what the switch sends to a host queue likewise, so that the sender doesn't notice."""
        self.discipline("switch", *words, device=f"port{HOSTS.index(host) + 1}")

    def run(self, host: str, *command: str | Path) -> Running:
        """Run a command on a host."""
        return Running(["ip", "netns", "exec", self._names[host], *command])

    def remove(self) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def _set_up(self, host: str, number: int) -> None:
        self(host, "address", "add", f"{ADDRESS.format(number)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            self(host, "link", "set", device, "up")


class SwitchedNetwork(Network):
    """The same with a switch in this process, which passes on frames late, and loses some."""

    def __init__(self, switch: Switch) -> None:
        super().__init__()
        self._switch = switch

    def build(self) -> None:
        for name in self._names.values():
            ip("netns", "add", name)
        for i, host in enumerate(HOSTS, start=1):
            port = f"fp{uuid.uuid4().hex[:8]}"
            self._switch.plug(port)
            ip("link", "set", port, "netns", self._names[host], "name", "eth0")
            self._set_up(host, i)
        self._switch.start()

    def remove(self) -> None:
        self._switch.stop()
        super().remove()


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


def ip(*words: str) -> None:
    run("ip", *words)


@contextlib.contextmanager
def built(network: Network) -> Iterator[Network]:
    """Build a network, or skip the test where that can't be done; remove it afterwards."""
    if os.getuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and the command ip to make network namespaces")
    try:
        try:
            network.build()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces can't be made here: {error.stderr.strip()}")
        except OSError as error:
            pytest.skip(f"no network devices can be made here: {error}")
        yield network
    finally:
        network.remove()
