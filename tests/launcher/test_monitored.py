"""A pipeline with a monitor: where its page is, who may look, and what the launcher makes of it."""

from __future__ import annotations

from pathlib import Path

import cyclopts
import pytest

from framepair.nodes.common import monitor_options
from framepair.nodes.common.monitor_options import DEFAULT_ADDRESS, Listening
from framepair.nodes.common.runtime import Refused
from framepair.nodes.estimate import bounds
from framepair.nodes.launcher import commands, options, topology, verbs
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.events import Action, Ended, Say, Start
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.supervisor import Rules, Supervisor
from framepair.nodes.monitor import main
from framepair.nodes.recorder import archive, coding, message_queue

TOKEN = "correct-horse-battery"


def nodes_of(asked: Options) -> dict[str, Node]:
    return {node.kind: node for node in commands.table(asked, topology.plan(asked))}


@pytest.mark.parametrize(
    ("words", "address", "sources"),
    [
        ("--monitor", DEFAULT_ADDRESS, ()),
        ("--monitor :8000", ":8000", ()),
        ("--monitor localhost:8000 a.mp4", "localhost:8000", ("a.mp4",)),
        ("--monitor [::1]:8000", "[::1]:8000", ()),
        ("--monitor=127.0.0.1:80 a.mp4", "127.0.0.1:80", ("a.mp4",)),
        ("--monitor a.mp4 b.mp4", DEFAULT_ADDRESS, ("a.mp4", "b.mp4")),
        ("--monitor left=rtsp://10.0.0.7:554/live", DEFAULT_ADDRESS, ("left=rtsp://10.0.0.7:554/live",)),
        ("--monitor 0 --loop", DEFAULT_ADDRESS, ("0",)),
        ("a.mp4 --monitor", DEFAULT_ADDRESS, ("a.mp4",)),
    ],
)  # fmt: skip
def test_an_address_may_follow(words: str, address: str, sources: tuple[str, ...]) -> None:
    asked = verbs.read(words.split())
    assert asked is not None
    assert asked.monitor == address
    assert asked.sources == (sources or Options().sources)


def test_a_file_may_say_it_with_or_without_an_address(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.toml"
    for text, address in (("true", DEFAULT_ADDRESS), ('":8000"', ":8000")):
        file.write_text(f"monitor = {text}\n")
        assert options.parse(["--config", str(file)]).monitor == address


@pytest.mark.parametrize(
    "address", ["8000", "host", "host:", ":99999", "a b:80", ":0", "http://a:80"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(cyclopts.CycloptsError, match=r"HOST:PORT|needs a port"):
        verbs.read([f"--monitor={address}"])


@pytest.mark.parametrize(
    ("address", "local", "url"),
    [
        (":8000", True, "http://127.0.0.1:8000/"),
        ("localhost:8000", True, "http://localhost:8000/"),
        ("127.9.0.1:8000", True, "http://127.9.0.1:8000/"),
        ("[::1]:8000", True, "http://[::1]:8000/"),
        ("0.0.0.0:8000", False, "http://127.0.0.1:8000/"),
        ("[::]:8000", False, "http://[::1]:8000/"),
        ("10.0.0.5:8000", False, "http://10.0.0.5:8000/"),
        ("nuc.local:8000", False, "http://nuc.local:8000/"),
    ],
)
def test_who_can_reach_it(address: str, local: bool, url: str, tmp_path: Path) -> None:
    listening = monitor_options.parse_address(address)
    assert (listening.is_local, listening.url) == (local, url)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    topology.plan(Options(monitor=address, monitor_token=tmp_path / "token"))
    if local:
        topology.plan(Options(monitor=address))
    else:
        with pytest.raises(Refused, match="give --monitor-token FILE, or an address on this"):
            topology.plan(Options(monitor=address))


@pytest.mark.parametrize(
    "text", ["", "short", "tab\tin the middle of it", "zwölf Zeichen und mehr"]
)
def test_a_token_that_can_be_guessed_or_sent_badly_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(Refused, match="16 characters or more: make one"):
        monitor_options.read_token(file)
    file.write_text(f"  {TOKEN}\n")
    assert monitor_options.read_token(file) == TOKEN
    with pytest.raises(Refused, match="cannot read --monitor-token"):
        monitor_options.read_token(tmp_path / "none")
    assert monitor_options.read_token(None) is None


def test_the_monitor_is_told_how(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    asked = Options(
        monitor="0.0.0.0:8000", monitor_token=tmp_path / "token", unhealthy_after="1min", pace="max"
    )
    nodes = nodes_of(asked)
    command = nodes["monitor"].command
    parsed = main.app.parse_args(command[3:], exit_on_error=False, print_error=False)[1]
    told = parsed.arguments["options"]
    assert (told.address, told.unhealthy_after) == ("0.0.0.0:8000", "1min")
    assert told.monitor_token == tmp_path / "token"
    assert told.sub == topology.plan(asked).endpoints.pub
    # With pace max the first pair waits for both consumers.
    assert "--consumers 2" in " ".join(nodes["combiner"].command)
    assert "monitor" not in nodes_of(Options())


def test_a_monitor_runs_on_the_host_that_is_said() -> None:
    hosts = ("combiner=nuc", "monitor=desk")
    at = {"listen": "tcp://10.0.0.5:7400", "insecure": True}
    asked = Options(monitor=DEFAULT_ADDRESS, hosts=hosts, host="desk", **at)  # type: ignore[arg-type]
    [node] = commands.table(asked, topology.plan(asked))
    assert node.kind == "monitor"
    assert "--sync tcp://10.0.0.5:" in " ".join(node.command)
    far = Options(monitor="desk:80", monitor_token=Path("/on/desk"), hosts=hosts, host="nuc", **at)  # type: ignore[arg-type]
    assert [node.kind for node in commands.table(far, topology.plan(far))][-1] == "sink"
    with pytest.raises(Refused, match="shm"):
        topology.plan(
            Options(monitor=DEFAULT_ADDRESS, hosts=hosts, host="desk", payload=("shm",), **at)  # type: ignore[arg-type]
        )


def test_a_source_cannot_be_called_monitor() -> None:
    with pytest.raises(Refused, match="monitor is another node"):
        topology.plan(Options(("monitor=0",)))


def test_a_monitor_that_fails_again_and_again_leaves_the_pairs_flowing() -> None:
    nodes = list(nodes_of(Options(monitor=DEFAULT_ADDRESS)).values())
    monitor = next(node for node in nodes if node.kind == "monitor")
    timeouts = {node.key: 1e6 for node in nodes}
    supervisor = Supervisor(nodes, Rules(timeouts, settle_s=5.0), 1000.0)
    supervisor.begin()
    now_s, said = 1000.0, list[Action]()
    for _ in range(8):
        news = supervisor.handle(Ended(monitor, 1), now_s)
        while not any(isinstance(action, Start) for action in news):
            now_s += 0.5
            news += supervisor.handle(None, now_s)
        said += news
    assert supervisor.exit_code is None
    sentences = [action.sentence for action in said if isinstance(action, Say)]
    assert any("the others go on" in sentence for sentence in sentences)


def test_a_plan_has_the_recorders_and_the_monitors_bounds() -> None:
    assert bounds.RECORDER_QUEUE_BYTES == message_queue.MAX_BYTES
    assert bounds.RECORDER_CHUNK_BYTES == archive.CHUNK_BYTES
    assert bounds.ENCODERS == coding.MAX_THREADS


def test_an_address_is_where_it_says() -> None:
    assert monitor_options.parse_address(DEFAULT_ADDRESS) == Listening("127.0.0.1", 7480)
