"""Whatever is lost on the way or taken late: every announced frame is delivered once, or counted."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from framepair.protocol.wire.header import ProtocolError
from framepair.protocol.wire.pair import PairHeader
from tests.lib.examples import examples
from tests.lib.stream import feed
from tests.lib.world import STEP_NAMES, World

STEP = st.tuples(
    st.sampled_from(STEP_NAMES),
    st.integers(0, 2),  # which source
    st.integers(0, 1),  # how far ahead it is
    st.sampled_from([True] * 19 + [False]),  # whether the message arrives
)
# Short ones are easy to understand when they fail, long ones are more likely to.
STEPS = st.lists(STEP, max_size=20) | st.lists(STEP, min_size=50, max_size=300)


@settings(max_examples=examples(60), deadline=None)
@given(steps=STEPS, keep=st.integers(1, 3), max_frames=st.sampled_from([4, 10**5]))
def test_every_announced_frame_is_delivered_once_or_counted(
    steps: list[tuple[str, int, int, bool]], keep: int, max_frames: int
) -> None:
    world = World(keep, max_frames)
    for step, source, ahead, arrives in steps:
        getattr(world, step)(source, ahead, arrives)
        world.check()
    while world.assembly.queued:
        world.take(0, 0, True)
        world.check()
    assert_nothing_is_kept(world)


def assert_nothing_is_kept(world: World) -> None:
    """Announce a window far ahead, and take it: not a slot may be in use after it."""
    world.window += 1000
    feed(world.assembly, world.stream.pair(world.window))
    world.take(0, 0, True)
    for store in world.assembly._stores.values():
        ring = store._slots._newest
        assert len(store) == 0
        assert ring is None or len(ring.free) == ring.count


@settings(max_examples=examples(40), deadline=None)
@given(
    steps=STEPS,
    order=st.permutations(range(8)),
    numbers=st.lists(st.integers(0, 2**63 - 1), min_size=4, max_size=4),
)
def test_announcements_that_make_no_sense_never_break_it(
    steps: list[tuple[str, int, int, bool]], order: list[int], numbers: list[int]
) -> None:
    world = World(keep=2)
    for step, source, ahead, arrives in steps[:60]:
        getattr(world, step)(source, ahead, arrives)
    headers: list[PairHeader] = [world.stream.pair(n) for n in (world.window, *numbers)]
    for index in order:
        with contextlib.suppress(ProtocolError):
            feed(world.assembly, headers[index % len(headers)])
        world.assembly.take()
    stats = world.assembly.stats()
    assert all(count >= 0 for lost in stats.lost_frames.values() for count in lost.values())
