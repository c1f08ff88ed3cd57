"""tcp connections that are stalled, cut or reset: flowing soon after, and every lost frame is counted."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator

import numpy as np
import pytest

from framepair import Pair, subscribe
from framepair.protocol.clocks import clock
from framepair.protocol.transport.endpoints import Endpoints
from tests.lib.busy import allowed
from tests.lib.pipeline import Pipeline, checked
from tests.lib.proxy import Proxy

SOURCE = "synthetic://160x120@25"
BACK_NS = 3 * 10**9
WHOLE = "left 5/5 +right 5/5"
# Longer than heartbeats are waited for, in windows of 0.2 s.
LONG, SHORT = 30, 5


class Proxied(Pipeline):
    """A pipeline over tcp in which ``left`` and the sink reach the combiner through a proxy each."""

    def __init__(self) -> None:
        super().__init__(["left", "right"], "tcp")
        self.direct = self.endpoints

    def __enter__(self) -> Proxied:
        super().__enter__()
        self.left, self.pairs = (
            self.enter_context(Proxy(int(address.rpartition(":")[2])))
            for address in (self.direct.pull["left"], self.direct.pub)
        )
        return self

    @contextlib.contextmanager
    def through_proxies(self) -> Iterator[None]:
        """Have the nodes that are started meanwhile connect to the proxies."""
        left = f"tcp://127.0.0.1:{self.left.port}"
        pull = {**self.direct.pull, "left": left}
        self.endpoints = Endpoints(pull=pull, pub=f"tcp://127.0.0.1:{self.pairs.port}")
        yield
        self.endpoints = self.direct


# Each kind, and each place.
USUAL = [("left", "cut", SHORT), ("left", "reset", 0), ("pairs", "stall", SHORT)]
OTHERS = [("pairs", "cut", SHORT), ("pairs", "reset", 0), ("left", "stall", SHORT)]
OTHERS += [(where, what, LONG) for where in ("left", "pairs") for what in ("cut", "stall")]


@pytest.mark.parametrize(
    ("where", "what", "windows"),
    [*USUAL, *(pytest.param(*other, marks=pytest.mark.slow) for other in OTHERS)],
)
def test_an_outage(where: str, what: str, windows: int) -> None:
    with Proxied() as nodes, subscribe(nodes.pub, keep=1000) as pairs:
        report = nodes.run_dir / "report.json"
        combiner = nodes.combiner("--idle-timeout", "0.5")
        with nodes.through_proxies():
            sink = nodes.sink("--json", str(report))
            left = nodes.producer("left", SOURCE)
            behind = nodes.enter_context(subscribe(nodes.pub, keep=1000))
        right = nodes.producer("right", SOURCE)
        sink.wait_for(WHOLE, count=2)
        stream = checked(pairs)
        seen = [next(stream)]
        proxy = nodes.left if where == "left" else nodes.pairs
        getattr(proxy, what)()
        seen += itertools.islice(stream, windows)
        proxy.mend()
        mended_ns = clock.now_ns()
        seen += until_back(stream, mended_ns)
        # What comes through the outage is whole again soon.
        *_, back = until_back(checked(behind), mended_ns)
        assert back.ready_ns < mended_ns + allowed(BACK_NS)
        # What the sink has not heard of by its end, it can't account for.
        sink.wait_for(WHOLE, count=sum("left 5/5  right 5/5" in line for line in sink.stdout) + 3)
        assert [node.stop() for node in (left, right, combiner, sink)] == [0] * 4
        captured = {
            name: int(node.wait_for(r"captured (\d+) frames")[1])
            for name, node in (("left", left), ("right", right))
        }
        result = json.loads(report.read_text())
    # The other consumer and the other source notice nothing.
    assert set(np.diff([pair.index for pair in seen])) == {1}
    assert set(np.diff(np.concatenate([pair["right"].seq for pair in seen]))) == {1}
    if where == "pairs":
        assert all(pair.complete for pair in seen)
    assert result["ledger_balanced"]
    assert {name: account["captured"] for name, account in result["sources"].items()} == captured


def until_back(stream: Iterator[Pair], mended_ns: int) -> Iterator[Pair]:
    """Yield pairs until one is complete that is of the time after ``mended_ns``."""
    for pair in stream:
        yield pair
        if pair.complete and pair.start_ns > mended_ns:
            return
