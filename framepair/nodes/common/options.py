"""Options that more than one process knows. Each is one field: flag, default, help, checks, TOML key, variable.

A node's options are one of the groups below and what only that node knows; the launcher's are all groups and
what only it knows. So both refuse the same values with the same sentence, and to add an option is one field.
"""

# Not "from __future__ import annotations": cyclopts looks names up in the module of the class that inherits.
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from framepair.nodes.common import durations
from framepair.nodes.common.command_line import CommandLine
from framepair.nodes.common.plain_words import Detail, variable
from framepair.nodes.common.runtime import MAX_SECONDS, Refused
from framepair.protocol.wire.limits import MAX_SOURCES

if TYPE_CHECKING:
    from cyclopts import App

# What --max-wait auto is where a network stream may be among the sources: its frames come in lumps.
AUTO_MAX_WAIT_S = 5.0
# Of --speed, and one part in so many.
MAX_SPEED = 100.0
# Of --report-every.
MIN_INTERVAL_S = 1.0


VIDEOS = Detail(group="Videos")
PAIRS = Detail(group="Pairs")
PIXELS = Detail(group="Pixels and memory")
OUTPUT = Detail(group="Output")
RECORDING = Detail(group="Recording")
RUNNING = Detail(group="Running")
NETWORK = Detail(group="Several machines")
OWN = Detail(group="Parameters")
GROUPS = (VIDEOS, PAIRS, PIXELS, OUTPUT, RECORDING, RUNNING, NETWORK, OWN)
# A switch that a file or variable may turn on and a flag off again, as in --no-loop; and one that is only on.
SWITCH = Detail(show_default=False)
ONLY_ON = Detail(show_default=False, negative=())
# May be given several times.
SEVERAL = Detail(show_default=False, negative=())


def _above_zero(_type: object, value: float | None) -> None:
    if value is not None and not 1e-9 <= value <= MAX_SECONDS:
        raise ValueError(f"It must be above 0, and {MAX_SECONDS:.0f} at most.")


def _not_negative(_type: object, value: float | str | None) -> None:
    if isinstance(value, float | int) and not 0 <= value <= MAX_SECONDS:
        raise ValueError(f"It must be from 0 to {MAX_SECONDS:.0f}.")


def _at_least_one(_type: object, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError("It must be 1 or more.")


def _time(_type: object, value: str | None) -> None:
    if value is not None:
        durations.parse_s(value)


def _speed(_type: object, value: float) -> None:
    if not 1 / MAX_SPEED <= value <= MAX_SPEED:
        raise ValueError(f"It must be from {1 / MAX_SPEED} to {MAX_SPEED:.0f}.")


def _interval(_type: object, value: str | None) -> None:
    if value is not None and durations.parse_s(value) < MIN_INTERVAL_S:
        raise ValueError(f"It must be {MIN_INTERVAL_S:.0f}s or more.")


Positive = Detail(validator=_above_zero)
NotNegative = Detail(validator=_not_negative)
AtLeastOne = Detail(validator=_at_least_one)


@dataclass(frozen=True, kw_only=True)
class Network:
    """What every node knows whose addresses may be on a network."""

    keys: Annotated[Path | None, NETWORK] = None
    """Directory of keys, which addresses on a network need. framepair keygen DIR makes one."""

    insecure: Annotated[bool, NETWORK, ONLY_ON] = False
    """Use addresses on a network without keys: every machine on it can read, and can send."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """What producers and the combiner know of pairs."""

    window: Annotated[float, PAIRS, Positive] = 1.0
    """Seconds of video in a pair."""

    pace: Annotated[Literal["realtime", "max"], PAIRS] = "realtime"
    """realtime: as the videos play, dropping what cannot be sent in time; max: offline, as fast as possible
    without losing a frame."""

    max_wait: Annotated[float | Literal["auto"], PAIRS, NotNegative] = "auto"
    """Most seconds that a pair waits for a late source after its window's end; it waits half a second longer
    than the sources' frames usually take. auto: 5, or 0.5 where no source is a network stream."""

    max_bytes: Annotated[int | None, PIXELS, AtLeastOne] = None
    """Bytes of frames that may queue at each link. [default: two windows, 0.4 s at the least]"""

    @property
    def max_wait_s(self) -> float:
        """``max_wait`` in seconds. The launcher tells its nodes more than auto."""
        return AUTO_MAX_WAIT_S if self.max_wait == "auto" else self.max_wait


@dataclass(frozen=True, kw_only=True)
class SharedMemory:
    """What both ends of shared memory know."""

    shm_dir: Annotated[Path | None, PIXELS] = None
    """The directory of shared memory. [default: one in /dev/shm]"""


@dataclass(frozen=True, kw_only=True)
class Rings(SharedMemory):
    """What those know that write into shared memory."""

    history: Annotated[float, PIXELS, Positive] = 4.0
    """In shared memory, seconds of frames kept: at the least two windows, and a window, --max-wait and a
    second."""


def _file_or_stdout(_type: object, value: Path | None) -> None:
    if value is not None and len(str(value)) > 1 and str(value).startswith("-"):
        raise ValueError("It is a file, ./-NAME if need be, or - for stdout.")


FILE_OR_STDOUT = Detail(allow_leading_hyphen=True, validator=_file_or_stdout)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How long a source is waited for."""

    open_timeout: Annotated[float, VIDEOS, Positive] = 5.0
    """Seconds that opening a camera or URL may take."""

    read_timeout: Annotated[float, VIDEOS, Positive] = 3.0
    """Seconds without a frame after which a camera or URL is opened again."""

    allow_redirects: Annotated[bool, VIDEOS, ONLY_ON] = False
    """Follow a URL where its server sends it: redirects and playlists, which may name any address."""


@dataclass(frozen=True, kw_only=True)
class Producing(Opening, Windows, Rings, Network):
    """What a producer and the launcher know."""

    loop: Annotated[bool, VIDEOS, SWITCH] = False
    """Begin a file or recording again when it ends."""

    start: Annotated[str | None, VIDEOS, Detail(validator=_time)] = None
    """Where in a file or recording to begin: a time such as 90s or 1m30s. A recording begins with the window
    of that time."""

    speed: Annotated[float, VIDEOS, Detail(validator=_speed)] = 1.0
    """How fast a file or recording plays: 2 is twice as fast."""

    wait: Annotated[bool, VIDEOS, SWITCH] = False
    """Keep trying a camera or URL that cannot be opened at the start."""

    @property
    def begin_ns(self) -> int:
        """``start`` in nanoseconds, 0 if it is the beginning."""
        return durations.parse_ns(self.start) if self.start else 0


@dataclass(frozen=True, kw_only=True)
class Relaying(Rings, Network):
    """What a relay and the launcher know."""


@dataclass(frozen=True, kw_only=True)
class Combining(Windows, Network):
    """What the combiner and the launcher know."""

    max_frame: Annotated[int | None, PIXELS, AtLeastOne] = None
    """Bytes that one frame may take, once decoded. [default: four times its source's first, 50 MB
    at the least]"""

    max_sources: Annotated[int | None, PIXELS, AtLeastOne] = None
    """Sources that there may be at a time: what queues for a consumer that stalls has room for so many.
    [default: those at the start]"""

    idle_timeout: Annotated[float, PAIRS, Positive] = 2.0
    """Seconds without a sign of life after which a source is offline and no pair waits for it."""

    start_timeout: Annotated[float, PAIRS, NotNegative] = 5.0
    """Seconds that the first pair waits for sources that have not begun."""

    consumers: Annotated[int, PAIRS, AtLeastOne] = 1
    """With --pace max, how many consumers have to subscribe before the first pair."""

    clock: Annotated[Literal["corrected", "stamped"] | None, PAIRS] = None
    """corrected: pair by the combiner's clock, which producers on other hosts compare theirs with; stamped: by
    each producer's own. [default: corrected across hosts]"""

    def most_sources(self, at_start: int) -> int:
        """Return how many sources there may be, with ``at_start`` at the start; raises Refused if too many."""
        if at_start > MAX_SOURCES:
            raise Refused(f"{at_start} sources: {MAX_SOURCES} is the most")
        if self.max_sources is None:
            return at_start
        if not at_start <= self.max_sources <= MAX_SOURCES:
            raise Refused(
                f"--max-sources {self.max_sources}: give it from {at_start}, the sources at the start, to"
                f" {MAX_SOURCES}"
            )
        return self.max_sources


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """How often it is said how it went."""

    report_every: Annotated[str | None, OUTPUT, Detail(validator=_interval)] = None
    """Say in one line how it went since the last one, every 90s, 10min, 1h or 1d; SIGUSR1 does so at once."""

    @property
    def report_every_s(self) -> float | None:
        """``report_every`` in seconds."""
        return durations.parse_s(self.report_every) if self.report_every else None


@dataclass(frozen=True, kw_only=True)
class Consuming(Reporting, SharedMemory, Network):
    """What the sink and the launcher know."""

    keep: Annotated[int, OUTPUT, AtLeastOne] = 2
    """Whole pairs that may wait to be printed; when one more comes the oldest is dropped, and counted."""

    strict: Annotated[bool, OUTPUT, ONLY_ON] = False
    """Exit with 1 if the ledger does not balance, or any frame was lost since the first pair."""

    lines: Annotated[bool, OUTPUT, ONLY_ON] = False
    """Print a line per pair on a terminal, too, where a table is shown otherwise."""

    quiet: Annotated[bool, OUTPUT, ONLY_ON] = False
    """Print the final report alone."""

    json: Annotated[Path | None, OUTPUT, FILE_OR_STDOUT] = None
    """Write the final report to this file too; with -, to stdout, and all else to stderr."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One option as its field declares it, for help and documentation."""

    name: str
    default: Any
    help: str
    group: str
    type: Any

    @property
    def flag(self) -> str:
        """The flag, such as --max-wait."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """The environment variable, such as FRAMEPAIR_MAX_WAIT."""
        return variable(self.name)


def node_app(node: str, description: str | None) -> CommandLine:
    """Return the command line of a node."""
    return CommandLine(node, description)


def declared(app: Union["App", CommandLine]) -> list[Declared]:
    """Return the options of a command line, group by group, else in the order of their declaration."""
    arguments = app.assemble_argument_collection(parse_docstring=True)
    options = [
        Declared(
            argument.name.lstrip("-").replace("-", "_"),
            argument.field_info.default,
            " ".join((argument.parameter.help or "").split()),
            _group(argument.parameter.group),
            argument.hint,
        )
        for argument in arguments
        if argument.name != "*" and argument.show
    ]
    order = [detail.group for detail in GROUPS]
    return sorted(options, key=lambda option: order.index(option.group))


def _group(groups: Any) -> str:
    """Return the name of the first of ``groups``, be they one, several or none."""
    first = groups[0] if isinstance(groups, tuple) and groups else groups
    return str(getattr(first, "name", ""))
