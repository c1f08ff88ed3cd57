"""What a supervisor is told, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from framepair.nodes.common.log_format import Level
from framepair.nodes.launcher.commands import Node
from framepair.protocol.transport.heartbeat import Word


@dataclass(frozen=True, slots=True)
class StartFailed:
    """A node's process could not be started."""

    node: Node
    reason: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A node has sent a word of its heartbeat."""

    node: Node
    word: Word
    number: float = 0.0
    """For how many seconds it holds, if it is ``busy``; of which list of sources it speaks."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A node's process has ended; ``status`` is as subprocess gives it."""

    node: Node
    status: int
    last_lines: Sequence[str] = ()
    """What it wrote to stderr last."""
    unread: bool = False
    """Whether the reader of the launcher's stdout is gone, as when ``head`` has its lines."""


@dataclass(frozen=True, slots=True)
class Signalled:
    """The launcher got a signal that asks it to stop."""

    number: int


@dataclass(frozen=True, slots=True)
class ReportAsked:
    """The user wants to know how it went so far."""


@dataclass(frozen=True, slots=True)
class ChangeAsked:
    """The sources are to change: producers of this host are added, removed, or replaced, former and new."""

    version: int | None
    """Of the list of sources that the combiner takes first; None: nothing changes for a combiner here."""
    health_timeouts_s: Mapping[str, float]
    """For how long each node may be silent from then on, by its key."""
    added: Sequence[Node] = ()
    removed: Sequence[Node] = ()
    replaced: Sequence[tuple[Node, Node]] = ()


Event = StartFailed | Heard | Ended | Signalled | ReportAsked | ChangeAsked


@dataclass(frozen=True, slots=True)
class Start:
    """Start a node's process; ``again``: it has run before."""

    node: Node
    again: bool


@dataclass(frozen=True, slots=True)
class EndAt:
    """Tell a producer to end with the frame before this capture time."""

    node: Node
    until_ns: int


@dataclass(frozen=True, slots=True)
class PlayAt:
    """Tell a producer when to begin to play its recording, in nanoseconds of CLOCK_MONOTONIC."""

    node: Node
    at_ns: int


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask a node to stop."""

    node: Node


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill nodes with all that they started; no Ended comes of them."""

    nodes: Sequence[Node]


@dataclass(frozen=True, slots=True)
class Report:
    """Ask our sink to say how it went so far."""

    node: Node


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the user."""

    sentence: str
    level: Level = "warning"


@dataclass(frozen=True, slots=True)
class Changed:
    """The change is over: ``code`` 0 once it is made, else 1 or 2 and ``reason``, a sentence or more."""

    code: int
    reason: str = ""
    is_taken: bool = True
    """Whether the combiner has the new list of sources, be it that some of them cannot be opened."""
    dropped: Sequence[Node] = ()
    """New producers that could not open their source and are not started again."""


Action = Start | EndAt | PlayAt | Terminate | Kill | Report | Say | Changed
