"""How long the combiner lets frames in shared memory wait for more, so that they are taken together."""

from __future__ import annotations

import threading
from typing import Any, cast

from msgspec.structs import replace

from framepair.nodes.combiner.main import Combiner, Ways
from framepair.nodes.combiner.open_windows import ReceivedFrame
from framepair.nodes.combiner.pace import Rules
from framepair.nodes.combiner.windows import Windows
from framepair.protocol.clocks import clock
from framepair.protocol.transport.heartbeat import Heartbeat
from framepair.protocol.wire.frame import Location
from tests.lib.feed import frame
from tests.lib.units import S


class Subscriptions:
    want_newest = False


class Publisher:
    def expect_frames(self, header: object) -> None: ...

    def frame(self, frame: object) -> None: ...


def test_they_wait_unless_a_consumer_wants_the_newest() -> None:
    # One window, of which no end is in sight.
    rules = Rules(window_ns=10**6 * S, max_bytes=10**6)
    subscriptions, windows = Subscriptions(), Windows[Any](["left"], rules, run=1)
    ways = Ways(
        cast(Any, {}), threading.Event(), cast(Any, None), cast(Any, subscriptions), {}, None, None
    )
    combiner = Combiner(
        windows, cast(Any, None), cast(Any, Publisher()), ways, Heartbeat()
    )  # fmt: skip
    now_ns = clock.now_ns()
    start_ns = now_ns // rules.window_ns * rules.window_ns
    header = replace(
        frame("left", captured_ns=start_ns), payload="shm", location=Location("ring", 0, 1)
    )
    combiner._take(ReceivedFrame(header, cast(Any, None), now_ns))
    assert combiner._rest_s() > 0
    subscriptions.want_newest = True
    assert combiner._rest_s() == 0
