"""Histories of pipelines whose sources change, with a clock of the test's own."""

from __future__ import annotations

import pytest

from framepair.nodes.launcher.changing import STOP_S
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.events import ChangeAsked, Heard
from framepair.nodes.launcher.pace import Duration
from framepair.protocol.transport.heartbeat import OfList
from tests.lib.history import HEALTH_S, History, node

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
    assert h.combiner_says("closed").take() == ["changed 0"]
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
    assert h.end(h.right).take() == ["start right", "changed 0"]
    h.work(nodes=(after,))
    assert h.condition[2] == "right, left: frames flow"


def test_the_only_source_that_is_left_may_be_replaced_while_a_duration_runs() -> None:
    h = Changes(duration=Duration(600.0, 1.0, 0.0, 5.0))
    h.wait(1).work("done", nodes=(h.left,)).end(h.left)
    after = Node("right", "producer", ("right", "--size", "64x"))
    h.ask_for(replaced=((h.right, after),), version=None).end(h.right)
    h.work(nodes=(after,)).wait(30)
    assert h.code is None
    assert not any(word.startswith("terminate combiner") for word in h.take())


def test_where_the_combiner_is_elsewhere_nothing_is_waited_for() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,), removed=(h.right,), version=None)
    assert h.take() == ["start door", "terminate right"]
    assert h.end(h.right).take() == ["changed 0"]


def test_what_the_combiner_refuses_changes_nothing() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,), removed=(h.right,))
    assert h.combiner_says("refused").take() == ["changed 2"]
    assert h.combiner_says("took", "closed").take() == []


@pytest.mark.parametrize("told", [(), ("took",), ("took", "closed")])
def test_a_combiner_that_is_started_again_meanwhile_says_it_once_more(
    told: tuple[OfList, ...],
) -> None:
    h = Changes()
    h.ask_for(added=(DOOR,), removed=(h.right,)).combiner_says(*told)
    h.end(h.combiner, -9).wait(1).work(nodes=(h.combiner,))
    h.combiner_says("took", "closed").end(h.right)
    wanted = [word for word in h.take() if word.split()[0] in ("start", "terminate", "changed")]
    assert sorted(wanted) == ["changed 0", "start door", "terminate right"]


def test_a_stop_ends_a_change_and_everything() -> None:
    h = Changes()
    h.ask_for(added=(DOOR,), removed=(h.right,)).combiner_says("took").take()
    assert h.signal().take() == ["changed 1", "terminate door", "terminate left", "terminate right"]
    for one in (DOOR, h.left, h.right, h.combiner, h.sink):
        h.end(one)
    assert h.code == 0
    h.ask_for(added=(node("yard", "producer"),))


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
