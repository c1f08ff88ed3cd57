"""A relay with real processes: right pixels, ledgers that balance, kills, and consumers that need no relay."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framepair import Pair, SubscriberStats, Subscription, subscribe
from framepair.protocol.client import route as way
from framepair.protocol.memory.shared_ring import remove_stale
from framepair.protocol.transport import keys, relays
from framepair.protocol.wire import reasons
from tests.lib.launcher import launcher
from tests.lib.pipeline import Pipeline, check, checked
from tests.lib.processes import PATIENCE_S, Running
from tests.lib.shm import own_directory, rings, small_file_system, until

LEFT, RIGHT = "synthetic://160x120@25", "synthetic://320x240@30"
JPEG = ("--payload", "jpeg:95")


@pytest.fixture
def shm() -> Iterator[Path]:
    with own_directory() as path:
        yield path
        # Tests that don't end with a clean stop kill their relay.
        remove_stale(path)


def relay(nodes: Pipeline, shm: Path, *flags: str) -> Running:
    """Start a relay and wait until it is ready."""
    node = nodes.start("relay", "--sub", nodes.pub, "--shm-dir", str(shm), *flags)
    node.wait_for("READY")
    return node


def is_relayed(pair: Pair) -> set[bool]:
    return {frame.relayed for clip in pair.values() for frame in clip.frames}


def whole(pairs: Iterator[Pair], count: int) -> list[Pair]:
    """Return so many complete pairs, each frame of them checked."""
    return list(itertools.islice((pair for pair in checked(pairs) if pair.complete), count))


def balances(stats: SubscriberStats) -> bool:
    """Return whether every frame that is in an announced pair is accounted for."""
    return all(
        totals.paired
        == stats.delivered_frames.get(source, 0)
        + stats.damaged_frames.get(source, 0)
        + stats.left_out_frames.get(source, 0)
        + stats.waiting_frames.get(source, 0)
        + sum(stats.lost_frames.get(source, {}).values())
        for source, totals in stats.totals.items()
    )


def route(pairs: Subscription) -> str:
    return pairs._receiver._route.address


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_consumers_of_a_host_find_the_relay_and_get_the_right_pixels(
    shm: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    made = directory / "keys"
    keys.make(made)
    keyed = ("--keys", str(made)) if transport == "tcp" else ()
    with Pipeline(["left", "right"], transport) as nodes:
        relay(nodes, shm, *keyed)
        with (
            subscribe(nodes.pub, shm_dir=shm, keys=made) as one,
            subscribe(
                nodes.pub, shm_dir=shm, keys=made, sources=["right"], every=5, size=(64, 48)
            ) as two,
        ):
            assert {route(one), route(two)} == {relays.address_of(nodes.pub)}
            nodes.combiner(*keyed)
            nodes.producer("left", LEFT, *keyed)
            nodes.producer("right", RIGHT, *JPEG, *keyed)
            pairs, few = whole(one, 8), list(itertools.islice(two, 8))
            # A view of the ring, as the program has shown that it is quick.
            assert not pairs[-1]["left"].array.flags.writeable
            assert balances(one.stats())
            assert balances(two.stats())
        assert len(rings(shm)) == 2
    assert {frozenset(is_relayed(pair)) for pair in pairs} == {frozenset({True})}
    assert {tuple(pair) for pair in few} == {("right",)}
    assert {frame.shape for pair in few for frame in pair["right"].frames} == {(48, 64, 3)}
    assert {int(seq) % 5 for pair in few for seq in pair["right"].seq} == {0}


def test_compressed_frames_come_as_they_travelled_without_the_relay(shm: Path) -> None:
    with Pipeline(["left"]) as nodes:
        relay(nodes, shm)
        with (
            subscribe(nodes.pub, shm_dir=shm, decode=False) as files,
            subscribe(nodes.pub, shm_dir=shm, pairs=False) as newest,
        ):
            nodes.combiner()
            nodes.producer("left", LEFT, *JPEG)
            assert route(files) == nodes.pub
            pair = next(files)
            assert all(frame.encoded for frame in pair["left"])
            # The newest frames come through the relay.
            frame = newest.latest(None)["left"]
            assert frame.header.relayed
            assert frame.image.shape == (120, 160, 3)


@pytest.mark.slow
def test_what_no_consumer_wants_does_not_come_to_the_relay(shm: Path) -> None:
    with Pipeline(["left", "right"]) as nodes:
        relay(nodes, shm)
        nodes.combiner()
        nodes.producer("left", LEFT)
        nodes.producer("right", RIGHT)
        with subscribe(nodes.pub, shm_dir=shm, sources=["right"]) as pairs:
            assert len(whole(pairs, 3)) == 3
            assert [name.split(".")[0] for name in rings(shm)] == ["right"]


def test_a_kill_of_the_relay_costs_what_is_counted_and_leaves_nothing(
    shm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine it takes longer than usual until another one has started.
    monkeypatch.setattr(way, "PATIENCE_S", PATIENCE_S)
    with Pipeline(["left", "right"]) as nodes:
        node = relay(nodes, shm)
        with (
            subscribe(nodes.pub, shm_dir=shm, keep=1000) as one,
            subscribe(nodes.pub, shm_dir=shm, keep=1000) as two,
        ):
            nodes.combiner()
            nodes.producer("left", LEFT)
            nodes.producer("right", RIGHT)
            for _ in range(2):
                assert len(whole(one, 2)) == len(whole(two, 2)) == 2
                node.stop(signal.SIGKILL)
                node = relay(nodes, shm)
            for pairs in (one, two):
                taken = whole(pairs, 3)
                assert is_relayed(taken[-1]) == {True}
                stats = pairs.stats()
                assert balances(stats)
                # Those of the time in which there was none; and pairs of before the subscription.
                lost = {reason for lost in stats.lost_frames.values() for reason in lost}
                assert reasons.PUBLISHER_OVERFLOW in lost
                assert lost <= {reasons.PUBLISHER_OVERFLOW, reasons.NO_SUBSCRIBER}
                assert stats.rejected == 0
        # Of the relays that were killed nothing is left once another has made its rings.
        assert len(rings(shm)) == 2
        assert node.stop() == 0
    assert rings(shm) == []


def test_consumers_of_a_relay_that_stays_away_receive_from_the_combiner(shm: Path) -> None:
    with Pipeline(["left"]) as nodes:
        node = relay(nodes, shm)
        with subscribe(nodes.pub, shm_dir=shm, keep=1000) as pairs:
            nodes.combiner()
            nodes.producer("left", LEFT)
            assert is_relayed(whole(pairs, 2)[-1]) == {True}
            assert node.stop() == 0
            assert any(is_relayed(pair) == {False} for pair in checked(pairs))
            assert route(pairs) == nodes.pub
            whole(pairs, 3)
            assert balances(pairs.stats())


@pytest.mark.slow
def test_without_room_for_its_rings_there_is_no_relay(directory: Path) -> None:
    with small_file_system(1024 * 1024) as small, Pipeline(["left"]) as nodes:
        node = relay(nodes, small / "rings")
        with subscribe(nodes.pub, shm_dir=small / "rings") as pairs:
            nodes.combiner()
            nodes.producer("left", LEFT)
            node.wait_for("consumers receive from the combiner, without a relay: a ring of")
            assert node.wait() == 0
            assert is_relayed(whole(pairs, 2)[-1]) == {False}


@pytest.mark.slow
def test_a_consumer_that_cannot_see_the_rings_receives_from_the_combiner(
    shm: Path, directory: Path
) -> None:
    with Pipeline(["left"]) as nodes:
        relay(nodes, shm)
        with subscribe(nodes.pub, shm_dir=directory / "elsewhere") as pairs:
            nodes.combiner()
            nodes.producer("left", LEFT)
            assert is_relayed(whole(pairs, 2)[-1]) == {False}
            assert balances(pairs.stats())
            assert pairs.stats().rejected == 0


def test_a_slow_program_keeps_its_pixels_and_loses_whole_pairs(shm: Path) -> None:
    with Pipeline(["left"]) as nodes:
        # As little as there can be: 1.2 s.
        relay(nodes, shm, "--history", "0.1")
        with subscribe(nodes.pub, shm_dir=shm) as pairs:
            nodes.combiner()
            nodes.producer("left", LEFT)
            for _ in range(2):
                pair, lost = next(pairs), pairs.stats().lost_pairs
                # The ring has gone round meanwhile.
                until(lambda: pairs.stats().lost_pairs > lost + 8)  # noqa: B023
                check(pair)
                assert pair.intact
            assert balances(pairs.stats())


@pytest.mark.slow
def test_an_offline_run_is_refused_by_a_relay_and_what_it_took_is_counted(shm: Path) -> None:
    with Pipeline(["left"]) as nodes:
        node = relay(nodes, shm)
        with subscribe(nodes.pub, shm_dir=shm) as pairs:
            nodes.combiner("--pace", "max")
            source = "synthetic://160x120@25?frames=100"
            nodes.producer("left", source, "--pace", "max")
            node.wait_for("--pace max waits for consumers, which a relay cannot")
            assert node.wait() == 2
            received = sum(len(pair["left"]) for pair in checked(pairs))
            assert 0 < received < 100
            assert balances(pairs.stats())


def report(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / "report.json").read_text())
    return found


def test_the_launcher_starts_a_relay_for_two_consumers_and_again_after_a_kill(
    directory: Path, shm: Path
) -> None:
    recording = directory / "recording"
    small = [f"{name}=synthetic://160x120@25" for name in ("left", "right")]
    command = launcher(
        *small, "--run-dir", directory / "run", "--shm-dir", shm, "--window", "0.2", "--lines",
        "--record", recording, "--json", directory / "report.json", "--fault", "relay:kill@2s",
    )  # fmt: skip
    with Running(command) as running:
        running.wait_for(r"relay ended with signal 9 .* it is started again in 0\.5 s")
        lines = len(running.stdout)
        until(lambda: sum("left 5/5  right 5/5" in line for line in running.stdout[lines:]) > 12)
        running.pid_of("framepair.nodes.relay")
        assert running.stop() == 0
        running.wait_for("restarts: relay 1")
        assert "The ledger balances" in running.stdout[-1]
    assert report(directory)["ledger_balanced"]
    assert not shm.exists()
    assert not (directory / "run").exists()
    with Running(launcher("verify", recording)) as verified:
        # Frames that no relay was there to take are holes, and named as such; all else is there.
        verified.wait()
        assert any("captured =" in line for line in verified.stdout)
