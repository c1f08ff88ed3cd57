"""Measure what finding matching frames costs: the processor time of the matching alone, without pixels."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator

from framepair.protocol.client.matching import Matcher

SOURCES = [f"camera{number}" for number in range(16)]
FPS = 25
SECONDS = 60
WINDOW_NS = 1_000_000_000
WITHIN_NS = 20_000_000
# How far a camera's frames are from where they should be, at most.
JITTER_NS = 5_000_000

Window = dict[str, list[tuple[int, int]]]


def main() -> None:
    """Print the share of a core that the matching of 16 sources at 25 frames a second takes."""
    windows = list(itertools.islice(capture(random.Random(0)), SECONDS))
    began_s, found = time.process_time(), match(windows)
    share = (time.process_time() - began_s) / SECONDS
    print(
        f"{len(SOURCES)} sources at {FPS} frames a second, within {WITHIN_NS / 1e6:g} ms:"
        f" {100 * share:.2f} % of a core, {found} matches in {SECONDS} s"
    )


def capture(rng: random.Random) -> Iterator[Window]:
    """Yield the capture times of each window, with a phase of its own for each source, and jitter."""
    phases = {source: rng.randrange(WINDOW_NS // FPS // 3) for source in SOURCES}
    for index in itertools.count():
        yield {
            source: sorted(
                (index * WINDOW_NS + phase + i * WINDOW_NS // FPS + rng.randrange(JITTER_NS), i)
                for i in range(FPS)
            )
            for source, phase in phases.items()
        }


def match(windows: list[Window]) -> int:
    """Return how many matches there are."""
    matcher: Matcher[int] = Matcher(SOURCES[0], SOURCES[1:], WITHIN_NS, Counter())
    found = 0
    for index, window in enumerate(windows):
        start_ns = index * WINDOW_NS
        found += len(matcher.add_window(window, start_ns, start_ns + WINDOW_NS))
        matcher.replace_undecided(lambda item: item)
    return found + len(matcher.end())


if __name__ == "__main__":
    main()
