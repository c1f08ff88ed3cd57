"""What runs where: each host's share of a pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepair.nodes.common.runtime import Refused
from framepair.nodes.launcher import commands, options
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.topology import Placement, place, plan

LISTEN = "tcp://10.0.0.5:7400"
ASKED = ("left=cam-pi", "combiner=nuc", "sink=desk")


def placed(
    asked: tuple[str, ...] = ASKED,
    *,
    sources: tuple[str, ...] = ("left", "right"),
    host: str | None = "nuc",
    this_machine: str = "laptop",
    listen: str | None = LISTEN,
) -> Placement:
    placement = place(asked, sources, host=host, this_machine=this_machine, listen=listen)
    assert placement is not None
    return placement


def test_a_node_that_is_not_named_runs_beside_the_combiner() -> None:
    placement = placed()
    assert placement.of == {
        "left": "cam-pi", "right": "nuc", "combiner": "nuc", "sink": "desk", "recorder": "nuc",
        "monitor": "nuc",
    }  # fmt: skip
    assert [node for node in placement.of if placement.here(node)] == [
        "right",
        "combiner",
        "recorder",
        "monitor",
    ]
    assert placement.beside_combiner("right")
    assert not placement.beside_combiner("left")


def test_without_hosts_there_is_no_placement() -> None:
    assert place((), ["left"], host=None, this_machine="nuc", listen=None) is None


@pytest.mark.parametrize("this_machine", ["cam-pi", "cam-pi.local"])
def test_this_machine_is_the_host_unless_another_is_asked_for(this_machine: str) -> None:
    assert placed(host=None, this_machine=this_machine).host == "cam-pi"
    assert placed(host="desk", this_machine=this_machine).host == "desk"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"asked": ("left=cam-pi",)}, "does not say where the combiner runs"),
        ({"asked": (*ASKED, "top=nuc")}, "names top, which is no node: they are left, right"),
        ({"asked": (*ASKED, "left=nuc")}, "one host for left"),
        ({"asked": ("combiner=",)}, "one host for combiner"),
        ({"host": "pi"}, "--host pi runs nothing: the hosts are cam-pi, nuc, desk"),
        ({"host": None}, "say which host this is with --host: cam-pi, nuc, desk"),
        ({"listen": None}, "the others reach nuc at"),
        ({"listen": "tcp://*:7400"}, "the others reach nuc at"),
        ({"listen": "tcp://0.0.0.0:7400"}, "the others reach nuc at"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence.replace("(", "\\(")):
        placed(**changes)  # type: ignore[arg-type]


def test_a_host_without_hosts_is_refused() -> None:
    with pytest.raises(Refused, match=r"has no \[hosts\]"):
        place((), ["left"], host="nuc", this_machine="nuc", listen=None)


def planned(text: str, tmp_path: Path, host: str, *arguments: str) -> list[Node]:
    """Return the nodes that ``host`` starts, as a configuration file has them."""
    file = tmp_path / "pipeline.toml"
    file.write_text(text)
    asked = options.parse(["--config", str(file), "--host", host, *arguments])
    return commands.table(asked, plan(asked))


FILE = """
listen = "tcp://10.0.0.5:7400"
insecure = true

[sources]
left = "synthetic://"
right = "synthetic://"

[hosts]
left = "cam-pi"
combiner = "nuc"
sink = "desk"
"""


def test_each_host_starts_its_share(tmp_path: Path) -> None:
    shares = {host: planned(FILE, tmp_path, host) for host in ("cam-pi", "nuc", "desk")}
    names = {host: [node.name for node in nodes] for host, nodes in shares.items()}
    assert names == {
        "cam-pi": ["producer left"],
        "nuc": ["producer right", "combiner"],
        "desk": ["sink"],
    }
    (left,), (right, combiner), (sink,) = shares.values()
    assert "tcp://10.0.0.5:7402" in left.command
    assert "left=tcp://10.0.0.5:7402" in combiner.command
    assert "tcp://10.0.0.5:7400" in sink.command
    # Beside the combiner no frame goes over the network.
    (local,) = [word for word in right.command if word.startswith("ipc://")]
    assert f"right={local}" in combiner.command


def test_memory_is_shared_beside_the_combiner_only(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="sink runs on another host"):
        planned(FILE, tmp_path, "nuc", "--payload", "right=shm")
    nodes = planned(FILE, tmp_path, "nuc", "--payload", "right=shm", "--no-sink")
    assert "shm" in nodes[0].command
    with pytest.raises(Refused, match="may be another machine"):
        planned(FILE, tmp_path, "nuc", "--payload", "left=shm", "--no-sink")


def test_a_table_of_ports_says_where_sources_are_received(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    file.write_text(
        f'listen = "{LISTEN}"\ninsecure = true\nsources = ["a=0", "b=1"]\n[ports]\na = 7410\n'
    )
    pull = plan(options.parse(["--config", str(file)])).endpoints.pull
    assert pull == {"a": "tcp://10.0.0.5:7410", "b": "tcp://10.0.0.5:7402"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *((f"a{port}", "it is SOURCE=PORT, from 1 to 65535") for port in ("", "=", "=http", "=0")),
        *((f"a={port}", "it is SOURCE=PORT, from 1 to 65535") for port in ("65536", "7,410", "1 ")),
        ("c=7410", "no source is called so: they are a, b"),
        ("a=7410/a=7411", "a has port 7410 already"),
    ],
)
def test_what_is_no_port_of_a_source_is_refused(words: str, said: str) -> None:
    ports = tuple(words.split("/"))
    asked = options.Options(("a=0", "b=1"), listen=LISTEN, insecure=True, ports=ports)
    with pytest.raises(Refused, match=f"--ports {ports[-1]}: {said}"):
        plan(asked)


def test_a_port_without_an_address_is_refused() -> None:
    with pytest.raises(Refused, match="sources have ports with --listen"):
        plan(options.Options(("a=0",), ports=("a=7410",)))
