"""What a user can ask of a pipeline: flags, environment variables and a TOML file, from one definition."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from framepair.nodes.common import monitor_options, plain_words, source_options
from framepair.nodes.common.log_format import Name as LogFormatName
from framepair.nodes.common.monitor_options import Monitoring
from framepair.nodes.common.options import (
    NETWORK,
    ONLY_ON,
    OUTPUT,
    PAIRS,
    PIXELS,
    RECORDING,
    RUNNING,
    SEVERAL,
    VIDEOS,
    Combining,
    Consuming,
    Positive,
    Producing,
)
from framepair.nodes.common.plain_words import Detail
from framepair.nodes.common.record_options import Recording
from framepair.nodes.common.runtime import Refused
from framepair.nodes.common.source_options import EachSource, SourceOptions
from framepair.nodes.launcher.names import is_name
from framepair.protocol.memory import payloads

if TYPE_CHECKING:
    from cyclopts import App, ArgumentCollection

# What a key may hold, by the type of its option; all else is text.
NUMBER, TEXT = ((int, float), "a number"), ((str,), "text")
WHOLE, CHOICE, LIST = ((int,), "a whole number"), ((bool,), "true or false"), ((list,), "a list")
TOML_TYPES: dict[object, tuple[tuple[type, ...], str]] = {
    float: NUMBER,
    int: WHOLE,
    bool: CHOICE,
    tuple: LIST,
}
# What a value is, without the value: it may hold a password.
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}
SAID_OF_ONE = "NAME=shm is for one source only"
PAYLOAD = f"How pixels travel: {payloads.NAMES}; {SAID_OF_ONE}. {payloads.HELP}. [default: raw]"
# What may be given as a table as well as a list.
TABLES = ("sources", "hosts", "ports", "restart", "health_timeout")
# What may be given as one word as well as a list.
WORDS = ("payload", "restart", "fault", "health_timeout", *source_options.NAMES)
# What the table of a source may say of it, beside its uri.
OF_SOURCE = (*source_options.NAMES, "payload")


def _page(_type: object, value: str | None) -> None:
    if value is not None and monitor_options.parse_address(value).port == 0:
        raise ValueError("It needs a port, so that the page can be found.")


@dataclass(frozen=True)
class Sources:
    """The one option that needs no flag. The last base of Options: its field has to be the first."""

    sources: Annotated[tuple[str, ...], VIDEOS, SEVERAL] = (
        "left=synthetic://",
        "right=synthetic://",
    )
    """Files, camera numbers (0), devices (/dev/video0), URLs (rtsp://…) or synthetic://1280x720@30; named
    after themselves, or NAME=SOURCE. [default: two synthetic ones]"""


@dataclass(frozen=True, kw_only=True)
class Options(EachSource, Producing, Combining, Consuming, Recording, Monitoring, Sources):
    """Everything that a user can say about a pipeline. Times are in seconds."""

    duration: Annotated[float | None, PAIRS, Positive] = None
    """Seconds to run, and on to the end of the last pair; with --pace max, seconds of video."""

    payload: Annotated[tuple[str, ...], PIXELS, SEVERAL, Detail(help=PAYLOAD)] = ("raw",)

    relay: Annotated[Literal["auto", "always", "never"], PIXELS] = "auto"
    """Whether consumers of this host receive from a relay, which takes frames from the combiner once and puts
    them into shared memory for all of them. auto: for two or more that are started here, the monitor not
    counted, if any frames are not in shared memory already."""

    sink: Annotated[str | None, OUTPUT] = None
    """A command of yours to take the pairs instead, as "python model.py". It is started, watched and
    stopped with the rest. The address is in FRAMEPAIR_SUB, and where the command says {sub}."""

    no_sink: Annotated[bool, OUTPUT, ONLY_ON] = False
    """Start no consumer: leave the pairs to your own."""

    record: Annotated[Path | None, RECORDING] = None
    """Directory to record all sources to, as MCAP files. framepair plays them again."""

    monitor: Annotated[str | None, OUTPUT, Detail(validator=_page)] = None
    """HOST:PORT of a page that shows the pipeline, and of metrics for Prometheus. --monitor alone is
    127.0.0.1:7480, which this machine alone reaches."""

    verbose: Annotated[bool, OUTPUT, ONLY_ON] = False
    """Log what each node does, not only what goes wrong."""

    log_format: Annotated[LogFormatName, OUTPUT] = "auto"
    """How log lines look. text: for people. journal: with their syslog priority in front. json: an object
    a line, of time, level, process and message. auto: journal where systemd's journal reads them, else text."""

    config: Annotated[Path | None, RUNNING] = None
    """TOML file with options by name (duration = 10) and a table [sources]. Flags and variables win over it.
    A URL with a password belongs there, or in FRAMEPAIR_SOURCES: other users can read flags."""

    print: Annotated[bool, RUNNING, ONLY_ON] = False
    """The same as framepair commands."""

    plan: Annotated[bool, RUNNING, ONLY_ON] = False
    """The same as framepair plan."""

    doctor: Annotated[bool, RUNNING, ONLY_ON] = False
    """The same as framepair doctor."""

    keygen: Annotated[Path | None, RUNNING] = None
    """The same as framepair keygen DIR."""

    restart: Annotated[tuple[str, ...], RUNNING, SEVERAL] = ()
    """Which nodes are started again when they end: on-failure, always or never; NODE=never for one of them (a
    source's name, combiner, relay, sink, recorder or monitor). [default: on-failure; with --pace max:
    never]"""

    on_failure: Annotated[Literal["keep", "stop"], RUNNING] = "keep"
    """When a source's process ends for the sixth time within a minute: keep the others and try it again, each
    minute in the end; or stop everything. Without any source that works everything stops in any case."""

    health_timeout: Annotated[tuple[str, ...], RUNNING, SEVERAL] = ()
    """Seconds without a sign of work after which a node is killed, and started again; NODE=60 for one of them
    (a source's name, combiner, relay, sink, recorder or monitor). A camera and a consumer of your own get more.
    [default: 10]"""

    fault: Annotated[tuple[str, ...], RUNNING, SEVERAL] = ()
    """NODE:KIND@…: fail on purpose, to see what becomes of the rest: left:freeze@10s,5s, left:crash@5s,
    left:slow@3s,50ms, left:drop@0.01, left:skew@200ms, left:clock@3s,200ppm, left:garbage@8s,
    combiner:kill@12s, sink:stop@6s,4s. Times count from when the node works, at its first start."""

    run_dir: Annotated[Path | None, RUNNING] = None
    """Directory of the sockets, one pipeline each. [default: framepair in XDG_RUNTIME_DIR, or in /tmp]"""

    listen: Annotated[str | None, NETWORK] = None
    """tcp://HOST:PORT for pairs, instead of sockets in --run-dir. The port after it is for the combiner's
    clock, those that follow are for the sources."""

    hosts: Annotated[tuple[str, ...], NETWORK, SEVERAL] = ()
    """NODE=HOST: what runs where, if not all on one machine; nodes are sources by name, combiner, sink,
    recorder and monitor. In the file a table [hosts]."""

    ports: Annotated[tuple[str, ...], NETWORK, SEVERAL] = ()
    """SOURCE=PORT, with --listen: a source's port instead of the next one, so that it keeps it when those
    before it in the list go. In the file a table [ports]."""

    host: Annotated[str | None, NETWORK] = None
    """Start what runs on this host. [default: this machine's name]"""


def parse(arguments: Sequence[str], text: str | None = None) -> Options:
    """Return what flags, variables and the file that they name say, each winning over the next.

    ``text`` stands for what is in that file. Raises CycloptsError or Refused, in one sentence, for what can't
    be used.
    """
    plain = plain_words.read(Options, arguments)
    if plain is not None and plain.config is None:
        return plain
    options: Options = app(text)(arguments, exit_on_error=False, print_error=False)
    return options


def app(text: str | None = None) -> App:
    """Return the parser of a pipeline's options; ``text`` stands for what is in --config's file."""
    # Most command lines don't need it, and it takes 0.1 s to import.
    from framepair.nodes.common.parser import from_environment, options_parser

    return options_parser(Options, "framepair", [from_environment, partial(_from_file, text)])


def _from_file(
    text: str | None, app: App, commands: tuple[str, ...], arguments: ArgumentCollection
) -> None:
    """Give each option without a flag or variable what the file says that --config names."""
    from cyclopts.config import Dict

    named = arguments["--config"].tokens
    if named:
        path = Path(named[0].value)
        fields = read(path, text)
        check_types(fields, path)
        Dict(fields, source=str(path))(app, commands, arguments)


def read(path: Path, text: str | None = None) -> dict[str, Any]:
    """Return what ``path`` says, tables as lists of NAME=TEXT; raises Refused if it can't be read.

    ``text`` stands for what is in it.
    """
    # Most pipelines have no such file.
    import tomllib

    try:
        fields = tomllib.loads(path.read_bytes().decode() if text is None else text)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise Refused(f"{path} is not TOML: {error}") from None
    if "config" in fields:
        raise Refused(f"{path} cannot name another file with config")
    if fields.get("monitor") is True:
        fields["monitor"] = monitor_options.DEFAULT_ADDRESS
    for key in WORDS:
        if isinstance(fields.get(key), str | int | float) and fields[key] is not True:
            fields[key] = [str(fields[key])]
    if isinstance(fields.get("sources"), dict):
        fields["sources"] = _from_sources(fields, fields["sources"], path)
    for key in TABLES:
        if isinstance(fields.get(key), dict):
            fields[key] = _from_table(key, fields[key], path)
    return fields


def check_types(fields: dict[str, Any], path: Path) -> None:
    """Refuse what a command line has to take, where all is text, but a typed file should not say."""
    types_of = typing.get_type_hints(Options)
    for key, value in fields.items():
        expected = plain_type(types_of.get(key.replace("-", "_")))
        allowed, words = TOML_TYPES.get(expected, TEXT)
        if expected is not None and type(value) not in allowed:
            raise Refused(f"{key} in {path} must be {words}, not {_kind(value)}")
        for entry in value if isinstance(value, list) else ():
            if type(entry) not in (str, int):
                raise Refused(f"{key} in {path} must be a list of texts, not of {_kind(entry)}")


def _from_sources(
    fields: dict[str, Any], table: dict[str, Any], path: Path
) -> dict[str, str | int]:
    """Return the addresses in a table of sources; what else it says of one goes to ``fields`` as NAME=VALUE."""
    uris = {}
    for name, value in table.items():
        said = value if isinstance(value, dict) else {"uri": value}
        _check_source(f"sources.{name}", said, path)
        uris[name] = said.pop("uri")
        for option, told in said.items():
            former = fields.get(option, [])
            if not isinstance(former, list):
                raise Refused(f"{option} in {path} must be a list, not {_kind(former)}")
            fields[option] = [*former, f"{name}={told}"]
    return uris


def _check_source(key: str, said: dict[str, Any], path: Path) -> None:
    if "uri" not in said:
        raise Refused(f'{key} in {path} has no uri: say what its source is, as in uri = "a.mp4"')
    types_of = typing.get_type_hints(SourceOptions)
    for option, value in said.items():
        if option != "uri" and option not in OF_SOURCE:
            raise Refused(f"{key}.{option} in {path}: a source has uri, {', '.join(OF_SOURCE)}")
        allowed, words = TOML_TYPES.get(plain_type(types_of.get(option)), TEXT)
        if option != "uri" and type(value) not in allowed:
            raise Refused(f"{key}.{option} in {path} must be {words}, not {_kind(value)}")


def _from_table(key: str, table: dict[str, Any], path: Path) -> list[str]:
    for name, value in table.items():
        if not is_name(name):
            raise Refused(f"{key}.{name} in {path}: a name has letters, digits, _ and - only")
        if type(value) not in (str, int):
            raise Refused(
                f"{key}.{name} in {path} must be text or a whole number, not {_kind(value)}"
            )
    return [f"{name}={value}" for name, value in table.items()]


def plain_type(hint: Any) -> Any:
    """Return the type that an option's values have, without None and without what a tuple holds."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    return typing.get_origin(hint) or hint


def choices(hint: Any) -> tuple[str, ...]:
    """Return the words that an option of this type may be."""
    hints = (hint, *typing.get_args(hint))
    literal = next(part for part in hints if typing.get_origin(part) is typing.Literal)
    return typing.get_args(literal)


def _kind(value: object) -> str:
    return KINDS.get(type(value), "a date")
