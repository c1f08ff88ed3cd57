"""Launchers of several hosts, each in a network namespace of its own: cables that are cut, delay and loss."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol import keys
from tests.processes import ROOT, Running, python

HOSTS = ("cam-pi", "nuc", "desk")
ADDRESS = "10.77.0.{}"
WHOLE = r"left 5/5 +right 5/5"
FILE = f"""
listen = "tcp://{ADDRESS.format(2)}:7400"
window = 0.2
idle_timeout = 0.5

[sources]
left = "synthetic://160x120@25"
right = "synthetic://160x120@25"

[hosts]
left = "cam-pi"
combiner = "nuc"
sink = "desk"
"""


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
            self(host, "address", "add", f"{ADDRESS.format(i)}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                self(host, "link", "set", device, "up")

    def __call__(self, host: str, *words: str) -> None:
        ip("-n", self._names[host], *words)

    def cable(self, host: str, state: str) -> None:
        """Pull out a host's cable (down), or put it in again (up); the host itself doesn't notice."""
        self("switch", "link", "set", f"port{HOSTS.index(host) + 1}", state)

    def run(self, host: str, *command: str | Path) -> Running:
        """Run a command on a host."""
        return Running(["ip", "netns", "exec", self._names[host], *command])

    def remove(self) -> None:
        for name in self._names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def network() -> Iterator[Network]:
    if os.getuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and the command ip to make network namespaces")
    network = Network()
    try:
        try:
            network.build()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces can't be made here: {error.stderr.strip()}")
        yield network
    finally:
        network.remove()


@contextlib.contextmanager
def pipeline(network: Network) -> Iterator[dict[str, Running]]:
    """Start the share of each host, with keys; stop them in the order in which frames flow."""
    directory = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    file, made = directory / "pipeline.toml", directory / "keys"
    file.write_text(FILE)
    keys.make(made)
    command = python(ROOT / "launch.py", "--config", file, "--keys", made, "--verbose")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        running: dict[str, Running] = {}
        for host in HOSTS:
            own = ("--host", host, "--run-dir", directory / host)
            running[host] = stack.enter_context(network.run(host, *command, *own))
        sink = ("-m", "nodes.sink", "--sub", f"tcp://{ADDRESS.format(2)}:7400", "--keys", made)
        running["beside"] = stack.enter_context(network.run("nuc", *python(*sink)))
        for consumer in ("desk", "beside"):
            running[consumer].wait_for(WHOLE, count=3)
        yield running
        for node in running.values():
            assert node.stop() == 0
            assert node.session() == []
        for consumer in ("desk", "beside"):
            assert "The ledger balances" in running[consumer].stdout[-1]


def more(running: Running, pairs: int = 3) -> None:
    """Wait for so many whole pairs that are not there yet."""
    whole = sum("left 5/5  right 5/5" in line for line in running.stdout)
    running.wait_for(WHOLE, count=whole + pairs)


def test_a_cameras_cable_is_cut_and_mended(network: Network) -> None:
    with pipeline(network) as running:
        network.cable("cam-pi", "down")
        running["desk"].wait_for("right 5/5 .*left offline", count=3)
        network.cable("cam-pi", "up")
        more(running["desk"])


def test_a_consumers_cable_is_cut_and_mended(network: Network) -> None:
    with pipeline(network) as running:
        network.cable("desk", "down")
        more(running["beside"], pairs=10)
        network.cable("desk", "up")
        more(running["desk"])


@pytest.mark.slow
def test_a_cable_that_is_cut_for_longer_than_heartbeats_are_waited_for(network: Network) -> None:
    with pipeline(network) as running:
        network.cable("cam-pi", "down")
        running["desk"].wait_for("right 5/5 .*left offline", count=40)
        network.cable("cam-pi", "up")
        more(running["desk"])


@pytest.mark.parametrize("weather", [("delay", "40ms"), ("delay", "5ms", "loss", "1%")])
def test_delay_and_loss(network: Network, weather: tuple[str, ...]) -> None:
    for port in ("port1", "port2", "port3"):
        command = [
            "tc",
            "-n",
            network._names["switch"],
            "qdisc",
            "add",
            "dev",
            port,
            "root",
            "netem",
        ]
        done = subprocess.run([*command, *weather], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this kernel has no netem: {done.stderr.strip()}")
    with pipeline(network) as running:
        more(running["desk"], pairs=10)
