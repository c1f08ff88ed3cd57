"""How faults are written: NODE:KIND@ARGUMENTS, such as left:freeze@10s,5s."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from framepair.nodes.common.runtime import MAX_SECONDS, Refused

RATE = re.compile(r"(-?\d{1,5}(?:\.\d+)?)ppm")
TIME = re.compile(r"(-?\d+(?:\.\d+)?)(ms|s)")

# What each kind is told, for a producer and for any node, and an example.
OF_PRODUCERS = {
    "freeze": ("from", "for"),
    "crash": ("from",),
    "slow": ("from", "by"),
    "drop": ("share",),
    "skew": ("by",),
    "clock": ("by", "rate"),
    "garbage": ("from",),
}
OF_NODES = {"kill": ("from",), "stop": ("from", "for")}
KINDS = OF_PRODUCERS | OF_NODES
EXAMPLES = (
    "freeze@10s,5s, crash@5s, slow@3s,50ms, drop@0.01, skew@200ms, clock@3s,200ppm and garbage@8s for a"
    " source,"
    " kill@12s and stop@6s,4s for any node"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of ``node``: from ``from_s`` after it began to work, for ``for_s``, or by so much.

    A ``rate`` is in seconds a second.
    """

    node: str
    kind: str
    from_s: float = 0.0
    for_s: float = 0.0
    by_s: float = 0.0
    share: float = 0.0
    rate: float = 0.0

    @property
    def is_the_producers(self) -> bool:
        """Whether the producer itself commits it; others are done to the process."""
        return self.kind in OF_PRODUCERS


def parse(texts: Sequence[str], sources: Collection[str], others: Collection[str]) -> list[Fault]:
    """Return the faults of a pipeline; raises Refused for a text that names no fault, or no node."""
    return [_parse(text, sources, others) for text in texts]


def of_source(name: str, texts: Sequence[str]) -> list[Fault]:
    """Return the faults of one producer, written without its name; raises Refused likewise."""
    faults = parse([f"{name}:{text}" for text in texts], [name], [])
    for fault in faults:
        if not fault.is_the_producers:
            raise Refused(f"--fault {fault.kind}: a producer does not do that to itself")
    return faults


def _parse(text: str, sources: Collection[str], others: Collection[str]) -> Fault:
    node, _, rest = text.partition(":")
    kind, _, told = rest.partition("@")
    if node not in (*sources, *others):
        raise Refused(f"--fault {text}: nodes are {', '.join((*sources, *others))}")
    if kind not in KINDS or (kind in OF_PRODUCERS and node not in sources):
        raise Refused(f"--fault {text}: there are {EXAMPLES}")
    names, values = KINDS[kind], told.split(",")
    numbers = [_number(name, value) for name, value in zip(names, values, strict=False)]
    if len(names) != len(values) or None in numbers:
        raise Refused(f"--fault {text}: there are {EXAMPLES}")
    return Fault(
        node,
        kind,
        **{_field(name): number or 0.0 for name, number in zip(names, numbers, strict=True)},
    )


def _field(name: str) -> str:
    return name if name in ("share", "rate") else f"{name}_s"


def _number(name: str, value: str) -> float | None:
    """Return a share of 1, a rate, or a time in seconds; only an offset and a rate may be negative."""
    if name == "rate":
        rate = RATE.fullmatch(value)
        return float(rate[1]) / 1e6 if rate else None
    if name == "share":
        try:
            share = float(value)
        except ValueError:
            return None
        return share if 0 <= share <= 1 else None
    match = TIME.fullmatch(value)
    if match is None:
        return None
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
    return seconds if abs(seconds) <= MAX_SECONDS and (seconds >= 0 or name == "by") else None
