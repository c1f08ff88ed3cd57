"""The one clock."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from framepair.protocol.clocks import clock

HOUR_NS = 3600 * 10**9


@pytest.fixture(autouse=True)
def _fresh_offset() -> Iterator[None]:
    """Have the offset read anew, and leave none of this behind."""
    clock.utc_offset_ns.cache_clear()
    yield
    clock.utc_offset_ns.cache_clear()


def hand_over(monkeypatch: pytest.MonkeyPatch, offset: str) -> None:
    """Have this process find an offset in its environment, as a node does."""
    monkeypatch.setenv(clock.OFFSET_VARIABLE, offset)
    # A thread that another test has left may have read the clock since the last test.
    clock.utc_offset_ns.cache_clear()


def test_the_clock_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(clock.OFFSET_VARIABLE, raising=False)
    before_ns = time.time_ns()
    clock.utc_offset_ns()
    monkeypatch.setattr(time, "monotonic_ns", lambda: before_ns - clock.utc_offset_ns())
    assert clock.now_ns() == before_ns


def test_a_step_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1_000)
    monkeypatch.setattr(time, "time_ns", lambda: 5_000)
    monkeypatch.delenv(clock.OFFSET_VARIABLE, raising=False)
    assert clock.now_ns() == 5_000
    monkeypatch.setattr(time, "time_ns", lambda: 5_000 - HOUR_NS)
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1_007)
    assert clock.now_ns() == 5_007


def test_a_node_takes_the_offset_that_the_launcher_hands_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hand_over(monkeypatch, "123456789")
    monkeypatch.setattr(time, "monotonic_ns", lambda: 1)
    assert clock.now_ns() == 123456790


def test_an_offset_may_be_below_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    hand_over(monkeypatch, "-5")
    assert clock.utc_offset_ns() == -5


def test_an_offset_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hand_over(monkeypatch, "1.5e9")
    with pytest.raises(ValueError, match=r"FRAMEPAIR_UTC_OFFSET_NS is '1\.5e9' and takes whole"):
        clock.utc_offset_ns()


def test_the_offset_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hand_over(monkeypatch, "1")
    clock.utc_offset_ns()
    monkeypatch.setenv(clock.OFFSET_VARIABLE, "2")
    assert clock.utc_offset_ns() == 1


def test_nothing_is_read_on_import() -> None:
    code = (
        "import time; time.time_ns = time.monotonic_ns = None;"
        "import framepair.protocol.clocks.clock; print('imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "imported\n"


def test_the_clock_never_goes_back() -> None:
    times = [clock.now_ns() for _ in range(1000)]
    assert times == sorted(times)
