"""How a pipeline is, in one sentence: which sources' frames flow, and what does not. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from framepair.nodes.launcher.commands import Node

State = Literal["flows", "waits", "rests", "restarts", "over"]
# What is said of the sources in each state.
WORDS: dict[State, str] = {
    "flows": "frames flow",
    "waits": "no frame yet",
    "rests": "no frame for some time",
    "restarts": "to be started again",
    "over": "over",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a service manager wants to know of a pipeline."""

    is_ready: bool
    """Whether frames of every source have flowed."""
    is_stopping: bool
    sentence: str


def describe(states: Mapping[Node, State], restarts: Mapping[str, int]) -> str:
    """Return the sentence for nodes in these states, which were started again so often."""
    said = [
        f"{names}: {words}"
        for state, words in WORDS.items()
        if (names := ", ".join(_named(states, state)))
    ]
    counted = ", ".join(f"{name} {count}" for name, count in restarts.items() if count)
    return "; ".join([*said, *([f"restarts: {counted}"] if counted else [])]) or "all nodes run"


def all_flow(states: Mapping[Node, State]) -> bool:
    """Return whether frames of all sources have come, to a combiner here too; a video may be over."""
    return all(
        state in ("flows", "rests") or (state == "over" and node.kind == "producer")
        for node, state in states.items()
        if node.kind in ("producer", "combiner")
    )


def _named(states: Mapping[Node, State], state: State) -> Iterable[str]:
    """Yield the sources in this state; other nodes are of interest only if they don't run."""
    for node, actual in states.items():
        if actual == state and (node.kind == "producer" or state == "restarts"):
            yield node.key
