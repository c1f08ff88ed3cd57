"""What is to change of a pipeline that runs, from what it was started with and what is asked for now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import commands, reload_plan, topology
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.reload_plan import Difference, Running, compared
from framepair.protocol.transport.endpoints import EndpointError, Endpoints, changed
from tests.lib.pipeline import free_ports

LEFT, RIGHT, DOOR = (f"{name}=synthetic://" for name in ("left", "right", "door"))


def started(*sources: str, **others: Any) -> Running:
    """Return how a pipeline runs that was started with these options."""
    options = Options(sources=sources, run_dir=Path("/tmp/fp"), **others)
    plan = topology.plan(options)
    return reload_plan.running(options, plan, commands.table(options, plan))


def asked(former: Running, *sources: str, **others: Any) -> Difference:
    """Return what changes if these options are asked for."""
    return compared(
        former, replace(former.options, sources=sources or former.options.sources, **others)
    )[1]


def refusal(former: Running, *sources: str, **others: Any) -> str:
    with pytest.raises((Refused, EndpointError)) as refused:
        asked(former, *sources, **others)
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_sources_are_added_and_removed() -> None:
    found = asked(started(LEFT, RIGHT), LEFT, DOOR)
    assert (found.added, found.removed, found.changed) == (("door",), ("right",), ())
    assert [node.key for node in found.nodes_added] == ["door"]
    assert [node.key for node in found.nodes_removed] == ["right"]
    assert str(found) == "added: door; removed: right"


def test_another_health_timeout_of_a_source_is_told_and_starts_nothing_again() -> None:
    found = asked(started(LEFT, RIGHT), health_timeout=("right=60",))
    assert not found.is_empty
    assert (found.changed, found.nodes_added, found.nodes_replaced) == ((), (), ())
    assert str(found) == "given another --health-timeout: right"


def test_the_same_producer_writes_the_status_file_as_long_as_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FRAMEPAIR_STATUS", "/x")
    at = {"listen": "tcp://10.0.0.5:7400", "insecure": True, "host": "cam"}
    former = started(LEFT, RIGHT, hosts=hosts(left="cam", right="cam", combiner="nuc"), **at)
    everywhere = hosts(left="cam", right="cam", door="cam", combiner="nuc")
    more = replace(former.options, sources=(LEFT, RIGHT, DOOR), hosts=everywhere)
    for options in (more, former.options):
        former, found = compared(former, options)
        assert found.changed == ()
        assert writers(former) == ["left"]
    # Also where it is not the first of its host.
    last = replace(former, status_writer="right")
    now, found = compared(last, more)
    assert writers(now) == ["right"]
    # Without it another one does.
    now, found = compared(
        now, replace(more, sources=(LEFT,), hosts=hosts(left="cam", combiner="nuc"))
    )
    assert found.changed == ("left",)
    assert writers(now) == ["left"]


def writers(running: Running) -> list[str]:
    silent = ("FRAMEPAIR_STATUS", "")
    return [node.key for node in running.producers if silent not in node.environment]


def test_a_file_that_is_gone_since_the_start_is_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "left.mp4"
    file.touch()
    former = started("left=left.mp4", RIGHT)
    file.unlink()
    assert asked(former, "left=left.mp4", RIGHT).is_empty


def test_a_source_that_could_not_be_opened_is_started_again() -> None:
    former = started(LEFT, RIGHT)
    found = asked(replace(former, producers=former.producers[:1]), LEFT, RIGHT)
    assert [node.key for node in found.nodes_added] == ["right"]
    assert str(found) == "started again: right"
    assert not found.is_empty


def test_the_same_sources_in_another_order_are_no_change() -> None:
    assert asked(started(LEFT, RIGHT), RIGHT, LEFT).is_empty


@pytest.mark.parametrize(
    "setting",
    [
        {"size": ("right=64x",)},
        {"payload": ("raw", "right=shm")},
        {"restart": ("right=never",)},
        {"sources": (LEFT, "right=synthetic://640x480")},
    ],
)
def test_other_settings_of_a_source_are_those_of_another_producer(setting: dict[str, Any]) -> None:
    former = started(LEFT, RIGHT)
    found = compared(former, replace(former.options, **setting))[1]
    assert (found.added, found.removed, found.changed) == ((), (), ("right",))
    ((was, now),) = found.nodes_replaced
    assert was in former.producers
    assert was.name == now.name


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"window": 2.0}, "--window is not what it was at the start: only sources"),
        ({"keep": 3, "no_sink": True}, "--keep, --no-sink are not what they were at the start"),
        ({"restart": ("sink=never",)}, "--restart of sink has changed: only sources"),
        ({"health_timeout": ("combiner=3",)}, "--health-timeout of combiner has changed"),
        ({"payload": ("yard=shm",)}, "--payload yard=shm: "),
        ({"sources": ()}, "no source would be left"),
        ({"sources": ("left=a.mp4", "left=b.mp4")}, "more than one source is called left"),
    ],
)
def test_whatever_else_has_changed_is_named(others: dict[str, Any], said: str) -> None:
    former = started(LEFT, RIGHT)
    with pytest.raises(Refused) as refused:
        compared(former, replace(former.options, **others))
    assert said in str(refused.value)


def test_offline_sources_stay() -> None:
    assert "with --pace max" in refusal(started(LEFT, RIGHT, pace="max"), LEFT)


def test_more_than_max_sources_are_refused_and_without_it_the_bound_is_said() -> None:
    assert "--max-sources 2: start again" in refusal(
        started(LEFT, RIGHT, max_sources=2), LEFT, RIGHT, DOOR
    )
    assert asked(started(LEFT, RIGHT, max_sources=3), LEFT, RIGHT, DOOR).notes == ()
    (note,) = asked(started(LEFT, RIGHT), LEFT, RIGHT, DOOR).notes
    assert "room for 2 sources: start with --max-sources 3" in note


def test_names_that_are_gone_count_as_a_header_at_the_end_has_all_of_them() -> None:
    former = replace(started(LEFT), names=frozenset(f"s{number}" for number in range(255)))
    assert "257 sources since the start, and 256 is the most" in refusal(former, LEFT, DOOR)


def test_a_stream_that_comes_later_changes_no_wait_and_no_other_producer() -> None:
    found = asked(started(LEFT, RIGHT), LEFT, RIGHT, "yard=rtsp://10.0.0.7/live")
    assert found.changed == ()
    assert any("pairs wait 0.5 s for yard at most" in note for note in found.notes)
    (node,) = found.nodes_added
    assert node.command[node.command.index("--max-wait") + 1] == "0.5"


def test_passwords_are_in_no_message() -> None:
    found = asked(started(LEFT, RIGHT), LEFT, RIGHT, "yard=rtsp://admin:secret@10.0.0.7/live")
    assert "secret" not in str(found)


def test_over_tcp_sources_keep_their_ports_and_new_ones_get_free_ones() -> None:
    port = free_ports(6)
    former = started(LEFT, RIGHT, listen=f"tcp://127.0.0.1:{port}", insecure=True)
    options = replace(former.options, sources=(DOOR, RIGHT, "yard=synthetic://"))
    now, found = compared(former, options)
    at = {
        name: int(address.rpartition(":")[2]) - port
        for name, address in now.plan.endpoints.pull.items()
    }
    # The clock has the first one, left had the second.
    assert at == {"door": 4, "right": 3, "yard": 5}
    assert now.plan.endpoints.sync == former.plan.endpoints.sync
    assert found.changed == ()
    # Once left is gone, its port is free.
    again = compared(now, replace(options, sources=(*options.sources, "hall=synthetic://")))[0]
    assert again.plan.endpoints.pull["hall"] == f"tcp://127.0.0.1:{port + 2}"


def test_no_port_is_left() -> None:
    former = Endpoints({"left": "tcp://127.0.0.1:65535"}, "tcp://127.0.0.1:65534")
    with pytest.raises(EndpointError, match="leaves no room for one more port"):
        changed(former, Endpoints({**former.pull, "door": "tcp://127.0.0.1:65535"}, former.pub))


def hosts(**of: str) -> tuple[str, ...]:
    return tuple(f"{name}={host}" for name, host in of.items())


LAMP = "lamp=synthetic://"


@pytest.mark.parametrize(
    ("before", "after", "ports", "said"),
    [
        ((LEFT, RIGHT), (LEFT, RIGHT, DOOR), (), None),
        ((LEFT, RIGHT, DOOR), (LEFT, RIGHT), (), None),
        ((LEFT, RIGHT, DOOR), (LEFT, DOOR), (), "left = 7402, door = 7404"),
        ((LEFT, RIGHT), (RIGHT, LEFT), (), "left = 7402, right = 7403"),
        # The line of one that goes on, and not that of one that was added with it.
        ((LEFT, RIGHT), (DOOR, LEFT, RIGHT), (), "left = 7402, right = 7403"),
        ((LEFT, RIGHT), (RIGHT, LAMP), ("lamp=7500",), "lamp = 7500, right = 7403"),
        # Another one at the port of one that goes.
        ((LEFT, RIGHT, DOOR), (RIGHT, LAMP, DOOR), (), "right = 7403, door = 7404"),
    ],
)
def test_a_host_that_starts_again_finds_the_ports_of_those_that_go_on(
    before: tuple[str, ...], after: tuple[str, ...], ports: tuple[str, ...], said: str | None
) -> None:
    at = {"listen": "tcp://10.0.0.5:7400", "insecure": True, "host": "cam"}
    then, now = (
        hosts(combiner="nuc", **{source.partition("=")[0]: "cam" for source in sources})
        for sources in (before, after)
    )
    former = started(*before, hosts=then, **at)
    options = replace(former.options, sources=after, hosts=now, ports=ports)
    if said is None:
        assert compared(former, options)[0].plan.endpoints == topology.plan(options).endpoints
        return
    with pytest.raises(Refused, match="would have another port: ") as refused:
        compared(former, options)
    told, _, rest = str(refused.value).rpartition("hosts: ")[2].partition("; ")
    assert sorted(told.split(", ")) == sorted(said.split(", "))
    # What it says to do does it: at once, or after what goes has gone.
    options = replace(options, ports=tuple(told.replace(" ", "").split(",")))
    if rest:
        former = compared(former, without(options, rest.partition(" ")[0]))[0]
    found = compared(former, options)[0].plan.endpoints
    assert found == topology.plan(options).endpoints
    kept = found.pull.keys() & former.plan.uris.keys()
    assert {name: found.pull[name] for name in kept} == {
        name: former.plan.endpoints.pull[name] for name in kept
    }


def without(options: Options, name: str) -> Options:
    """Return the options without a source."""

    def others(words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(word for word in words if word.partition("=")[0] != name)

    sources, placed, ports = map(others, (options.sources, options.hosts, options.ports))
    return replace(options, sources=sources, hosts=placed, ports=ports)


@pytest.mark.parametrize("placed", [True, False])
def test_a_port_that_a_source_still_has_is_had_in_another_reload(placed: bool) -> None:
    at = {"listen": "tcp://127.0.0.1:7400", "insecure": True}
    there = hosts(combiner="nuc", left="cam", right="cam", door="cam") if placed else ()
    at |= {"hosts": hosts(combiner="nuc", left="cam", right="cam"), "host": "nuc"} if placed else {}
    former = started(LEFT, RIGHT, **at)
    ports = ("right=7403", "door=7402")
    there = tuple(word for word in there if not word.startswith("left"))
    said = refusal(former, RIGHT, DOOR, ports=ports, hosts=there)
    assert said == "door would have the port of left: remove left, and add door in another reload"


def test_a_port_of_a_source_that_goes_on_does_not_change() -> None:
    former = started(LEFT, RIGHT, listen="tcp://127.0.0.1:7400", insecure=True)
    assert "right would have another port" in refusal(former, LEFT, RIGHT, ports=("right=7500",))
    assert not asked(former, RIGHT, ports=("right=7403",)).nodes_replaced


def test_a_source_whose_port_a_flag_says_can_be_removed_and_come_back() -> None:
    ports = ("left=7500",)
    former = started(LEFT, RIGHT, listen="tcp://127.0.0.1:7400", insecure=True, ports=ports)
    now, found = compared(former, replace(former.options, sources=(RIGHT,)))
    assert found.removed == ("left",)
    now, _ = compared(now, replace(now.options, sources=(RIGHT, DOOR)))
    again, _ = compared(now, replace(now.options, sources=(RIGHT, DOOR, LEFT)))
    assert again.plan.endpoints.pull["left"] == "tcp://127.0.0.1:7500"
    with pytest.raises(Refused, match="no source is called so: they are right"):
        compared(now, replace(now.options, sources=(RIGHT,), ports=("lleft=7500",)))


def test_a_host_starts_and_stops_its_own_sources_only() -> None:
    at = {"listen": "tcp://10.0.0.5:7400", "insecure": True, "host": "cam"}
    former = started(LEFT, RIGHT, hosts=hosts(left="cam", combiner="nuc"), **at)
    now = hosts(left="cam", door="cam", combiner="nuc")
    found = asked(former, LEFT, DOOR, hosts=now)
    assert (found.added, found.removed) == (("door",), ("right",))
    assert [node.key for node in found.nodes_added] == ["door"]
    assert found.nodes_removed == ()
    moved = hosts(left="nuc", right="cam", combiner="nuc")
    assert "[hosts] has another host for left, right" in refusal(former, LEFT, RIGHT, hosts=moved)
