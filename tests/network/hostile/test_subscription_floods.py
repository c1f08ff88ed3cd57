"""A subscriber that subscribes to ever more topics, each of which libzmq keeps."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack

import pytest
import zmq

from framepair.nodes.common.subscriptions import MAX_TOPICS, is_topic
from tests.network.hostile.peers import OPEN, Flow

MANY = 100_000


@pytest.mark.parametrize("topic", ["frame.camera-{}.", "x{:0900}"], ids=["sources", "others"])
def test_more_topics_than_there_may_be(flow: Flow, topic: str) -> None:
    def attack(stack: ExitStack) -> None:
        sub = flow.socket(stack, zmq.SUB, flow.nodes.pub)
        # Else libzmq drops subscriptions beyond a thousand that wait to be sent.
        sub.sndhwm = 0
        monitor = sub.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        stack.callback(monitor.close, 0)
        stack.callback(sub.disable_monitor)
        for i in range(MANY):
            sub.subscribe(topic.format(i))
        assert monitor.poll(30_000), "it was not disconnected"

    flow.goes_on_beside(attack)


# It takes both cores for as long as it lasts.
@pytest.mark.slow
@OPEN
def test_the_same_again_and_again(flow: Flow) -> None:
    def attack(stack: ExitStack) -> None:
        peer = flow.door(flow.nodes.pub).enter(stack)
        # It may be disconnected, or all of it received: either way nothing stays of it.
        with contextlib.suppress(OSError):
            for _ in range(MANY // 100):
                peer.connection.sendall(b"\0\x06\x01pair." * 100)

    flow.goes_on_beside(attack)


@pytest.mark.parametrize(
    "topic", [b"", b"f", b"frame.", b"frame.left", b"frame.left.", b"frame.left.+", b"pair.", b"e"]
)
def test_what_a_combiner_sends_may_be_subscribed_to(topic: bytes) -> None:
    assert is_topic(topic)


@pytest.mark.parametrize(
    "topic",
    [b"x", b"frame.left.x", b"frame.left.++", b"frame.a b", b"pair.x", b"frame." + b"a" * 65],
)
def test_what_it_does_not_send_may_not(topic: bytes) -> None:
    assert not is_topic(topic)
    assert MAX_TOPICS > 256
