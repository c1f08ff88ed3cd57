"""Sources that are removed and return, as a consumer sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from framepair import Pair
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.batches import batches
from framepair.protocol.client.matches import Wanted, matches
from framepair.protocol.client.selection import Selection
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import StreamEnd, Totals
from tests.lib.recorded import Message, come_and_go
from tests.lib.stream import feed, pixels


def taken(assembly: Assembly, messages: list[Message]) -> Iterator[Pair]:
    """Take each pair when it is announced; its pixels are those that were published."""
    for message in messages:
        if isinstance(message, FrameHeader) and not assembly._selection.keeps(message):
            continue
        feed(assembly, message)
        pair = assembly.take()
        if pair is not None:
            for clip in pair.values():
                for image, header in zip(clip.images, clip.frames, strict=True):
                    assert np.array_equal(image, pixels(header))
            yield pair


def check_sum(assembly: Assembly) -> None:
    """Check that all that was announced is delivered or lost for a reason."""
    stats = assembly.stats()
    assert (stats.rejected, stats.lost_pairs) == (0, 0)
    for source, total in stats.totals.items():
        lost = sum(stats.lost_frames.get(source, {}).values())
        assert total.paired == stats.delivered_frames.get(source, 0) + lost
        assert total.captured == total.paired + total.open + total.late + sum(
            total.dropped.values()
        )


def test_each_pair_has_the_sources_that_are_there_and_no_frame_is_lost() -> None:
    assembly = Assembly(2, 10**9)
    pairs = list(taken(assembly, come_and_go()))
    assert ["right" in pair for pair in pairs] == [
        *(True, True),
        *(False, False, False, False),
        *(True, True, True),
        False,
    ]
    assert all(pair.complete and len(pair["left"]) == 10 for pair in pairs)
    check_sum(assembly)
    assert assembly.stats().lost_frames == {}
    assert "right" not in assembly._stores
    assert assembly.newest.sources == ["left"]


def test_what_was_announced_of_it_before_the_consumer_came_was_not_lost_on_the_way() -> None:
    assembly = Assembly(2, 10**9)
    pairs = list(taken(assembly, come_and_go(4)))
    assert sum("right" in pair for pair in pairs) == 3
    check_sum(assembly)
    lost = assembly.stats().lost_frames
    assert lost["right"] == {"no_subscriber": 20}
    assert lost["left"].keys() == {"no_subscriber"}


def test_the_end_tells_of_a_source_that_was_removed_before_the_consumer_came() -> None:
    assembly = Assembly(2, 10**9)
    list(taken(assembly, come_and_go()))
    totals = {**assembly.stats().totals, "yard": Totals(captured=25, paired=20, late=5)}
    feed(assembly, StreamEnd(run=9, seq=10, reason="stopped", totals=totals))
    check_sum(assembly)
    assert assembly.stats().lost_frames == {"yard": {"no_subscriber": 20}}


def test_matches_and_batches_go_on_when_it_returns() -> None:
    unmatched: Counter[str] = Counter()
    found = [
        match.copy()
        for match in matches(
            taken(Assembly(2, 10**9), come_and_go()), Wanted("left", ["right"], 10**7), unmatched
        )
    ]
    # The first life is in step with left, the second half a period off.
    assert len(found) == 20
    assert unmatched == {"left": 80, "right": 30}
    sizes = [len(batch) for batch in batches(taken(Assembly(2, 10**9), come_and_go()), 7, "right")]
    assert sizes == [7] * 7 + [1]


def test_pairs_of_chosen_sources_are_not_complete_without_them() -> None:
    assembly = Assembly(2, 10**9, selection=Selection(sources=("right",)))
    messages = [
        message
        for message in come_and_go()
        if not isinstance(message, FrameHeader) or message.source == "right"
    ]
    pairs = list(taken(assembly, messages))
    assert [pair.complete for pair in pairs] == [bool(pair) for pair in pairs]
    assert [len(pair) for pair in pairs] == [1, 1, 0, 0, 0, 0, 1, 1, 1, 0]
