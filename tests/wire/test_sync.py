"""Questions for the time and their answers, as they travel."""

from __future__ import annotations

from framepair.protocol.wire.sync import MAX_BYTES, Ping, decode_ping, decode_pong
from tests.lib.headers import PING, PONG
from tests.lib.malformed import edited, refuse


def test_a_clock_may_be_before_the_epoch() -> None:
    assert decode_ping(Ping(-5).encode()) == Ping(-5)


def test_a_question_is_no_answer() -> None:
    refuse(decode_ping, PONG.encode())
    refuse(decode_pong, PING.encode())


def test_the_source_of_a_question_is_a_name() -> None:
    refuse(decode_ping, edited(PING.encode(), ("source",), "../x"))


def test_a_question_that_is_too_large_is_refused() -> None:
    refuse(decode_ping, edited(PING.encode(), ("filling",), bytes(MAX_BYTES)))
