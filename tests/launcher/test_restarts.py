"""When a node is started again: policies, pauses and the end of patience, without any process."""

from __future__ import annotations

import pytest

from framepair.nodes.launcher.restarts import (
    HEALTHY_S,
    KEPT_PAUSE_S,
    MAX_A_MINUTE,
    Policy,
    Restarts,
)


@pytest.mark.parametrize(
    ("policy", "after_success", "after_failure"),
    [("always", True, True), ("on-failure", False, True), ("never", False, False)],
)
def test_policies(policy: Policy, after_success: bool, after_failure: bool) -> None:
    restarts = Restarts(policy)
    assert restarts.wanted(0) is after_success
    assert restarts.wanted(1) is after_failure
    assert restarts.wanted(-9) is after_failure


def test_pauses_double_until_it_ends_too_often() -> None:
    restarts = Restarts("on-failure")
    pauses = [restarts.pause_s(now_s, now_s - 1) for now_s in range(MAX_A_MINUTE + 1)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, None]
    assert restarts.count == MAX_A_MINUTE


def test_a_node_that_fails_seldom_is_started_again_for_ever() -> None:
    restarts = Restarts("on-failure")
    pauses = [restarts.pause_s(now_s, now_s - 20) for now_s in range(0, 2000, 20)]
    assert pauses[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert set(pauses[8:]) == {30.0}


def test_a_node_that_worked_well_has_earned_a_short_pause() -> None:
    restarts = Restarts("on-failure")
    assert [restarts.pause_s(now_s, now_s) for now_s in (0, 1, 2)] == [0.5, 1.0, 2.0]
    assert restarts.pause_s(100, 100 - HEALTHY_S) == 0.5
    assert restarts.pause_s(101, 101) == 1.0


def test_a_node_that_is_kept_is_tried_each_minute_in_the_end_until_it_has_worked() -> None:
    restarts = Restarts("on-failure", kept=True)
    now_s, pauses, failing = 0.0, [], []
    for _ in range(10):
        pause_s = restarts.pause_s(now_s, now_s)
        assert pause_s is not None
        pauses.append(pause_s)
        failing.append(restarts.is_failing)
        now_s += pause_s
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[KEPT_PAUSE_S] * 3]
    assert failing == [False] * MAX_A_MINUTE + [True] * 5
    assert not restarts.recover(now_s + HEALTHY_S - 0.1, now_s)
    assert restarts.recover(now_s + HEALTHY_S, now_s)
    assert not restarts.is_failing
    assert restarts.pause_s(now_s + HEALTHY_S, now_s) == 0.5
