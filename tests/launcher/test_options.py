"""Flags and the configuration file."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclopts import CycloptsError

from framepair.nodes.common import durations
from framepair.nodes.common.options import declared
from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.source_options import SourceOptions, of_sources
from framepair.nodes.launcher import options, topology
from framepair.nodes.launcher.names import without_secrets
from framepair.nodes.launcher.options import Options
from framepair.protocol.transport.endpoints import EndpointError


@pytest.fixture
def file() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="fp-", dir="/tmp"))
    yield directory / "pipeline.toml"
    shutil.rmtree(directory)


def parse(*arguments: str) -> Options:
    return options.parse(arguments)


def test_without_arguments_there_are_two_synthetic_sources() -> None:
    assert parse() == Options()
    assert Options().sources == ("left=synthetic://", "right=synthetic://")


def test_sources_and_flags_mix_freely() -> None:
    parsed = parse("a.mp4", "--duration", "2.5", "b=0", "--pace=max", "--no-sink", "--loop")
    assert parsed == Options(
        ("a.mp4", "b=0"), duration=2.5, pace="max", no_sink=True, loop=True, window=1.0
    )


def test_a_url_with_parameters_is_taken_as_it_is() -> None:
    assert parse("rtsp://h/x?a=b&c=%20d").sources == ("rtsp://h/x?a=b&c=%20d",)


@pytest.mark.parametrize(
    "flags",
    [
        "--window 0",
        "--window -1",
        "--window nan",
        "--window inf",
        "--window 1e-10",
        "--window 1e300",
        "--window one",
        "--duration 0",
        "--duration -1",
        "--duration nan",
        "--max-wait -1",
        "--max-wait nan",
        "--idle-timeout 0",
        "--start-timeout -0.1",
        "--open-timeout 0",
        "--read-timeout 0",
        "--max-bytes 0",
        "--keep 0",
        "--pace slow",
        "--nonsense 1",
        "--window",
    ],
)
def test_a_flag_that_cannot_be_used_is_one_sentence_that_names_it(flags: str) -> None:
    with pytest.raises(CycloptsError) as caught:
        parse(*flags.split())
    assert flags.split()[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_limits_themselves_can_be_used() -> None:
    parsed = parse("--max-wait", "0", "--start-timeout", "0", "--keep", "1", "--max-bytes", "1")
    assert (parsed.max_wait, parsed.start_timeout, parsed.keep, parsed.max_bytes) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("sources", "left='my cam.mp4' right=0", ("left=my cam.mp4", "right=0")),
        ("loop", "1", True),
        ("open_timeout", "3", 3.0),
        ("window", "0.5", 0.5),
        ("pace", "max", "max"),
        ("max_wait", "0.1", 0.1),
        ("max_bytes", "7", 7),
        ("clock", "stamped", "stamped"),
        ("json", "a b.json", Path("a b.json")),
        ("sink", "python 'my model.py'", "python 'my model.py'"),
        ("payload", "shm left=raw", ("shm", "left=raw")),
        ("fault", "a:crash@5s b:crash@1s", ("a:crash@5s", "b:crash@1s")),
        ("hosts", "combiner=nuc", ("combiner=nuc",)),
        ("ports", "a=7410 b=7411", ("a=7410", "b=7411")),
        ("keys", "keys", Path("keys")),
        ("insecure", "1", True),
        ("pixels", "i420 left=mono8", ("i420", "left=mono8")),
        ("shm_dir", "/dev/shm/x", Path("/dev/shm/x")),
    ],
)
def test_an_option_may_be_a_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any
) -> None:
    monkeypatch.setenv(f"FRAMEPAIR_{name.upper()}", text)
    assert parse() == dataclasses.replace(Options(), **{name: value})


# Options of which not every word is a value.
RECORDED = {
    "record_codec": "raw",
    "record_segment": "90s",
    "record_keep": "7d",
    "record_max_bytes": "500MB",
    "monitor": "10.0.0.5:8000",
    "unhealthy_after": "1min",
}


def test_every_option_has_a_variable(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    file.touch()
    texts = {float: "9", int: "9", bool: "1", Path: str(file), tuple: "word", str: "word"}
    known = declared(options.app())
    for option in known:
        kind = options.plain_type(option.type)
        text = texts[kind] if kind in texts else typing.get_args(option.type)[-1]
        if kind is typing.Literal:
            text = options.choices(option.type)[-1]
        if option.name in ("report_every", "start"):
            text = "1h"
        monkeypatch.setenv(option.variable, RECORDED.get(option.name, text))
    # All at a time, as a parser takes long to build: each sets its own option, and there is one for each.
    asked = parse()
    assert len({option.variable for option in known}) == len(known)
    for option in known:
        assert getattr(asked, option.name) not in (option.default, None), option.name


def test_flags_win_over_variables_and_those_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('sources = ["file"]\nwindow = 1.5\nkeep = 5\nloop = true\nmax_wait = 7')
    for name, text in (
        ("CONFIG", str(file)), ("SOURCES", "one two"), ("WINDOW", "2.5"), ("KEEP", "6"), ("LOOP", "true"),
        ("WAIT", ""),
    ):  # fmt: skip
        monkeypatch.setenv(f"FRAMEPAIR_{name}", text)
    assert parse("--window", "3", "--no-loop") == Options(
        ("one", "two"), window=3.0, keep=6, loop=False, max_wait=7.0, config=file
    )
    assert parse("flag").sources == ("flag",)


@pytest.mark.parametrize(
    ("name", "text"), [("WINDOW", "0"), ("KEEP", "none"), ("PACE", "slow"), ("FAULT", "'")]
)
def test_a_variable_that_cannot_be_used_is_one_sentence_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(f"FRAMEPAIR_{name}", text)
    with pytest.raises((CycloptsError, Refused)) as caught:
        parse()
    assert f"FRAMEPAIR_{name}" in str(caught.value)


def test_a_file_says_all_that_flags_say(file: Path) -> None:
    file.write_text(
        """
        sources = ["left=a.mp4", "b.avi", 0]
        loop = true
        wait = true
        open_timeout = 3
        read-timeout = 1.5
        window = 0.5
        pace = "max"
        duration = 10
        max_wait = 0.1
        idle_timeout = 1
        start_timeout = 0
        clock = "stamped"
        strict = true
lines = true
quiet = true
        json = "report.json"
        keep = 3
        sink = "python model.py"
        no_sink = true
        restart = ["never"]
        health_timeout = 20
        on_failure = "stop"
        fault = ["b:crash@5s"]
        print = true
        plan = true
        doctor = true
        verbose = true
        log_format = "json"
        report_every = "1h"
        start = "1m30s"
        speed = 2.0
        listen = "tcp://127.0.0.1:5555"
        keygen = "made"
        keys = "keys"
        insecure = true
        hosts = ["combiner=nuc"]
        ports = ["a=7410"]
        host = "nuc"
        run_dir = "/run/x"
        payload = ["shm", "b=raw"]
        relay = "never"
        history = 8
        shm_dir = "/dev/shm/x"
        max_bytes = 1_000_000
        max_frame = 2_000_000
max_sources = 9
consumers = 2
allow_redirects = true
        pixels = "i420"
        size = ["b=640x"]
        fps = 5
        stream = 1
        stamp = "media"
        offset = "b=1.25s"
record = "recordings"
record_codec = "jpeg:95"
record_segment = "1h"
record_keep = "7d"
record_max_bytes = "2TB"
monitor = ":8000"
monitor_token = "token"
unhealthy_after = "1min"
        """
    )
    parsed = parse("--config", str(file))
    assert parsed == Options(
        sources=("left=a.mp4", "b.avi", "0"),
        loop=True,
        wait=True,
        open_timeout=3.0,
        read_timeout=1.5,
        window=0.5,
        pace="max",
        duration=10.0,
        max_wait=0.1,
        idle_timeout=1.0,
        start_timeout=0.0,
        clock="stamped",
        strict=True,
        lines=True,
        quiet=True,
        json=Path("report.json"),
        keep=3,
        sink="python model.py",
        no_sink=True,
        restart=("never",),
        health_timeout=("20",),
        on_failure="stop",
        fault=("b:crash@5s",),
        config=file,
        print=True,
        plan=True,
        doctor=True,
        verbose=True,
        log_format="json",
        report_every="1h",
        start="1m30s",
        speed=2.0,
        listen="tcp://127.0.0.1:5555",
        keygen=Path("made"),
        keys=Path("keys"),
        insecure=True,
        hosts=("combiner=nuc",),
        ports=("a=7410",),
        host="nuc",
        run_dir=Path("/run/x"),
        payload=("shm", "b=raw"),
        relay="never",
        history=8.0,
        shm_dir=Path("/dev/shm/x"),
        max_bytes=1_000_000,
        max_frame=2_000_000,
        max_sources=9,
        consumers=2,
        allow_redirects=True,
        pixels=("i420",),
        size=("b=640x",),
        fps=("5",),
        stream=("1",),
        stamp=("media",),
        offset=("b=1.25s",),
        record=Path("recordings"),
        record_codec="jpeg:95",
        record_segment="1h",
        record_keep="7d",
        record_max_bytes="2TB",
        monitor=":8000",
        monitor_token=Path("token"),
        unhealthy_after="1min",
    )
    unset = [f.name for f in dataclasses.fields(Options) if getattr(parsed, f.name) == f.default]
    assert unset == []


def test_flags_win_over_the_file(file: Path) -> None:
    file.write_text('sources = ["a.mp4", "b.mp4"]\nloop = true\nwindow = 2\nkeep = 5\n')
    parsed = parse("c.mp4", "--no-loop", "--window", "3", "--config", str(file))
    assert parsed == Options(("c.mp4",), loop=False, window=3.0, keep=5, config=file)


def test_sources_may_be_a_table(file: Path) -> None:
    file.write_text('window = 2\n[sources]\nleft = "rtsp://u:p@h/x?a=b"\nright = 0\n')
    parsed = parse("--config", str(file))
    assert parsed.sources == ("left=rtsp://u:p@h/x?a=b", "right=0")


def test_a_source_may_be_a_table_of_what_is_asked_of_it(file: Path) -> None:
    file.write_text(
        """
        pixels = "mono8"
        fps = 12.5
        payload = ["raw", "right=jpeg"]
        [sources]
        right = 0
        [sources.left]
        uri = "rtsp://u:p@h/x?a=b"
        pixels = "i420"
        size = "640x"
        fps = 5
        stream = 1
        stamp = "media"
        offset = "-1.25s"
        payload = "shm"
        """
    )
    parsed = parse("--config", str(file))
    assert parsed.sources == ("right=0", "left=rtsp://u:p@h/x?a=b")
    assert parsed.payload == ("raw", "right=jpeg", "left=shm")
    left = SourceOptions(
        pixels="i420", size="640x", fps=5.0, stream=1, stamp="media", offset="-1.25s"
    )
    right = SourceOptions(pixels="mono8", fps=12.5)
    assert of_sources(parsed, ["left", "right"]) == {"left": left, "right": right}
    assert parse("--config", str(file), "--pixels", "rgb8").pixels == ("rgb8",)


def test_restarts_may_be_a_word_or_a_table(file: Path) -> None:
    file.write_text('restart = "never"')
    assert parse("--config", str(file)).restart == ("never",)
    file.write_text('[restart]\nleft = "never"\nsink = "always"')
    assert parse("--config", str(file)).restart == ("left=never", "sink=always")


def test_an_empty_file_changes_nothing(file: Path) -> None:
    file.touch()
    assert parse("--config", str(file)) == Options(config=file)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("durration = 10", "durration"),
        ('duration = "10"', "duration"),
        ("duration = true", "duration"),
        ("duration = [10]", "duration"),
        ("duration = -1", "duration"),
        ("window = 0", "window"),
        ("window = nan", "window"),
        ("window = 1979-05-27", "window"),
        ("keep = 1.5", "keep"),
        ("keep = 0", "keep"),
        ("max_bytes = true", "max_bytes"),
        ("loop = 1", "loop"),
        ('loop = "yes"', "loop"),
        ("pace = 1", "pace"),
        ('pace = "fast"', "pace"),
        ("json = 1", "json"),
        ('sources = "a.mp4"', "sources"),
        ("sources = 1", "sources"),
        ('[sources]\n"my cam" = "a.mp4"', "sources.my cam"),
        ("[sources]\nleft = 1.5", "sources.left"),
        ("[sources]\nleft.uri = 1.5", "sources.left"),
        ("[sources.left]\nstream = 1", "sources.left"),
        ('[sources.left]\nuri = "a.mp4"\npixel = "i420"', "sources.left.pixel"),
        ('[sources.left]\nuri = "a.mp4"\npixels = 1', "sources.left.pixels"),
        ('[sources.left]\nuri = "a.mp4"\nfps = "5"', "sources.left.fps"),
        ('[sources.left]\nuri = "a.mp4"\nstream = 1.0', "sources.left.stream"),
        ('[sources.left]\nuri = "a.mp4"\nsize = ["640x"]', "sources.left.size"),
        ('[sources.left]\nuri = "a.mp4"\npayload = true', "sources.left.payload"),
        ('[sources.left]\nuri = "a.mp4"\nsize = "x2"\n[size]\nleft = "x2"', "size"),
        ("stream = true", "stream"),
        ("[duration]\nseconds = 1", "duration"),
        ('config = "other.toml"', "config"),
        ("window = ", "TOML"),
        ("window = 1\nwindow = 2", "TOML"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence_that_names_it_and_the_key(
    file: Path, text: str, key: str
) -> None:
    file.write_text(text)
    with pytest.raises((CycloptsError, Refused)) as caught:
        parse("--config", str(file))
    assert str(file) in str(caught.value)
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_isnt_there_or_isnt_text_is_one_sentence(file: Path) -> None:
    with pytest.raises(Refused, match=f"cannot read {file}"):
        parse("--config", str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(Refused, match=f"{file} is not TOML"):
        parse("--config", str(file))
    with pytest.raises(Refused, match="cannot read"):
        parse("--config", str(file.parent))


@pytest.mark.parametrize(
    "text",
    [
        'sources = "{url}"',
        'sources = [["{url}"]]',
        'sources = [{{a = "{url}"}}]',
        'source = "{url}"',
        '[sources]\nleft = ["{url}"]',
        '[sources]\nleft = {{url = "{url}"}}',
        '[source]\nleft = "{url}"',
        'window = "{url}"',
        'pace = "{url}"',
        'keep = ["{url}"]',
        'json = ["{url}"]',
        '[json]\nleft = "{url}"',
        'listen = "{url}"',
        'payload = "{url}"',
        'restart = "{url}"',
        'fault = "{url}"',
        'hosts = ["{url}"]',
        '[sources]\n"{url}" = 1',
        'sources = ["left={url}", "left={url}"]',
        'sources = ["left={url}\\u0000"]',
        '[sources.left]\nuri = "a.mp4"\n"{url}" = 1',
        '[sources.left]\nuri = "a.mp4"\nsize = "{url}"',
        '[sources.left]\npixels = "{url}"',
        'sources = "{url}',
    ],
)
@pytest.mark.parametrize("url", ["rtsp://u:hunter2@h/x", "http://h/x?token=hunter2"])
def test_a_file_that_cannot_be_used_does_not_give_its_passwords_away(
    file: Path, text: str, url: str
) -> None:
    file.write_text(text.format(url=url))
    with pytest.raises((CycloptsError, EndpointError, Refused)) as caught:
        topology.plan(parse("--config", str(file)))
    said = without_secrets(str(caught.value))
    assert "hunter2" not in said
    assert url not in said


def test_a_node_may_be_given_its_own_health_timeout() -> None:
    asked = options.parse(["--health-timeout", "20", "--health-timeout", "sink=60"])
    found = topology.plan(asked).health_timeouts_s
    assert found == {
        "left": 20.0,
        "right": 20.0,
        "combiner": 20.0,
        "relay": 20.0,
        "sink": 60.0,
        "recorder": 20.0,
        "monitor": 20.0,
    }
    assert set(topology.plan(options.parse([])).health_timeouts_s.values()) == {10.0}


@pytest.mark.parametrize("word", ["0", "-1", "x", "sink=", "sink=nan", "lefft=60", "1e99"])
def test_a_health_timeout_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(Refused, match="it is seconds, more than 0, or NODE=SECONDS"):
        topology.plan(options.parse([f"--health-timeout={word}"]))


@pytest.mark.parametrize("flag", ["--strict", "--json=r.json", "--keep=3"])
@pytest.mark.parametrize("sink", ["--no-sink", "--sink=sleep 1"])
def test_flags_that_would_do_nothing_are_refused(sink: str, flag: str) -> None:
    with pytest.raises(Refused, match="is for the consumer that prints, which --"):
        topology.plan(parse(sink, flag))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("15min", 900),
        ("1m30s", 90),
        ("1h", 3600),
        ("1.5h", 5400),
        ("1d", 86400),
    ],
)
def test_how_often_it_is_said_how_it_went(text: str, seconds: float) -> None:
    asked = parse("--report-every", text, "--record-segment", text, "--record-keep", text)
    assert asked.report_every_s == seconds
    assert durations.parse_ns(asked.record_segment) == seconds * 10**9


@pytest.mark.parametrize("text", ["", "1", "h", "0h", "-1h", "1w", "99999999d", "²h"])
def test_an_interval_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(CycloptsError, match="such as 90s, 10min, 24h or 7d"):
        parse(f"--report-every={text}")
    with pytest.raises(CycloptsError, match="such as 90s, 10min, 24h or 7d"):
        parse(f"--record-keep={text}")


def test_a_report_is_no_more_often_than_each_second() -> None:
    with pytest.raises(CycloptsError, match="It must be 1s or more"):
        parse("--report-every=0.5s")
