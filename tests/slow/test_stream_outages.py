"""An RTSP camera beside another source: its stamps in pairs, a stall, and a restart of its server."""

from __future__ import annotations

import threading
import time

from framepair import Pair, Subscription, subscribe
from framepair.nodes.producer.sources import pattern
from framepair.protocol.wire.reasons import PRODUCER_DROPPED
from tests.lib.pipeline import Pipeline
from tests.lib.processes import PATIENCE_S
from tests.lib.rtsp_camera import Faults, RtspCamera

# What a pair may take after the server is back.
BACK_S = 3.0
READ_TIMEOUT_S = 1.0


def wait_for_pairs(pairs: Subscription, complete: bool, count: int = 2) -> Pair:
    """Return the last of ``count`` pairs in a row that are complete, or lack the camera."""
    until_s, found = time.monotonic() + PATIENCE_S, 0
    while found < count and time.monotonic() < until_s:
        pair = pairs.get(0.1)
        if pair is not None:
            found = found + 1 if pair.complete is complete else 0
    assert found == count
    assert pair is not None
    return pair


def wait_for_change(pairs: Subscription) -> Pair:
    """Return the pair in which the camera's stamps go over to another clock."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        pair = pairs.get(0.1)
        if pair is not None and pair["cam"].header.restamped:
            return pair
    raise AssertionError("the camera's clock was not used")


def test_a_camera_that_stalls_or_is_started_again_is_back_within_three_seconds() -> None:
    with (
        RtspCamera(25, faults=Faults(report_every_s=0.5)) as camera,
        Pipeline(["cam", "syn"]) as nodes,
        subscribe(nodes.pub, keep=50) as pairs,
    ):
        nodes.combiner("--max-wait", "1", "--idle-timeout", "1")
        producer = nodes.producer("cam", camera.url, "--read-timeout", str(READ_TIMEOUT_S))
        nodes.producer("syn", "synthetic://64x36@25")
        pair = wait_for_pairs(pairs, complete=True)
        assert pair["cam"].stamp == "media"
        assert pair["syn"].uncertainty_ns == 0
        assert pair.uncertainty_ns == pair["cam"].uncertainty_ns
        assert (pair.uncertainty_ns or 0) > 0

        pair = wait_for_change(pairs)
        assert not pair.complete
        assert {frame.stamp for frame in pair["cam"].frames} == {"media", "camera"}
        assert pair["cam"].missing is None
        producer.wait_for("source cam is stamped by its camera's clock from now on")
        pair = wait_for_pairs(pairs, complete=True)
        assert pair["cam"].stamp == "camera"
        for frame, image in zip(pair["cam"].frames, pair["cam"].images, strict=True):
            mark = pattern.read(image)
            assert mark is not None
            assert abs(frame.captured_ns - mark.captured_ns) <= (frame.stamp_uncertainty_ns or 0)
        totals = pairs.stats().totals["cam"]
        assert (totals.runs, totals.restamped) == (2, 1)

        camera.stall()
        began_s = time.monotonic()
        producer.wait_for(r"has sent nothing for 1\.\d s")
        # The last frame came a little before the stall, and a busy machine tells of it later.
        assert time.monotonic() - began_s < READ_TIMEOUT_S + 0.5
        wait_for_pairs(pairs, complete=False)
        camera.go_on()
        began_s = time.monotonic()
        wait_for_pairs(pairs, complete=True)
        assert time.monotonic() - began_s < BACK_S
        # The frame that was held back.
        assert pairs.stats().totals["cam"].dropped[PRODUCER_DROPPED] == 1

        restarting = threading.Thread(target=camera.restart, args=(2.0,))
        restarting.start()
        wait_for_pairs(pairs, complete=False)
        restarting.join()
        began_s = time.monotonic()
        wait_for_pairs(pairs, complete=True)
        assert time.monotonic() - began_s < BACK_S
        assert pairs.stats().totals["cam"].reopened == 2
