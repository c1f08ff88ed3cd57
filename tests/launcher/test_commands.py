"""Names of sources, and the commands of the nodes."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import inspect
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App, ArgumentCollection, CycloptsError, Token

from framepair import subscribe
from framepair.nodes.common.options import Combining, Consuming, Producing
from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.source_options import EachSource, SourceOptions
from framepair.nodes.launcher import commands
from framepair.nodes.launcher import options as options_module
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.names import name_sources
from framepair.nodes.launcher.options import Options
from framepair.nodes.launcher.topology import plan
from framepair.protocol.transport.endpoints import EndpointError

SECRET_URL = "rtsp://admin:secret@10.0.0.7/live?a=b"


def nodes_of(options: Options) -> list[Node]:
    return commands.table(options, plan(options))


def flag(node: Node, name: str) -> str | None:
    """Return what follows a flag in a node's command, None if it hasn't that flag."""
    return node.command[node.command.index(name) + 1] if name in node.command else None


@pytest.mark.parametrize(
    ("argument", "name", "uri"),
    [
        ("left.mp4", "left", "left.mp4"),
        ("/videos/cam 1 (front).avi", "cam-1-front", "/videos/cam 1 (front).avi"),
        ("видео.mp4", "source", "видео.mp4"),
        ("-x.mp4", "x", "-x.mp4"),
        ("x" * 100 + ".mp4", "x" * 64, "x" * 100 + ".mp4"),
        ("0", "camera0", "0"),
        ("/dev/video0", "video0", "/dev/video0"),
        ("synthetic://1280x720@30", "synthetic", "synthetic://1280x720@30"),
        ("SYNTHETIC://", "synthetic", "SYNTHETIC://"),
        ("rtsp://10.0.0.7:554/live", "live", "rtsp://10.0.0.7:554/live"),
        ("rtsp://cam.example.org", "cam-example-org", "rtsp://cam.example.org"),
        ("rtsp://cam:554/", "cam", "rtsp://cam:554/"),
        ("http://h/video.mjpg?a=b", "video", "http://h/video.mjpg?a=b"),
        (SECRET_URL, "live", SECRET_URL),
        ("rtsp://u:p/w@h", "h", "rtsp://u:p/w@h"),
        ("rtsp://h/user=u&password=p", "h", "rtsp://h/user=u&password=p"),
        # A token is not a name: names are in commands and logs.
        ("rtsps://h:7441/AbCdEfGhIjKlMnOp", "h", "rtsps://h:7441/AbCdEfGhIjKlMnOp"),
        ("rtsp://", "source", "rtsp://"),
        ("left=a.mp4", "left", "a.mp4"),
        ("left=rtsp://h/x?a=b", "left", "rtsp://h/x?a=b"),
        ("left=a=b.mp4", "left", "a=b.mp4"),
        ("./a=b.mp4", "a-b", "./a=b.mp4"),
        ("rtsp://h/x?a=b", "x", "rtsp://h/x?a=b"),
        ("-x=a.mp4", "x-a", "-x=a.mp4"),
        ("a b=c.mp4", "a-b-c", "a b=c.mp4"),
    ],
)
def test_a_source_is_named_by_the_user_or_after_itself(argument: str, name: str, uri: str) -> None:
    assert name_sources([argument]) == {name: uri}


def test_a_file_may_be_called_like_a_source_with_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b.mp4").touch()
    assert name_sources(["a=b.mp4", "c=a=b.mp4"]) == {"a-b": "a=b.mp4", "c": "a=b.mp4"}


def test_a_producer_gets_the_open_file_that_it_reads() -> None:
    options = Options(("a=/dev/stdin", "b=/dev/fd/63", "c=/dev/video1"))
    assert [node.descriptors for node in nodes_of(options)] == [(0,), (63,), (), (), ()]


def test_equal_names_are_numbered() -> None:
    names = list(name_sources(["a/cam.mp4", "b/cam.mp4", "c/cam.mp4", "x/" + "y" * 70, "y" * 70]))
    assert names == ["cam", "cam-2", "cam-3", "y" * 64, "y" * 59 + "-2"]


def test_a_given_name_is_never_changed() -> None:
    sources = name_sources(["cam.mp4", "cam=a.mp4", "cam-2=b.mp4"])
    assert sources == {"cam-3": "cam.mp4", "cam": "a.mp4", "cam-2": "b.mp4"}


def test_two_sources_with_the_same_given_name_are_refused() -> None:
    with pytest.raises(Refused, match="more than one source is called cam:"):
        name_sources(["cam=a.mp4", "cam=b.mp4"])


@pytest.mark.parametrize("name", ["sink", "combiner"])
def test_no_source_is_called_like_another_node(name: str) -> None:
    with pytest.raises(Refused, match=f"^{name} is another node: give the source another name$"):
        name_sources([f"{name}=synthetic://"])


@pytest.mark.parametrize("most", [1, 257])
def test_there_may_be_no_fewer_sources_than_there_are_and_no_more_than_a_pair_names(
    most: int,
) -> None:
    assert nodes_of(Options(max_sources=2))
    with pytest.raises(Refused, match=f"--max-sources {most}: give it from 2, .* to 256"):
        nodes_of(Options(max_sources=most))
    with pytest.raises(Refused, match="257 sources: 256 is the most"):
        nodes_of(Options(("synthetic://",) * 257))


@pytest.mark.parametrize("argument", ["", "left=", "a\0.mp4"])
def test_a_source_without_an_address_is_refused(argument: str) -> None:
    with pytest.raises(Refused, match="names no video"):
        name_sources([argument])


def test_the_nodes_meet_at_the_same_addresses() -> None:
    left, right, combiner, sink = nodes_of(Options(run_dir=Path("/run/x")))
    assert [node.name for node in (left, right)] == ["producer left", "producer right"]
    assert flag(left, "--push") == "ipc:///run/x/left.frames"
    assert f"left={flag(left, '--push')}" in combiner.command
    assert f"right={flag(right, '--push')}" in combiner.command
    assert flag(combiner, "--pub") == flag(sink, "--sub") == "ipc:///run/x/pairs"


@pytest.mark.parametrize("count", [1, 16])
def test_any_number_of_sources_will_do(count: int) -> None:
    nodes = nodes_of(Options(("synthetic://",) * count))
    assert [node.kind for node in nodes] == ["producer"] * count + ["combiner", "sink"]
    assert nodes[-2].command.count("--pull") == count


def test_what_is_not_said_is_left_to_the_nodes() -> None:
    flags = {word for node in nodes_of(Options()) for word in node.command if word[:2] == "--"}
    assert flags == {"--name", "--source", "--push", "--pull", "--pub", "--sub", "--max-wait"}


@pytest.mark.parametrize(
    ("sources", "max_wait"),
    [
        (("a.mp4", "0"), "0.5"),
        (("file:///a.mp4", "synthetic://"), "0.5"),
        (("a.mp4", "rtsp://camera/1"), "5"),
        (("http://host/live.m3u8",), "5"),
    ],
)
def test_pairs_wait_longer_if_a_source_is_a_stream(sources: tuple[str, ...], max_wait: str) -> None:
    for node in nodes_of(Options(sources)):
        if node.kind != "sink":
            assert flag(node, "--max-wait") == max_wait
    assert flag(nodes_of(Options(sources, max_wait=7.0))[-2], "--max-wait") == "7"


# Another value than the default for each option that a node knows too, and how a node is told.
SAID: dict[str, tuple[Any, list[str]]] = {
    "pace": ("max", ["--pace", "max"]),
    "window": (0.5, ["--window", "0.5"]),
    "loop": (True, ["--loop"]),
    "wait": (True, ["--wait"]),
    "open_timeout": (1.0, ["--open-timeout", "1"]),
    "read_timeout": (2.0, ["--read-timeout", "2"]),
    "allow_redirects": (True, ["--allow-redirects"]),
    "max_wait": (0.25, ["--max-wait", "0.25"]),
    "idle_timeout": (3.0, ["--idle-timeout", "3"]),
    "start_timeout": (0.0, ["--start-timeout", "0"]),
    "max_bytes": (7, ["--max-bytes", "7"]),
    "max_frame": (8, ["--max-frame", "8"]),
    "consumers": (2, ["--consumers", "2"]),
    "max_sources": (9, ["--max-sources", "9"]),
    "history": (8.0, ["--history", "8"]),
    "keep": (4, ["--keep", "4"]),
    "start": ("1m30s", ["--start", "1m30s"]),
    "speed": (2.0, ["--speed", "2"]),
    "report_every": ("1h", ["--report-every", "1h"]),
    "strict": (True, ["--strict"]),
    "json": (Path("report.json"), ["--json", f"{Path.cwd()}/report.json"]),
    "shm_dir": (Path("rings"), ["--shm-dir", f"{Path.cwd()}/rings"]),
    "keys": (Path("keys"), ["--keys", f"{Path.cwd()}/keys"]),
    "insecure": (True, ["--insecure"]),
    "clock": ("stamped", ["--clock", "stamped"]),
    "lines": (True, ["--lines"]),
    "quiet": (True, ["--quiet"]),
}
GROUPS = {"producer": Producing, "combiner": Combining, "sink": Consuming}
KNOWN = [
    (kind, field.name) for kind, group in GROUPS.items() for field in dataclasses.fields(group)
]


@pytest.mark.parametrize(("kind", "name"), KNOWN)
def test_what_is_said_reaches_the_nodes_that_it_is_for(kind: str, name: str) -> None:
    value, words = SAID[name]
    options = dataclasses.replace(Options(("a.mp4",)), **{name: value})
    for node in nodes_of(options):
        told = " ".join(words) in " ".join(node.command)
        assert told == ((node.kind, name) in KNOWN)
    # And what a node is told is what it takes that for.
    main = importlib.import_module(f"framepair.nodes.{kind}.main")
    node = next(node for node in nodes_of(options) if node.kind == kind)
    _, bound, _ = main.app.parse_args(node.command[3:], exit_on_error=False, print_error=False)
    taken = getattr(bound.arguments["options"], name)
    assert taken == (value.absolute() if isinstance(value, Path) else value)


def app_of(kind: str) -> App:
    """Return the command line of a node or of the launcher."""
    if kind == "launcher":
        return options_module.app()
    app: App = importlib.import_module(f"framepair.nodes.{kind}.main").app
    return app


@functools.cache
def arguments_of(kind: str) -> ArgumentCollection:
    """Return what its parser takes, built once: it takes long."""
    return app_of(kind).assemble_argument_collection()


@functools.cache
def refusal(kind: str, flag: str, text: str) -> str:
    """Return how a process refuses a value of a flag; empty if it takes it."""
    argument = copy.copy(arguments_of(kind)[flag])  # One keeps its first value.
    argument.tokens = [Token(keyword=flag, value=text, source="cli")]
    try:
        argument.convert_and_validate()
    except CycloptsError as error:
        error.verbose = False
        return str(error)
    return ""


@pytest.mark.parametrize(("kind", "name"), KNOWN)
def test_a_node_has_the_launchers_default_and_refuses_the_same_values(kind: str, name: str) -> None:
    main = importlib.import_module(f"framepair.nodes.{kind}.main")
    defaults = {field.name: field.default for field in dataclasses.fields(main.Options)}
    assert defaults[name] == getattr(Options(), name)
    flag = f"--{name.replace('_', '-')}"
    for text in ("-1", "0", "nan", "slow"):
        assert refusal(kind, flag, text) == refusal("launcher", flag, text)


def test_what_a_value_is_refused_with_is_what_the_command_says() -> None:
    ours = nodes_of(Options(("0",)))
    for kind in ("producer", "combiner"):
        needed = next(node for node in ours if node.kind == kind).command[3:]
        others = needed[: needed.index("--max-wait")]
        for text in ("-1", "slow"):
            words = [*others, f"--max-wait={text}"]
            with pytest.raises(CycloptsError) as refused:
                app_of(kind).parse_args(words, exit_on_error=False, print_error=False)
            assert str(refused.value) == refusal(kind, "--max-wait", text) != ""


def test_what_is_asked_of_a_source_reaches_its_producer_alone() -> None:
    asked: dict[str, Any] = {
        "pixels": ("i420", "right=mono8"),
        "size": ("left=640x",),
        "fps": ("left=5", "right=2.5"),
        "stream": ("1",),
        "stamp": ("right=media",),
        "offset": ("left=-1.25s",),
    }
    told = {
        "left": SourceOptions(pixels="i420", size="640x", fps=5.0, stream=1, offset="-1.25s"),
        "right": SourceOptions(pixels="mono8", fps=2.5, stream=1, stamp="media"),
    }
    app = importlib.import_module("framepair.nodes.producer.main").app
    names = [field.name for field in dataclasses.fields(EachSource)]
    assert names == [field.name for field in dataclasses.fields(SourceOptions)]
    for node in nodes_of(Options(("left=0", "right=1"), **asked)):
        if node.kind == "producer":
            _, bound, _ = app.parse_args(node.command[3:], exit_on_error=False, print_error=False)
            taken = bound.arguments["options"]
            for name in names:
                assert getattr(taken, name) == getattr(told[node.key], name), name
        else:
            assert not any(f"--{name}" in word for name in names for word in node.command)


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("pixels", "i421"),
        ("pixels", "up=i420"),
        ("pixels", "left="),
        ("size", "640"),
        ("size", "x"),
        ("size", "1x1"),
        ("size", "left=40000x"),
        ("fps", "0"),
        ("fps", "nan"),
        ("stream", "-1"),
        ("stamp", "exact"),
        ("offset", "1.25"),
        ("offset", "99999999999s"),
    ],
)
def test_what_cannot_be_asked_of_a_source_is_one_sentence(option: str, word: str) -> None:
    asked: dict[str, Any] = {option: (word,)}
    options = Options(("left=0", "right=1"), **asked)
    with pytest.raises(Refused) as refused:
        nodes_of(options)
    assert f"--{option}" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_variable_for_the_launcher_is_not_read_again_by_its_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in (
        ("FAULT", "left:crash@5s"), ("PAYLOAD", "left=jpeg"), ("MAX_WAIT", "7"), ("SYNC", "tcp://10.0.0.1:7"),
        ("SOURCE", "rtsp://u:p@h"), ("STATUS", "/x"), ("STRICT", ""),
    ):  # fmt: skip
        monkeypatch.setenv(f"FRAMEPAIR_{name}", text)
    options = options_module.parse(["--max-wait", "0.5", "left=0", "right=1"])
    for node in nodes_of(options):
        unset = {name for name, text in node.environment if text == ""}
        # The file has one writer.
        of_one = set() if node.kind == "combiner" else {"STATUS"}
        expected = {"FAULT", "PAYLOAD", "MAX_WAIT", "SYNC", "SOURCE"} | of_one
        assert unset == {f"FRAMEPAIR_{name}" for name in expected}
        for name in unset:
            monkeypatch.setenv(name, "")
        main = importlib.import_module(f"framepair.nodes.{node.kind}.main")
        _, bound, _ = main.app.parse_args(node.command[3:], exit_on_error=False, print_error=False)
        taken = bound.arguments["options"]
        assert getattr(taken, "max_wait", 0.5) == 0.5
        assert getattr(taken, "fault", ()) == ()
        for name in unset:
            monkeypatch.setenv(name, "x")


def test_one_node_writes_the_status_file(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = ("left=cam-pi", "combiner=nuc")
    tcp = {"listen": "tcp://10.0.0.5:7400", "insecure": True, "hosts": hosts}
    for options, writer in (
        (Options(("left=0", "right=1")), "combiner"),
        (Options(("left=0", "right=1"), host="cam-pi", **tcp), "producer left"),  # type: ignore[arg-type]
    ):
        monkeypatch.delenv("FRAMEPAIR_STATUS", raising=False)
        assert not any("FRAMEPAIR_STATUS" in dict(node.environment) for node in nodes_of(options))
        monkeypatch.setenv("FRAMEPAIR_STATUS", "/x")
        silent = ("FRAMEPAIR_STATUS", "")
        nodes = nodes_of(options)
        assert [node.name for node in nodes if silent not in node.environment] == [writer]


def test_a_consumer_in_a_program_has_the_same_default() -> None:
    assert inspect.signature(subscribe).parameters["keep"].default == Options().keep


def test_a_consumer_of_ones_own_takes_the_place_of_the_sink() -> None:
    assert [node.kind for node in nodes_of(Options(("0",), no_sink=True))] == [
        "producer",
        "combiner",
    ]


def test_a_consumer_of_ones_own_is_told_where_the_pairs_are() -> None:
    command = "python 'my model.py' --from {sub}"
    options = Options(("0",), sink=command, listen="tcp://127.0.0.1:5555")
    sink = nodes_of(options)[-1]
    # Found where the launcher's own interpreter is, whether that is in PATH or not.
    python = str(Path(sys.executable).parent / "python")
    assert sink.command == (python, "my model.py", "--from", "tcp://127.0.0.1:5555")
    assert dict(sink.environment) == {
        "FRAMEPAIR_SUB": "tcp://127.0.0.1:5555",
        "FRAMEPAIR_SYNC": "tcp://127.0.0.1:5556",
    }
    assert not sink.is_ours


def test_a_consumer_of_ones_own_is_told_where_the_rings_are() -> None:
    options = Options(("0",), sink="python model.py", payload=("shm",), shm_dir=Path("/dev/shm/x"))
    assert dict(nodes_of(options)[-1].environment)["FRAMEPAIR_SHM_DIR"] == "/dev/shm/x"


def test_a_consumer_whose_command_is_not_there_is_refused() -> None:
    with pytest.raises(Refused, match="there is no command pyhton"):
        nodes_of(Options(sink="pyhton model.py"))


@pytest.mark.parametrize("command", ["", "  ", "python 'model.py"])
def test_a_consumer_that_is_no_command_is_refused(command: str) -> None:
    if command:
        with pytest.raises(Refused, match="--sink"):
            nodes_of(Options(sink=command))


def test_each_node_has_its_policy() -> None:
    def policies(**asked: Any) -> list[str]:
        return [node.restart for node in nodes_of(Options(("a=0", "b=1"), **asked))]

    assert policies() == ["on-failure"] * 4
    assert policies(restart=("always", "b=never", "sink=on-failure")) == [
        "always", "never", "always", "on-failure",
    ]  # fmt: skip
    # A new producer would begin its video again, and an offline run would have it twice.
    assert policies(pace="max") == ["never"] * 4


@pytest.mark.parametrize("word", ["sometimes", "c=never", "a=", "=never"])
def test_a_policy_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(Refused, match="on-failure, never, or NODE="):
        nodes_of(Options(("a=0",), restart=(word,)))


def test_a_value_that_looks_like_a_flag_stays_a_value() -> None:
    assert "--source=-x.mp4" in nodes_of(Options(("-x.mp4",)))[0].command


def test_over_tcp_every_source_has_a_port() -> None:
    left, right, combiner, sink = nodes_of(Options(listen="tcp://10.0.0.1:5555", insecure=True))
    assert flag(left, "--push") == "tcp://10.0.0.1:5557"
    assert flag(right, "--push") == "tcp://10.0.0.1:5558"
    assert flag(combiner, "--pub") == flag(sink, "--sub") == "tcp://10.0.0.1:5555"


@pytest.mark.parametrize("host", ["*", "0.0.0.0"])
def test_one_listens_on_all_interfaces_but_connects_to_one(host: str) -> None:
    left, _, combiner, sink = nodes_of(Options(listen=f"tcp://{host}:5555", insecure=True))
    assert flag(left, "--push") == "tcp://127.0.0.1:5557"
    assert flag(combiner, "--pub") == f"tcp://{host}:5555"
    assert flag(sink, "--sub") == "tcp://127.0.0.1:5555"


def test_a_run_directory_too_deep_for_sockets_is_refused() -> None:
    with pytest.raises(EndpointError, match="shorter run directory"):
        nodes_of(Options(run_dir=Path("/" + "x" * 100)))


@pytest.mark.parametrize(
    "uri",
    [
        SECRET_URL,
        "rtsp://user@h/x",
        "http://h/x?token=t",
        "rtsp://h/password=p",
        "rtsps://h:7441/TOKEN",
    ],
)
def test_a_password_is_not_in_a_command_that_others_can_see(uri: str) -> None:
    producer, *others = nodes_of(Options((f"left={uri}",)))
    assert uri not in " ".join(producer.command)
    assert producer.environment == (("FRAMEPAIR_SOURCE", uri),)
    assert all(node.environment == () for node in others)
    assert shlex.split(producer.shell_line())[:2] == [f"FRAMEPAIR_SOURCE={uri}", "python"]


@pytest.mark.parametrize("uri", ["synthetic://1280x720@30", "rtsp://h:554/", "a@b?c=d.mp4", "0"])
def test_other_addresses_are_in_the_command(uri: str) -> None:
    producer = nodes_of(Options((f"left={uri}",)))[0]
    assert flag(producer, "--source") == uri
    assert producer.environment == ()


def test_offline_a_duration_is_media_time() -> None:
    assert flag(nodes_of(Options(duration=2.5, pace="max"))[0], "--until") == "2.5"
    assert flag(nodes_of(Options())[0], "--until") is None
    assert flag(nodes_of(Options(duration=2.5))[0], "--until") is None


def test_times_reach_the_producer_to_the_nanosecond() -> None:
    producer = nodes_of(Options(duration=2000.000000001, pace="max"))[0]
    assert flag(producer, "--until") == "2000.000000001"
    producer = nodes_of(Options(duration=2000, pace="max"))[0]
    assert flag(producer, "--until") == "2000"


@pytest.mark.parametrize(
    ("told", "kept"), [({}, True), ({"on_failure": "stop"}, False), ({"pace": "max"}, False)]
)
def test_a_source_that_fails_is_kept_in_real_time(told: dict[str, Any], kept: bool) -> None:
    asked = Options(**told)
    nodes = commands.table(asked, plan(asked))
    assert [node.is_kept for node in nodes] == [kept, kept, False, False]
