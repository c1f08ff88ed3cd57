"""Which host runs which node: what the user says of it, and the share of the host that this launcher is on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nodes.launching.naming import COMBINER, SINK
from nodes.runtime import Refused

EVERYWHERE = ("//*:", "//0.0.0.0:", "//[::]:")


@dataclass(frozen=True, slots=True)
class Placement:
    """The host of each node, by the node's name, and the host that this launcher starts the nodes of."""

    host: str
    of: dict[str, str]

    def here(self, node: str) -> bool:
        """Tell whether ``node`` runs on this host."""
        return self.of[node] == self.host

    def beside_combiner(self, node: str) -> bool:
        """Tell whether ``node`` runs on the combiner's host, so that frames need no network."""
        return self.of[node] == self.of[COMBINER]


def place(
    asked: Sequence[str],
    sources: Collection[str],
    *,
    host: str | None,
    this_machine: str,
    listen: str | None,
) -> Placement | None:
    """Return where each node runs, None if the user says nothing of hosts: then all of them run here.

    ``asked`` holds NODE=HOST; a node that is not named runs beside the combiner. ``host`` is the one to start
    the nodes of, else ``this_machine`` if it is among them. Raises Refused for what doesn't fit together.
    """
    if not asked:
        if host is not None:
            raise Refused(f"--host {host}: the configuration has no [hosts] to choose from")
        return None
    named = _named(asked, sources)
    if COMBINER not in named:
        raise Refused("[hosts] does not say where the combiner runs: add combiner = HOST")
    if listen is None or any(mark in listen for mark in EVERYWHERE):
        raise Refused(
            "nodes on several hosts need listen = tcp://ADDRESS:PORT, the address that the others"
            f" reach {named[COMBINER]} at"
        )
    of = {node: named.get(node, named[COMBINER]) for node in (*sources, COMBINER, SINK)}
    return Placement(_chosen(host, this_machine, of), of)


def _named(asked: Sequence[str], sources: Collection[str]) -> dict[str, str]:
    """Return the hosts as the user gave them, by node."""
    named: dict[str, str] = {}
    for word in asked:
        node, _, host = word.partition("=")
        if node not in (*sources, COMBINER, SINK):
            raise Refused(
                f"[hosts] names {node}, which is no node: they are {', '.join(sources)}, combiner, sink"
            )
        if not host or node in named:
            raise Refused(f"[hosts] needs one host for {node}")
        named[node] = host
    return named


def _chosen(host: str | None, this_machine: str, of: dict[str, str]) -> str:
    known = list(dict.fromkeys(of.values()))
    if host is None:
        short = this_machine.partition(".")[0]
        mine = [name for name in known if name in (this_machine, short)]
        if not mine:
            raise Refused(f"say which host this is with --host: {', '.join(known)}")
        return mine[0]
    if host not in known:
        raise Refused(f"--host {host} runs nothing: the hosts are {', '.join(known)}")
    return host
