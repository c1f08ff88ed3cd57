"""Histories of pipelines whose sources change, with a clock of the test's own."""

from __future__ import annotations

import pytest

from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.events import ChangeAsked, Heard
from framepair.nodes.launcher.pace import Duration
from framepair.nodes.launcher.source_changes import OPEN_S, STOP_S, TAKE_S
from framepair.nodes.launcher.supervisor import Rules, Supervisor
from framepair.protocol.transport.heartbeat import OfList
from tests.lib.history import HEALTH_S, SETTLE_S, History, node

DOOR = node("door", "producer")


class Changes(History):
    """A history in which changes are asked for, and the combiner speaks of lists of sources."""

    def ask_for(
        self,
        *,
        added: tuple[Node, ...] = (),
        removed: tuple[Node, ...] = (),
        replaced: tuple[tuple[Node, Node], ...] = (),
        version: int | None = 1,
    ) -> Changes:
        names = {one.key for one in (*self.nodes, *added)} - {one.key for one in removed}
        patience = dict.fromkeys(names, HEALTH_S)
        self.take()
        self.happen(ChangeAsked(version, patience, added, removed, replaced))
        return self

    def combiner_says(self, *words: OfList, version: int = 1) -> Changes:
        for word in words:
            self.happen(Heard(self.combiner, word, float(version)))
        return self


def test_a_source_is_added_once_the_combiner_receives_it() -> None:
    h = Changes().ask_for(added=(DOOR,))
    assert h.take() == []
    assert h.combiner_says("took", version=7).take() == []
    assert h.combiner_says("took").take() == ["start door"]
    assert h.combiner_says("closed").take() == []
    assert h.work("ready", nodes=(DOOR,)).take() == ["changed 0"]
    h.work(nodes=(DOOR,))
    assert "door" in h.condition[2]
    h.end(DOOR, 1).wait(1)
    assert "restart door" in h.take()


def test_a_source_that_is_removed_stops_after_its_last_pair_and_is_not_started_again() -> None:
    h = Changes().ask_for(removed=(Changes().right,))
    assert h.combiner_says("took").take() == []
    assert h.combiner_says("closed").take() == ["terminate right"]
    assert h.end(h.right, 1).take() == ["changed 0"]
    assert h.wait(60).take() == []
    assert "right" not in h.condition[2]
    h.signal().end(h.left).end(h.combiner).end(h.sink)
    assert h.code == 0


def test_one_that_does_not_stop_is_killed() -> None:
    h = Changes()
    h.ask_for(removed=(h.right,)).combiner_says("took", "closed").take()
    assert h.wait(STOP_S - 0.1).take() == []
    wanted = h.wait(0.2).take()
    assert wanted == [
        "say right did not stop in time and was killed",
        "kill right",
        "changed 0",
    ]


def test_one_that_is_to_be_started_again_is_not_once_it_is_removed() -> None:
    h = Changes()
    h.end(h.right, 1)
    h.ask_for(removed=(h.right,))
    assert h.combiner_says("took", "closed").take() == ["changed 0"]
    assert h.wait(5).take() == []


def test_another_producer_takes_the_place_of_one_with_other_settings() -> None:
    h = Changes()
    after = Node("right", "producer", ("right", "--size", "64x"))
    h.ask_for(replaced=((h.right, after),), version=None)
    assert h.take() == ["terminate right"]
    assert h.end(h.right).take() == ["start right"]
    assert h.work(nodes=(after,)).take() == ["changed 0"]
    assert h.condition[2] == "right, left: frames flow"


def test_the_only_source_that_is_left_may_be_replaced_while_a_duration_runs() -> None:
    h = Changes(duration=Duration(600.0, 1.0, 0.0, 5.0))
    h.wait(1).work("done", nodes=(h.left,)).end(h.left)
    after = Node("right", "producer", ("right", "--size", "64x"))
    h.ask_for(replaced=((h.right, after),), version=None).end(h.right)
    h.work(nodes=(after,)).wait(30)
    assert h.code is None
    assert not any(word.startswith("terminate combiner") for word in h.take())


def test_where_the_combiner_is_elsewhere_it_is_not_waited_for() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,), removed=(h.right,), version=None)
    assert h.take() == ["start door", "terminate right"]
    assert h.work("ready", nodes=(DOOR,)).take() == []
    assert h.end(h.right).take() == ["changed 0"]


def test_what_the_combiner_refuses_changes_nothing() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,), removed=(h.right,))
    refused = "the combiner refused it, and says above why: all stays as it was"
    assert h.combiner_says("refused").take() == [f"changed 2: {refused}"]
    assert h.combiner_says("took", "closed").take() == []


@pytest.mark.parametrize("told", [(), ("took",), ("took", "closed")])
def test_a_combiner_that_is_started_again_meanwhile_says_it_once_more(
    told: tuple[OfList, ...],
) -> None:
    h = Changes()
    h.ask_for(added=(DOOR,), removed=(h.right,)).combiner_says(*told)
    h.end(h.combiner, -9).wait(1).work(nodes=(h.combiner,))
    h.combiner_says("took", "closed").end(h.right).work("ready", nodes=(DOOR,))
    wanted = [word for word in h.take() if word.split()[0] in ("start", "terminate", "changed")]
    assert sorted(wanted) == ["changed 0", "start door", "terminate right"]


def test_a_stop_ends_a_change_and_everything() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,), removed=(h.right,)).combiner_says("took").take()
    assert h.signal().take() == [
        "changed 1: the pipeline stops",
        *(f"terminate {name}" for name in ("door", "left", "right")),
    ]
    for one in (DOOR, h.left, h.right, h.combiner, h.sink):
        h.end(one)
    assert h.code == 0


def test_a_change_that_is_asked_for_while_everything_stops_is_none() -> None:
    h = Changes()
    h.signal()
    assert h.ask_for(added=(DOOR,)).take() == ["changed 1: the pipeline stops"]


def test_when_the_other_videos_are_over_the_removal_of_the_last_source_ends_everything() -> None:
    h = Changes()
    h.work("done", nodes=(h.left,)).end(h.left)
    h.ask_for(removed=(h.right,)).combiner_says("took", "closed").end(h.right)
    assert h.wait(6).take()[-1] == "terminate combiner"


def test_a_source_that_comes_when_the_videos_are_over_keeps_everything_going() -> None:
    h = Changes()
    for one in (h.left, h.right):
        h.work("done", nodes=(one,)).end(one)
    h.ask_for(added=(DOOR,)).combiner_says("took", "closed")
    h.work(nodes=(DOOR,)).take()
    h.work("beat").wait(30)
    assert h.code is None


NOT_THERE = "cannot open /tmp/nope.mp4"


def test_a_source_that_cannot_be_opened_leaves_the_others_going_and_fails_the_change() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,)).combiner_says("took", "closed").take()
    h.end(DOOR, 2, last_lines=("…", NOT_THERE))
    assert h.take() == [
        "say door is not started again: the others go on",
        f"changed 1: door: {NOT_THERE}: without door",
    ]
    assert h.wait(30).take() == []
    h.ask_for(added=(DOOR,), version=None)
    assert h.take() == ["start door"]
    assert h.work("ready", nodes=(DOOR,)).take() == ["changed 0"]
    h.signal()
    for one in (DOOR, *h.nodes):
        h.end(one)
    assert h.code == 0


def test_one_that_takes_the_place_of_another_and_cannot_be_opened_leaves_the_others_going() -> None:
    h = Changes()
    after = Node("right", "producer", ("right", "/tmp/nope.mp4"))
    h.ask_for(replaced=((h.right, after),), version=None).end(h.right).take()
    h.end(after, 2)
    assert h.take()[-1] == "changed 1: right: ended with exit status 2: without right"
    assert h.wait(30).code is None
    assert h.condition[2] == "left: frames flow"


def test_without_any_source_left_a_host_that_has_no_combiner_stops_as_a_failure() -> None:
    h = Changes()
    h.supervisor = Supervisor([h.right], Rules({"right": HEALTH_S}, SETTLE_S), h.now_s)
    h.note(h.supervisor.begin())
    h.work(nodes=(h.right,))
    after = Node("right", "producer", ("right", "/tmp/nope.mp4"))
    h.ask_for(replaced=((h.right, after),), version=None).end(h.right).end(after, 2)
    assert h.code == 1


def test_a_new_source_that_fails_otherwise_is_started_again_and_the_change_has_failed() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,)).combiner_says("took", "closed").take()
    h.end(DOOR, 1)
    assert h.take()[-1] == "changed 1: door: ended with exit status 1"
    assert h.wait(1).take() == ["restart door"]


def test_a_new_source_that_may_come_at_any_time_is_not_waited_for() -> None:
    h = Changes().ask_for(added=(node("door", "producer", waits=True),))
    assert h.combiner_says("took", "closed").take() == ["start door", "changed 0"]


def test_a_source_that_does_not_open_is_waited_for_so_long_and_no_longer() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,)).combiner_says("took", "closed").take()
    for _ in range(8):
        h.work("beat", nodes=(DOOR,)).wait(OPEN_S / 8 - 0.01)
    assert h.take() == []
    assert h.wait(0.1).take() == ["changed 1: door: its source is not open yet"]


def test_a_combiner_that_does_not_answer_blocks_no_later_change() -> None:
    h = Changes().ask_for(added=(DOOR,))
    assert h.wait(TAKE_S - 0.1).take() == []
    late = "the combiner did not answer within 30 s: all stays as it was"
    assert h.wait(0.2).take() == [f"changed 1: {late}"]
    h.ask_for(added=(DOOR,), version=2).combiner_says("took", "closed", version=2)
    assert h.work("ready", nodes=(DOOR,)).take() == ["start door", "changed 0"]


def test_another_health_timeout_holds_from_then_on() -> None:
    h = Changes()
    patience = {one.key: HEALTH_S for one in h.nodes} | {"right": 3 * HEALTH_S}
    h.take()
    h.happen(ChangeAsked(None, patience))
    assert h.take() == ["changed 0"]
    for _ in range(20):
        h.wait(HEALTH_S / 10, beating=False).work("beat", nodes=(h.left, h.combiner, h.sink))
    assert h.take() == []


def test_while_everything_stops_another_change_takes_nothing_back() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,)).combiner_says("took", "closed").work(nodes=(DOOR,))
    h.signal().end(h.left).end(h.right)
    # The new one is still there, and is watched.
    h.ask_for(removed=(h.left,), version=2)
    assert h.take() == ["changed 1: the pipeline stops"]
    assert "kill door" in h.wait(10).take()


def test_the_health_timeout_of_a_change_that_is_refused_does_not_hold() -> None:
    h = Changes()
    patience = {one.key: HEALTH_S for one in h.nodes} | {"right": 3 * HEALTH_S}
    h.take()
    h.happen(ChangeAsked(1, patience, removed=(h.left,)))
    h.combiner_says("refused").take()
    for _ in range(20):
        h.wait(HEALTH_S / 10, beating=False).work("beat", nodes=(h.left, h.combiner, h.sink))
    assert "kill right" in h.take()


def test_a_source_that_comes_when_the_videos_are_over_keeps_a_duration_going_to_its_end() -> None:
    h = Changes(duration=Duration(60.0, 1.0, 0.0, 5.0))
    h.wait(1)
    for one in (h.left, h.right):
        h.work("done", nodes=(one,)).end(one)
    h.ask_for(added=(DOOR,)).combiner_says("took", "closed")
    h.work(nodes=(DOOR,)).take()
    h.nodes = (DOOR, h.combiner, h.sink)  # type: ignore[assignment]
    assert h.wait(40).take() == []
    assert "terminate door" in h.wait(60).take()
