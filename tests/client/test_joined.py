"""Subscriptions to several combiners: what a joined pair is, and for how long its pixels stay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from framepair import Overwritten, Pair, Subscription, subscribe, testing
from framepair.protocol.client.joined import labels
from framepair.protocol.client.joined_pair import Names, PairJoiner
from framepair.protocol.memory.ring import slot_bytes
from tests.lib.processes import PATIENCE_S
from tests.lib.publisher import combiner_at
from tests.lib.stream import Stream, pixels

# Whole pages, so that memory is as large as was asked for.
PAGE = (32, 128, 1)
FRAMES = np.arange(5 * 4 * 6, dtype=np.uint8).reshape(5, 4, 6)


class Sites(ExitStack):
    """Two combiners, each with a socket of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        (directory / "a").mkdir()
        (directory / "b").mkdir()
        self.addresses = [f"ipc://{directory}/{name}/pairs" for name in "ab"]
        self.a, self.b = (self.enter_context(combiner_at(address)) for address in self.addresses)

    def subscribe(
        self, *, keep: int = 2, copy: bool = False, max_bytes: int = 1 << 30
    ) -> Subscription:
        pairs = self.enter_context(
            subscribe(self.addresses, keep=keep, copy=copy, max_bytes=max_bytes)
        )
        for site in (self.a, self.b):
            site.wait_for_subscriber()
        return pairs


@pytest.fixture
def sites(directory: Path) -> Iterator[Sites]:
    with Sites(directory) as sites:
        yield sites


def taken(subscription: Subscription) -> Pair:
    pair = subscription.get(PATIENCE_S)
    assert pair is not None
    check(pair)
    return pair


def check(pair: Pair) -> None:
    for clip in pair.values():
        for frame, image in zip(clip.frames, clip.array, strict=True):
            assert np.array_equal(image, pixels(frame))
    assert pair.intact


def test_pairs_of_the_same_window_come_as_one_until_all_have_ended(sites: Sites) -> None:
    left, right = Stream(["left"]), Stream(["right"], first=1)
    with sites.subscribe(keep=5) as pairs:
        sites.a.send(*left.next(), *left.next(), *left.next(), left.end())
        sites.b.send(*right.next(), *right.next(), *right.next(), right.end())
        seen = [taken(pairs) for _ in range(4)]
        assert pairs.get(PATIENCE_S) is None
        assert pairs.ended
        assert [[*pair] for pair in seen] == [["left"], *[["left", "right"]] * 3]
        assert [pair.index for pair in seen] == [0, 1, 2, 3]
        assert [pair.complete for pair in seen] == [False, True, True, False]
        assert seen[3]["left"].missing == "ended"
        assert seen[3]["left"].array.shape == (0, 6, 8, 3)
        stats = pairs.stats()
        assert (stats.pairs, stats.delivered_frames) == (4, {"left": 15, "right": 15})


def test_pixels_stay_while_the_next_pair_is_waited_for(sites: Sites) -> None:
    left, right = Stream(["left"]), Stream(["right"])
    with sites.subscribe() as pairs:
        sites.a.send(*left.next())
        sites.b.send(*right.next())
        former = taken(pairs)
        for _ in range(4):
            sites.a.send(*left.next())
        assert wait_for_queued(pairs, sites.addresses[0], 4)
        assert pairs.get(0) is None
        check(former)
        sites.b.send(*right.next())
        assert taken(pairs).index == 1
        with pytest.raises(Overwritten):
            print(former["left"].array)


def wait_for_queued(pairs: Subscription, address: str, count: int) -> bool:
    """Return whether so many pairs wait in one subscription, in time."""
    member = pairs.members[address]
    with member._pairs._changed:
        return member._pairs._changed.wait_for(lambda: member.stats().queued == count, PATIENCE_S)


def test_one_that_is_silent_is_offline_once_no_more_wait_for_it(sites: Sites) -> None:
    left, right = Stream(["left"]), Stream(["right"])
    with sites.subscribe(keep=1) as pairs:
        sites.a.send(*left.next())
        sites.b.send(*right.next())
        assert taken(pairs).complete
        for _ in range(9):
            sites.a.send(*left.next())
        seen = [taken(pairs) for _ in range(9)]
        assert [pair.index for pair in seen] == [*range(1, 10)]
        assert {pair["right"].missing for pair in seen} == {"offline"}
        assert not any(pair.lost or pair.complete for pair in seen)
        # It is back: windows that were given without it are lost.
        sites.b.send(*right.next(), *right.whole(10))
        assert wait_for_queued(pairs, sites.addresses[1], 2)
        sites.a.send(*left.next())
        back = taken(pairs)
        assert (back.index, back.complete, back.lost) == (10, True, 1)
        assert pairs.stats().lost_pairs == 1


def test_copies_stay_and_an_event_loop_goes_on(sites: Sites) -> None:
    left, right = Stream(["left"]), Stream(["right"])

    async def first(pairs: Subscription, count: int) -> list[Pair]:
        async with asyncio.timeout(PATIENCE_S):
            return [await anext(pairs) for _ in range(count)]

    with sites.subscribe(copy=True) as pairs:
        for _ in range(2):
            sites.a.send(*left.next())
            sites.b.send(*right.next())
        for pair in asyncio.run(first(pairs, 2)):
            check(pair)


def test_no_pair_is_lost_while_one_is_held_back(sites: Sites) -> None:
    left, right = Stream(["left"], shape=PAGE), Stream(["right"], shape=PAGE)
    with sites.subscribe(keep=5, copy=True, max_bytes=2 * 5 * slot_bytes(PAGE)) as pairs:
        for _ in range(4):
            sites.a.send(*left.next())
            sites.b.send(*right.next())
        kept = [taken(pairs), taken(pairs)]
        assert pairs.get(0.1) is None
        assert not pairs.ended
        for pair in kept:
            check(pair)
        del pair, kept[0]
        assert taken(pairs).index == 2


def test_a_mapping_of_addresses_names_all_sources_and_stop_ends_all(sites: Sites) -> None:
    given = dict(zip("ab", sites.addresses, strict=True))
    with subscribe(given) as pairs:
        for site, source in ((sites.a, "left"), (sites.b, "right")):
            site.wait_for_subscriber()
            site.send(*Stream([source]).next())
        pair = pairs.get(PATIENCE_S)
        assert pair is not None
        assert [*pair] == ["a/left", "b/right"]
        pairs.stop()
        assert pairs.get(PATIENCE_S) is None
        assert pairs.ended


def test_batches_are_of_joined_pairs(sites: Sites) -> None:
    left, right = Stream(["left"]), Stream(["right"])
    with sites.subscribe() as pairs:
        sites.a.send(*left.next(), left.end())
        sites.b.send(*right.next(), right.end())
        assert [len(clip) for clip in pairs.batches(2, "right")] == [2, 2, 1]


def test_unequal_windows_are_refused_in_words(sites: Sites) -> None:
    left, right = Stream(["left"]), Stream(["right"], pace="max")
    with sites.subscribe() as pairs:
        sites.a.send(*left.next())
        sites.b.send(*right.next())
        with pytest.raises(ValueError, match="give all pipelines the same --window and --pace"):
            pairs.get(PATIENCE_S)


@pytest.mark.parametrize("given", [[], ["tcp://a:1"], ["tcp://a:1", "tcp://a:1"]])
def test_it_takes_two_addresses(given: list[str]) -> None:
    with pytest.raises(ValueError, match="give at least two, each of them once"):
        subscribe(given)


def test_what_is_of_one_pipeline_says_where_it_is(sites: Sites) -> None:
    with sites.subscribe() as pairs:
        with pytest.raises(ValueError, match="members"):
            pairs.latest()
        with pytest.raises(ValueError, match="members"):
            pairs.frames("left")
    with pytest.raises(ValueError, match="pairs=False"):
        subscribe(sites.addresses, pairs=False)


def test_names_that_clash_get_the_host_in_front_for_good() -> None:
    names = Names(labels(["tcp://site-a:7400", "tcp://site-b:7400"]))
    names.add({0: ["left", "top"], 1: ["left"]})
    names.add({1: ["top", "right"]})
    assert (names[0, "left"], names[1, "left"]) == ("site-a/left", "site-b/left")
    assert (names[0, "top"], names[1, "top"], names[1, "right"]) == ("top", "site-b/top", "right")


def test_a_mapping_names_the_pipelines() -> None:
    names = Names(["a", "b"], always=True)
    names.add({0: ["left"], 1: ["right"]})
    assert (names[0, "left"], names[1, "right"]) == ("a/left", "b/right")


def test_labels_are_all_different() -> None:
    given = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "ipc:///run/x/pairs"]
    assert labels(given) == ["127.0.0.1:1", "127.0.0.1:2", "x"]


def test_a_joined_pair_has_all_frames_with_their_names_and_the_newest_ones_lag() -> None:
    joiner = PairJoiner(2, Names(["a", "b"]))
    one, other = testing.pair(left=FRAMES, index=3), testing.pair(left=FRAMES[:2], index=3)
    pair = joiner.join({0: one, 1: other}, ())
    assert [*pair] == ["a/left", "b/left"]
    assert np.array_equal(pair["b/left"].array, other["left"].array)
    assert {frame.source for frame in pair["b/left"].frames} == {"b/left"}
    assert pair.lag_ns == one.lag_ns
    assert pair.copy().header.clips.keys() == pair.keys()


def test_windows_that_none_has_are_skipped() -> None:
    joiner = PairJoiner(2, Names(["a", "b"]))
    for index in (3, 7):
        pair = joiner.join({0: testing.pair(left=FRAMES, index=index)}, ())
    assert (pair.skipped, pair.lost) == (3, 0)
