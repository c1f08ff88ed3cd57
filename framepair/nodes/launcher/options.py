"""What a user can ask of a pipeline: flags and a TOML file, from one definition."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from cyclopts import App, Group, Parameter
from cyclopts.config import Dict

from framepair.nodes.common.runtime import MAX_SECONDS, Refused
from framepair.nodes.launcher.names import is_name

# What a key may hold, by the type of its option.
NUMBER, TEXT = ((int, float), "a number"), ((str,), "text")
WHOLE, CHOICE, LIST = ((int,), "a whole number"), ((bool,), "true or false"), ((list,), "a list")
# What may be given as a table as well as a list.
TABLES = ("sources", "hosts", "restart")
# What may be given as one word as well as a list.
WORDS = ("payload", "restart", "fault")
TOML_TYPES = {float: NUMBER, int: WHOLE, bool: CHOICE, tuple: LIST}


def read(path: Path) -> dict[str, Any]:
    """Return what ``path`` says, tables as lists of NAME=TEXT; raises Refused if it can't be read."""
    try:
        with path.open("rb") as file:
            fields = tomllib.load(file)
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise Refused(f"{path} is not TOML: {error}") from None
    if "config" in fields:
        raise Refused(f"{path} cannot name another file with config")
    for key in TABLES:
        if isinstance(fields.get(key), dict):
            fields[key] = _from_table(key, fields[key], path)
    for key in WORDS:
        if isinstance(fields.get(key), str):
            fields[key] = [fields[key]]
    return fields


def _from_table(key: str, table: dict[str, Any], path: Path) -> list[str]:
    for name, value in table.items():
        if not is_name(name):
            raise Refused(f"{key}.{name} in {path}: a name has letters, digits, _ and - only")
        if type(value) not in (str, int):
            raise Refused(f"{key}.{name} in {path} must be text, not {value!r}")
    return [f"{name}={value}" for name, value in table.items()]


def check_types(fields: dict[str, Any], parsed: object, path: Path) -> None:
    """Refuse what a command line has to take, where all is text, but a typed file should not say.

    ``parsed`` has an attribute of the right type for each key in ``fields``.
    """
    for key, value in fields.items():
        allowed, words = TOML_TYPES.get(type(getattr(parsed, key.replace("-", "_"))), TEXT)
        if type(value) not in allowed:
            raise Refused(f"{key} in {path} must be {words}, not {value!r}")


DESCRIPTION = """Pair the frames of several videos by capture time, and print a line per pair.

```
launch.py                                       two synthetic videos
launch.py left.mp4 right.avi                    files, at their own rate
launch.py door=0 yard=rtsp://10.0.0.7/live      cameras, with names
launch.py a.mp4 b.mp4 --pace max --json r.json  offline, every frame
```

Ctrl-C stops everything and prints a report.
"""
SOURCES = Parameter(group=Group.create_ordered("Videos"))
PAIRS = Parameter(group=Group.create_ordered("Pairs"))
OUTPUT = Parameter(group=Group.create_ordered("Output"))
HELP = Group.create_ordered("Running")
RUNNING = Parameter(group=HELP)
SWITCH = Parameter(show_default=False)


def _above_zero(_type: object, value: float | None) -> None:
    if value is not None and not 1e-9 <= value <= MAX_SECONDS:
        raise ValueError(f"It must be above 0, and {MAX_SECONDS:.0f} at most.")


def _not_negative(_type: object, value: float | None) -> None:
    if value is not None and not 0 <= value <= MAX_SECONDS:
        raise ValueError(f"It must be from 0 to {MAX_SECONDS:.0f}.")


def _at_least_one(_type: object, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("It must be 1 or more.")


Positive = Parameter(validator=_above_zero)
NotNegative = Parameter(validator=_not_negative)
AtLeastOne = Parameter(validator=_at_least_one)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Everything that a user can say about a pipeline; None leaves it to the nodes. Times are in seconds."""

    sources: Annotated[tuple[str, ...], SOURCES, Parameter(negative="", show_default=False)] = (
        field(default=("left=synthetic://", "right=synthetic://"), kw_only=False)
    )
    """Files, camera numbers (0), devices (/dev/video0), URLs (rtsp://…) or synthetic://1280x720@30; named
    after themselves, or NAME=SOURCE. Two synthetic ones if there are none."""

    loop: Annotated[bool, SOURCES, SWITCH] = False
    """Begin a file again when it ends."""

    wait: Annotated[bool, SOURCES, SWITCH] = False
    """Keep trying a camera or URL that cannot be opened at the start."""

    open_timeout: Annotated[float | None, SOURCES, Positive] = None
    """Seconds that opening a camera or URL may take. [default: 5]"""

    read_timeout: Annotated[float | None, SOURCES, Positive] = None
    """Seconds without a frame after which a camera or URL is opened again. [default: 3]"""

    window: Annotated[float, PAIRS, Positive] = 1.0
    """Seconds of video in a pair."""

    pace: Annotated[Literal["realtime", "max"] | None, PAIRS] = None
    """realtime: as the videos play. max: offline, as fast as can be without losing a frame.
    [default: realtime]"""

    duration: Annotated[float | None, PAIRS, Positive] = None
    """Seconds to run, and on to the end of the last pair. With --pace max: seconds of video."""

    max_wait: Annotated[float | None, PAIRS, NotNegative] = None
    """Seconds that a pair waits for a slow source. [default: 0.5]"""

    idle_timeout: Annotated[float | None, PAIRS, Positive] = None
    """Seconds of silence after which a source is offline and no pair waits for it. [default: 2]"""

    start_timeout: Annotated[float | None, PAIRS, NotNegative] = None
    """Seconds that the first pair waits for sources that have not begun. [default: 5]"""

    clock: Annotated[Literal["corrected", "stamped"] | None, PAIRS] = None
    """corrected: pair by the combiner's clock, which producers on other hosts compare theirs with; stamped: by
    each producer's own. [default: corrected across hosts]"""

    strict: Annotated[bool, OUTPUT, SWITCH, Parameter(negative="")] = False
    """Exit with 1 if the ledger doesn't balance, or any frame was lost since the first pair."""

    json: Annotated[Path | None, OUTPUT] = None
    """Write the final report to this file too."""

    keep: Annotated[int | None, OUTPUT, AtLeastOne] = None
    """Pairs that may wait to be printed; then the oldest is dropped. [default: 2]"""

    sink: Annotated[str | None, OUTPUT, Parameter(negative="")] = None
    """A consumer of your own instead of the one that prints: a command such as "python model.py", started,
    watched and stopped with the rest. The address is in FRAMEPAIR_SUB, and where the command says {sub}."""

    no_sink: Annotated[bool, OUTPUT, SWITCH, Parameter(negative="")] = False
    """Start no consumer: leave the pairs to your own."""

    config: Annotated[Path | None, RUNNING] = None
    """TOML file: options by name (duration = 10), and sources = ["left=a.mp4"] or a table [sources].
    Flags win. The place for a URL with a password, which others could see in a flag."""

    verbose: Annotated[bool, OUTPUT, SWITCH, Parameter(negative="")] = False
    """Log what each node does, not only what goes wrong."""

    print: Annotated[bool, RUNNING, SWITCH, Parameter(negative="")] = False
    """Print the commands of the nodes, one a line, and start nothing."""

    plan: Annotated[bool, RUNNING, SWITCH, Parameter(negative="")] = False
    """Print what the pipeline will take - links, memory, shared memory - and start nothing."""

    listen: Annotated[str | None, RUNNING] = None
    """tcp://HOST:PORT for pairs, the ports after it for the sources, and one more for the combiner's clock,
    instead of sockets in --run-dir."""

    restart: Annotated[tuple[str, ...], RUNNING, Parameter(negative="", show_default=False)] = ()
    """Which nodes are started again when they end: on-failure, always or never; NODE=never for one of them
    (a source's name, combiner or sink). [default: on-failure; with --pace max: never]"""

    health_timeout: Annotated[float, RUNNING, Positive] = 10.0
    """Seconds without a sign of work after which a node is killed, and started again."""

    fault: Annotated[tuple[str, ...], RUNNING, Parameter(negative="", show_default=False)] = ()
    """NODE:KIND@…: fail on purpose, to see what becomes of the rest: left:freeze@10s,5s, left:crash@5s,
    left:slow@3s,50ms, left:drop@0.01, left:skew@200ms, left:clock@3s,200ppm, left:garbage@8s,
    combiner:kill@12s, sink:stop@6s,4s.
    Times count from when the node works, at its first start."""

    keygen: Annotated[Path | None, RUNNING] = None
    """Make a directory with keys for a pipeline on several machines, and start nothing."""

    keys: Annotated[Path | None, RUNNING] = None
    """Directory of keys, which addresses on a network need. [default: FRAMEPAIR_KEYS]"""

    insecure: Annotated[bool, RUNNING, SWITCH, Parameter(negative="")] = False
    """Use addresses on a network without keys: everybody there can read, and can send."""

    hosts: Annotated[tuple[str, ...], RUNNING, Parameter(negative="", show_default=False)] = ()
    """NODE=HOST: what runs where, if not all on one machine; nodes are sources by name, combiner and sink.
    In the file a table [hosts]."""

    host: Annotated[str | None, RUNNING] = None
    """Start what runs on this host. [default: this machine's name]"""

    run_dir: Annotated[Path | None, RUNNING] = None
    """Directory of the sockets, one pipeline each. [default: framepair in XDG_RUNTIME_DIR, or in /tmp]"""

    payload: Annotated[tuple[str, ...], RUNNING, Parameter(negative="", show_default=False)] = ()
    """How pixels travel: raw, in messages; shm, in shared memory on one machine; or jpeg, compressed
    (jpeg:80 for another quality than 90). NAME=shm for one source only. [default: raw]"""

    history: Annotated[float | None, RUNNING, Positive] = None
    """With shm, seconds of frames kept in shared memory; two windows at the least. [default: 4]"""

    shm_dir: Annotated[Path | None, RUNNING] = None
    """With shm, the directory of shared memory. [default: FRAMEPAIR_SHM_DIR, or one in /dev/shm]"""

    max_bytes: Annotated[int | None, RUNNING, AtLeastOne] = None
    """Bytes of frames that may queue at each link. [default: two windows]"""


def parse(arguments: Sequence[str]) -> Options | None:
    """Return what the flags and the file that they name say, None if help was asked for and printed.

    Raises CycloptsError or Refused, in one sentence, for what can't be used.
    """
    options = _parse(arguments)
    if options is None or options.config is None:
        return options
    fields = read(options.config)
    check_types(fields, _parse([], fields, options.config), options.config)
    return _parse(arguments, fields, options.config)


def _parse(
    arguments: Sequence[str], fields: dict[str, Any] | None = None, source: Path | None = None
) -> Options | None:
    app = App(
        name="launch.py",
        help=DESCRIPTION,
        help_format="markdown",
        usage="Usage: launch.py [SOURCES] [OPTIONS]",
        version_flags=[],
        config=[Dict(fields, source=str(source))] if fields else [],
        result_action="return_value",
    )
    app.default(_options)
    app["--help"].group = HELP
    return cast(Options | None, app(arguments, exit_on_error=False, print_error=False))


def _options(options: Annotated[Options, Parameter(name="*")] = Options()) -> Options:
    return options
