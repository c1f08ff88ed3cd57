"""How a source's frames are stamped: by which clock, how far that may be wrong, and how long they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from framepair.nodes.sink.latency import Histogram
from framepair.protocol.client.clip import Clip, Pair


@dataclass(slots=True)
class Stamping:
    """Of one source: frames by the grade of their stamps, and how far the stamps may be wrong.

    ``unknown`` counts frames of which that is not known, ``delay_ns`` is from capture to the combiner of late.
    """

    grades: Counter[str] = field(default_factory=Counter)
    uncertainty: Histogram = field(default_factory=Histogram)
    unknown: int = 0
    delay_ns: int = 0

    def add_clip(self, clip: Clip) -> None:
        """Count the frames of a clip."""
        for frame in clip.frames:
            if frame.stamp is None:
                continue
            self.grades[frame.stamp] += 1
            if frame.stamp_uncertainty_ns is None:
                self.unknown += 1
            else:
                self.uncertainty.record(frame.stamp_uncertainty_ns)
        self.delay_ns = clip.header.delay_ns or self.delay_ns

    @property
    def certainty(self) -> str:
        """How far stamps may be wrong, for people: half of them no more than the first figure."""
        if not self.uncertainty.count:
            return "?" if self.unknown else "-"
        half_ns, most_ns = (self.uncertainty.percentile_ns(percent) for percent in (50, 100))
        return f"{half_ns / 1e6:.1f}, {most_ns / 1e6:.1f}"


class Stampings:
    """The stampings of all sources, by name."""

    def __init__(self) -> None:
        self.sources: dict[str, Stamping] = {}

    def add_pair(self, pair: Pair) -> None:
        """Count the frames of a pair."""
        for source, clip in pair.items():
            self.sources.setdefault(source, Stamping()).add_clip(clip)


def cells(pair: Pair) -> Mapping[str, str]:
    """Return what a line says of each source's stamps, such as "media ±41.0, 62"; none of exact ones."""
    return {
        source: f"{clip.stamp} ±{_ms(clip.uncertainty_ns)}, {clip.header.delay_ns / 1e6:.0f}"
        for source, clip in pair.items()
        if clip.stamp not in (None, "exact")
    }


def _ms(ns: int | None) -> str:
    return "?" if ns is None else f"{ns / 1e6:.1f}"
