"""The way to a consumer: by a relay that is there, direct without one, and never to and fro."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepair.protocol.client.route import LOOK_S, PATIENCE_S, START_PATIENCE_S, Route
from framepair.protocol.transport import relays
from framepair.protocol.wire.frame import Location

COMBINER = "ipc:///run/x/pairs"
RELAY = "ipc:///run/x/pairs.relay"


class Host:
    """Whether there is a relay, and the time."""

    def __init__(self, *, there: bool = False) -> None:
        self.there = there
        self.now_s = 100.0

    def listens(self, address: str) -> bool:
        assert address == RELAY
        return self.there

    def route(self, shm_dir: Path | None = Path("/nowhere")) -> Route:
        return Route(COMBINER, shm_dir, listens=self.listens)

    def changes(self, route: Route, seconds: float, *, heard_s: float | None) -> bool:
        """Return whether the way changes within ``seconds``, looked at ten times a second."""
        for _ in range(round(10 * seconds)):
            self.now_s += 0.1
            if route.changes(self.now_s, heard_s):
                return True
        return False


def test_a_relay_that_is_there_is_used() -> None:
    assert Host(there=True).route().address == RELAY
    assert Host().route().address == COMBINER


def test_without_a_directory_of_rings_the_way_is_direct() -> None:
    host = Host(there=True)
    route = host.route(shm_dir=None)
    assert route.address == COMBINER
    assert not host.changes(route, 60, heard_s=None)


def test_a_relay_that_the_launcher_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(relays.RELAYED_VARIABLE, COMBINER)
    host = Host()
    route = host.route()
    assert route.address == RELAY
    assert not host.changes(route, START_PATIENCE_S - 1, heard_s=None)
    assert host.changes(route, 2, heard_s=None)
    assert route.address == COMBINER
    monkeypatch.setenv(relays.RELAYED_VARIABLE, "ipc:///run/another/pairs")
    assert host.route().address == COMBINER


def test_a_relay_that_ends_before_the_first_message_is_not_waited_for_long() -> None:
    host = Host(there=True)
    route = host.route()
    assert not host.changes(route, 2, heard_s=None)
    host.there = False
    assert host.changes(route, PATIENCE_S + 4 * LOOK_S, heard_s=None)


def test_a_relay_that_comes_before_the_first_message_is_used() -> None:
    host = Host()
    route = host.route()
    assert not host.changes(route, 5, heard_s=None)
    host.there = True
    assert host.changes(route, 2 * LOOK_S, heard_s=None)
    assert route.is_relayed


def test_a_relay_that_comes_later_disturbs_nothing() -> None:
    host = Host()
    route = host.route()
    host.there = True
    assert not host.changes(route, 60, heard_s=host.now_s)


def test_a_relay_that_is_started_again_is_waited_for() -> None:
    host = Host(there=True)
    route, heard_s = host.route(), host.now_s
    for _ in range(3):
        host.there = False
        assert not host.changes(route, PATIENCE_S - 0.5, heard_s=heard_s)
        host.there = True
        assert not host.changes(route, 1, heard_s=heard_s)
    assert route.is_relayed


def test_without_its_relay_a_consumer_goes_on_and_stays_where_it_is() -> None:
    host = Host(there=True)
    route, heard_s = host.route(), host.now_s
    host.there = False
    assert host.changes(route, PATIENCE_S + 4 * LOOK_S, heard_s=heard_s)
    assert route.address == COMBINER
    host.there = True
    assert not host.changes(route, 60, heard_s=heard_s)


def test_as_long_as_messages_come_nothing_is_looked_at() -> None:
    host = Host(there=True)
    route = host.route()
    host.there = False
    assert not any(
        host.changes(route, 0.1, heard_s=host.now_s) for _ in range(round(100 * PATIENCE_S))
    )


def test_a_ring_that_cannot_be_seen_makes_the_way_direct(tmp_path: Path) -> None:
    seen, unseen = (Location(f"left.{run}.0.4.ring", 0, 1) for run in (1, 2))
    (tmp_path / seen.ring).touch()
    route = Host(there=True).route(tmp_path)
    assert not route.leads_nowhere(seen)
    assert route.is_relayed
    assert route.leads_nowhere(unseen)
    assert route.address == COMBINER


def test_each_combiner_has_a_relay_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    combiners = [COMBINER, "ipc:///run/y/pairs", "tcp://10.0.0.5:7400", "tcp://10.0.0.5:7401"]
    addresses = [relays.address_of(combiner) for combiner in combiners]
    assert len(set(addresses)) == 4
    assert addresses[0] == RELAY
    assert addresses[2].startswith("ipc:///tmp/framepair/")
