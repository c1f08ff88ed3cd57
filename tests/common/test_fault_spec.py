from __future__ import annotations

import pytest

from framepair.nodes.common.fault_spec import Fault, of_source, parse
from framepair.nodes.common.runtime import Refused

SOURCES, OTHERS = ("left", "right"), ("combiner", "sink")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("left:freeze@10s,5s", Fault("left", "freeze", from_s=10, for_s=5)),
        ("left:crash@5s", Fault("left", "crash", from_s=5)),
        ("right:slow@3s,50ms", Fault("right", "slow", from_s=3, by_s=0.05)),
        ("left:drop@0.01", Fault("left", "drop", share=0.01)),
        ("right:skew@200ms", Fault("right", "skew", by_s=0.2)),
        ("right:skew@-1.5s", Fault("right", "skew", by_s=-1.5)),
        ("left:garbage@8s", Fault("left", "garbage", from_s=8)),
        ("combiner:kill@12s", Fault("combiner", "kill", from_s=12)),
        ("left:kill@0s", Fault("left", "kill")),
        ("sink:stop@6s,4s", Fault("sink", "stop", from_s=6, for_s=4)),
    ],
)
def test_faults_as_they_are_written(text: str, fault: Fault) -> None:
    assert parse([text], SOURCES, OTHERS) == [fault]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("middle:crash@5s", "nodes are left, right, combiner, sink"),
        ("crash@5s", "nodes are left"),
        ("", "nodes are left"),
        *[
            (text, "there are freeze@10s,5s, crash@5s")
            for text in (
                "left", "left:", "left:explode@5s", "combiner:freeze@1s,1s", "sink:drop@0.5",
                "left:freeze@1s", "left:freeze@1s,2s,3s", "left:crash", "left:crash@", "left:crash@5",
                "left:crash@5m", "left:crash@-5s", "left:crash@nans", "left:crash@1e9s", "left:drop@2",
                "left:drop@-1", "left:drop@1s", "left:drop@nan", "left:slow@-1s,5s", "left:skew@5",
                "sink:stop@6s", "sink:kill@9999999999s",
            )
        ],
    ],
)  # fmt: skip
def test_what_is_no_fault_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence) as caught:
        parse([text], SOURCES, OTHERS)
    assert str(caught.value).startswith(f"--fault {text}:")


def test_a_producer_is_told_its_own_only() -> None:
    assert of_source("left", ["crash@5s"]) == [Fault("left", "crash", from_s=5)]
    with pytest.raises(Refused, match="does not do that to itself"):
        of_source("left", ["kill@5s"])
