"""Matches and batches of a subscription: the right pixels, over the borders of pairs, one cursor."""

from __future__ import annotations

import gc
import itertools
import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest

from framepair import Clip, Match, Pair, Subscription, subscribe
from framepair.protocol.client.assembly import Assembly
from framepair.protocol.client.batches import batches
from framepair.protocol.client.loans import Kept
from framepair.protocol.client.matches import Wanted, matches
from framepair.protocol.client.pixels import Overwritten
from framepair.protocol.wire.frame import FrameHeader
from framepair.protocol.wire.pair import PairHeader
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import Combiner
from tests.lib.stream import SHAPE, WINDOW_NS, Stream, feed, pixels

MS = 1_000_000
OTHER = (12, 8, 3)


def pairs(assembly: Assembly, messages: Sequence[FrameHeader | PairHeader]) -> Iterator[Pair]:
    """Take each pair when it is announced, while the frames after it come in."""
    for message in messages:
        feed(assembly, message)
        pair = assembly.take()
        if pair is not None:
            yield pair


def assembly_of(*, copy: bool = False) -> Assembly:
    return Assembly(2, 10**9, Kept(10**9) if copy else None)


def at(stream: Stream, source: str, ms: float, **changes: object) -> FrameHeader:
    captured_ns = round(ms * MS)
    return stream.frame(
        source,
        captured_ns // WINDOW_NS,
        captured_ns=captured_ns,
        next_ns=captured_ns + 1,
        **changes,
    )


def messages_of(
    stream: Stream, times_ms: Mapping[str, Sequence[float]], windows: int
) -> list[FrameHeader | PairHeader]:
    messages: list[FrameHeader | PairHeader] = []
    for window in range(windows):
        for source, times in times_ms.items():
            there = [ms for ms in times if round(ms * MS) // WINDOW_NS == window]
            messages += [at(stream, source, ms) for ms in there]
        messages.append(stream.pair(window))
    return messages


def check(match: Match) -> list[float]:
    """Check the pixels of a match, and return when its frames were captured, in ms."""
    for source, frame in match.items():
        assert frame.source == source
        assert np.array_equal(frame.image, pixels(frame.header))
        assert not frame.image.flags.writeable
        assert frame.intact
    return [frame.captured_ns / MS for frame in match.values()]


@pytest.mark.parametrize("copy", [False, True])
def test_matches_cross_the_borders_of_pairs(copy: bool) -> None:
    stream, unmatched = Stream(), Counter[str]()
    times = {"left": [10, 500, 995, 1500, 1999], "right": [15, 470, 1003, 1510, 2001]}
    wanted = Wanted("left", ["right"], 20 * MS)
    found = [
        check(match)
        for match in matches(
            pairs(assembly_of(copy=copy), messages_of(stream, times, 3)), wanted, unmatched
        )
    ]
    assert found == [[10, 15], [995, 1003], [1500, 1510], [1999, 2001]]
    assert unmatched == {"left": 1, "right": 1}


def test_a_match_says_how_far_apart_it_is_and_can_be_copied() -> None:
    stream = Stream(["a", "b", "c"])
    times = {"a": [10, 50], "b": [12, 51], "c": [7, 55]}
    found = matches(
        pairs(assembly_of(), messages_of(stream, times, 1)), Wanted("a", "bc", 9 * MS), Counter()
    )
    first = next(found)
    assert (list(first), first.spread_ns, len(first)) == (["a", "b", "c"], 5 * MS, 3)
    assert repr(first) == "<Match of <Frame 0 of a>, <Frame 0 of b>, <Frame 0 of c>>"
    copied, back = first.copy(), pickle.loads(pickle.dumps(first))
    assert next(found)["c"].captured_ns == 55 * MS
    for each in (copied, back):
        assert np.array_equal(each["b"].image, pixels(first["b"].header))
        each["b"].image[:] = 0


def test_a_frame_of_the_border_that_was_overwritten_is_in_no_match(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def overwritten(_: object) -> None:
        raise Overwritten

    monkeypatch.setattr("framepair.protocol.client.pixels.FramePixels.copy", overwritten)
    stream, unmatched = Stream(), Counter[str]()
    times = {"left": [995, 1500], "right": [1003, 1510]}
    wanted = Wanted("left", ["right"], 20 * MS)
    messages = messages_of(stream, times, 2)
    found = [check(match) for match in matches(pairs(assembly_of(), messages), wanted, unmatched)]
    assert found == [[1500, 1510]]
    assert unmatched == {"left": 1, "right": 1}


def batched(
    stream: Stream, n: int, windows: int, *, copy: bool = False
) -> Iterator[tuple[Clip, Pair]]:
    """Yield batches of the left source, each with the pair that was taken last."""
    messages = [message for window in range(windows) for message in stream.whole(window)]
    taken: list[Pair] = []

    def noted() -> Iterator[Pair]:
        for pair in pairs(assembly_of(copy=copy), messages):
            taken[:] = [pair]
            yield pair

    for batch in batches(noted(), n, "left"):
        yield batch, taken[0]


def check_batch(batch: Clip) -> None:
    assert not batch.array.flags.writeable
    assert batch.intact
    assert batch.header.frames == len(batch)
    for frame, image in zip(batch.frames, batch.array, strict=True):
        assert np.array_equal(image, pixels(frame))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 12, 100])
@pytest.mark.parametrize("copy", [False, True])
def test_batches_have_as_many_frames_as_asked_for(n: int, copy: bool) -> None:
    seqs = list[list[int]]()
    for batch, _ in batched(Stream(), n, 9, copy=copy):
        check_batch(batch)
        assert batch.captured_ns.tolist() == [frame.captured_ns for frame in batch]
        seqs.append(batch.seq.tolist())
    assert list(itertools.chain(*seqs)) == list(range(45))
    assert {len(each) for each in seqs[:-1]} <= {n}
    assert len(seqs[-1]) == 45 % n or n


def test_a_batch_is_a_view_where_its_frames_lie_in_a_row() -> None:
    views = [
        np.shares_memory(batch.array, pair["left"].array) for batch, pair in batched(Stream(), 2, 4)
    ]
    # Of five frames each: two and two, and the fifth with the first of the next pair.
    assert views == [True, True, False, True, True] * 2


def test_a_change_of_shape_ends_a_batch() -> None:
    stream, messages = Stream(["left"]), list[FrameHeader | PairHeader]()
    for shape in (SHAPE, SHAPE, SHAPE, OTHER, OTHER, OTHER):
        messages.append(stream.frame("left", 0, shape=shape))
    messages += [stream.pair(0), *stream.whole(1)]
    sizes = []
    for batch in batches(pairs(assembly_of(), messages), 2, "left"):
        check_batch(batch)
        sizes.append((len(batch), batch.shape[1:]))
    assert sizes == [
        *[(2, SHAPE), (1, SHAPE), (2, OTHER), (1, OTHER)],
        *[(2, SHAPE), (2, SHAPE), (1, SHAPE)],
    ]


def filled(combiner: Combiner, subscription: Subscription, windows: int = 3) -> None:
    stream = Stream()
    combiner.wait_for_subscriber()
    for window in range(windows):
        combiner.send(*stream.whole(window))
    combiner.send(stream.end())


def test_a_subscription_has_matches_and_counts_what_has_none(
    combiner: Combiner, address: str
) -> None:
    with subscribe(address, keep=9) as subscription:
        filled(combiner, subscription)
        # All frames of a window are some nanoseconds after its beginning, at the same time on both sides.
        found = [check(match) for match in subscription.matches("left", "right", within_ms=0)]
        assert len(found) == 15
        assert subscription.stats().unmatched_frames == {"left": 0, "right": 0}


def test_a_subscription_has_batches(combiner: Combiner, address: str) -> None:
    with subscribe(address, keep=9) as subscription:
        filled(combiner, subscription)
        assert [len(batch) for batch in subscription.batches(7, "right")] == [7, 7, 1]


def test_a_second_way_of_taking_pairs_is_refused(combiner: Combiner, address: str) -> None:
    with subscribe(address, keep=9) as subscription:
        filled(combiner, subscription)
        first = subscription.batches(2, "left")
        for second in (
            lambda: next(subscription),
            lambda: subscription.get(0),
            lambda: subscription.batches(2, "right"),
            lambda: subscription.matches("left", "right", within_ms=1),
        ):
            with pytest.raises(RuntimeError, match="an iteration of batches takes the pairs"):
                second()
        assert len(next(first)) == 2
        first.close()
        assert next(subscription).index == 1


def test_an_iteration_that_was_left_is_over(combiner: Combiner, address: str) -> None:
    with subscribe(address, keep=9) as subscription:
        filled(combiner, subscription)
        for match in subscription.matches("left", "right", within_ms=1):
            assert check(match)
            break
        gc.collect()
        pair = subscription.get(PATIENCE_S)
        assert pair is not None
        assert pair.index == 1


def test_what_cannot_be_matched_is_refused_in_words(combiner: Combiner, address: str) -> None:
    with subscribe(address) as subscription:
        with pytest.raises(ValueError, match="matches of left: name at least two sources"):
            subscription.matches("left", within_ms=5)
        with pytest.raises(ValueError, match="each of them once"):
            subscription.matches("left", "left", within_ms=5)
        with pytest.raises(ValueError, match="within_ms is -5"):
            subscription.matches("left", "right", within_ms=-5)
        with pytest.raises(ValueError, match="batches of 0 frames"):
            subscription.batches(0, "left")
        filled(combiner, subscription)
        with pytest.raises(KeyError, match="'middle' is no source of this pair"):
            next(subscription.matches("left", "middle", within_ms=5))
