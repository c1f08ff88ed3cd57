"""When the launcher starts a relay, which consumers it tells of it, and what it refuses."""

from __future__ import annotations

import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import commands, options, topology
from framepair.protocol.transport import relays

PAIRS = "ipc:///run/x/pairs"


@pytest.mark.parametrize(
    ("asked", "relayed"),
    [
        ("", ""),
        ("--record r", "sink recorder"),
        ("--record r --no-sink", ""),
        # The monitor takes frames only while a browser looks.
        ("--monitor 127.0.0.1:8000", ""),
        ("--record r --monitor 127.0.0.1:8000 --no-sink", ""),
        ("--record r --monitor 127.0.0.1:8000", "sink recorder monitor"),
        ("--monitor 127.0.0.1:8000 --relay always", "sink monitor"),
        ("--record r --payload shm", ""),
        ("--record r --payload left=shm", "sink recorder"),
        ("--record r --payload auto", ""),
        # A recorder takes JPEGs as they travel, and one consumer needs no relay.
        ("--record r --payload left=jpeg", ""),
        ("--record r --monitor 127.0.0.1:8000 --payload jpeg", ""),
        ("--record r --relay never", ""),
        ("--record r --pace max", ""),
        ("--relay always", "sink"),
        ("--relay always --no-sink", "nobody"),
    ],
)
def test_two_consumers_of_frames_in_messages_have_a_relay(asked: str, relayed: str) -> None:
    parsed = options.parse(["--run-dir", "/run/x", *asked.split()])
    nodes = commands.table(parsed, topology.plan(parsed))
    told = {node.key for node in nodes if (relays.RELAYED_VARIABLE, PAIRS) in node.environment}
    assert told == set(relayed.split()) - {"nobody"}
    started = [node for node in nodes if node.kind == "relay"]
    assert len(started) == bool(relayed)
    for node in started:
        assert node.command[3:5] == ("--sub", PAIRS)
        assert node.is_kept


def test_a_relay_keeps_frames_as_long_as_a_producer_does() -> None:
    parsed = options.parse(["--relay", "always", "--window", "10", "--max-wait", "3"])
    (relay,) = [
        node for node in commands.table(parsed, topology.plan(parsed)) if node.kind == "relay"
    ]
    assert relay.command[relay.command.index("--history") + 1] == "20"


def test_a_relay_for_an_offline_run_is_refused() -> None:
    with pytest.raises(Refused, match="--relay always: shared memory does not wait for consumers"):
        topology.plan(options.parse(["--relay", "always", "--pace", "max"]))
