"""A fast source beside a slow one: the queues to a consumer hold the frames of both."""

from __future__ import annotations

import json
import signal

from framepair import subscribe
from tests.lib.pipeline import Pipeline


def test_a_consumer_that_stalls_for_a_second_loses_nothing_of_200_fps_beside_25() -> None:
    with Pipeline(["fast", "slow"], window_s=1.0) as nodes:
        report = nodes.run_dir / "report.json"
        sink = nodes.sink("--json", str(report))
        nodes.combiner()
        nodes.producer("fast", "synthetic://160x120@200")
        nodes.producer("slow", "synthetic://160x120@25")
        with subscribe(nodes.pub, keep=1000) as pairs:
            sink.wait_for("fast 200/200", count=2)
            while pairs.get(0):
                pass
            # From the end of one window to that of the next.
            next(pairs)
            sink.process.send_signal(signal.SIGSTOP)
            next(pairs)
            sink.process.send_signal(signal.SIGCONT)
            next(pairs)
            next(pairs)
        assert sink.stop() == 0
        found = json.loads(report.read_text())
    assert found["lost_pairs"] == 0
    assert found["ledger_balanced"]
    reasons = {reason for source in found["sources"].values() for reason in source["dropped"]}
    assert not reasons & {"publisher_overflow", "subscriber_slow"}
