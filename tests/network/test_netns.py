"""Launchers of several hosts, each in a network namespace of its own: cables that are cut, delay and loss."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from framepair.protocol.transport import keys
from tests.lib.launcher import launcher
from tests.lib.network import ADDRESS, HOSTS, Network, SwitchedNetwork, built
from tests.lib.processes import Running, python
from tests.lib.switch import Switch

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


@pytest.fixture
def network() -> Iterator[Network]:
    with built(Network()) as network:
        yield network


@contextlib.contextmanager
def pipeline(network: Network) -> Iterator[dict[str, Running]]:
    """Start the share of each host, with keys; stop them in the order in which frames flow."""
    directory = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    file, made = directory / "pipeline.toml", directory / "keys"
    file.write_text(FILE)
    keys.make(made)
    command = launcher("--config", file, "--keys", made, "--verbose")
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        running: dict[str, Running] = {}
        for host in HOSTS:
            own = ("--host", host, "--run-dir", directory / host)
            running[host] = stack.enter_context(network.run(host, *command, *own))
        sink = (
            "-m",
            "framepair.nodes.sink",
            "--sub",
            f"tcp://{ADDRESS.format(2)}:7400",
            "--keys",
            made,
        )
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


def test_a_cable_of_a_camera_and_of_a_consumer_is_cut_and_mended(network: Network) -> None:
    with pipeline(network) as running:
        network.cable("cam-pi", "down")
        running["desk"].wait_for("right 5/5 .*left offline", count=3)
        network.cable("cam-pi", "up")
        more(running["desk"])
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


@pytest.mark.parametrize(
    ("delay_s", "loss"), [(0.005, 0.01), pytest.param(0.04, 0.0, marks=pytest.mark.slow)]
)
def test_delay_and_loss(delay_s: float, loss: float) -> None:
    with built(SwitchedNetwork(Switch(delay_s, loss))) as network, pipeline(network) as running:
        more(running["desk"], pairs=10)


@pytest.mark.parametrize("weather", [("delay", "40ms"), ("delay", "5ms", "loss", "1%")])
def test_delay_and_loss_by_the_kernel(network: Network, weather: tuple[str, ...]) -> None:
    for host in HOSTS:
        try:
            network.discipline(host, "netem", *weather)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this kernel has no netem: {error.stderr.strip()}")
    with pipeline(network) as running:
        more(running["desk"], pairs=10)
