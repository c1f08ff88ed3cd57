"""Histories of pipelines, with a clock of the test's own: what happens, and what the supervisor wants done."""

from __future__ import annotations

import signal

import pytest

from framepair.nodes.common.runtime import ECHO_S
from framepair.nodes.launcher.commands import Node
from framepair.nodes.launcher.condition import State, all_flow
from framepair.nodes.launcher.events import (
    Heard,
    StartFailed,
)
from framepair.nodes.launcher.flow import Flow
from framepair.nodes.launcher.pace import Duration
from framepair.nodes.launcher.restarts import HEALTHY_S, KEPT_PAUSE_S, MAX_A_MINUTE
from framepair.nodes.launcher.supervisor import (
    PRODUCERS_S,
    STAGE_S,
    START_S,
)
from framepair.nodes.launcher.watched_time import TICK_S
from tests.lib.history import HEALTH_S, SETTLE_S, History, node

STARTS = ["start sink", "start combiner", "start right", "start left"]


def test_all_start_at_once_and_nothing_else_happens() -> None:
    assert History().wait(100).wanted == STARTS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_in_the_order_of_the_data(number: int) -> None:
    h = History()
    h.take()
    assert h.signal(number).take() == ["terminate left", "terminate right"]
    assert h.end(h.left).take() == []
    assert h.end(h.right).take() == ["terminate combiner"]
    assert h.end(h.combiner, -signal.SIGTERM).take() == ["terminate sink"]
    assert h.end(h.sink).take() == []
    assert h.code == 0


def test_what_hangs_is_killed_kind_by_kind_within_five_seconds() -> None:
    h = History().signal()
    began_s = h.now_s
    h.take()
    h.wait(PRODUCERS_S)
    assert h.take()[:2] == ["kill left", "kill right"]
    h.wait(2 * STAGE_S)
    assert [line for line in h.take() if line.startswith("kill")] == ["kill combiner", "kill sink"]
    assert h.code == 1
    assert h.now_s - began_s <= 5.001


def test_a_producer_that_hangs_is_no_failure_and_leaves_the_others_their_time() -> None:
    h = History()
    h.signal().end(h.right).wait(PRODUCERS_S)
    assert h.said == ["left did not stop in time and was killed"]
    h.end(h.combiner).end(h.sink)
    assert h.code == 0


def test_a_second_ctrl_c_kills_at_once_but_an_echo_of_the_first_does_not() -> None:
    h = History().signal().wait(ECHO_S / 2).signal()
    assert h.code is None
    h.wait(ECHO_S).signal(signal.SIGTERM)
    assert h.code is None
    h.take()
    h.signal()
    assert h.code == 130
    assert h.take() == [f"kill {name}" for name in ("left", "right", "combiner", "sink")]


def test_a_node_that_refuses_ends_everything_without_a_word() -> None:
    h = History(working=False)
    h.take()
    h.end(h.right, 2)
    assert h.take() == ["kill left", "kill combiner", "kill sink"]
    assert h.code == 2


def test_the_same_status_of_a_node_that_worked_is_a_failure_like_any_other() -> None:
    h = History()
    assert "it is started again in 0.5 s" in h.end(h.right, 2).said[0]


def test_a_node_that_cannot_be_started_ends_everything() -> None:
    h = History(working=False)
    h.note(h.supervisor.handle(StartFailed(h.left, "no such file"), h.now_s))
    assert h.said == ["cannot start left: no such file"]
    assert h.code == 1


def test_files_that_are_over_end_everything() -> None:
    h = History()
    h.end(h.left).end(h.right).end(h.combiner)
    assert h.code is None
    h.end(h.sink)
    assert h.code == 0
    assert h.said == []


def test_a_combiner_and_a_sink_that_have_no_end_are_stopped() -> None:
    h = History()
    h.end(h.left).wait(100)
    h.take()
    h.end(h.right).wait(SETTLE_S - 0.1)
    assert h.take() == []
    h.wait(0.2)
    assert h.take() == ["terminate combiner"]
    h.end(h.combiner).end(h.sink)
    assert h.code == 0


def test_a_sink_that_has_ended_stops_the_rest() -> None:
    h = History()
    h.take()
    assert h.end(h.sink).take() == ["terminate left", "terminate right"]


def test_without_a_reader_the_sink_is_not_started_again() -> None:
    h = History()
    h.end(h.sink, -signal.SIGPIPE, unread=True).end(h.left).end(h.right).end(h.combiner)
    assert (h.code, h.said) == (0, [])


def test_a_node_that_fails_is_back_after_pauses_that_double() -> None:
    h = History()
    h.take()
    for pause_s in (0.5, 1.0, 2.0, 4.0, 8.0):
        assert h.end(h.sink, 1).take() == [
            f"say sink ended with exit status 1: it is started again in {pause_s:g} s"
        ]
        h.wait(pause_s - 0.1)
        assert h.take() == []
        h.wait(0.2)
        assert h.take() == ["restart sink"]
    h.end(h.sink, 1, last_lines=["out of luck"])
    often = f"for the {MAX_A_MINUTE + 1}th time in a minute, so everything stops"
    assert h.said == [f"sink ended with exit status 1: {often}", "  out of luck"]
    h.end(h.left).end(h.right).end(h.combiner)
    assert h.code == 1
    assert h.said[-1] == "restarts: sink 5"


def test_a_source_that_fails_for_good_is_tried_each_minute_and_the_others_go_on() -> None:
    h = History(kept=True)
    h.fail(h.left)
    assert h.take()[-2:] == [
        "say left ended with exit status 1: for the 6th time in a minute; the others go on, and it is"
        " started again in 16 s",
        "say   out of luck",
    ]
    for pause_s in (16, 32, 60, 60):
        h.wait(pause_s + 0.1)
        assert h.take() == ["restart left"]
        h.end(h.left, 1, last_lines=["out of luck"])
        assert len(h.take()) == 1
    h.wait(KEPT_PAUSE_S + 0.1).work(nodes=[h.left]).wait(HEALTHY_S + 0.1)
    assert h.take() == ["restart left", "say left works again"]
    h.end(h.left, 1)
    assert h.take() == ["say left ended with exit status 1: it is started again in 0.5 s"]
    h.signal().end(h.right).end(h.combiner).end(h.sink)
    assert (h.code, h.said) == (0, ["restarts: left 11"])


def test_a_source_that_fails_at_the_end_is_a_failure() -> None:
    h = History(kept=True)
    h.fail(h.left).signal().end(h.right).end(h.combiner).end(h.sink)
    assert h.said[-2:] == ["left was failing at the end", "restarts: left 6"]
    assert h.code == 1


def test_without_a_source_that_works_everything_stops() -> None:
    h = History(kept=True)
    h.fail(h.left).fail(h.right).end(h.left).end(h.combiner).end(h.sink)
    assert "right ended with exit status 1: no source is left, so everything stops" in h.said
    assert h.code == 1


def test_sources_that_are_over_do_not_wait_for_one_that_fails() -> None:
    h = History(kept=True)
    h.fail(h.left).end(h.right).wait(SETTLE_S + 0.1)
    assert "left was failing at the end" in h.said
    h.end(h.left).end(h.combiner).end(h.sink)
    assert h.code == 1


def test_a_node_that_is_done_is_not_started_again_whatever_its_status() -> None:
    h = History()
    h.work("done", nodes=[h.sink]).end(h.sink, 1)
    assert h.said == ["sink ended with exit status 1"]
    h.end(h.left).end(h.right).end(h.combiner)
    assert h.code == 1


def test_never_is_never_and_the_others_go_on_without_one_producer() -> None:
    h = History(restart="never")
    h.end(h.left, 1).wait(100)
    assert h.said == ["left ended with exit status 1: the others go on"]
    assert h.code is None
    h.end(h.right)
    assert h.wanted[-1] == "terminate combiner"
    h.end(h.combiner).end(h.sink)
    assert h.code == 1


def test_always_starts_a_video_that_is_over_again() -> None:
    h = History(restart="always")
    h.end(h.left).wait(1)
    assert h.wanted[-1] == "restart left"


def kills(h: History) -> list[str]:
    return [line for line in h.take() if line.startswith("kill")]


def test_a_node_may_be_given_longer_than_the_others() -> None:
    h = History(health={"left": 3 * HEALTH_S})
    h.take()
    h.wait(HEALTH_S + 1, beating=False)
    assert sorted(kills(h)) == ["kill combiner", "kill right", "kill sink"]
    h.wait(2 * HEALTH_S, beating=False)
    assert "kill left" in kills(h)


def test_a_node_that_has_said_that_it_is_busy_is_left_alone_so_long() -> None:
    h = History(health={"left": 1000, "right": 1000, "combiner": 1000})
    h.take()
    h.note(h.supervisor.handle(Heard(h.sink, "busy", 300.0), h.now_s))
    h.wait(300 + HEALTH_S - 2 * TICK_S, beating=False)
    assert kills(h) == []
    h.wait(3 * TICK_S, beating=False)
    assert kills(h) == ["kill sink"]


def test_a_node_that_is_busy_no_more_has_to_be_heard_again() -> None:
    h = History(health={"left": 1000, "right": 1000, "combiner": 1000})
    h.take()
    h.note(h.supervisor.handle(Heard(h.sink, "busy", 300.0), h.now_s))
    h.wait(50, beating=False)
    h.note(h.supervisor.handle(Heard(h.sink, "busy", 0.0), h.now_s))
    h.wait(HEALTH_S - 2 * TICK_S, beating=False)
    assert kills(h) == []
    h.wait(3 * TICK_S, beating=False)
    assert kills(h) == ["kill sink"]


@pytest.mark.parametrize("name", ["left", "combiner", "sink"])
def test_a_node_that_gives_no_sign_is_killed_and_is_back(name: str) -> None:
    h = History()
    hanging: Node = getattr(h, name)
    others = [one for one in h.nodes if one is not hanging]
    h.take()
    for _ in range(100):
        h.wait(HEALTH_S / 80, beating=False).work("beat", nodes=others)
    wanted = h.take()
    assert wanted[0].startswith(f"say {name} hangs: it gave no sign of work for 10.")
    assert wanted[0].endswith(f"say --health-timeout {name}=SECONDS")
    assert wanted[1:] == [
        f"kill {name}",
        f"say {name} ended with signal 9 (Killed): it is started again in 0.5 s",
        f"restart {name}",
    ]


def test_a_node_that_starts_has_longer_and_another_program_need_not_say_anything() -> None:
    h = History(working=False, ours=False)
    h.work("beat", nodes=[h.left, h.right, h.combiner])
    h.wait(START_S + HEALTH_S - 0.1, beating=False)
    assert h.said == []
    h.wait(0.2, beating=False)
    assert len(h.said) == 6
    assert not any("sink" in line for line in h.said)


@pytest.mark.parametrize("frozen_s", [20.0, 3600.0])
def test_time_in_which_the_launcher_was_frozen_does_not_count(frozen_s: float) -> None:
    h = History().wait(60)
    h.take()
    h.freeze(frozen_s).wait(HEALTH_S - 2 * TICK_S, beating=False)
    assert h.take() == []
    h.work("beat").wait(5)
    assert h.take() == []
    h.freeze(frozen_s)
    h.wait(HEALTH_S + 1, beating=False)
    assert sum("hangs" in line for line in h.said) == len(h.nodes)


def test_a_stop_that_is_frozen_has_its_time_afterwards() -> None:
    h = History().signal().freeze(20)
    h.take()
    h.wait(PRODUCERS_S / 2)
    assert h.take() == []


def duration(seconds: float = 2.0) -> Duration:
    """Return a duration by a clock whose UTC is the test's time plus 500 s."""
    return Duration(seconds, window_s=1.0, utc_offset_s=500.0, start_timeout_s=5.0)


def test_a_duration_counts_from_when_frames_flow_up_to_a_windows_end() -> None:
    h = History(working=False, duration=duration())
    h.wait(15.3, beating=False).work("ready")
    h.take()
    h.wait(3.1).work("flowing", nodes=[h.left, h.right])
    assert h.take() == []
    h.work("flowing", nodes=[h.combiner])
    # It is 1018.4 s, of UTC 1518.4 s.
    assert h.take() == ["end left at 1521", "end right at 1521"]
    h.wait(2.6)
    h.end(h.left).end(h.right).work("paired").end(h.combiner).end(h.sink)
    assert h.code == 0


def test_a_duration_waits_for_a_sink_that_is_slow_to_start() -> None:
    h = History(working=False, duration=duration())
    h.work("ready", "flowing", nodes=[h.left, h.right, h.combiner]).wait(9.3, beating=False)
    assert h.take() == STARTS
    h.work("ready", nodes=[h.sink]).wait(0.3)
    assert h.take() == ["end left at 1512", "end right at 1512"]


def test_a_duration_waits_for_a_recorder_that_is_slow_to_start() -> None:
    left, combiner, recorder = (
        node("left", "producer"), node("combiner", "combiner"), node("recorder", "recorder"),
    )  # fmt: skip
    flow = Flow((left, combiner, recorder), duration())
    for each in (left, combiner):
        flow.hear(each, "ready", 0.0)
    flow.hear(combiner, "flowing", 1.0)
    assert not flow.begins(30.0)
    flow.hear(recorder, "ready", 30.0)
    assert flow.begins(30.0)


def test_a_duration_counts_after_the_start_timeout_without_the_last_source() -> None:
    h = History(working=False, duration=duration())
    h.work("ready").wait(4.9)
    h.take()
    h.wait(0.2)
    assert h.take() == ["end left at 1508", "end right at 1508"]


def test_a_duration_ends_what_never_begins_and_what_hangs() -> None:
    h = History(working=False, duration=duration())
    h.take()
    # On a busy machine a node takes its time until its first word; a camera never comes.
    others = [h.left, h.combiner, h.sink]
    for _ in range(100):
        h.wait(0.2, beating=False).work("beat", nodes=others)
    assert h.take() == []
    h.work("beat", nodes=[h.right]).wait(5.1)
    assert h.take() == ["end left at 1527", "end right at 1527"]
    h.wait(2 + 1 + SETTLE_S)
    assert h.take() == ["terminate left", "terminate right"]
    h.end(h.left).end(h.right).end(h.combiner).end(h.sink)
    assert h.code == 1
    assert h.said[-1].startswith("no pair came: ")


def test_sources_that_were_told_to_end_before_their_first_frame_are_no_excuse() -> None:
    h = History(working=False, duration=duration())
    h.work("ready").wait(5.1).end(h.left).end(h.right).end(h.combiner).end(h.sink)
    assert h.code == 1


def test_a_producer_that_is_back_hears_of_the_duration_too() -> None:
    h = History(duration=duration(100))
    h.take()
    h.end(h.left, 1).wait(0.6)
    assert h.take()[1:] == ["restart left", "end left at 1600"]


def test_offline_and_without_a_duration_nothing_is_told() -> None:
    assert not any(line.startswith("end ") for line in History().wait(100).wanted)


def test_no_pair_is_a_failure_in_words() -> None:
    h = History(working=False)
    h.work("ready").work("flowing", nodes=[h.left, h.right, h.combiner])
    h.end(h.left).end(h.right).end(h.combiner).end(h.sink)
    assert h.code == 1
    assert h.said == [
        "no pair came: run for longer than two windows, with a smaller --window or with --pace max"
    ]


def test_no_pair_after_failures_is_one_even_if_the_user_stops_it() -> None:
    h = History(working=False)
    h.work("ready").work("flowing", nodes=[h.left, h.right])
    h.end(h.combiner, -signal.SIGABRT).wait(1).signal()
    h.end(h.left).end(h.right).end(h.combiner).end(h.sink)
    assert h.code == 1
    assert "no pair came: nodes failed, and what they said above tells why" in h.said


def test_no_pair_is_none_if_the_sources_had_no_frame_or_the_user_did_not_wait() -> None:
    h = History(working=False).work("ready")
    h.end(h.left).end(h.right).end(h.combiner).end(h.sink)
    assert (h.code, h.said) == (0, [])
    h = History(working=False).signal()
    h.end(h.left).end(h.right).end(h.combiner).end(h.sink)
    assert (h.code, h.said) == (0, [])


def test_of_another_programs_pairs_the_combiner_tells() -> None:
    h = History(working=False, ours=False)
    h.work("ready", "flowing", "paired", nodes=[h.left, h.right, h.combiner])
    h.end(h.left).end(h.right).end(h.combiner).end(h.sink)
    assert h.code == 0


def test_another_program_that_was_not_running_at_the_end_has_failed() -> None:
    h = History(ours=False)
    h.end(h.sink, 1).signal()
    assert h.said[-1] == "sink was not running at the end"
    h.end(h.left).end(h.right).end(h.combiner)
    assert h.code == 1


@pytest.mark.parametrize(
    ("seconds", "window_s", "utc_s", "until_ns"),
    [
        (10, 1, 100.0, 110_000_000_000),
        (10, 1, 100.25, 111_000_000_000),
        (0.1, 0.5, 100.25, 100_500_000_000),
        (2.5, 0.04, 100.0, 102_520_000_000),
        (10.0, 3.0, 1_700_000_000.125, 1_700_000_013_000_000_000),
    ],
)
def test_a_duration_ends_with_a_window(
    seconds: float, window_s: float, utc_s: float, until_ns: int
) -> None:
    until = Duration(seconds, window_s, 0.0, 5.0).until_ns(utc_s)
    assert until == until_ns
    assert until % round(window_s * 1e9) == 0


def test_it_is_ready_once_frames_of_all_sources_flow_and_stays_so() -> None:
    h = History(working=False)
    assert h.condition == (False, False, "left, right: no frame yet")
    h.work("ready", "flowing", nodes=[h.left, h.combiner, h.sink])
    assert h.condition == (False, False, "left: frames flow; right: no frame yet")
    h.work("flowing", nodes=[h.right])
    assert h.condition == (True, False, "left, right: frames flow")
    h.end(h.left, 1)
    assert h.condition == (
        True,
        False,
        "right: frames flow; left: to be started again; restarts: left 1",
    )
    h.wait(0.6).work("idle", nodes=[h.right])
    assert h.condition[2] == "left: no frame yet; right: no frame for some time; restarts: left 1"
    h.work("beat", "flowing").end(h.left).end(h.combiner, 1)
    assert h.condition[2] == (
        "right: frames flow; combiner: to be started again; left: over; restarts: left 1, combiner 1"
    )
    h.signal()
    assert h.condition == (True, True, "stopping")


def test_a_combiner_that_has_no_frame_yet_is_not_ready() -> None:
    h = History(working=False)
    h.work("ready", "flowing", nodes=[h.left, h.right])
    assert h.condition[0] is False
    h.work("flowing", nodes=[h.combiner])
    assert h.condition[0] is True
    h = History(working=False)
    h.end(h.combiner, 1).signal().work("flowing", nodes=[h.left, h.right])
    assert h.condition[0] is False


def test_whether_it_is_ready_is_a_matter_of_sources_and_combiner_alone() -> None:
    left, combiner = node("left", "producer"), node("combiner", "combiner")
    others: dict[Node, State] = {
        node("sink", "sink"): "waits",
        node("recorder", "recorder"): "waits",
    }
    assert all_flow({left: "flows", combiner: "rests", **others})
    assert all_flow({left: "over", combiner: "flows"})
    assert not all_flow({left: "flows", combiner: "over"})
    assert not all_flow({left: "restarts", combiner: "flows"})


def test_our_sink_says_how_it_went_when_asked_and_else_the_launcher_does() -> None:
    h = History(working=False, report_every_s=60)
    h.take()
    # A sink that is not ready would be ended by the signal.
    assert h.ask().take() == ["say after 0 s: left, right: no frame yet"]
    assert h.work().ask().take() == ["report sink"]
    assert h.wait(200).take() == []
    h = History(ours=False, report_every_s=60)
    h.take()
    h.wait(125)
    assert h.take() == [f"say after {s} s: left, right: frames flow" for s in (60, 120)]
